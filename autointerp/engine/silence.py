"""What is said where nothing happens for a while: whom is waited for, and how long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

FIRST_S = 5.0  # of silence before something is said; then twice as long each time
LONGEST_S = 120.0
EVERY_S = 1.0


class Silence:
    """Says why nothing happens, through `say`, after 5 s of it, then 10 s, 20 s and so on.

    `pause_s` returns for how long the server's rate limit holds up the next call; `in_flight`
    returns how many calls are on their way.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        pause_s: Callable[[], float],
        in_flight: Callable[[], int],
    ) -> None:
        self._say = say
        self._pause_s = pause_s
        self._in_flight = in_flight
        self._failure = ""
        self._wakes_at = 0.0
        self._heard_at = 0.0
        self._wait_s = 0.0

    def heard(self) -> None:
        """A reply came."""
        self._failure = ""
        self._heard_at = asyncio.get_running_loop().time()
        self._wait_s = FIRST_S

    def failed(self, error: object) -> None:
        """A call failed."""
        self._failure = str(error)

    def sleeps(self, seconds: float) -> None:
        """A call is made again after so many seconds."""
        wakes_at = asyncio.get_running_loop().time() + seconds
        now = asyncio.get_running_loop().time()
        self._wakes_at = wakes_at if self._wakes_at <= now else min(self._wakes_at, wakes_at)

    async def watch(self) -> None:
        """Say what there is to say until cancelled."""
        loop = asyncio.get_running_loop()
        self._heard_at, self._wait_s = loop.time(), FIRST_S
        while True:
            await asyncio.sleep(EVERY_S)
            silent_s = loop.time() - self._heard_at
            if silent_s >= self._wait_s:
                words = self.words(silent_s)
                if words:
                    self._say(words)
                self._wait_s = silent_s + min(2 * self._wait_s, LONGEST_S)

    def words(self, silent_s: float) -> str:
        """Return why nothing was heard for `silent_s` seconds; empty if no server is to blame."""
        pause_s = self._pause_s()
        left_s = self._wakes_at - asyncio.get_running_loop().time()
        if self._failure and left_s > 0:
            return f"{self._failure}; next attempt in {max(1, round(left_s))} s"
        if pause_s >= 1:
            return f"the server's rate limit allows the next call in {round(pause_s)} s"
        if not self._in_flight():
            return ""
        failure = f"; before: {self._failure}" if self._failure else ""
        return f"no reply for {round(silent_s)} s, {self._in_flight()} in flight{failure}"
