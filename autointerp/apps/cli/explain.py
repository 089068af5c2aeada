"""Describe units: what does each respond to?"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from autointerp.apps.cli import _options
from autointerp.apps.cli._options import Asking, Output, options


@options
def command(
    run: _options.RunName,
    rater: Annotated[str, typer.Option(help="Who explains: NAME or NAME:MODEL.")] = "lexical",
    source: _options.SourcesOfRun = None,
    n: _options.UnitsOfRun = None,
    logit_effects: Annotated[
        bool,
        typer.Option(
            "--logit-effects",
            help="Also show which tokens a unit promotes and suppresses; loads the run's model. "
            "Planted and shuffled controls have none, so an item's form reveals what it is.",
        ),
    ] = False,
    asking: Asking = Asking(),
    batch: _options.Batch = False,
    dry_run: _options.DryRun = False,
    as_json: _options.ForecastAsJson = False,
    output: Output = Output(),
) -> None:
    """Write a description of each unit of a run, from contexts kept for that alone.

    The explainer sees the strongest contexts and some of each interval of activation; it may
    answer "Unknown". `autointerp score` and `rate --rubric specificity-0-3` then test the
    descriptions. Those written with --logit-effects are kept apart: name them as
    --explainer RATER+logits.

    Example: autointerp explain main --rater lexical
    """
    _options.check_forecast_json(as_json, dry_run)
    _options.require_runs(run)

    from autointerp.apps.cli._progress import Show
    from autointerp.pipeline.describe import explain, forecast_explain

    job = asking.job(
        rater,
        run=run,
        sources=tuple(source or ()),
        n=n,
        logit_effects=logit_effects,
        batch=batch,
    )
    with Show(output) as show:
        if dry_run:
            expected = forecast_explain(job, show)
            if as_json:
                typer.echo(json.dumps(expected.as_json(), indent=2))
            else:
                show.say(f"explain: {expected}")
            return
        result = explain(job, show)
    show.say(str(result))
    if result.described:
        who = f" --explainer '{result.explainer}'" if logit_effects else ""
        show.say(f"next: autointerp score {run}{who}")
