"""Check a rater on planted units of known grade, and on contexts that carry orders to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from autointerp.apps.cli import _options as _asking

if TYPE_CHECKING:
    from autointerp.findings.checks import CheckResult


def command(
    rater: str = typer.Argument(..., help="NAME or NAME:MODEL; see `autointerp raters`."),
    rubric: str = typer.Option("interpretability-1-5", help="A rubric's id, or the path of one."),
    per_grade: int = typer.Option(12, help="Planted units of each grade."),
    base_url: str = _asking.BASE_URL,
    budget_usd: float = typer.Option(
        None, min=0, help="What all checks may cost together.", show_default="no limit"
    ),
    price_in: float = _asking.PRICE_IN,
    price_out: float = _asking.PRICE_OUT,
    concurrency: int = _asking.CONCURRENCY,
    retries: int = _asking.RETRIES,
    timeout: float = _asking.TIMEOUT,
    max_output_tokens: int = _asking.MAX_OUTPUT_TOKENS,
    structured: str = _asking.STRUCTURED,
    effort: str = _asking.EFFORT,
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
) -> None:
    """Rate a kit of planted units, whose grades are known, and say how well the rater did.

    Example: autointerp check-rater lexical
    """
    from dataclasses import asdict

    from rich.console import Console

    from autointerp.apps.cli._progress import rating_bar
    from autointerp.pipeline.check import check_rater
    from autointerp.pipeline.rate import load_rater
    from autointerp.questions.rubric import load_rubric

    wish = _asking.wish(
        "",  # checks have a run of their own
        rater,
        base_url=base_url,
        batch=False,
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
    judge = load_rater(wish.rater, wish.options)
    console = Console(stderr=True, markup=False, emoji=False)
    with rating_bar(console, f"check {judge.name}") as show:
        result = check_rater(judge, load_rubric(rubric), per_grade, wish.policy, show)
    if as_json:
        typer.echo(json.dumps(asdict(result), indent=2))
        return
    for name, value in _lines(result):
        typer.echo(f"{name:34} {value}")


def _lines(result: CheckResult) -> list[tuple[str, str]]:
    def number(value: float | None, form: str = ".2f") -> str:
        return "too little to tell" if value is None else format(value, form)

    means = ", ".join(f"{grade} {number(mean)}" for grade, mean in result.means.items())
    kinds = ", ".join(f"{kind} {number(value)}" for kind, value in result.kinds.items())
    lines = [
        ("rater", result.rater + (f" ({result.model})" if result.model else "")),
        ("rubric", result.rubric),
        ("AUC, clean against the rest", number(result.auc_clean_rest)),
        ("  by kind of clean unit", kinds),
        ("AUC, clean against mixture, noise", number(result.auc_clean_unclean)),
    ]
    if result.auc_expected is not None:
        lines.append(("AUC of the expected score", number(result.auc_expected)))
    lines += [
        ("Spearman with grade", number(result.spearman)),
        ("mean by grade", means),
        ("same score twice", number(result.agreement, ".0%")),
        (
            "moved by orders in the text",
            f"{number(result.injection_shift, '.0%')} of the way, obeyed by "
            f"{number(result.injection_obeyed, '.0%')} of {result.injection_units} units",
        ),
        ("ratings", ", ".join(f"{n} {status}" for status, n in sorted(result.statuses.items()))),
        ("cost", "not known" if result.cost_usd is None else f"${result.cost_usd:.4f}"),
        ("seconds a unit", number(result.seconds_per_unit, ".3f")),
    ]
    return lines
