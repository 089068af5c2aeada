"""What the lexical rater costs a unit, and how well it tells planted units apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autointerp.questions.planter import Planter, planted_figures
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import RaterOptions
from autointerp.raters.lexical import create
from autointerp.settings import RunSettings
from autointerp.subjects.load import load_subject
from autointerp.subjects.windows import load_documents

SEED = 3  # the thresholds were fixed on seed 1


def figures() -> Iterator[dict[str, Any]]:
    """Yield the figures of `lexical` on planted units of the embedded corpus."""
    from importlib import resources
    from pathlib import Path

    texts = list(load_subject(RunSettings().subject).token_texts)
    corpus = Path(str(resources.files("autointerp.subjects") / "embedded" / "corpus.npz"))
    planter = Planter(load_documents(corpus), texts)
    units = planter.units(per_grade=30, seed=SEED)
    found = planted_figures(
        create(None, RaterOptions()), load_rubric("interpretability-1-5"), units
    )
    note = f"{len(units)} planted units of four grades, seed {SEED}, embedded corpus"
    yield {
        "figure": "lexical_ms_per_unit",
        "value": round(found.ms_per_unit, 2),
        "unit": "ms",
        "note": f"CPU, request and reply; {note}",
    }
    yield {
        "figure": "lexical_auc_clean",
        "value": round(found.auc, 3),
        "unit": "AUC",
        "note": f"clean against mixture and noise, 1-5 scores; {note}",
    }
