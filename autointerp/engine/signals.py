"""Signals that end a command: while calls are in flight they are held, then passed on."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

# Ctrl-C; what a system sends before it kills; a terminal that is gone, which Windows has not.
STOPS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


@contextlib.contextmanager
def held_signals(stop: Callable[[int], None]) -> Iterator[None]:
    """Call `stop` with each signal's number inside the running loop, in place of what it does.

    A signal that is ignored stays so: `nohup` means it. Outside the main thread nothing is held.
    """
    loop = asyncio.get_running_loop()
    former = {}
    for number in STOPS:
        handler = signal.getsignal(number)
        if handler in (signal.SIG_IGN, None):
            continue
        try:
            loop.add_signal_handler(number, stop, number)
        except (NotImplementedError, ValueError, RuntimeError):  # no main thread, no signals
            break
        former[number] = handler
    try:
        yield
    finally:
        for number, handler in former.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def pass_on(number: int) -> None:
    """Have a signal that was held do what it does: end the process, unless somebody handles it.

    Raises KeyboardInterrupt for Ctrl-C.
    """
    if number != signal.SIGINT:
        signal.raise_signal(number)
    raise KeyboardInterrupt
