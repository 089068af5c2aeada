"""The verb `check-rater`: a rater on planted units of known grade, and under orders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from autointerp.engine.budget import require_price
from autointerp.engine.composed import member_answers
from autointerp.engine.work import RatingPolicy, rate_items
from autointerp.errors import BadInput, RaterError
from autointerp.findings.checks import Added, CheckResult, added, check_result, keep
from autointerp.pipeline.events import On, ignore, tell_asking
from autointerp.questions.items import Evidence
from autointerp.questions.kit import PER_GRADE, KitItem, Side, make_kit
from autointerp.questions.planter import SINGLE
from autointerp.questions.rubric import Rubric
from autointerp.raters import (
    ComposedRater,
    Lesson,
    MemberAnswer,
    Rater,
    judges,
    require_keys,
    require_rates,
    version_of,
)
from autointerp.records import Item
from autointerp.store.run import CHECKS, RUNS, STORE, Run, open_checks, run_exists
from autointerp.text import exact_dollars

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
    agreement can be computed. A rater made of others learns on the design side first, and the
    result says what each of them adds.

    Raises BadInput for a kit under 4 units a grade, or a rubric that shows a description, for the
    kit has none, or a budget without a price; RaterError where a key is not there, before anything
    is made, and where the budget ends before the kit does.
    """
    if not 4 <= per_grade <= MOST_PER_GRADE:
        raise BadInput(f"--per-grade {per_grade}: at least 4, and at most {MOST_PER_GRADE}")
    if rubric.about == "description":
        raise BadInput(
            f"rubric '{rubric.id}' asks about a description, and planted units have none"
        )
    require_rates(rater, rubric)
    require_price(rater, None if policy is None else policy.budget_usd)
    if not run_exists(runs / CHECKS / STORE):  # else perhaps nothing is left to ask
        require_keys(rater)
    progress = tell_asking(f"check {rater.name}", on)
    with open_checks(runs) as store:
        if isinstance(rater, ComposedRater):
            _teach(store, rater, rubric, per_grade, policy, on)
        kit = _Kit(rubric, per_grade, side, store.checks)
        own = kit.of(rater.evidence)
        plain = [one.item.id for one in own if one.part == "plain"]
        in_text = [one.item.id for one in own if one.part != "plain"]
        for ids, repeats in ((plain, 2), (in_text, 1)):
            counts = rate_items(
                store, ids, rubric, rater, repeats, progress, policy, kit.load, kit.beside
            )
            if counts.budget_usd is not None:
                raise RaterError(
                    f"{rater.name} is not checked: the budget of "
                    f"{exact_dollars(counts.budget_usd)} for all checks together ended before the "
                    "kit did; what is rated is kept: give more, and run the same command again"
                )
        result = check_result(
            store,
            own,
            rater.name,
            rubric,
            per_grade,
            side,
            version_of(rater),
            [judge.name for judge in judges(rater)],
            [one.item.id for judge in judges(rater) for one in kit.of(judge.evidence)],
        )
        if isinstance(rater, ComposedRater):
            result = replace(result, members=_added(store, rater, kit))
    keep(result, runs)
    return result


class _Kit:
    """A side of the kit, as raters of either evidence see it."""

    def __init__(self, rubric: Rubric, per_grade: int, side: Side, folder: Path) -> None:
        self._settings = (per_grade, side, folder / "kit")
        self._rubric = rubric
        self._kits: dict[Evidence, list[KitItem]] = {}
        self._items: dict[str, Item] = {}
        self._place: dict[str, int] = {}

    def of(self, evidence: Evidence) -> list[KitItem]:
        """Return the items that a rater of this evidence sees; units in the same order."""
        if evidence not in self._kits:
            kit = make_kit(self._rubric, evidence, *self._settings)
            self._kits[evidence] = kit
            self._items |= {one.item.id: one.item for one in kit}
            self._place |= {one.item.id: place for place, one in enumerate(kit)}
        return self._kits[evidence]

    def load(self, ids: Sequence[str]) -> list[Item]:
        return [self._items[identifier] for identifier in ids]

    def beside(self, ids: Sequence[str], evidence: Evidence) -> dict[str, str]:
        kit = self.of(evidence)
        return {identifier: kit[self._place[identifier]].item.id for identifier in ids}


def _teach(
    store: Run,
    rater: ComposedRater,
    rubric: Rubric,
    per_grade: int,
    policy: RatingPolicy | None,
    on: On,
) -> None:
    """Have the rater learn from what its members say of the design side.

    Raises RaterError where a member was stopped before it had said all.
    """
    kit = _Kit(rubric, per_grade, "design", store.checks)
    plain = [one for one in kit.of("shown") if one.part == "plain"]
    ids = [one.item.id for one in plain]
    for member in rater.members:
        progress = tell_asking(f"design side by {member.name}", on)
        own = list(kit.beside(ids, member.evidence).values())
        counts = rate_items(store, own, rubric, member, 1, progress, policy, kit.load)
        if counts.stopped:
            raise RaterError(
                f"the {counts.stopped} stopped {member.name} on the kit's design side, from which "
                "the panel's weights are learned; give more, and run the same command again"
            )
    rater.learn(
        store.checks,
        rubric,
        [
            Lesson(
                tuple(math.nan if a is None or a.value is None else a.value for a in answers),
                tuple(a is not None and a.is_score for a in answers),
                one.grade in SINGLE,
                one.kinds[0] if one.kinds else "",
            )
            for answers, one in zip(_answers(store, rater, kit, ids), plain, strict=True)
        ],
    )


def _answers(
    store: Run, rater: ComposedRater, kit: _Kit, ids: Sequence[str]
) -> list[list[MemberAnswer | None]]:
    """Return what the members said of items, [items][members]; None where they were not asked."""
    columns = []
    for member in rater.members:
        said = member_answers(store, member, kit.beside(ids, member.evidence), 1)
        columns.append([said.answers.get((said.items[identifier], 0)) for identifier in ids])
    return [list(row) for row in zip(*columns, strict=True)]


def _added(store: Run, rater: ComposedRater, kit: _Kit) -> dict[str, Added]:
    plain = [one for one in kit.of(cast(Rater, rater).evidence) if one.part == "plain"]
    ids = [one.item.id for one in plain]
    weights = {m.name: weight for m, weight in zip(rater.members, rater.weights(), strict=True)}
    values = [
        [math.nan if one is None or one.value is None else one.value for one in answers]
        for answers in _answers(store, rater, kit, ids)
    ]
    return added(weights, rater.probability, values, [one.grade for one in plain])
