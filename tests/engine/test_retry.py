from __future__ import annotations

import asyncio

import pytest

from autointerp.engine.retry import RetryPolicy
from autointerp.raters import AttemptFailed


class Calls:
    """Fails as often as said, then answers."""

    def __init__(self, failures: int, transient: bool = True) -> None:
        self.failures, self.transient = failures, transient
        self.made = 0
        self.slept: list[float] = []

    async def once(self) -> str:
        self.made += 1
        if self.made <= self.failures:
            raise AttemptFailed(f"failure {self.made}", "server", transient=self.transient)
        return "answered"

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def ask(self, retries: int) -> str:
        policy = RetryPolicy(retries=retries, first_wait_s=1.0)
        return asyncio.run(policy.call(self.sleep, self.once))


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_the_first_attempt_counts_as_one_of_all(failures: int) -> None:
    calls = Calls(failures)
    assert calls.ask(retries=3) == "answered"
    assert calls.made == failures + 1
    # 1 s before the first retry, doubled each time, with as much as the first at random.
    assert all(2**n <= slept <= 2**n + 1 for n, slept in enumerate(calls.slept))
    assert len(calls.slept) == failures


def test_the_last_failure_is_raised_once_no_retry_is_left() -> None:
    calls = Calls(9)
    with pytest.raises(AttemptFailed, match="failure 4"):
        calls.ask(retries=3)
    assert (calls.made, len(calls.slept)) == (4, 3)


def test_what_another_attempt_cannot_mend_is_raised_at_once() -> None:
    calls = Calls(9, transient=False)
    with pytest.raises(AttemptFailed, match="failure 1"):
        calls.ask(retries=3)
    assert (calls.made, calls.slept) == (1, [])
