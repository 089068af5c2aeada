"""Check a rater on planted units of known grade, and on contexts with injected orders."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from autointerp.apps.cli import _options, say
from autointerp.apps.cli._options import Asking, Output, options
from autointerp.errors import BadInput
from autointerp.text import count, dollars, statuses_text

if TYPE_CHECKING:
    from autointerp.findings.checks import Auc, CheckResult
    from autointerp.questions.kit import Side


@options
def command(
    rater: Annotated[
        str, typer.Argument(help="NAME or NAME:MODEL; `autointerp raters` lists them.")
    ],
    rubric: _options.RubricName = "interpretability-1-5",
    per_grade: Annotated[int, typer.Option(help="Planted units of each grade, at least 4.")] = 17,
    side: Annotated[
        str, typer.Option(help="`test`, or `design` for whoever designs a rater.")
    ] = "test",
    asking: Asking = Asking(),
    as_json: _options.AsJson = False,
    output: Output = Output(),
) -> None:
    """Rate a kit of planted units of known grade, and print how well the rater separates them.

    --budget-usd limits the total cost of all checks, including earlier ones.

    Example: autointerp check-rater lexical
    """
    from dataclasses import asdict

    from autointerp.apps.cli._progress import Show
    from autointerp.pipeline.check import check_rater
    from autointerp.questions.rubric_files import load_rubric
    from autointerp.raters import load_rater

    job = asking.job(rater)
    judge = load_rater(job.rater, job.options)
    with Show(output) as show:
        result = check_rater(
            judge, load_rubric(rubric), per_grade, job.policy, _side(side), on=show
        )
    if as_json:
        typer.echo(json.dumps(asdict(result), indent=2))
        return
    for name, value in _lines(result):
        say(f"{name:34} {value}")


def _side(name: str) -> Side:
    if name == "design":
        return "design"
    if name == "test":
        return "test"
    raise BadInput(f"--side {name}: give test or design")


def _signed(gain: Auc) -> str:
    if gain.value is None or gain.low is None:
        return "too few ratings"
    return f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def _lines(result: CheckResult) -> list[tuple[str, str]]:
    def number(value: float | None, form: str = ".2f") -> str:
        return "too few ratings" if value is None else format(value, form)

    means = ", ".join(f"{grade} {number(mean)}" for grade, mean in result.means.items())
    lines = [
        ("rater", result.rater + (f" ({result.model})" if result.model else "")),
        ("rubric", result.rubric),
        ("kit", f"{result.kit}, {result.side} side, {result.per_grade} units of each grade"),
        ("AUC of clean units against", "[95 % interval]"),
    ]
    said = {"rest": "all others", "unclean": "several concepts or none", "mixtures": "mixtures"}
    lines += [(f"  {said.get(name, name)}", str(auc)) for name, auc in result.auc.items()]
    lines.append(("  the second of them, by kind", ""))
    lines += [(f"    {kind}", str(auc)) for kind, auc in result.kinds.items()]
    lines += [(f"    all {level}", str(auc)) for level, auc in result.levels.items()]
    if result.held_back is not None:
        lines.append(("    kinds held back", str(result.held_back)))
    if result.auc_expected.value is not None:
        lines.append(("    of the expected score", str(result.auc_expected)))
    if result.members is not None:
        lines.append(("what each member adds to that", "weight; AUC alone; gain; without it"))
        lines += [
            (f"  {name}", f"{of.weight:.2f}; {of.alone}; {_signed(of.gain)}; {of.without}")
            for name, of in result.members.items()
        ]
    lines += [
        ("Spearman with grade", number(result.spearman)),
        ("mean by grade", means),
        ("same score twice", number(result.agreement, ".0%")),
        (
            "moved by orders in the text",
            f"{number(result.injection_shift, '.0%')} of the way, obeyed by "
            f"{number(result.injection_obeyed, '.0%')} of {count(result.injection_units, 'unit')}",
        ),
        ("ratings", statuses_text(result.statuses)),
        ("cost", "unknown" if result.cost_usd is None else dollars(result.cost_usd)),
        ("seconds a unit", number(result.seconds_per_unit, ".3f")),
    ]
    return lines
