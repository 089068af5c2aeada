"""Draw what people should rate next to calibrate a model's ratings."""

from __future__ import annotations

import typer


def command(
    n: int = typer.Option(40, "--n", "-n", help="Items to draw."),
    run: str = typer.Option("main", help="Name of the run: runs/NAME."),
    rubric: str = typer.Option("interpretability-1-5", help="A rubric's id, or the path of one."),
    rater: str = typer.Option(
        None, help="The rater to calibrate.", show_default="the one with the most ratings"
    ),
    seed: int = typer.Option(0, help="Of the draw."),
) -> None:
    """Draw a random subset for people, stratified by source and the model's score, and store it.

    It is rated with `autointerp rate --rater human:NAME --planned`; each item's probability of
    having been drawn is kept, so that estimates can be weighted by it.

    Example: autointerp plan-humans --n 40
    """
    import numpy as np

    from autointerp.apps.cli import columns_text
    from autointerp.people.plans import plan_humans
    from autointerp.questions.rubric_files import load_rubric
    from autointerp.store.run import open_run

    with open_run(run) as opened:
        calibrated, drawn = plan_humans(
            opened, load_rubric(rubric), n, np.random.default_rng(seed), rater
        )
    strata = sorted({(d.source, d.score, d.stratum_drawn, d.stratum_size) for d in drawn})
    typer.echo(f"{len(drawn)} items, to calibrate {calibrated}")
    typer.echo(
        columns_text(
            ("source", "score", "drawn", "of", "probability"),
            [(s, str(score), str(k), str(size), f"{k / size:.3f}") for s, score, k, size in strata],
        )
    )
    typer.echo(f"next: autointerp rate --rater human:NAME --planned --run {run}")
