"""How well judges tell planted units apart on the kit's test side, and what a judgement costs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autointerp.findings.checks import CheckResult
from autointerp.pipeline.check import check_rater
from autointerp.questions.kit import PER_GRADE, kit_units
from autointerp.questions.planter import GRADES
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import RaterOptions
from autointerp.raters.lexical import create
from bench._detector import detector_figures


def figures() -> Iterator[dict[str, Any]]:
    """Yield the figures of `lexical`, and of `detector:` where a model for it is given."""
    kit_units(PER_GRADE, "test")  # made once, not timed
    with tempfile.TemporaryDirectory() as folder:
        result, rating = _timed_check(Path(folder))
        # The second check finds all ratings stored, so it costs what the figures cost.
        _, overhead = _timed_check(Path(folder))
    ratings = sum(result.statuses.values())
    note = f"{len(GRADES) * PER_GRADE} planted units, kit {result.kit}, {result.side} side"
    for name, group in (("test", "unclean"), ("mixtures", "mixtures")):
        auc = result.auc[group]
        yield {
            "figure": f"lexical_auc_{name}",
            "value": None if auc.value is None else round(auc.value, 3),
            "unit": "AUC",
            "note": f"clean against {group}, 1-5 scores, {auc}; {note}",
        }
    yield {
        "figure": "lexical_ms_per_unit",
        "value": round(1000 * (rating - overhead) / ratings, 2),
        "unit": "ms",
        "note": f"CPU time of a rating, storing it included, over {ratings} ratings; {note}",
    }
    yield from detector_figures()


def _timed_check(runs: Path) -> tuple[CheckResult, float]:
    """Return the result of a check of `lexical`, and the CPU seconds that it took."""
    rubric = load_rubric("interpretability-1-5")
    begin = time.process_time()
    result = check_rater(create(None, RaterOptions()), rubric, runs=runs)
    return result, time.process_time() - begin
