"""Runs as they are now, for the routes: copies that are kept while nothing changes."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from autointerp.apps.service._tokens import service_folder
from autointerp.findings.listing import prepare
from autointerp.people.ingest import ingest_journals
from autointerp.store.looks import PENDING
from autointerp.store.run import existing_run
from autointerp.store.snapshots import Snapshot, open_snapshot, state_key

REST = 10.0  # times what a copy took, before a run that changes is copied again
IDLE_S = 120.0  # a copy that nobody has read for so long is dropped
MOST_COPIES = 8
MEMORY = "512MB"  # of one copy's queries
MOST_SAID = 200

V = TypeVar("V")


@dataclass
class _Copy:
    """A copy and who reads it.

    Attributes:
        listed: Whether the tables of the list of units are made.
        rest_until: By the monotonic clock; until then a changed run is not copied again.
        notes: What reading the journals of people brought to light.
    """

    snapshot: Snapshot
    place: Path
    rest_until: float
    notes: tuple[str, ...]
    used_at: float
    readers: int = 0
    retired: bool = False
    listed: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Snapshots:
    """The copies of a server. Its methods may be called from any thread."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.folder = service_folder(runs) / "snapshots"
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}
        self._answering: dict[tuple[str, Hashable], threading.Lock] = {}
        self._copies: dict[str, _Copy] = {}
        self._said: dict[tuple[str, Hashable], tuple[str, Any]] = {}
        self._numbers = itertools.count()
        shutil.rmtree(self.folder, ignore_errors=True)  # of a server that was killed

    @contextlib.contextmanager
    def read(self, name: str, listed: bool = False) -> Iterator[Snapshot]:
        """Yield a run, as it was at most a moment ago, with people's answers taken in.

        With `listed` it has the tables of `findings.listing`. Raises UnknownName if there is no
        such run, StorageError if it cannot be read.
        """
        copy = self._take(name)
        try:
            if listed:
                with copy.lock:
                    if not copy.listed:
                        prepare(copy.snapshot)
                        copy.listed = True
            cursor = copy.snapshot.cursor()
            try:
                yield cursor
            finally:
                cursor.connection.close()
        finally:
            self._release(copy)

    def memo(self, name: str, what: Hashable, function: Callable[[Snapshot], V]) -> V:
        """Return what a function says of a run, from the last time where the run is unchanged.

        Several that ask the same at once get one answer: it is made once.
        """
        path = existing_run(name, self.runs)
        with self._lock:
            answering = self._answering.setdefault((name, what), threading.Lock())
        with answering:
            try:
                return self._memo(path, what, function)
            finally:
                with self._lock:
                    self._answering.pop((name, what), None)

    def _memo(self, path: Path, what: Hashable, function: Callable[[Snapshot], V]) -> V:
        name = path.name
        with self._lock:
            key, value = self._said.get((name, what), ("", None))
        if key == state_key(path):
            return cast(V, value)
        with self.read(name) as snapshot:
            said = function(snapshot)
        key, now = snapshot.key, state_key(path)
        if _but_looks(key) == _but_looks(now):  # the function itself may have left a look
            key = now
        with self._lock:
            self._said.pop((name, what), None)
            self._said[name, what] = key, said
            while len(self._said) > MOST_SAID:
                del self._said[next(iter(self._said))]
        return said

    def notes(self, name: str) -> tuple[str, ...]:
        """Return what the last copy's journals brought to light, a sentence each."""
        with self._lock:
            copy = self._copies.get(name)
            return copy.notes if copy else ()

    def drop_idle(self, idle_s: float = IDLE_S) -> None:
        """Drop the copies that nobody has read for a while."""
        before = time.monotonic() - idle_s
        with self._lock:
            names = [name for name, copy in self._copies.items() if copy.used_at < before]
            for name in names:
                self._retire(name)

    def close(self) -> None:
        """Drop all copies."""
        self.drop_idle(-1.0)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _take(self, name: str) -> _Copy:
        """Return a copy that is fresh enough, counted as being read."""
        path = existing_run(name, self.runs)
        with self._lock:
            making = self._making.setdefault(name, threading.Lock())
        with making:  # one thread copies, the others wait for it
            with self._lock:
                copy = self._copies.get(name)
                if copy is not None and (
                    time.monotonic() < copy.rest_until or state_key(path) == copy.snapshot.key
                ):
                    return self._read(copy)
            fresh = self._make(name)
            with self._lock:
                self._retire(name)
                self._copies[name] = fresh
                while len(self._copies) > MOST_COPIES:
                    self._retire(min(self._copies, key=lambda one: self._copies[one].used_at))
                return self._read(fresh)

    def _read(self, copy: _Copy) -> _Copy:
        copy.readers += 1
        copy.used_at = time.monotonic()
        return copy

    def _make(self, name: str) -> _Copy:
        began = time.monotonic()
        place = self.folder / f"{name}.{next(self._numbers)}"
        notes: list[str] = []
        with contextlib.ExitStack() as failing:
            failing.callback(shutil.rmtree, place, ignore_errors=True)
            snapshot: Snapshot = open_snapshot(name, place, self.runs)
            failing.callback(snapshot.connection.close)
            snapshot.execute(f"SET memory_limit = '{MEMORY}'")
            snapshot.execute("SET threads = 2")
            ingest_journals(snapshot, notes.append)
            failing.pop_all()  # nothing failed
        took_s = time.monotonic() - began
        now = time.monotonic()
        return _Copy(snapshot, place, now + REST * took_s, tuple(notes), now)

    def _release(self, copy: _Copy) -> None:
        with self._lock:
            copy.readers -= 1
            if copy.retired and not copy.readers:
                self._drop(copy)

    def _retire(self, name: str) -> None:
        copy = self._copies.pop(name, None)
        if copy is not None:
            copy.retired = True
            if not copy.readers:
                self._drop(copy)

    def _drop(self, copy: _Copy) -> None:
        copy.snapshot.connection.close()
        shutil.rmtree(copy.place, ignore_errors=True)


def _but_looks(key: str) -> list[str]:
    return [part for part in key.split() if not part.startswith(f"{PENDING}:")]
