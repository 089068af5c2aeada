"""The verb `check-rater`: a rater on planted units of known grade, and under orders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autointerp.engine.work import RatingPolicy, rate_items
from autointerp.errors import BadInput
from autointerp.findings.checks import CheckResult, check_result, keep
from autointerp.pipeline.events import On, ignore, tell_asking
from autointerp.questions.kit import PER_GRADE, Side, make_kit
from autointerp.questions.rubric import Rubric
from autointerp.raters import Rater
from autointerp.records import Item
from autointerp.store.run import RUNS, open_checks

MOST_PER_GRADE = 500


def check_rater(
    rater: Rater,
    rubric: Rubric,
    per_grade: int = PER_GRADE,
    policy: RatingPolicy | None = None,
    side: Side = "test",
    runs: Path = RUNS,
    on: On = ignore,
) -> CheckResult:
    """Return how the rater does on a side of the kit; what it answered before is not asked again.

    Every unit is rated twice, the second time with the levels in another order, so that
    agreement can be computed. Raises BadInput for a kit under 4 units a grade, or a rubric that
    shows a description, for the kit has none.
    """
    if not 4 <= per_grade <= MOST_PER_GRADE:
        raise BadInput(f"--per-grade {per_grade}: at least 4, and at most {MOST_PER_GRADE}")
    if rubric.about == "description":
        raise BadInput(
            f"rubric '{rubric.id}' asks about a description, and planted units have none"
        )
    kit = make_kit(rubric, rater.evidence, per_grade, side)
    items = {one.item.id: one.item for one in kit}
    plain = [one.item.id for one in kit if one.part == "plain"]
    in_text = [one.item.id for one in kit if one.part != "plain"]

    def load(ids: Sequence[str]) -> list[Item]:
        return [items[identifier] for identifier in ids]

    progress = tell_asking(f"check {rater.name}", on)
    with open_checks(runs) as store:
        for ids, repeats in ((plain, 2), (in_text, 1)):
            rate_items(store, ids, rubric, rater, repeats, progress, policy, load)
        result = check_result(store, kit, rater.name, rubric, per_grade, side)
    keep(result, runs)
    return result
