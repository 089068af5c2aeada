"""What the lexical rater costs a unit, and how well it tells planted units apart."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autointerp.pipeline.check import check_rater
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import RaterOptions
from autointerp.raters.lexical import create

PER_GRADE = 30


def figures() -> Iterator[dict[str, Any]]:
    """Yield the figures of `lexical` on planted units of the embedded corpus."""
    rubric = load_rubric("interpretability-1-5")
    with tempfile.TemporaryDirectory() as folder:
        result = check_rater(create(None, RaterOptions()), rubric, PER_GRADE, runs=Path(folder))
    note = f"{4 * PER_GRADE} planted units of four grades, embedded corpus, kit {result.kit}"
    seconds, auc = result.seconds_per_unit, result.auc_clean_unclean
    yield {
        "figure": "lexical_ms_per_unit",
        "value": None if seconds is None else round(1000 * seconds, 2),
        "unit": "ms",
        "note": f"wall time of a reply; {note}",
    }
    yield {
        "figure": "lexical_auc_clean",
        "value": None if auc is None else round(auc, 3),
        "unit": "AUC",
        "note": f"clean against mixture and noise, 1-5 scores; {note}",
    }
