"""Map a run's dictionary: a page of all its units in the plane, near ones near."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from autointerp.apps.cli import say
from autointerp.apps.cli._options import Output, options, require_runs


@options
def command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run.")] = "main",
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            "-s",
            help="Whose directions, all of them; repeatable.",
            show_default="the run's studied sources and random directions",
        ),
    ] = None,
    neighbours: Annotated[
        int, typer.Option(help="Nearest units that each is drawn to, 2 to 200.")
    ] = 15,
    spread: Annotated[
        float, typer.Option(help="Least distance of points, UMAP's min_dist, 0 to 1.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of the layout.")] = 0,
    count: Annotated[
        bool,
        typer.Option(
            "--count",
            help="Read the corpus once more to count on how many tokens every unit fires; kept for "
            "the next time.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the page.", show_default="reports/map-RUN"),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print the findings as JSON and, without -o, write no page: `sources` (units, "
            "cosine with the nearest, neighbours kept), `judged`, `digest` of the layout.",
        ),
    ] = False,
    output: Output = Output(),
) -> None:
    """Map a run's dictionary: a page of all its units in the plane, near ones near.

    Directions are laid out by UMAP on cosine distance, seeded; the layout is kept in the run (table
    `map_point`) and found there the next time. The page pans and zooms over all units, colours them
    by source, density or score, searches descriptions, and opens a unit with its strongest contexts
    and its nearest units. Needs umap-learn (the extra `map`).

    Example: autointerp map main
    """
    from autointerp.pipeline.asked import check_sources
    from autointerp.stats.layout import LayoutParameters

    parameters = LayoutParameters(neighbours, spread, seed)
    check_sources(sources or ())
    require_runs(run)

    from autointerp.apps.cli._progress import Show
    from autointerp.pipeline.map import as_text, map_dictionary

    with Show(output) as show:
        made = map_dictionary(
            run,
            tuple(sources or ()),
            parameters,
            out,
            page=not as_json or out is not None,
            count_all=count,
            on=show,
        )
    if as_json:
        typer.echo(json.dumps(made.map.as_json(), indent=2, allow_nan=False))
        return
    say(as_text(made.map))
    say(f"page: {made.page}")
