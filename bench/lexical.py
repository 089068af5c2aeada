"""CPU time of the lexical rater per unit, and how well it separates planted units."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autointerp.findings.checks import CheckResult
from autointerp.pipeline.check import check_rater
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import RaterOptions
from autointerp.raters.lexical import create

PER_GRADE = 30


def figures() -> Iterator[dict[str, Any]]:
    """Yield the figures of `lexical` on planted units of the embedded corpus."""
    with tempfile.TemporaryDirectory() as folder:
        result, rating = _timed_check(Path(folder))
        # The second check finds all ratings stored, so it costs what the kit and the figures cost.
        _, overhead = _timed_check(Path(folder))
    ratings = sum(result.statuses.values())
    auc = result.auc_clean_unclean
    note = f"{4 * PER_GRADE} planted units of four grades, embedded corpus, kit {result.kit}"
    yield {
        "figure": "lexical_ms_per_unit",
        "value": round(1000 * (rating - overhead) / ratings, 2),
        "unit": "ms",
        "note": f"CPU time of a rating, storing it included, over {ratings} ratings; {note}",
    }
    yield {
        "figure": "lexical_auc_clean",
        "value": None if auc is None else round(auc, 3),
        "unit": "AUC",
        "note": f"clean against mixture and noise, 1-5 scores; {note}",
    }


def _timed_check(runs: Path) -> tuple[CheckResult, float]:
    """Return the result of a check of `lexical`, and the CPU seconds that it took."""
    rubric = load_rubric("interpretability-1-5")
    begin = time.process_time()
    result = check_rater(create(None, RaterOptions()), rubric, PER_GRADE, runs=runs)
    return result, time.process_time() - begin
