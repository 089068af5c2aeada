"""Answers on disk before the next item appears: a file of lines that is only ever added to.

The first line is the session; each line after it is one entry of one rater, chained to the one
before by a digest. A journal needs no run and no database, so raters lock nobody out; its lines
are read into the run later, as often as one likes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from autointerp.errors import BadInput, RunLocked, StorageError
from autointerp.files import json_value, partial_file
from autointerp.people.session import Session, StepKind, canonical, session_fields, session_from

try:
    import fcntl
except ImportError:  # Windows: a rater must take care not to sit down twice
    fcntl = None  # type: ignore[assignment]

Verb = Literal["score", "skip", "guess", "describe", "undo"]

FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """One thing that a rater did.

    Attributes:
        seq: From 0, for each rater of a session; times may jump, this does not.
        at: Time in UTC, for the record; nothing is computed from it.
        seconds: Spent on it, without pauses.
        score: With the verb `score`.
        text: A guess, a reason for skipping or a description.
    """

    rater: str
    seq: int
    at: str
    seconds: float
    kind: StepKind
    verb: Verb
    item: str
    repeat: int = 0
    score: int | None = None
    text: str | None = None


class Journal:
    """An open journal, held by one rater. Made by `open_journal`; use it in a `with` statement."""

    def __init__(
        self, path: Path, file: IO[bytes], session: Session, rater: str, read: Reading
    ) -> None:
        self.path = path
        self.session = session
        self.rater = rater
        self.entries = list(read.entries.get(rater, ()))
        self._file = file
        self._chain = read.chains.get(rater) or first_link(session, rater)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(
        self,
        kind: StepKind,
        verb: Verb,
        item: str,
        repeat: int = 0,
        *,
        seconds: float = 0.0,
        score: int | None = None,
        text: str | None = None,
        at: datetime.datetime | None = None,
    ) -> Entry:
        """Add an entry; when this returns it is on the disk.

        Raises StorageError, and leaves the file as it was, where it cannot be written.
        """
        at = at or datetime.datetime.now(datetime.UTC)
        entry = Entry(
            rater=self.rater,
            seq=len(self.entries),
            at=at.isoformat(timespec="seconds"),
            seconds=round(seconds, 3),
            kind=kind,
            verb=verb,
            item=item,
            repeat=repeat,
            score=score,
            text=text,
        )
        chain = link(self._chain, entry)
        line = canonical({**dataclasses.asdict(entry), "chain": chain}) + "\n"
        end = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(line.encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), end)
            raise StorageError(
                f"cannot write {self.path} ({error.strerror}); all answers before this one are "
                "safe: free some space and run the same command again"
            ) from None
        self._chain = chain
        self.entries.append(entry)
        return entry


@dataclass(frozen=True)
class Reading:
    """A journal as read.

    Attributes:
        entries: Of each rater.
        chains: The last link of each rater.
        size: Bytes up to the end of the last complete line.
    """

    session: Session
    entries: dict[str, list[Entry]]
    chains: dict[str, str]
    size: int


def first_link(session: Session, rater: str) -> str:
    """Return what a rater's first entry is chained to."""
    return hashlib.sha256(f"{session.digest}/{rater}".encode()).hexdigest()[:16]


def link(chain: str, entry: Entry) -> str:
    """Return the digest that ties an entry to all that its rater did before."""
    text = chain + canonical(dataclasses.asdict(entry))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_session(path: Path, session: Session) -> None:
    """Write a journal without entries; a kill leaves all of it or none.

    Raises StorageError if it cannot be written.
    """
    head = {
        "autointerp": FORMAT,
        "digest": session.digest,
        "session": session_fields(session),
    }
    with partial_file(path) as partial:
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes((canonical(head) + "\n").encode())


def read_journal(path: Path) -> Reading:
    """Return what a journal holds; a line that was cut off in writing is no entry.

    Raises BadInput if it is not a journal, or was edited.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {path} ({error.strerror})") from None
    return _read(path, content)


def _read(path: Path, content: bytes) -> Reading:
    session = _read_head(path, content.partition(b"\n")[0])
    size = content.rfind(b"\n") + 1
    entries: dict[str, list[Entry]] = {}
    chains: dict[str, str] = {}
    for number, line in enumerate(content[:size].split(b"\n")[1:-1], 2):
        entry, chain = _read_line(path, number, line)
        done = entries.setdefault(entry.rater, [])
        before = chains.get(entry.rater) or first_link(session, entry.rater)
        if entry.seq != len(done) or chain != link(before, entry):
            raise _edited(path, number)
        done.append(entry)
        chains[entry.rater] = chain
    return Reading(session, entries, chains, size)


def _read_head(path: Path, line: bytes) -> Session:
    try:
        head = json_value(line)
        if head["autointerp"] != FORMAT:
            raise BadInput(
                f"{path} is a session of format {head['autointerp']}; this version reads {FORMAT}"
            )
        session, digest = session_from(head["session"]), head["digest"]
    except (ValueError, KeyError, TypeError):
        raise BadInput(f"{path} is not a session or pack of autointerp, or was edited") from None
    if session.digest != digest:
        raise BadInput(
            f"{path} was edited: its content does not fit its digest; ask for the file again"
        )
    return session


def _read_line(path: Path, number: int, line: bytes) -> tuple[Entry, str]:
    try:
        fields: dict[str, Any] = json_value(line)
        chain = fields.pop("chain")
        return Entry(**fields), chain
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _edited(path, number) from None


def _edited(path: Path, number: int) -> BadInput:
    return BadInput(f"{path} was edited: line {number} does not follow from those before it")


@contextlib.contextmanager
def open_journal(path: Path, rater: str) -> Iterator[Journal]:
    """Open a journal for one rater to add to; a line that was cut off is cleared away.

    Raises RunLocked while another process has it open, BadInput as `read_journal` does.
    """
    try:
        file = path.open("r+b", buffering=0)
    except OSError as error:
        raise StorageError(f"cannot open {path} for writing ({error.strerror})") from None
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go at any death
            except BlockingIOError:
                raise RunLocked(
                    f"{path} is being rated in another window; finish there, or rate a copy"
                ) from None
        read = _read(path, file.read())
        os.ftruncate(file.fileno(), read.size)
        yield Journal(path, file, read.session, rater, read)


class OtherJournals:
    """What the other raters of a run have rated so far, read from their journals as they grow."""

    def __init__(self, folder: Path, rater: str) -> None:
        self._folder = folder
        self._rater = rater
        self._read_to: dict[Path, int] = {}
        self._rated: dict[str, dict[str, bool]] = {}

    def counts(self) -> Counter[str]:
        """Return how many other people have rated each item."""
        for path in sorted(self._folder.glob("*.jsonl")):
            self._catch_up(path)
        return Counter(
            item for rated in self._rated.values() for item, stands in rated.items() if stands
        )

    def _catch_up(self, path: Path) -> None:
        """Read the complete lines that were added since the last look."""
        with contextlib.suppress(OSError), path.open("rb") as file:
            if path not in self._read_to:
                self._read_to[path] = len(file.readline())  # the session
            file.seek(self._read_to[path])
            new = file.read()
            lines = new[: new.rfind(b"\n") + 1]
            self._read_to[path] += len(lines)
            for number, line in enumerate(lines.splitlines(), 2):
                entry, _ = _read_line(path, number, line)
                if entry.rater != self._rater and entry.kind == "rating" and entry.repeat == 0:
                    rated = self._rated.setdefault(entry.rater, {})
                    if entry.verb in ("score", "skip", "undo"):
                        rated[entry.item] = entry.verb == "score"
