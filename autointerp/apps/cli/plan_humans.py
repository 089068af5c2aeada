"""Draw items for people to rate, so that a model's ratings can be calibrated."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from autointerp.apps.cli import _options, say


class By(StrEnum):
    """What the draw goes by."""

    SCORE = "score"
    UNCERTAINTY = "uncertainty"


def command(
    n: Annotated[int, typer.Option("--n", "-n", help="Number of items to draw.")] = 40,
    run: _options.RunOption = "main",
    rubric: _options.RubricName = "interpretability-1-5",
    rater: Annotated[
        str | None,
        typer.Option(help="Rater to calibrate.", show_default="the one with the most ratings"),
    ] = None,
    by: Annotated[
        By,
        typer.Option(
            help="score: alike over the rater's scores. uncertainty: more of the units of which "
            "it is unsure, by its repeats, its token probabilities or the judges' disagreement, "
            "the first that the run holds."
        ),
    ] = By.SCORE,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    as_json: _options.AsJson = False,
) -> None:
    """Draw a random subset for people, by the model's score or uncertainty, and store it.

    People rate it with `autointerp rate --rater human:NAME --planned`. The run keeps each item's
    inclusion probability, and estimates are weighted by it.

    Example: autointerp plan-humans --n 40
    """
    import numpy as np

    from autointerp.apps.cli import columns_text
    from autointerp.pipeline.plan_humans import MEASURES
    from autointerp.pipeline.plan_humans import plan_humans as verb
    from autointerp.questions.rubric_files import load_rubric
    from autointerp.store.run import open_run
    from autointerp.text import count

    with open_run(run) as opened:
        subject = opened.settings.subject.name
        plan = verb(opened, load_rubric(rubric), n, np.random.default_rng(seed), rater, by=by.value)
    drawn, unsure = plan.drawn, plan.uncertainty
    rows: list[tuple[object, ...]]
    if unsure is None:
        header: tuple[str, ...] = ("source", "score", "drawn", "of", "probability")
        rows = [
            (*stratum, stratum[2] / stratum[3])
            for stratum in sorted(
                {(d.source, d.score, d.stratum_drawn, d.stratum_size) for d in drawn}
            )
        ]
    else:
        header = ("source", "drawn", "of", "least probability", "largest")
        rows = []
        for source, taken, size in sorted(
            {(d.source, d.stratum_drawn, d.stratum_size) for d in drawn}
        ):
            own = [d.inclusion for d in drawn if d.source == source]
            rows.append((source, taken, size, min(own), max(own)))
    if as_json:
        values = {
            "run": run,
            "rater": plan.rater,
            "items": len(drawn),
            "by": by.value,
            "uncertainty": unsure.measure if unsure else None,
            "contexts": plan.contexts,
            "left out": plan.left_out,
            "strata": [dict(zip(header, row, strict=True)) for row in rows],
        }
        typer.echo(json.dumps(values, indent=2))
        return
    say(f"run '{run}', subject {subject}", err=True)
    say(f"{count(len(drawn), 'item')}, to calibrate {plan.rater}")
    if unsure is not None:
        say(f"drawn by its uncertainty: {MEASURES[unsure.measure]}")
    say(
        columns_text(
            header,
            [
                tuple(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row)
                for row in rows
            ],
        )
    )
    if plan.left_out:
        say(
            f"left out, with fewer than {count(plan.contexts, 'context')}: "
            f"{count(plan.left_out, 'unit')}; what people say is read as of the others alone"
        )
    say(f"next: autointerp rate --rater human:NAME --planned --run {run}")
