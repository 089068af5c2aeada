"""Items × rater → ratings: what is pending is asked, each attempt is stored, none is paid twice."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autointerp.engine.budget import require_price
from autointerp.engine.loop import Engine, ItemLoader, RatingPolicy, Tally, read_rating
from autointerp.engine.signals import pass_on
from autointerp.questions.items import load_items
from autointerp.questions.question import Question
from autointerp.raters import Rater
from autointerp.store.run import Run


@dataclass(frozen=True)
class RatingCounts:
    """What became of a call to `rate_items`: how many were rated before, and now by status.

    `stopped` says why it ended early; empty if it did not.
    """

    before: int
    statuses: Counter[str]
    calls: int = 0
    reused: int = 0
    spent_usd: float = 0.0
    stopped: str = ""


def pending_items(run: Run, item_ids: Sequence[str], rater: str, repeat: int) -> list[str]:
    """Return the items that `rater` has not answered, or on which it failed."""
    done = {
        row[0]
        for row in run.rows(
            "SELECT item_id FROM current_rating WHERE rater = ? AND repeat = ?"
            " AND status <> 'failed'",
            [rater, repeat],
        )
    }
    return [item for item in item_ids if item not in done]


def pending_work(
    run: Run, item_ids: Sequence[str], rater: str, repeats: int
) -> list[tuple[str, int]]:
    """Return pairs of item and repeat that are still to be rated, first repeats first.

    What a provider has in a batch is not among them: it would be paid twice.
    """
    handed_over = run.work_in_batches(rater)
    return [
        (item, repeat)
        for repeat in range(repeats)
        for item in pending_items(run, item_ids, rater, repeat)
        if (item, repeat) not in handed_over
    ]


def rated_before(run: Run, item_ids: Sequence[str], rater: str, repeats: int) -> int:
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
) -> RatingCounts:
    """Rate what is pending. `load` returns items by id; the run's own if it is not given.

    Raises BadInput for a budget without a price, RaterError if the rater cannot go on,
    StorageError if the disk cannot, KeyboardInterrupt on Ctrl-C; what was rated until then is kept.
    SIGTERM and SIGHUP do what they do once the calls in flight have been waited for.
    """
    policy = policy or RatingPolicy()
    require_price(rater, policy.budget_usd)
    work = pending_work(run, item_ids, rater.name, repeats)
    before = rated_before(run, item_ids, rater.name, repeats)
    if not work:
        return RatingCounts(before, Counter())
    if load is None:
        load = functools.partial(load_items, run, question=question)
    run.add_rater(rater.name, rater.is_llm)
    engine = Engine(run, load, question, rater, policy, progress)
    try:
        tally = asyncio.run(engine.rate(work))
    except KeyboardInterrupt:
        if engine.signals:
            pass_on(engine.signals[0])
        raise
    if not before and not tally.stopped:
        engine.patience.require_some(tally.statuses)
    return RatingCounts(
        before, tally.statuses, tally.calls, tally.reused, tally.spent_usd, tally.stopped
    )


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
