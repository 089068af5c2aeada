"""A run as it was at a moment, to read while another process writes it.

DuckDB lets one process write a database or several read it. Whoever reads the file itself keeps
a command from starting; so a server reads a copy, which hinders nobody.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from autointerp.errors import RunLocked, StorageError
from autointerp.files import PRIVATE_FOLDER, writer_of
from autointerp.store.database import DATABASE, connect
from autointerp.store.looks import PENDING, add_pending_look
from autointerp.store.replies import Record
from autointerp.store.run import RUNS, Run, checked_commits, existing_run, open_run, read_about
from autointerp.store.tables import is_damage, read_commits, unusable

HEAD_BYTES = 3 * 4096  # DuckDB's own header and its two of the content, which a checkpoint changes
TRIES = 20
PAUSE_S = 0.05
CHUNK = 1 << 26


class Snapshot(Run):
    """A copy of a run. What is stored in it goes with it, but for looks: they reach the run.

    `path` is the run's own folder, for its run.toml, log, journals and checks.

    Attributes:
        key: Of the state that was copied; equal keys mean equal contents.
    """

    key: str = ""

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is kept, or nothing. The run's count of them stays."""
        self.connection.execute("BEGIN")
        try:
            yield
            self.connection.execute("COMMIT")
        except duckdb.Error as error:
            if is_damage(error):
                raise unusable(self.path, error) from None
            raise
        finally:
            with contextlib.suppress(duckdb.Error):  # none is open after a COMMIT
                self.connection.execute("ROLLBACK")

    def add_look(self, row: Mapping[str, Any]) -> None:
        """Leave a look in the run's own ledger."""
        add_pending_look(self.path, row)

    def log(self, event: str, **values: Any) -> None:
        """Do nothing: the log is of the run."""

    def write_reply(self, record: Record) -> int:
        """Raise StorageError: nobody is asked through a copy."""
        raise StorageError(f"{self.path} is read through a copy; ask by a command")

    def cursor(self) -> Snapshot:
        """Return the same copy with a connection of its own, for another thread."""
        other = Snapshot(self.path, self.about, self.connection.cursor())
        other.key = self.key
        return other


S = TypeVar("S", bound=Snapshot)


def state_key(path: Path) -> str:
    """Return a text that changes whenever a run on disk does, its people's answers included."""
    parts = [path / "run.toml", path / PENDING]
    parts += sorted(path.glob(f"{DATABASE}*")) + sorted((path / "journals").glob("*.jsonl"))
    stats = []
    for part in parts:
        with contextlib.suppress(OSError):
            about = part.stat()
            stats.append(f"{part.name}:{about.st_ino}:{about.st_mtime_ns}:{about.st_size}")
    return " ".join(stats)


def open_snapshot(
    name: str,
    place: Path,
    folder: Path = RUNS,
    kind: type[S] = Snapshot,  # type: ignore[assignment]  # the default of S
) -> S:
    """Return a run as it is now, copied into the folder `place`, which is made.

    What a command that writes it has received in the last second may be missing.

    Raises UnknownName if there is no such run, StorageError if it cannot be copied or is damaged.
    """
    path = existing_run(name, folder)
    about = read_about(path)
    expected = read_commits(path)  # before the copy: another process may write on meanwhile
    key = copy_run(path, place)
    snapshot = kind(path, about, connect(path, read_only=False, copy=place))
    snapshot.key = key
    try:
        checked_commits(snapshot, expected)
    except BaseException:
        snapshot.connection.close()
        raise
    return snapshot


class Borrowed(Snapshot):
    """A copy that is gone when it is closed."""

    place: Path

    def close(self) -> None:
        """Release the copy and delete it."""
        super().close()
        shutil.rmtree(self.place, ignore_errors=True)


def open_to_read(name: str, folder: Path = RUNS) -> Run:
    """Return a run to read: itself, or a copy while another process writes it, which `notes` say.

    Raises as `open_run` does, but RunLocked.
    """
    try:
        return open_run(name, folder=folder, read_only=True)
    except RunLocked:
        return borrow(name, folder)


def borrow(name: str, folder: Path = RUNS) -> Borrowed:
    """Return a copy of a run that another process writes, in a folder of its own, which is gone
    when it is closed. Raises as `open_snapshot` does."""
    place = Path(tempfile.mkdtemp(prefix="autointerp-"))
    try:
        run = open_snapshot(name, place, folder, kind=Borrowed)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    run.place = place
    process = writer_of(run.path / DATABASE)
    who = "another process" if process is None else f"process {process}"
    run.notes = (f"{who} writes run '{name}'; it is read as it is now, from a copy",)
    return run


def copy_run(path: Path, place: Path) -> str:
    """Copy a run's settings and database into a folder, as a kill would leave them now; return the
    key of what was copied.

    Raises StorageError if that is not possible.
    """
    try:
        place.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        for _ in range(TRIES):
            key = state_key(path)
            if _copy_once(path, place):
                return key
            time.sleep(PAUSE_S)
    except OSError as error:
        closed = isinstance(error, PermissionError)
        remedy = f"let yourself read {path} and write {place}" if closed else "free some space"
        raise StorageError(f"cannot copy {path} to {place} ({error.strerror}); {remedy}") from None
    raise StorageError(f"{path / DATABASE} changes too fast to be copied; try again")


def _copy_once(path: Path, place: Path) -> bool:
    """Copy the files; return whether they belong together.

    A checkpoint writes to unused blocks, then its header, then empties the log. While the header
    stays, all blocks that it reaches stay, and the log continues it.
    """
    head = _head(path / DATABASE)
    for old in place.glob(f"{DATABASE}*"):
        old.unlink()
    shutil.copyfile(path / "run.toml", place / "run.toml")
    # The database first: what the log has beyond it is applied when the copy is opened.
    try:
        for file in sorted(path.glob(f"{DATABASE}*")):
            _copy_file(file, place / file.name)
    except FileNotFoundError:  # the log of a checkpoint that has just ended
        return False
    return head == _head(path / DATABASE)


def _head(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(HEAD_BYTES)
    except FileNotFoundError:
        return b""


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file, by the file system itself where it shares blocks."""
    with source.open("rb") as reader, target.open("wb") as writer:
        copy = getattr(os, "copy_file_range", None)
        if copy is not None:
            try:
                while copy(reader.fileno(), writer.fileno(), CHUNK):
                    pass
                return
            except OSError:  # not between these file systems
                reader.seek(0)
                writer.seek(0)
                writer.truncate()
        shutil.copyfileobj(reader, writer, CHUNK)
