"""An event loop for one coroutine that ordinary code waits for, in a notebook, too."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def cancel_all(number: int) -> None:
    """Cancel what runs in this thread's loop, whatever the signal."""
    for task in asyncio.all_tasks():
        task.cancel()


def run_to_end(
    coroutine: Coroutine[Any, Any, T], interrupt: Callable[[int], None] = cancel_all
) -> T:
    """Return what a coroutine returns, run by an event loop of its own.

    Where this thread is running one already, as behind a notebook's cells, the new one gets a
    thread. Ctrl-C, which cannot reach that, is passed to `interrupt` there.

    Raises KeyboardInterrupt on Ctrl-C.
    """
    if not _runs_one():
        return asyncio.run(coroutine)
    runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
    loop = runner.get_loop()

    def run() -> T:
        with runner:
            return runner.run(coroutine)

    with ThreadPoolExecutor(1, "event loop") as thread:
        ending = thread.submit(run)
        while True:
            try:
                return ending.result()
            except asyncio.CancelledError:
                raise KeyboardInterrupt from None
            except KeyboardInterrupt:
                if ending.done():
                    raise
                with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                    loop.call_soon_threadsafe(interrupt, signal.SIGINT)


def _runs_one() -> bool:
    """Return whether this thread runs an event loop. What comes later is no cause of its error."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
