"""When a call is made again. The one owner of retries: the SDKs make none of their own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)

from autointerp.errors import RaterError
from autointerp.raters import AttemptFailed, ServedRater

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """How often a call is made again.

    Attributes:
        retries: After failed attempts: no connection, a time-out, 429, 5xx. Counted, not timed:
            a machine that slept for an hour has lost one attempt, not all of them.
        content_retries: After complete replies that could not be read. Asking again only
            where a reply was bad favours raters that are bad: every attempt is stored.
        first_wait_s: Before the first retry; doubles each time, with as much again at random.
        longest_wait_s: Even if the server asks for more.
    """

    retries: int = 8
    content_retries: int = 1
    first_wait_s: float = 0.5
    longest_wait_s: float = 300.0

    async def call(
        self, sleep: Callable[[float], Awaitable[None]], once: Callable[[], Awaitable[T]]
    ) -> T:
        """Return what `once` does, made again as `retrying` says; raise the last AttemptFailed.

        Tenacity's loop, which costs as much as all else of a call that is answered at once, is
        made where the first attempt fails, and counts that one.
        """
        try:
            return await once()
        except AttemptFailed as failed:
            if not failed.transient:
                raise
            first = [failed]

        async def again() -> T:
            if first:
                raise first.pop()
            return await once()

        made: T = await self.retrying(sleep)(again)
        return made

    def retrying(self, sleep: Callable[[float], Awaitable[None]]) -> AsyncRetrying:
        """Return tenacity's loop for one call; it raises the last AttemptFailed."""
        backoff = wait_exponential_jitter(
            multiplier=self.first_wait_s, max=self.longest_wait_s, jitter=self.first_wait_s
        )

        def wait_s(state: RetryCallState) -> float:
            failed = state.outcome.exception() if state.outcome else None
            asked = failed.retry_after_s if isinstance(failed, AttemptFailed) else None
            return min(max(asked or 0.0, backoff(state)), self.longest_wait_s)

        return AsyncRetrying(
            sleep=sleep,
            wait=wait_s,
            stop=stop_after_attempt(self.retries + 1),
            retry=retry_if_exception(is_transient),
            reraise=True,
        )


def is_transient(error: BaseException) -> bool:
    """Return whether another attempt may succeed."""
    return isinstance(error, AttemptFailed) and error.transient


async def open_served(
    served: ServedRater,
    name: str,
    remembered: str | None,
    retry: RetryPolicy,
    sleep: Callable[[float], Awaitable[None]],
) -> str | None:
    """Open a rater, asking again as for any other call: it may load its model, or be busy.

    Return what is to be remembered of the server. Raises RaterError if it cannot be asked.
    """

    async def once() -> str | None:
        return await served.open(remembered)

    try:
        return await retry.retrying(sleep)(once)
    except AttemptFailed as failed:
        raise RaterError(f"{name} cannot be asked: {failed}") from None
