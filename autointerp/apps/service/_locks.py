"""Locks of files, which the system releases when their process dies."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from autointerp.errors import StorageError
from autointerp.files import PRIVATE_FILE

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def open_locked(path: Path, wait: bool = False) -> int | None:
    """Return the handle of a file that this process has locked; None if another one has.

    Closing it, or the death of the process, releases it. With `wait` it is waited for.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    except OSError as error:
        raise StorageError(
            f"cannot open {path} ({error.strerror}); choose a folder that can be written"
        ) from None
    if fcntl is None:
        return handle
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


@contextlib.contextmanager
def held_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a file, waiting for it."""
    handle = open_locked(path, wait=True)
    assert handle is not None
    try:
        yield
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Return whether a living process has locked a file."""
    if not path.exists():
        return False
    handle = open_locked(path)
    if handle is None:
        return True
    os.close(handle)
    return False
