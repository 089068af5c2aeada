"""Harvest, rate and report many SAEs of one model, at one forward pass for all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from autointerp.apps.cli import say
from autointerp.apps.cli._options import Asking, CacheSite, DryRun, Output, Tokens, options


@options
def command(
    file: Annotated[Path, typer.Argument(metavar="SWEEP.TOML", help="What is swept.")],
    rate: Annotated[
        bool,
        typer.Option(
            "--rate/--no-rate", help="Harvest and ask the judge, or report what is there."
        ),
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the page.", show_default="reports/sweep-NAME"),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", help="Write the table, a row an SAE, to this file too."),
    ] = None,
    tokens: Tokens = None,
    cache_site: CacheSite = None,
    dry_run: DryRun = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print the findings as JSON and, without -o, write no page: `results` (one an "
            "SAE: figures, interpretability, beaten_by), `across` (the contrasts, as of `report "
            "--json`), `fails`, `not_rated`. With --dry-run: the forecast.",
        ),
    ] = False,
    asking: Asking = Asking(),
    output: Output = Output(),
) -> None:
    """Harvest, rate and report many SAEs of one model, at one forward pass for all.

    SWEEP.TOML has the tables [subject], [harvest] and [sample] of an autointerp.toml, without the
    SAE; n, controls, rater, rubric and reference; and a table [[sae]] for each, with `name`, `sae`,
    and where they are needed `recipe` (SAEs that differ by their seed alone), `site`, `untrained`
    and what its files do not say. Each SAE has a run of its own, NAME.SAE, for `report`, `match`
    and all other commands; neurons and controls of a site are drawn and rated once, in
    NAME.neurons. Run again with another [[sae]], it harvests and rates that one alone.
    `autointerp plan --write SWEEP.TOML` declares all of it before the first rating.

    Example: autointerp sweep sweep.toml --dry-run
    """
    from autointerp.files import require_place
    from autointerp.pipeline.sweep_file import read_sweep, require_swept
    from autointerp.store.run import RUNS

    asked = read_sweep(file, RUNS)  # before what reports and models need is imported
    if csv is not None:
        require_place(csv, "--csv")
    if rate:
        require_swept(asked, RUNS)

    from autointerp.apps.cli._progress import Show
    from autointerp.pipeline.sweep import as_json as findings_json
    from autointerp.pipeline.sweep import as_text, forecast_sweep, sweep

    reached, policy = asking.asked()
    if dry_run:
        forecast = forecast_sweep(file, reached, policy, tokens=tokens, cache_site=cache_site)
        typer.echo(json.dumps(forecast.as_json()) if as_json else str(forecast))
        return
    with Show(output) as show:
        result = sweep(
            file,
            out,
            reached,
            policy,
            rates=rate,
            page=not as_json or out is not None,
            on=show,
            tokens=tokens,
            cache_site=cache_site,
        )
    if csv is not None:
        from autointerp.files import partial_file
        from autointerp.store.tables import save_frame

        with partial_file(csv) as partial:
            save_frame(result.sweep.frame(), partial, "csv")
    if as_json:
        typer.echo(json.dumps(findings_json(result), allow_nan=False))
        return
    say(as_text(result))
    say(f"page: {result.page}")
