import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from autointerp.engine.own_loop import run_to_end

T = TypeVar("T")


def in_a_notebook(cell: Callable[[], T]) -> T:
    """Return what ordinary code returns that is called while the main thread runs a loop."""

    async def execute() -> T:
        return cell()

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(execute())
    finally:
        loop.close()


async def thread() -> threading.Thread:
    await asyncio.sleep(0)
    return threading.current_thread()


async def press_ctrl_c() -> None:
    await asyncio.sleep(0.2)  # until the main thread waits
    os.kill(os.getpid(), signal.SIGINT)


def test_a_coroutine_runs_in_this_thread_unless_that_runs_a_loop_already() -> None:
    assert run_to_end(thread()) is threading.main_thread()
    assert in_a_notebook(lambda: run_to_end(thread())) is not threading.main_thread()


def test_an_error_comes_through_from_the_other_thread() -> None:
    async def fails() -> None:
        raise LookupError("here")

    with pytest.raises(LookupError, match="here"):
        in_a_notebook(lambda: run_to_end(fails()))


def test_an_error_of_the_coroutine_has_no_cause_outside_of_it() -> None:
    async def fails() -> None:
        raise LookupError("here")

    with pytest.raises(LookupError) as failed:
        run_to_end(fails())
    assert failed.value.__context__ is None


def test_ctrl_c_in_a_notebook_cancels_what_runs() -> None:
    ended = []

    async def lasts() -> None:
        try:
            await press_ctrl_c()
            await asyncio.sleep(60)
        finally:
            ended.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        in_a_notebook(lambda: run_to_end(lasts()))
    assert ended == ["cleaned up"]


def test_ctrl_c_in_a_notebook_is_left_to_who_can_interrupt() -> None:
    received = []

    async def lasts() -> str:
        stopping = asyncio.Event()

        def stop(number: int) -> None:
            received.append(number)
            stopping.set()

        stops.append(stop)
        await press_ctrl_c()
        await stopping.wait()
        return "the calls in flight came back"

    stops: list[Callable[[int], None]] = []
    kept = in_a_notebook(lambda: run_to_end(lasts(), lambda number: stops[0](number)))
    assert kept == "the calls in flight came back"
    assert received == [signal.SIGINT]
