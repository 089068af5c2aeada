"""Items × rater → ratings: what is pending is asked, each attempt is stored, none is paid twice."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from autointerp.engine.budget import budget_text, require_price, spent_text
from autointerp.engine.composed import (
    answered_late,
    ask_members,
    compose_items,
    member_answers,
)
from autointerp.engine.loop import (
    Engine,
    ItemLoader,
    RatingPolicy,
    Tally,
    read_rating,
)
from autointerp.engine.own_loop import run_to_end
from autointerp.engine.signals import pass_on
from autointerp.questions.items import Evidence, items_beside, load_items
from autointerp.questions.question import Question
from autointerp.questions.rubric import Rubric
from autointerp.raters import ComposedRater, Rater, version_of
from autointerp.store.run import Run

# Of current ratings: those that no rater is asked about again. What failed without a call shows
# nothing, and never will; nothing else fails without one. What could not be read is asked again
# where nothing could: with other options, as the rater's error advises, it may be.
SETTLED = (
    "CASE status"
    " WHEN 'failed' THEN call_key NOT IN (SELECT call_key FROM call)"
    " WHEN 'unparsed' THEN (rater, rubric_digest) IN"
    " (SELECT (rater, rubric_digest) FROM rating WHERE status = 'ok')"
    " ELSE true END"
)

Beside = Callable[[Sequence[str], Evidence], dict[str, str]]


@dataclass(frozen=True)
class RatingCounts:
    """What became of a call to `rate_items`: how many were rated before, and now by status.

    `charged_usd` is what counts as spent of calls whose cost is not known. `stopped` says why it
    ended early; empty if it did not. `budget_usd` is the budget that ended it; None if none did.
    `without` says how many ratings of a panel are without a member's answer, by the member's name.
    """

    before: int
    statuses: Counter[str]
    calls: int = 0
    reused: int = 0
    spent_usd: float = 0.0
    stopped: str = ""
    budget_usd: float | None = None
    without: Counter[str] = field(default_factory=Counter)
    charged_usd: float = 0.0

    @property
    def spent_text(self) -> str:
        """What the calls cost; empty if nothing."""
        return spent_text(self.spent_usd, self.charged_usd)

    @property
    def budget_text(self) -> str:
        """Which budget ended it, and what goes on from there; empty if none did."""
        return "" if self.budget_usd is None else budget_text(self.budget_usd)


def pending_items(run: Run, item_ids: Sequence[str], rater: Rater, repeat: int) -> list[str]:
    """Return the items that `rater`, as it is now, has not answered, or on which it failed.

    What it rated as another version is among them; where that cannot be known, too. A reply to
    the same call is found in the store then, and nothing is paid again. An item that shows nothing
    fails once.
    """
    done = {
        row[0]
        for row in run.rows(
            "SELECT item_id FROM current_rating WHERE rater = ? AND repeat = ?"
            " AND coalesce(rater_version, '') = ?"
            f" AND {SETTLED}",
            [rater.name, repeat, version_of(rater)],
        )
    }
    return [item for item in item_ids if item not in done]


def pending_work(
    run: Run, item_ids: Sequence[str], rater: Rater, repeats: int
) -> list[tuple[str, int]]:
    """Return pairs of item and repeat that are still to be rated, first repeats first.

    What a provider has in a batch is not among them: it would be paid twice.
    """
    handed_over = run.work_in_batches(rater.name)
    return [
        (item, repeat)
        for repeat in range(repeats)
        for item in pending_items(run, item_ids, rater, repeat)
        if (item, repeat) not in handed_over
    ]


def rated_before(run: Run, item_ids: Sequence[str], rater: Rater, repeats: int) -> int:
    """Return how many pairs of item and repeat `rater` has answered: not those in a batch."""
    return sum(
        len(item_ids) - len(pending_items(run, item_ids, rater, repeat))
        for repeat in range(repeats)
    )


def rate_items(
    run: Run,
    item_ids: Sequence[str],
    question: Question,
    rater: Rater,
    repeats: int = 1,
    progress: Callable[[Tally], None] = lambda tally: None,
    policy: RatingPolicy | None = None,
    load: ItemLoader | None = None,
    beside: Beside | None = None,
) -> RatingCounts:
    """Rate what is pending. `load` returns items by id; the run's own if it is not given.

    A rater that is made of others has each of them asked first, what it lacks. `beside` returns,
    by item, the item that shows the same unit to raters of another evidence; the run's own if not
    given.

    Raises BadInput for a budget without a price, RaterError if the rater cannot go on,
    StorageError if the disk cannot, KeyboardInterrupt on Ctrl-C; what was rated until then is kept.
    SIGTERM and SIGHUP do what they do once the calls in flight have been waited for.
    """
    policy = policy or RatingPolicy()
    if isinstance(rater, ComposedRater):
        return _rate_composed(
            run, item_ids, question, rater, repeats, progress, policy, load, beside
        )
    require_price(rater, policy.budget_usd)
    work = pending_work(run, item_ids, rater, repeats)
    before = rated_before(run, item_ids, rater, repeats)
    if not work:
        return RatingCounts(before, Counter())
    if load is None:
        load = functools.partial(load_items, run, question=question)
    run.add_rater(rater.name, rater.is_llm)
    engine = Engine(run, load, question, rater, policy, progress)
    try:
        tally = run_to_end(engine.rate(work), engine.interrupt)
    except KeyboardInterrupt:
        if engine.signals:
            pass_on(engine.signals[0])
        raise
    if not before and not tally.stopped:
        engine.patience.require_some(tally.statuses)
    return RatingCounts(
        before,
        tally.statuses,
        tally.calls,
        tally.reused,
        tally.spent_usd,
        tally.stopped,
        policy.budget_now_usd if tally.stopped == "budget" else None,
        charged_usd=tally.charged_usd,
    )


def _rate_composed(
    run: Run,
    item_ids: Sequence[str],
    question: Question,
    rater: Any,
    repeats: int,
    progress: Callable[[Tally], None],
    policy: RatingPolicy,
    load: ItemLoader | None,
    beside: Beside | None,
) -> RatingCounts:
    """Rate what is pending by the rater's members, and make one rating of theirs; likewise where an
    optional one that gave no answer then has answered since, as a rater of its own."""
    rater.prepare(run.checks, question)
    assert isinstance(question, Rubric)  # as `prepare` requires
    require_price(rater, policy.budget_usd)
    beside = beside or functools.partial(_beside, run, question)
    late, answers = answered_late(run, rater, question, item_ids, beside, repeats)
    work = pending_work(run, item_ids, rater, repeats)
    before = rated_before(run, item_ids, rater, repeats) - len(late)
    if not work and not late:
        return RatingCounts(before, Counter())
    run.add_rater(rater.name, rater.is_llm)

    def ask(member: Rater, ids: Sequence[str]) -> RatingCounts:
        return rate_items(run, ids, question, member, repeats, progress, policy, load)

    members, counts = ask_members(rater, sorted({item for item, _ in work}), beside, ask)
    said = [member_answers(run, member, items, repeats, why) for member, items, why in members]
    statuses, without = compose_items(run, rater, question, work, said, progress)
    again = compose_items(run, rater, question, late, answers, progress)
    statuses, without = statuses + again[0], without + again[1]
    stopped = next((one.stopped for one in counts if one.stopped), "")
    return RatingCounts(
        before,
        statuses,
        sum(one.calls for one in counts),
        sum(one.reused for one in counts),
        sum(one.spent_usd for one in counts),
        stopped,
        next((one.budget_usd for one in counts if one.budget_usd is not None), None),
        without,
        sum(one.charged_usd for one in counts),
    )


def _beside(run: Run, rubric: Rubric, ids: Sequence[str], evidence: Evidence) -> dict[str, str]:
    return items_beside(run, ids, rubric, evidence)


__all__ = [
    "RatingCounts",
    "RatingPolicy",
    "Tally",
    "pending_items",
    "pending_work",
    "rate_items",
    "rated_before",
    "read_rating",
]
