"""How many calls at once, and how soon the next: learned from the server, never guessed at.

Both classes belong to one event loop; times are those of its clock, in seconds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from autointerp.raters import Headroom

FIRST = 64
LONGEST_PAUSE_S = 300.0
SHORTEST_RESET_S = 0.05  # a moment that has passed by the time its header is read


class ConcurrencyLimit:
    """Slots for calls in flight: 64 at first, more while all are taken, half on a refusal.

    Grows by one for each reply until the first refusal, which doubles it every round; after that
    by one a round. A refused call that was sent before the limit last fell says nothing new.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.value = float(min(FIRST, most))
        self.in_use = 0
        self._refused_at = float("-inf")
        self._ever_refused = False
        self._resume_at = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.paused = False

    def change(self, most: int, paused: bool) -> None:
        """Set how many calls there may be at most, and whether none may begin."""
        if most > self.most and not self._ever_refused:
            self.value = float(min(FIRST, most))
        self.most, self.paused = most, paused
        self.value = min(self.value, float(most))
        self._wake()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """Hold a slot, and yield when it was got; first come first served, and after a pause."""
        if self._waiting or not self._free():
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            self._wake()
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._release()
                raise
        else:
            self.in_use += 1
        try:
            yield asyncio.get_running_loop().time()
        finally:
            self._release()

    def succeeded(self) -> None:
        """A call came back: grow, if the limit was what held others up."""
        if self._waiting and self.value < self.most:
            self.value += 1.0 / self.value if self._ever_refused else 1.0
            self.value = min(self.value, float(self.most))

    def refused(self, sent_at: float, retry_after_s: float | None = None) -> None:
        """The server is too busy: halve, and pause for as long as it says."""
        now = asyncio.get_running_loop().time()
        if sent_at >= self._refused_at:
            self.value = max(1.0, self.value / 2)
            self._refused_at = now
        self._ever_refused = True
        if retry_after_s:
            until = now + min(retry_after_s, LONGEST_PAUSE_S)
            self._resume_at = max(self._resume_at, until)

    @property
    def pause_s(self) -> float:
        """Seconds for which the server asked for no calls."""
        return max(0.0, self._resume_at - asyncio.get_running_loop().time())

    def _free(self) -> bool:
        held_up = self.paused or asyncio.get_running_loop().time() < self._resume_at
        return not held_up and self.in_use < int(self.value)

    def _release(self) -> None:
        self.in_use -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._free():
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_use += 1
                turn.set_result(None)
        if self._waiting:
            loop = asyncio.get_running_loop()
            if loop.time() < self._resume_at:
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = loop.call_at(self._resume_at + 0.001, self._wake)


class Allowance:
    """Requests or tokens that a server grants a minute, as its headers tell.

    A bucket that fills evenly: the level is what the last reply said is left, less what is still
    in flight, for that may not have been counted yet.
    """

    def __init__(self) -> None:
        self._level: float | None = None
        self._capacity = float("inf")
        self._rate = 0.0
        self._seen_at = 0.0
        self._ready_at = float("-inf")
        self._in_flight = 0.0

    def update(self, left: int | None, limit: int | None, reset_s: float | None) -> None:
        """Take in what a reply's headers said."""
        if left is None or not limit:
            return
        self._level = left - self._in_flight
        self._capacity = float(limit)
        used = limit - left
        if reset_s is None or used <= 0:
            self._rate = limit / 60
        else:
            self._rate = used / max(reset_s, SHORTEST_RESET_S)
        self._seen_at = asyncio.get_running_loop().time()

    async def take(self, amount: float) -> None:
        """Wait until `amount` is there, and take it. A call over the whole limit waits for that.

        After the longest pause a call is made all the same: the server will say if it is too soon.
        """
        loop = asyncio.get_running_loop()
        latest = loop.time() + LONGEST_PAUSE_S
        while True:
            level = self._now()
            need = min(amount, self._capacity)
            if level is None or level >= need or loop.time() >= latest:
                break
            ready_at = loop.time() + (need - level) / self._rate
            self._ready_at = min(ready_at, latest)
            await asyncio.sleep(min(max(self._ready_at - loop.time(), 0.01), 60.0))
        if self._level is not None:
            self._level -= amount
        self._in_flight += amount

    @property
    def pause_s(self) -> float:
        """Seconds until the next call that waits is allowed; 0 if none waits."""
        return max(0.0, self._ready_at - asyncio.get_running_loop().time())

    def landed(self, amount: float) -> None:
        """A call is over, and its reply's headers count it."""
        self._in_flight = max(0.0, self._in_flight - amount)

    def _now(self) -> float | None:
        if self._level is None:
            return None
        now = asyncio.get_running_loop().time()
        self._level = min(self._capacity, self._level + (now - self._seen_at) * self._rate)
        self._seen_at = now
        return self._level


class Pacer:
    """Requests and tokens of one rater."""

    def __init__(self) -> None:
        self._requests = Allowance()
        self._tokens = Allowance()
        self._last: Headroom | None = None

    async def take(self, tokens: float) -> None:
        """Wait until one more call of about `tokens` is allowed."""
        await self._requests.take(1)
        await self._tokens.take(tokens)

    @property
    def pause_s(self) -> float:
        """Seconds until the next call that waits is allowed; 0 if none waits."""
        return max(self._requests.pause_s, self._tokens.pause_s)

    def landed(self, tokens: float, headroom: Headroom | None) -> None:
        """A call is over; `headroom` is what the server said with it."""
        self._requests.landed(1)
        self._tokens.landed(tokens)
        if headroom is not None and headroom is not self._last:
            self._last = headroom
            self._requests.update(
                headroom.requests, headroom.requests_limit, headroom.requests_reset_s
            )
            self._tokens.update(headroom.tokens, headroom.tokens_limit, headroom.tokens_reset_s)
