"""Draw items for people to rate, so that a model's ratings can be calibrated."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from autointerp.apps.cli import _options, say


def command(
    n: Annotated[int, typer.Option("--n", "-n", help="Number of items to draw.")] = 40,
    run: _options.RunOption = "main",
    rubric: _options.RubricName = "interpretability-1-5",
    rater: Annotated[
        str | None,
        typer.Option(help="Rater to calibrate.", show_default="the one with the most ratings"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    as_json: _options.AsJson = False,
) -> None:
    """Draw a random subset for people, stratified by source and the model's score, and store it.

    People rate it with `autointerp rate --rater human:NAME --planned`. The run keeps each item's
    inclusion probability, so that estimates can be weighted by it.

    Example: autointerp plan-humans --n 40
    """
    import numpy as np

    from autointerp.apps.cli import columns_text
    from autointerp.people.plans import plan_humans
    from autointerp.questions.rubric_files import load_rubric
    from autointerp.store.run import open_run

    with open_run(run) as opened:
        subject = opened.settings.subject.name
        calibrated, drawn = plan_humans(
            opened, load_rubric(rubric), n, np.random.default_rng(seed), rater
        )
    strata = sorted({(d.source, d.score, d.stratum_drawn, d.stratum_size) for d in drawn})
    header = ("source", "score", "drawn", "of", "probability")
    if as_json:
        rows = [dict(zip(header, (*row, row[2] / row[3]), strict=True)) for row in strata]
        plan = {"run": run, "rater": calibrated, "items": len(drawn), "strata": rows}
        typer.echo(json.dumps(plan, indent=2))
        return
    say(f"run '{run}', subject {subject}", err=True)
    say(f"{len(drawn)} items, to calibrate {calibrated}")
    say(
        columns_text(
            header,
            [(s, str(score), str(k), str(size), f"{k / size:.3f}") for s, score, k, size in strata],
        )
    )
    say(f"next: autointerp rate --rater human:NAME --planned --run {run}")
