"""Match the dictionaries of two runs: which features of one are in the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from autointerp.apps.cli import say
from autointerp.apps.cli._options import Output, options, require_runs


@options
def command(
    first: Annotated[str, typer.Argument(metavar="RUN_A", help="A run.")],
    second: Annotated[
        str,
        typer.Argument(metavar="RUN_B", help="A run of another SAE at the same site."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder of the page.", show_default="reports/match-RUN_A-RUN_B"
        ),
    ] = None,
    related: Annotated[
        float, typer.Option(help="Cosine from which two features are relatives, 0 to 1.")
    ] = 0.7,
    count: Annotated[
        bool,
        typer.Option(
            "--count",
            help="Read each run's corpus once more to count on how many tokens every feature "
            "fires, so that all dead ones are known; kept for the next time.",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print the findings as JSON and, without -o, write no page: `first` and `second` "
            "(medians, shares, chance, histogram, dead, scores), `families`, `unrelated`.",
        ),
    ] = False,
    output: Output = Output(),
) -> None:
    """Match the dictionaries of two runs: which features of one are in the other, and which split.

    For every feature the largest cosine of its dictionary vector with one of the other run, and
    that with its one-to-one partner; whether more similar features score higher; which features of
    the smaller dictionary have several relatives in the larger; which of the larger have none.
    Every feature's numbers go into the table `match` of both runs.

    Example: autointerp match small large
    """
    from autointerp.pipeline.asked import check_match

    check_match(first, second, related)
    require_runs(first, second)

    from autointerp.apps.cli._progress import Show
    from autointerp.pipeline.match import as_text, match

    with Show(output) as show:
        made = match(
            first,
            second,
            out,
            related,
            page=not as_json or out is not None,
            on=show,
            count_all=count,
        )
    if as_json:
        typer.echo(json.dumps(made.match.as_json(), indent=2, allow_nan=False))
        return
    say(as_text(made.match))
    say(f"page: {made.page}")
