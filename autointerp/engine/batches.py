"""Work handed to a provider's batch API, at half the price, and collected later.

What is to be sent is stored before it is sent. After a crash between the two, the provider's own
list says whether it arrived: nothing is sent, or paid, twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from autointerp.engine.budget import Budget, require_price, spent_text
from autointerp.engine.loop import NOTHING_SHOWN, shows_nothing
from autointerp.engine.own_loop import run_to_end
from autointerp.engine.retry import RetryPolicy, open_served
from autointerp.engine.silence import Silence
from autointerp.engine.work import pending_work, read_rating
from autointerp.errors import AutointerpError, BadInput, RaterError, RunMismatch
from autointerp.questions.items import load_items
from autointerp.questions.question import Question
from autointerp.questions.scorers import load_question
from autointerp.raters import (
    AttemptFailed,
    BatchRater,
    BatchState,
    Rater,
    RaterOptions,
    ServedRater,
)
from autointerp.records import Reply, Request
from autointerp.store.run import Run
from autointerp.text import count, dollars

CHUNK = 200
ROWS_AT_ONCE = 500
ROOM = 0.9  # of the provider's limits

T = TypeVar("T")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Forgotten:
    """A batch that was given up.

    Attributes:
        calls: Of those handed over in it, the ones without a reply.
        usd: What they are charged; 0 where no price is known.
    """

    name: str
    rater: str
    calls: int
    usd: float

    def __str__(self) -> str:
        charged = f", charged at {dollars(self.usd)}, the most that they can cost"
        return (
            f"gave up batch {self.name} ({self.rater}): {count(self.calls, 'call')} lost"
            f"{charged if self.usd else ''}; what they asked can be asked again"
        )


@dataclass
class BatchCounts:
    """What became of handing over, or of collecting.

    Attributes:
        calls: Handed over, or collected.
        batches: So many, new or collected.
        open: Batches that the provider still works on, in its own words.
        failures: Why calls of a batch came back without a reply, by batch.
        reasons: Why replies are no ratings: status and words, and how often.
        stopped: Why not all was handed over; empty if it was.
        errors: Why batches could not be collected; they stay open.
        spent_usd: What the replies that were collected cost.
        charged_usd: What counts as spent of calls whose cost is not known.
    """

    calls: int = 0
    batches: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    open: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    stopped: str = ""
    errors: list[AutointerpError] = field(default_factory=list)
    spent_usd: float = 0.0
    charged_usd: float = 0.0

    @property
    def spent_text(self) -> str:
        """What the calls cost; empty if nothing."""
        return spent_text(self.spent_usd, self.charged_usd)

    def most_common_reason(self, status: str) -> str:
        """Return the reason that most replies of this status have; empty if there are none."""
        reasons = [reason for (of, reason), _ in self.reasons.most_common() if of == status]
        return reasons[0] if reasons else ""


def batch_rater(rater: Rater) -> Any:
    """Return the rater if it has a batch API. Raises BadInput if it has none."""
    if isinstance(rater, BatchRater) and isinstance(rater, ServedRater):
        return rater
    raise BadInput(f"{rater.name} has no batch API; leave out --batch")


def submit_batches(
    run: Run,
    item_ids: Sequence[str],
    question: Question,
    rater: Rater,
    asked: str,
    rubric_name: str,
    options: RaterOptions,
    repeats: int = 1,
    budget_usd: float | None = None,
    retry: RetryPolicy | None = None,
    say: Say = lambda words: None,
) -> BatchCounts:
    """Hand what is pending to the rater's batch API; `say` is told what is waited for.

    `asked`, `rubric_name` and `options` are what makes rater and rubric again when the batches are
    collected. Raises BadInput if the rater has no batch API, RaterError if it refuses.
    """
    taker = batch_rater(rater)
    require_price(rater, budget_usd)
    in_doubt = any(batch["state"] == "intended" for batch in run.open_batches())
    if not in_doubt and not pending_work(run, item_ids, rater, repeats):
        return BatchCounts()
    settings = (asked, rubric_name, options, repeats, budget_usd, retry, say)
    return run_to_end(_submit(run, item_ids, question, taker, *settings))


async def _submit(
    run: Run,
    item_ids: Sequence[str],
    question: Question,
    rater: Any,
    asked: str,
    rubric_name: str,
    options: RaterOptions,
    repeats: int,
    budget_usd: float | None,
    retry: RetryPolicy | None,
    say: Say,
) -> BatchCounts:
    counts = BatchCounts()
    await _open(run, rater, retry, say)
    try:
        with _named(run, _intended(run, rater)):
            await _settle_intended(run, rater, retry, say)
        work = pending_work(run, item_ids, rater, repeats)
        budget = Budget(budget_usd, run.committed_usd(), rater.price)
        for requests, most_usd in _parts(run, work, question, rater, budget, counts):
            batch = {
                "label": secrets.token_hex(8),
                "state": "intended",
                "provider_id": None,
                "rater": rater.name,
                "asked": asked,
                "options": json.dumps(dataclasses.asdict(options)),
                "rubric": rubric_name,
                "rubric_digest": question.digest,
                "calls": len(requests),
                "most_usd": most_usd if rater.price else None,
            }
            run.add_batch(batch, requests)
            label = str(batch["label"])
            try:
                async with _said(say, f"handing over {count(len(requests), 'call')}"):
                    provider_id = await rater.submit_batch(label, requests)
            except AttemptFailed as failed:
                if not failed.perhaps_billed:
                    run.add_batch({**batch, "state": "abandoned"})
                raise RaterError(f"{rater.name}: the batch was not taken: {failed}") from None
            except RaterError:
                run.add_batch({**batch, "state": "abandoned"})
                raise
            run.add_batch({**batch, "state": "submitted", "provider_id": provider_id})
            counts.calls += len(requests)
            counts.batches += 1
    finally:
        await rater.close()
    return counts


def _parts(
    run: Run,
    work: Sequence[tuple[str, int]],
    question: Question,
    rater: Any,
    budget: Budget,
    counts: BatchCounts,
) -> Iterator[tuple[list[Request], float]]:
    """Yield calls that fit into one batch each, with the most that they can cost.

    Of calls with one key one is sent: the others wait for its reply, and take it from the store.
    """
    requests: list[Request] = []
    keys = run.keys_in_batches()
    size, most_usd = 0, 0.0
    for begin in range(0, len(work), CHUNK):
        chunk = work[begin : begin + CHUNK]
        ids = sorted({item for item, _ in chunk})
        items = {item.id: item for item in load_items(run, ids, question)}
        asked, failed = [], []
        for item, repeat in chunk:
            request = rater.request(items[item], question, repeat)
            if shows_nothing(items[item], question, rater):
                failed.append(read_rating(question, rater, request, NOTHING_SHOWN))
            else:
                asked.append(request)
        run.add_ratings(failed, rater=rater.name)
        answered = _take_stored(run, asked, rater, question)
        for request in asked:
            if request.key in keys or request.key in answered:
                continue
            keys.add(request.key)
            extent = rater.extent(request)
            cost = budget.most_usd(extent, batch=True)
            if budget.would_pass(cost):
                counts.stopped = "budget"
                if requests:
                    yield requests, most_usd
                return
            bytes_here = extent.prompt_bytes + 300
            full = len(requests) + 1 > ROOM * rater.batch_calls
            if requests and (full or size + bytes_here > ROOM * rater.batch_bytes):
                yield requests, most_usd
                requests, size, most_usd = [], 0, 0.0
            requests.append(request)
            size += bytes_here
            most_usd += cost
            budget.spent_usd += cost
    if requests:
        yield requests, most_usd


def _take_stored(run: Run, requests: Sequence[Request], rater: Any, question: Question) -> set[str]:
    """Rate what replies in the store can answer; return the keys of those calls.

    What could not be read of a batch is not handed over in the same words again.
    """
    stored = run.stored_calls([request.key for request in requests])
    ratings = []
    for request in requests:
        replies = [reply for _, reply in stored.get(request.key, []) if reply.stop != "error"]
        readable = [reply for reply in replies if question.read(reply).status == "ok"]
        unread = [reply for reply in replies if "batch" in reply.details]
        for reply in readable[:1] or unread[-1:]:
            ratings.append(read_rating(question, rater, request, reply))
    run.add_ratings(ratings, rater=rater.name)
    return {rating.call_key for rating in ratings if rating.call_key is not None}


def batch_name(batch: dict[str, Any]) -> str:
    """Return the provider's name of a batch, or ours where it may never have arrived."""
    return str(batch["provider_id"] or batch["label"])


def open_batches_text(run: Run, rater: str) -> str:
    """Return what a provider has of a rater's calls, the most that it can cost, and how it is
    collected; empty where it has nothing."""
    batches = [batch for batch in run.open_batches() if batch["rater"] == rater]
    calls = len(run.work_in_batches(rater))
    if not calls:
        return ""
    most_usd = sum(batch["most_usd"] or 0.0 for batch in batches)
    return (
        f"{count(calls, 'call is', 'calls are')} in open batches "
        f"({', '.join(map(batch_name, batches))}"
        + (f"; at most {dollars(most_usd)}" if most_usd else "")
        + f"): `autointerp rate --resume --run {run.name}` collects them"
    )


def forget_batches(run: Run, names: Sequence[str]) -> tuple[Forgotten, ...]:
    """Give up open batches: their calls may be billed, so they count at their most, and `rate` asks
    again about what they asked.

    Raises BadInput if the run has no open batch of one of these names; then none is given up.
    """
    named = {batch_name(batch): batch for batch in run.open_batches()}
    for name in names:
        if name not in named:
            raise BadInput(
                f"--forget {name}: run '{run.name}' has no open batch of this name; "
                + (f"it has {', '.join(named)}" if named else "none is open")
            )
    return tuple(_forget(run, named[name], name) for name in dict.fromkeys(names))


def _forget(run: Run, batch: dict[str, Any], name: str) -> Forgotten:
    keys = [request.key for request in run.batch_calls(batch["label"])]
    stored = run.stored_calls(keys)
    lost = {key for key in keys if not _is_collected(stored.get(key, []), name)}
    usd = run.charge_batch(batch["label"], lost)
    run.add_batch({**_kept(batch), "state": "abandoned"})
    return Forgotten(name, batch["rater"], len(lost), usd)


def collect_batches(
    run: Run,
    load: Callable[[str, RaterOptions], Rater],
    retry: RetryPolicy | None = None,
    say: Say = lambda words: None,
) -> BatchCounts:
    """Store the replies of the run's batches that have ended; `load` makes a rater of its name,
    and `say` is told what is waited for.

    Calls that a batch failed, or let expire, become failed ratings: the next `rate` asks again.
    A batch that cannot be collected, such as one without its key, holds up no other.
    """
    counts = BatchCounts()
    for batch in run.open_batches():
        try:
            with _named(run, [batch]):
                options = RaterOptions(**json.loads(batch["options"]))
                rater = batch_rater(load(batch["asked"], options))
                question = load_question(batch["rubric"])
                if question.digest != batch["rubric_digest"]:
                    raise RunMismatch(
                        f"rubric '{batch['rubric']}' has changed since the batch was handed over; "
                        "put the old one back to collect it"
                    )
                run_to_end(_collect_one(run, batch, rater, question, retry, counts, say))
        except (BadInput, RaterError) as error:
            counts.errors.append(error)
    return counts


@contextlib.contextmanager
def _named(run: Run, batches: Sequence[dict[str, Any]]) -> Iterator[None]:
    """Have errors name the batches that they are about, and the command that gives them up."""
    try:
        yield
    except (BadInput, RaterError) as error:
        names = [batch_name(batch) for batch in batches]
        kind = BadInput if isinstance(error, BadInput) else RaterError
        raise kind(
            f"batch {', '.join(names)}: {error}; if it cannot be had any more, `autointerp rate "
            f"--resume --run {run.name} --forget {' --forget '.join(names)}` gives it up"
        ) from None


async def _collect_one(
    run: Run,
    batch: dict[str, Any],
    rater: Any,
    question: Question,
    retry: RetryPolicy | None,
    counts: BatchCounts,
    say: Say,
) -> None:
    await _open(run, rater, retry, say)
    try:
        is_ours = False
        while not is_ours:
            if batch["state"] == "intended":
                await _settle_intended(run, rater, retry, say)
                again = [one for one in run.open_batches() if one["label"] == batch["label"]]
                if not again:
                    return
                batch = again[0]
            ask = functools.partial(rater.batch_state, batch["provider_id"])
            what = f"asking for batch {batch['provider_id']}"
            state = await _steady(ask, rater, retry, say, what)
            if not state.ended:
                counts.open.append(f"{batch['provider_id']} ({rater.name}): {state.words}")
                return
            async with _said(
                say, f"fetching the results of batch {batch['provider_id']}"
            ) as silence:
                is_ours = await _store_results(run, batch, rater, question, counts, state, silence)
            batch = {**batch, "state": "intended"}
    finally:
        await rater.close()


async def _store_results(
    run: Run,
    batch: dict[str, Any],
    rater: Any,
    question: Question,
    counts: BatchCounts,
    state: BatchState,
    silence: Silence,
) -> bool:
    """Store what came back; calls without a reply fail with the provider's reason, if it has one.

    Return False for a batch of somebody else's: ours is to be looked for among the others.
    """
    provider_id = batch["provider_id"]
    waiting = {request.key: request for request in run.batch_calls(batch["label"])}
    kept = _kept(batch)
    rows: list[tuple[Request, Reply]] = []
    strangers, unread = 0, ""
    try:
        async for key, reply in rater.batch_results(provider_id):
            silence.heard()
            if not key:
                unread = unread or str(reply.error)
                continue
            if key not in waiting:
                strangers += 1
                continue
            rows.append((waiting.pop(key), reply))
            if len(rows) >= ROWS_AT_ONCE:
                _store(run, rows, batch, rater, question, counts)
                rows = []
    except AttemptFailed as failed:
        raise RaterError(
            f"{rater.name}: the batch's results broke off ({failed}); "
            "`autointerp rate --resume` goes on"
        ) from None
    if strangers and len(waiting) == batch["calls"]:  # somebody else's, taken for ours by its size
        run.add_batch({**kept, "state": "intended", "provider_id": None})
        return False
    words = state.failure or unread or "the batch came back without a reply to this call"
    if waiting:
        counts.failures.append(
            f"{provider_id} ({rater.name}): {count(len(waiting), 'call')} without a reply: {words}"
        )
    for request in waiting.values():
        # What could not be read may be its reply, whatever was made of the rest.
        billed = bool(unread) or not state.unmade
        lost = Reply("", "error", error=words, details={"perhaps_billed": billed})
        rows.append((request, lost))
    _store(run, rows, batch, rater, question, counts)
    run.add_batch({**kept, "state": "collected"})
    counts.batches += 1
    return True


def _store(
    run: Run,
    rows: Sequence[tuple[Request, Reply]],
    batch: dict[str, Any],
    rater: Any,
    question: Question,
    counts: BatchCounts,
) -> None:
    """Store replies as attempts and ratings; those that a broken-off collection stored are left.

    Calls that may be billed without a reply, or whose reply has no price, are charged at their
    most.
    """
    provider_id = batch["provider_id"]
    stored = run.stored_calls([request.key for request, _ in rows])
    attempts, ratings = [], []
    lost: set[str] = set()
    for request, reply in rows:
        before = stored.get(request.key, [])
        if _is_collected(before, provider_id):
            continue
        is_unpriced = reply.stop != "error" and reply.cost_usd is None
        if reply.details.get("perhaps_billed") or is_unpriced:
            lost.add(request.key)
        reply.details.update(batch=provider_id, anchors=list(question.anchors(request.repeat)))
        attempts.append((request, before[-1][0] + 1 if before else 0, reply))
        rating = read_rating(question, rater, request, reply)
        ratings.append(rating)
        counts.statuses[rating.status] += 1
        if rating.status in ("failed", "unparsed"):
            counts.reasons[rating.status, rating.rationale or "no words"] += 1
        counts.calls += 1
        counts.spent_usd += reply.cost_usd or 0.0
    counts.charged_usd += run.charge_batch(batch["label"], lost)
    run.add_ratings(ratings, attempts, rater.name)


def _is_collected(attempts: Sequence[tuple[int, Reply]], provider_id: str) -> bool:
    """Return whether one of a call's stored attempts came of a batch."""
    return any(reply.details.get("batch") == provider_id for _, reply in attempts)


def _kept(batch: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a batch that its next state has, too."""
    return {name: value for name, value in batch.items() if name not in ("version", "made_at")}


async def _open(run: Run, rater: Any, retry: RetryPolicy | None, say: Say) -> None:
    memory = f"server {rater.name}"
    remembered = run.recall(memory)
    policy = retry or RetryPolicy()
    async with _said(say, f"asking {rater.name} what it can do") as silence:
        learned = await open_served(rater, rater.name, remembered, policy, _noted(silence))
    if learned is not None:
        run.remember(memory, learned)


def _intended(run: Run, rater: Any) -> list[dict[str, Any]]:
    """Return the rater's batches of which it is not known whether they arrived."""
    batches = [batch for batch in run.open_batches() if batch["rater"] == rater.name]
    return [batch for batch in batches if batch["state"] == "intended"]


async def _settle_intended(run: Run, rater: Any, retry: RetryPolicy | None, say: Say) -> None:
    """Find out what became of batches that were about to be sent when the process ended."""
    seen = {row[0] for row in run.rows("SELECT provider_id FROM batch WHERE provider_id <> ''")}
    for batch in _intended(run, rater):
        find = functools.partial(
            rater.find_batch, batch["label"], batch["calls"], batch["made_at"], seen
        )
        what = "looking for a batch that may have been handed over"
        provider_id = await _steady(find, rater, retry, say, what)
        kept = _kept(batch)
        if provider_id is None:
            run.add_batch({**kept, "state": "abandoned"})
        else:
            seen.add(provider_id)
            run.add_batch({**kept, "state": "submitted", "provider_id": provider_id})


async def _steady(
    ask: Callable[[], Awaitable[T]],
    rater: Any,
    retry: RetryPolicy | None,
    say: Say,
    what: str,
) -> T:
    """Return what `ask` gives, asked again where that may help, and say what is waited for.

    Raises RaterError if it cannot be had.
    """
    async with _said(say, what) as silence:

        async def once() -> T:
            try:
                return await ask()
            except AttemptFailed as failed:
                silence.failed(failed)
                raise

        try:
            return await (retry or RetryPolicy()).retrying(_noted(silence))(once)
        except AttemptFailed as failed:
            raise RaterError(f"{rater.name}: {failed}") from None


def _noted(silence: Silence) -> Callable[[float], Awaitable[None]]:
    """Return a sleep of which `silence` knows."""

    async def sleep(seconds: float) -> None:
        silence.sleeps(seconds)
        await asyncio.sleep(seconds)

    return sleep


@contextlib.asynccontextmanager
async def _said(say: Say, what: str) -> AsyncIterator[Silence]:
    """Say why nothing happens while `what` is waited for, after 5 s, then 10 s and so on."""
    silence = Silence(lambda words: say(f"{what}: {words}"), lambda: 0.0, lambda: 1)
    watching = asyncio.create_task(silence.watch())
    try:
        yield silence
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
