"""What must be in order before money is spent: libraries, disk, keys, servers."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from autointerp.errors import AutointerpError
from autointerp.raters import (
    CheckedRater,
    Finding,
    Rater,
    RaterOptions,
    check_keys,
    libraries,
)
from autointerp.store.run import RUNS

LIBRARIES = ("torch", "duckdb")  # of the package itself; each rater's file says its own
LEAST_FREE = 2 * 2**30
SLOWEST_SYNC_S = 0.2


def examine(rater: Rater | None, options: RaterOptions, runs: Path = RUNS) -> Iterator[Finding]:
    """Yield what is in order and what is not; at most one call is paid, and only for `rater`."""
    yield Finding(True, "python", platform.python_version())
    yield from _libraries()
    yield from _disk(runs)
    yield from check_keys(options.base_url)
    if rater is not None:
        yield from _rater(rater)


def _libraries() -> Iterator[Finding]:
    for name in (*LIBRARIES, *libraries()):
        try:
            yield Finding(True, name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(True, name, "not installed (only some raters need it)")
    fast = importlib.util.find_spec("aiohttp") is not None
    yield Finding(
        True, "aiohttp", "installed" if fast else "not installed: calls take twice the CPU"
    )


def _disk(runs: Path) -> Iterator[Finding]:
    folder = runs if runs.is_dir() else runs.absolute().parent
    free = shutil.disk_usage(folder).free
    yield Finding(
        free >= LEAST_FREE,
        "free disk",
        f"{free / 2**30:.1f} GB at {folder.absolute()}",
        "free some space" if free < LEAST_FREE else "",
    )
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".doctor-") as scratch:
            began = time.perf_counter()
            with (Path(scratch) / "synced").open("wb") as file:
                file.write(b"x")
                os.fsync(file.fileno())
            took = time.perf_counter() - began
    except OSError as error:
        yield Finding(
            False, "writing", f"{folder} cannot be written ({error.strerror})", "choose another"
        )
        return
    slow = took > SLOWEST_SYNC_S
    yield Finding(True, "writing", f"a durable write took {took * 1000:.0f} ms{' (slow)' * slow}")


def _rater(rater: Rater) -> Iterator[Finding]:
    if not isinstance(rater, CheckedRater):
        yield Finding(True, rater.name, "needs no key and no server")
        return
    try:
        yield from asyncio.run(rater.check())
    except AutointerpError as error:
        yield Finding(False, rater.name, str(error), "see above")
