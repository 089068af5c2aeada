"""Calls in flight: a queue of them, retries, a budget, a pace, and one writer.

    producer → queue → workers (retries, budget, slots) → the run's journal of replies, at once
             → outbox → writer, which syncs the journal → the run's database, now and then

A fixed pool of workers, larger than the slots for calls in flight, so that one that sleeps before
a retry holds up nobody. A call with a price is in the journal before it is sent, and what came of
it at its arrival, so `kill -9` costs at most the calls in flight; it counts as done when it is on
the disk, milliseconds later. Only one thread touches the database while rating goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from autointerp.engine.budget import Budget, BudgetReached
from autointerp.engine.control import EVERY_S, PAUSED, Control, Limits
from autointerp.engine.pace import FIRST, ConcurrencyLimit, Pacer
from autointerp.engine.patience import FIRST_WORKERS, Patience
from autointerp.engine.retry import RetryPolicy, open_served
from autointerp.engine.signals import held_signals
from autointerp.engine.silence import Silence
from autointerp.engine.twins import Twins
from autointerp.errors import RaterError, StorageError
from autointerp.extensions import returned
from autointerp.questions.question import Question
from autointerp.raters import (
    AttemptFailed,
    Extent,
    Headroom,
    Rater,
    ServedRater,
    Step,
    SteppedRater,
    Steps,
    expected_score,
    returned_reply,
    returned_request,
    version_of,
)
from autointerp.records import Item, Rating, Reply, Request, storable
from autointerp.settings import check_number, plain_fields
from autointerp.store.ratings import came_record, sent_record
from autointerp.store.replies import Record
from autointerp.store.run import Run

CHUNK = 256  # items that are loaded at a time; a query costs half as much as so many items
WORKERS_PER_SLOT = 3
LOCAL_SLOTS = 8  # of a rater that is not served
GATHER_S = 0.003  # before records are synced, for others to go with them
STORE_EVERY_S = 0.5  # what is in the journal goes into the database
TELL_EVERY_S = 0.05

# What comes of an item without contexts; no rater is asked, and no call is stored.
NOTHING_SHOWN = Reply(
    "",
    "error",
    error="nothing to show: no context of the unit is in the half of the documents that this "
    "question draws from; read more text, or more documents",
)

T = TypeVar("T")
ItemLoader = Callable[[Sequence[str]], list[Item]]


@dataclass(frozen=True)
class RatingPolicy:
    """How calls are made; no field changes what is asked.

    Attributes:
        concurrency: Calls in flight at most; None for the rater's own.
        budget_usd: What the run may cost in all, earlier commands included.
        drain_s: Seconds to wait for calls in flight after Ctrl-C, SIGTERM or SIGHUP: they are paid.
        control: Says what else is wanted while the work goes on; None for nothing.
    """

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    concurrency: int | None = None
    budget_usd: float | None = None
    drain_s: float = 20.0
    control: Control | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        plain_fields(self)
        check_number("budget_usd", self.budget_usd)
        check_number("concurrency", self.concurrency)

    @property
    def budget_now_usd(self) -> float | None:
        """What the run may cost in all, as it is wanted now."""
        wanted = None if self.control is None else self.control.limits().budget_usd
        return self.budget_usd if wanted is None else wanted


@dataclass
class Tally:
    """Where a rating stands. `done` counts what is on the disk.

    Attributes:
        reused: Of `done`, those whose reply was in the store.
        unpriced: Calls whose cost is not known.
        charged_usd: What counts as spent of calls that may be billed, and whose cost is not known.
        waiting: Why nothing happens; empty while something does.
    """

    total: int = 0
    done: int = 0
    reused: int = 0
    calls: int = 0
    unpriced: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    spent_usd: float = 0.0
    charged_usd: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    stopped: str = ""
    waiting: str = ""


class _Stopped(Exception):
    """The work was called off while a call waited for its turn."""


@dataclass
class _Job:
    """A call to be made, until there is a reply that `question` can read.

    Attributes:
        item: What is judged, where that takes several steps.
        stored: Complete replies that could not be read, in order.
        is_empty: There is nothing to judge, so the rating fails without a call.
    """

    request: Request
    question: Question
    extent: Extent
    attempt: int
    stored: list[Reply]
    item: Item | None = None
    is_empty: bool = False


@dataclass(frozen=True)
class _Read:
    """A reply that can be read, or the last one where no more is to be tried.

    Attributes:
        attempt: To be stored; None where it is stored.
        reused: It was in the store before.
        is_open: More was to be tried, and the work is called off.
    """

    reply: Reply
    attempt: _Attempt | None
    reused: bool = False
    is_open: bool = False


@dataclass(frozen=True)
class _Sent:
    """A call that may be billed from now on: the number of its record, None without a price."""

    number: int | None


@dataclass(frozen=True)
class _Attempt:
    """An attempt to be stored, with the record of its sending.

    `charged_usd` counts as spent where what it cost is not known.
    """

    request: Request
    number: int
    reply: Reply
    sent: _Sent
    charged_usd: float = 0.0


@dataclass(frozen=True)
class _Entry:
    """What is in the journal and to be synced: a rating, or a call that waits to be sent.

    Attributes:
        synced: Is set when it is on the disk.
    """

    rating: Rating | None = None
    reused: bool = False
    synced: asyncio.Future[None] | None = None


class Engine:
    """One rating of many items; made for one event loop, used once."""

    def __init__(
        self,
        run: Run,
        load: ItemLoader,
        question: Question,
        rater: Rater,
        policy: RatingPolicy,
        progress: Callable[[Tally], None],
    ) -> None:
        self.run = run
        self.load = load
        self.question = question
        self.rater = rater
        self.served = rater if isinstance(rater, ServedRater) else None
        self.stepped = rater if isinstance(rater, SteppedRater) else None
        self.policy = policy
        self.progress = progress
        slots: int = getattr(rater, "concurrency", LOCAL_SLOTS)
        self.most = policy.concurrency or slots
        self.limit = ConcurrencyLimit(self.most)
        self.pacer = Pacer()
        price = self.served.price if self.served else None
        self.budget = Budget(policy.budget_usd, run.committed_usd(), price)
        self.tally = Tally()
        self.queue: asyncio.Queue[_Job] = asyncio.Queue(2 * CHUNK)
        self.outbox: asyncio.Queue[_Entry | None] = asyncio.Queue(1000)
        self.stopping = asyncio.Event()
        self.fatal: RaterError | None = None
        self.signals: list[int] = []  # Ctrl-C and its like, as they came
        self.task: asyncio.Task[Any] | None = None  # what a second signal cancels
        self.patience = Patience(rater.name)
        self.trusted = asyncio.Event()
        self.twins = Twins()
        self.silence = Silence(self._say, self._pause_s, lambda: self.limit.in_use)
        self.database = ThreadPoolExecutor(1, "database")
        self.journal = ThreadPoolExecutor(1, "journal")
        self.in_flight: dict[int, Record] = {}  # sent, and nothing came yet, by number

    # ------------------------------------------------------------------------- all of it

    async def rate(self, work: Sequence[tuple[str, int]]) -> Tally:
        self.tally.total = len(work)
        watching = asyncio.create_task(self.silence.watch())
        obeying = asyncio.create_task(self._obey())
        try:
            with self._interruptible():
                if self.served:
                    await self._open(self.served)
                await self._pump(work)
        except BaseException:
            with contextlib.suppress(StorageError):  # the first error says more
                self._store_rest()
            raise
        else:
            self._store_rest()
        finally:
            watching.cancel()
            obeying.cancel()
            if self.served:
                await self.served.close()
            self.database.shutdown()
        if self.signals:
            raise KeyboardInterrupt
        if self.fatal is not None:
            raise self.fatal
        return self.tally

    def _store_rest(self) -> None:
        """Bring all that was written into the database; what was dropped in flight is charged."""
        self.journal.shutdown()
        lost = list(self.in_flight.values())
        self.database.submit(self.run.take_in_replies, lost).result()

    async def _open(self, served: ServedRater) -> None:
        memory = f"server {self.rater.name}"
        remembered = await self._in_thread(self.run.recall, memory)
        opening = asyncio.ensure_future(
            open_served(served, self.rater.name, remembered, self.policy.retry, self._sleep)
        )
        stopping = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not opening.done():
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            return
        learned = opening.result()
        if learned is not None:
            await self._in_thread(self.run.remember, memory, learned)

    async def _pump(self, work: Sequence[tuple[str, int]]) -> None:
        if self.policy.control is not None:
            await self._change(self.policy.control.limits())
        writer = asyncio.create_task(self._write())
        producer = asyncio.create_task(self._produce(work))
        # With a control, for a limit that is raised meanwhile.
        slots = self.limit.most if self.policy.control is None else max(self.limit.most, FIRST)
        count = min(len(work), WORKERS_PER_SLOT * slots)
        workers = [asyncio.create_task(self._work(place)) for place in range(count)]
        finishing = asyncio.create_task(self._finish(producer, workers))
        try:
            await asyncio.wait((writer, finishing), return_when=asyncio.FIRST_COMPLETED)
            if finishing.done() and not writer.done():
                await self.outbox.put(None)
                await writer
        finally:
            # The writer ends first only by an error: then the rest is of no use.
            for task in (finishing, producer, *workers):
                task.cancel()
            await asyncio.gather(finishing, producer, *workers, return_exceptions=True)
        writer.result()
        finishing.result()

    async def _finish(
        self, producer: asyncio.Task[None], workers: Sequence[asyncio.Task[None]]
    ) -> None:
        """Wait until the queue is empty, or for the calls in flight once the work is called off."""
        drained = asyncio.create_task(self._drained(producer))
        stopping = asyncio.create_task(self.stopping.wait())
        everything = asyncio.gather(*workers)
        try:
            await asyncio.wait((drained, stopping, everything), return_when=asyncio.FIRST_COMPLETED)
            if everything.done():
                everything.result()
            if drained.done():
                drained.result()
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.policy.drain_s):
                    await everything
        finally:
            for task in (drained, stopping, everything):
                task.cancel()
            await asyncio.gather(drained, stopping, everything, return_exceptions=True)

    async def _drained(self, producer: asyncio.Task[None]) -> None:
        await producer
        await self.queue.join()

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """First signal: no new calls, those in flight are waited for. Second: they are dropped."""
        self.task = asyncio.current_task()
        with held_signals(self.interrupt):
            try:
                yield
            except asyncio.CancelledError:
                if not self.signals:
                    raise
                raise KeyboardInterrupt from None

    def interrupt(self, number: int) -> None:
        """Take in a signal. To be called in the loop."""
        self.signals.append(number)
        self._stop("interrupted")
        if len(self.signals) > 1 and self.task is not None:
            self.policy = replace(self.policy, drain_s=0.0)
            self.task.cancel()

    def _stop(self, reason: str) -> None:
        self.tally.stopped = self.tally.stopped or reason
        self.stopping.set()
        if self.limit.paused:  # those that wait for it end too
            self.limit.change(self.limit.most, paused=False)

    async def _obey(self) -> None:
        """Do what the control wants until cancelled."""
        control = self.policy.control
        while control is not None:
            await asyncio.sleep(EVERY_S)
            await self._change(control.limits())

    async def _change(self, limits: Limits) -> None:
        if self.stopping.is_set():
            return
        most = limits.concurrency or self.most
        if (most, limits.paused) != (self.limit.most, self.limit.paused):
            if limits.paused and not self.limit.paused:
                self._say(PAUSED)
            self.limit.change(most, limits.paused)
        budget = self.policy.budget_usd if limits.budget_usd is None else limits.budget_usd
        if budget != self.budget.limit_usd:
            await self.budget.change(budget)

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.database, function, *arguments)

    # -------------------------------------------------------------------------- producer

    async def _produce(self, work: Sequence[tuple[str, int]]) -> None:
        for begin in range(0, len(work), CHUNK):
            if self.stopping.is_set():
                return
            for job in await self._in_thread(self._make_jobs, work[begin : begin + CHUNK]):
                await self.queue.put(job)

    def _make_jobs(self, work: Sequence[tuple[str, int]]) -> list[_Job]:
        items = {item.id: item for item in self.load(sorted({item for item, _ in work}))}
        requests = [
            returned_request(self.rater, self.rater.request(items[item], self.question, repeat))
            for item, repeat in work
        ]
        stored = self.run.stored_calls([request.key for request in requests])
        return [
            self._job(
                request,
                self.question,
                stored.get(request.key, []),
                items[request.item] if self.stepped else None,
                shows_nothing(items[request.item], self.question, self.rater),
            )
            for request in requests
        ]

    def _job(
        self,
        request: Request,
        question: Question,
        attempts: Sequence[tuple[int, Reply]],
        item: Item | None = None,
        is_empty: bool = False,
    ) -> _Job:
        return _Job(
            request,
            question,
            self.served.extent(request) if self.served else Extent(0, 0),
            attempt=attempts[-1][0] + 1 if attempts else 0,
            stored=[reply for _, reply in attempts if reply.stop in ("end", "length")],
            item=item,
            is_empty=is_empty,
        )

    # --------------------------------------------------------------------------- workers

    async def _work(self, place: int) -> None:
        """Rate one job after the other; all but the first few workers wait for a readable reply."""
        if self.served and place >= FIRST_WORKERS:
            await self._until_trusted()
        while not self.stopping.is_set():
            job = await self._next_job()
            if job is None:
                return
            try:
                await self._rate_one(job)
            except _Stopped:
                return
            except BudgetReached:
                self._stop("budget")
            except RaterError as error:
                self.fatal = self.fatal or error
                self._stop("fatal")
            finally:
                self.queue.task_done()

    async def _until_trusted(self) -> None:
        waiting = [asyncio.ensure_future(e.wait()) for e in (self.trusted, self.stopping)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()

    async def _next_job(self) -> _Job | None:
        """Return the next job, or None once the work is called off."""
        if not self.queue.empty():
            return self.queue.get_nowait()
        getting = asyncio.ensure_future(self.queue.get())
        stopping = asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait((getting, stopping), return_when=asyncio.FIRST_COMPLETED)
            return getting.result() if getting.done() else None
        finally:
            getting.cancel()
            stopping.cancel()

    async def _rate_one(self, job: _Job) -> None:
        """Rate a job; where another one has the same key, after it and from its replies."""
        if job.is_empty:
            await self._keep(None, self._read(job.request, NOTHING_SHOWN))
            return
        async with self._turn(job) as replies:
            if job.item is None:
                await self._rate_alone(job, replies)
            else:
                await self._rate_by_steps(job, job.item, replies)

    @contextlib.asynccontextmanager
    async def _turn(self, job: _Job) -> AsyncIterator[list[Reply]]:
        """Hold a job's key; yield the list of replies that those after it will find."""
        async with self.twins.turn(job.request.key) as shared:
            job.stored += shared.replies
            job.attempt = max(job.attempt, shared.next_attempt)
            try:
                yield shared.replies
            finally:
                shared.next_attempt = job.attempt

    async def _rate_alone(self, job: _Job, replies: list[Reply]) -> None:
        read = await self._readable(job, replies)
        rating = self._read(job.request, read.reply)
        if read.reused:
            await self._reuse(rating)
            return
        await self._keep(read.attempt, None if read.is_open else rating)
        self._weigh(rating, read.reply)

    async def _rate_by_steps(self, job: _Job, item: Item, replies: list[Reply]) -> None:
        """Rate a job by the calls for which its rater asks one after the other.

        Where one has no reply that can be read, the judgement has none: it gets the call's status.
        """
        assert self.stepped is not None
        for reply in job.stored:
            rating = self._read(job.request, reply)
            if rating.status == "ok":
                await self._reuse(rating)
                return
        steps = f"rater '{self.rater.name}': steps()"
        walk: Steps = self.stepped.steps(item, self.question, job.request.repeat)
        returned(walk, Generator, steps, RaterError)  # type: ignore[type-abstract]
        try:
            step = next(walk)
            while True:
                returned(step, Step, steps, RaterError, "yield")
                read = await self._take(step)
                rating = read_rating(step.question, self.rater, step.request, read.reply)
                if rating.status != "ok":
                    break
                step = walk.send(read.reply)
        except StopIteration as ended:
            final = returned_reply(self.rater, ended.value, "steps()")
            rating = self._read(job.request, final)
            number, job.attempt = job.attempt, job.attempt + 1
            await self._keep(_Attempt(job.request, number, final, _Sent(None)), rating)
            replies.append(final)
            self._weigh(rating, final)
            return
        finally:
            walk.close()
        if not read.is_open:
            asked = self.question
            await self._keep(None, replace(rating, rubric=asked.id, rubric_digest=asked.digest))
        self._weigh(rating, read.reply)

    async def _take(self, step: Step) -> _Read:
        """Make the call of a step, unless it was made before; what comes of it is stored."""
        key = step.request.key
        stored = await self._in_thread(self.run.stored_calls, [key])
        job = self._job(step.request, step.question, stored.get(key, []))
        async with self._turn(job) as replies:
            read = await self._readable(job, replies)
            if read.attempt is not None:
                await self._keep(read.attempt, None)
        return read

    async def _readable(self, job: _Job, replies: list[Reply]) -> _Read:
        """Ask until there is a reply that can be read, or no more is to be tried."""
        unread = 0
        for reply in job.stored:
            if job.question.read(reply).status == "ok":
                return _Read(reply, None, reused=True)
            unread += 1
        if unread > self.policy.retry.content_retries:
            return _Read(reply, None, reused=True)
        while True:
            reply, attempt = await self._ask(job)
            if reply.stop in ("end", "length"):
                replies.append(reply)
            again = (
                job.question.read(reply).status == "unparsed"
                and unread < self.policy.retry.content_retries
            )
            if not again or self.stopping.is_set():
                return _Read(reply, attempt, is_open=again)
            unread += 1
            await self._keep(attempt, None)

    async def _reuse(self, rating: Rating) -> None:
        if rating.status == "ok":
            self.trusted.set()
        await self._keep(None, rating, reused=True)

    def _weigh(self, rating: Rating, reply: Reply) -> None:
        """Take in what came of a job: whether the rater can be trusted with all of them."""
        self.patience.rated(rating, reply)
        if self.patience.is_trusted:
            self.trusted.set()

    def _read(self, request: Request, reply: Reply) -> Rating:
        return read_rating(self.question, self.rater, request, reply)

    async def _ask(self, job: _Job) -> tuple[Reply, _Attempt | None]:
        """Return a reply and the attempt to store; where no retry is left, the reply says `error`
        and the attempt is stored already."""
        try:
            attempt = await self.policy.retry.call(
                self._sleep, functools.partial(self._attempt, job)
            )
        except AttemptFailed as failed:
            self.patience.failed(failed)
            return Reply("", "error", error=str(failed)), None
        self.patience.replied()
        return attempt.reply, attempt

    async def _attempt(self, job: _Job) -> _Attempt:
        """Make one attempt; store a failed one, for nothing else will see it."""
        reserved = await self.budget.reserve(job.extent)
        tokens = job.extent.prompt_bytes / 4 + job.extent.most_tokens_out
        cost: float | None = None
        try:
            await self.pacer.take(tokens)
            async with self.limit.slot() as sent_at:
                if self.stopping.is_set():
                    raise _Stopped
                self.budget.check(reserved)  # it may be another one by now
                number, job.attempt = job.attempt, job.attempt + 1
                sent = await self._note_sending(job.request, reserved)
                self.tally.calls += 1
                try:
                    reply = returned_reply(self.rater, await self.rater.send(job.request))
                finally:
                    self.pacer.landed(tokens, self._headroom())
        except (AttemptFailed, RaterError) as error:
            failed = error if isinstance(error, AttemptFailed) else fatal_attempt(error)
            self.silence.failed(failed)
            if failed.kind in ("busy", "timeout"):
                self.limit.refused(sent_at, failed.retry_after_s)
            cost = reserved if failed.perhaps_billed else None
            lost = Reply(failed.text, "error", error=str(failed), details={"kind": failed.kind})
            await self._keep(_Attempt(job.request, number, lost, sent, cost or 0.0), None)
            raise
        else:
            self.silence.heard()
            self.limit.succeeded()
            self.budget.learn(job.extent, reply.tokens_in)
            unknown = reply.cost_usd is None
            cost = reserved if unknown else reply.cost_usd
            self._count(reply)
        finally:
            await self.budget.settle(reserved, cost)
        if self.rater.is_llm:
            reply.details["anchors"] = list(job.question.anchors(job.request.repeat))
        return _Attempt(job.request, number, reply, sent, reserved if unknown else 0.0)

    async def _note_sending(self, request: Request, most_usd: float) -> _Sent:
        """Note that a call may be billed from now on, if it has a price: a budget waits for it."""
        if not most_usd:
            return _Sent(None)
        record = sent_record(self.rater.name, request, most_usd)
        number = self.run.write_reply(record)
        self.in_flight[number] = record
        if self.budget.limit_usd is not None:
            synced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            await self.outbox.put(_Entry(synced=synced))
            await synced
        return _Sent(number)

    async def _keep(
        self,
        attempt: _Attempt | None,
        rating: Rating | None,
        sent: _Sent | None = None,
        reused: bool = False,
    ) -> None:
        """Store an attempt, a rating or both, or only that a call is settled."""
        made = (attempt.request, attempt.number, attempt.reply) if attempt else None
        sent = attempt.sent if attempt else sent
        charged = attempt.charged_usd if attempt else 0.0
        self.tally.charged_usd += charged
        number = sent.number if sent else None
        self.run.write_reply(came_record(self.rater.name, made, rating, number, charged))
        if number is not None:
            self.in_flight.pop(number, None)
        await self.outbox.put(_Entry(rating, reused))

    def _headroom(self) -> Headroom | None:
        return self.served.headroom if self.served else None

    def _count(self, reply: Reply) -> None:
        self.tally.tokens_in += reply.tokens_in or 0
        self.tally.tokens_out += reply.tokens_out or 0
        self.tally.spent_usd += reply.cost_usd or 0.0
        self.tally.unpriced += reply.cost_usd is None

    async def _sleep(self, seconds: float) -> None:
        """Sleep before a retry, unless the work is called off."""
        self.silence.sleeps(seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
                raise _Stopped

    def _pause_s(self) -> float:
        """Return the seconds for which the server's limits hold up the next call."""
        return max(self.pacer.pause_s, self.limit.pause_s)

    def _say(self, words: str) -> None:
        self.tally.waiting = words
        self.progress(self.tally)
        self.tally.waiting = ""

    # ---------------------------------------------------------------------------- writer

    async def _write(self) -> None:
        """Sync what was written, in groups; what is counted as done is on the disk.

        The database takes it in meanwhile.
        """
        loop = asyncio.get_running_loop()
        storing: asyncio.Future[None] | None = None
        stored_at = told_at = loop.time()
        last = False
        try:
            while not last:
                entries = [await self.outbox.get()]
                if entries[0] is not None:
                    await asyncio.sleep(GATHER_S)
                while not self.outbox.empty():
                    entries.append(self.outbox.get_nowait())
                last = None in entries
                group = [entry for entry in entries if entry is not None]
                if group:
                    await loop.run_in_executor(self.journal, self.run.sync_replies)
                    self._count_synced(group)
                    if last or loop.time() - told_at >= TELL_EVERY_S:
                        told_at = loop.time()
                        self.progress(self.tally)
                if storing is not None and storing.done():
                    storing.result()
                    storing, stored_at = None, loop.time()
                if storing is None and loop.time() - stored_at >= STORE_EVERY_S:
                    storing = loop.run_in_executor(self.database, self.run.take_in_replies)
        finally:
            if storing is not None:
                await storing
        self.progress(self.tally)

    def _count_synced(self, group: Sequence[_Entry]) -> None:
        """Count what is on the disk, and let the calls go whose sending is noted there."""
        for entry in group:
            if entry.synced is not None and not entry.synced.done():
                entry.synced.set_result(None)
            if entry.rating:
                self.tally.done += 1
                self.tally.reused += entry.reused
                self.tally.statuses[entry.rating.status] += 1


def shows_nothing(item: Item, question: Question, rater: Rater) -> bool:
    """Return whether a rater would have to judge a unit by what it is shown, and is shown nothing.

    Raters that get all evidence say themselves whether there is enough of it.
    """
    judges_unit = question.form in ("rate", "describe") and rater.evidence == "shown"
    return judges_unit and not item.contexts


def fatal_attempt(error: RaterError) -> AttemptFailed:
    """Return the attempt with which a rater gave up, as it is stored."""
    return AttemptFailed(str(error), "fatal", transient=False)


def read_rating(question: Question, rater: Rater, request: Request, reply: Reply) -> Rating:
    """Return the rating that a reply amounts to under the question."""
    read = question.read(reply)
    expected, unassigned = None, None
    if read.status == "ok" and "score_token" in reply.details:
        expected, unassigned = expected_score(reply.details["score_token"], question.scores)
    elif read.status == "ok" and "expected_score" in reply.details:
        expected = float(reply.details["expected_score"])
    rationale = read.rationale if read.status == "ok" else read.problem
    return Rating(
        item=request.item,
        rubric=question.id,
        rubric_digest=question.digest,
        rater=rater.name,
        rater_version=version_of(rater),
        repeat=request.repeat,
        status=read.status,
        score=read.score,
        description=None if read.description is None else storable(read.description),
        rationale=None if rationale is None else storable(rationale),
        expected_score=expected,
        unassigned_mass=unassigned,
        call_key=request.key,
    )
