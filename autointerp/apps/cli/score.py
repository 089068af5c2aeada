"""Score descriptions: how well do they predict where units fire?"""

from __future__ import annotations

import typer

from autointerp.apps.cli import _options as _asking


def command(
    run: str = typer.Argument(..., help="Name of the run: runs/NAME."),
    scorer: list[str] = typer.Option(
        ["detection", "fuzzing", "simulation"],
        "--scorer",
        help="detection, fuzzing, simulation or intruder; repeat for several.",
    ),
    rater: str = typer.Option("lexical", help="Who answers: NAME or NAME:MODEL."),
    explainer: str = typer.Option(
        None,
        help="Whose descriptions.",
        show_default="the only ones; the rater's own where there are none yet",
    ),
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
    contexts: int = typer.Option(20, min=3, help="Of each kind, firing and silent, at most."),
    permuted: int = typer.Option(
        50, min=0, help="Units of each source tried with another's description too, as a control."
    ),
    hard: bool = typer.Option(
        False, "--hard", help="Half of what is silent looks as if the unit fired; reads the corpus."
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
    """Try descriptions on contexts that nobody has explained from; 0.5 is chance, 1 perfect.

    detection: in which texts does the unit fire? fuzzing: is the right token marked? simulation:
    how strongly does it fire on each token? intruder: which context does not belong (needs no
    description)? Each is also asked with another unit's description, where it must fall to 0.5.

    Example: autointerp score main --scorer detection --scorer fuzzing
    """
    from rich.console import Console

    from autointerp.pipeline.describe import Choice, score
    from autointerp.questions.score import Design

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
    choice = Choice(tuple(source), n, explainer)
    design = Design(contexts, permuted, hard)
    score(wish, scorer, choice, design, Console(stderr=True, markup=False, emoji=False), dry_run)
