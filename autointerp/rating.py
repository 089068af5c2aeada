"""Items × rater → ratings: what is pending is asked, every attempt is stored."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autointerp.blinding import load_items
from autointerp.raters import Rater
from autointerp.records import Rating, Reply, Request
from autointerp.rubrics import Rubric, read_reply
from autointerp.store import Run

BATCH = 50


@dataclass(frozen=True)
class RatingCounts:
    """What became of a call to `rate_items`: how many were rated before, and now by status."""

    before: int
    statuses: Counter[str]


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


def rate_items(
    run: Run,
    item_ids: Sequence[str],
    rubric: Rubric,
    rater: Rater,
    repeats: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> RatingCounts:
    """Rate what is pending; stored in batches, so a kill costs at most the batch in hand."""
    work = [
        (item, repeat)
        for repeat in range(repeats)
        for item in pending_items(run, item_ids, rater.name, repeat)
    ]
    statuses: Counter[str] = Counter()
    for begin in range(0, len(work), BATCH):
        part = work[begin : begin + BATCH]
        items = load_items(run, [item for item, _ in part], rubric)
        asked = [
            rater.request(item, rubric, repeat)
            for item, (_, repeat) in zip(items, part, strict=True)
        ]
        replies = asyncio.run(_send_all(rater, asked))
        ratings = [
            read_rating(rubric, rater.name, request, reply)
            for request, reply in zip(asked, replies, strict=True)
        ]
        run.add_ratings(
            ratings, [(q, 0, r) for q, r in zip(asked, replies, strict=True)], rater.name
        )
        statuses.update(rating.status for rating in ratings)
        progress(begin + len(part), len(work))
    return RatingCounts(len(item_ids) * repeats - len(work), statuses)


async def _send_all(rater: Rater, requests: Sequence[Request]) -> list[Reply]:
    return [await rater.send(request) for request in requests]


def read_rating(rubric: Rubric, rater: str, request: Request, reply: Reply) -> Rating:
    """Return the rating that a reply amounts to under the rubric."""
    read = read_reply(rubric, reply)
    return Rating(
        item=request.item,
        rubric=rubric.id,
        rubric_digest=rubric.digest,
        rater=rater,
        repeat=request.repeat,
        status=read.status,
        score=read.score,
        description=read.description,
        rationale=read.rationale if read.status == "ok" else read.problem,
        call_key=request.key,
    )
