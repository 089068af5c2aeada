"""Describe units: what does each respond to?"""

from __future__ import annotations

import typer

from autointerp.apps.cli import _options as _asking


def command(
    run: str = typer.Argument(..., help="Name of the run: runs/NAME."),
    rater: str = typer.Option("lexical", help="Who explains: NAME or NAME:MODEL."),
    source: list[str] = typer.Option(
        [], "--source", "-s", help="Sources; repeat for several.", show_default="all of the run"
    ),
    n: int = typer.Option(
        None,
        "--n",
        "-n",
        min=1,
        help="Units of each source.",
        show_default="all rated; where none is, all harvested",
    ),
    logit_effects: bool = typer.Option(
        False,
        "--logit-effects",
        help="Show, too, which tokens a unit promotes and suppresses; loads the run's model. "
        "Planted and shuffled controls have none, so there an item's form tells what it is.",
    ),
    base_url: str = _asking.BASE_URL,
    batch: bool = _asking.BATCH,
    budget_usd: float = _asking.BUDGET_USD,
    price_in: float = _asking.PRICE_IN,
    price_out: float = _asking.PRICE_OUT,
    concurrency: int = _asking.CONCURRENCY,
    retries: int = _asking.RETRIES,
    timeout: float = _asking.TIMEOUT,
    max_output_tokens: int = _asking.MAX_OUTPUT_TOKENS,
    structured: str = _asking.STRUCTURED,
    effort: str = _asking.EFFORT,
    dry_run: bool = _asking.DRY_RUN,
) -> None:
    """Write a description of each unit of a run, from contexts kept for that alone.

    The explainer sees the strongest contexts and some of each interval of activation; it may
    answer "Unknown". Then `autointerp score` and `rate --rubric specificity-0-3` try them. What it
    writes with --logit-effects is kept apart: give those --explainer RATER+logits.

    Example: autointerp explain main --rater lexical
    """
    from rich.console import Console

    from autointerp.pipeline.describe import Choice, explain

    wish = _asking.wish(
        run,
        rater,
        base_url=base_url,
        batch=batch,
        budget_usd=budget_usd,
        price_in=price_in,
        price_out=price_out,
        concurrency=concurrency,
        retries=retries,
        timeout=timeout,
        max_output_tokens=max_output_tokens,
        structured=structured,
        effort=effort,
    )
    explain(
        wish,
        Choice(tuple(source), n),
        Console(stderr=True, markup=False, emoji=False),
        dry_run,
        logit_effects,
    )
