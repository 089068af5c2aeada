"""What is known of raters beside these runs."""

from __future__ import annotations

from autointerp.findings import checks as checking
from autointerp.findings.groups import Judgement
from autointerp.reports.panels import Material


def latest_check(judgement: Judgement, material: Material) -> str | None:
    """Return what the rater's latest check on this rubric found, in a few words, or None."""
    runs = next(run.path.parent for run in material.runs if run.name == judgement.run)
    found = checking.latest_check(judgement.rater, judgement.rubric_digest, runs)
    return None if found is None else str(found)
