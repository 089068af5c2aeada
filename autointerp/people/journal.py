"""Answers on disk before the next item appears: a file of lines that is only ever added to.

The first line is the session; each line after it is one entry of one rater, chained to the one
before by a digest. A journal needs no run and no database, so raters lock nobody out; its lines
are read into the run later, as often as one likes.

A line that was cut off, as a full disk or a lost power supply leaves it, is passed over: it is no
JSON. One that is JSON and does not follow from those before it was edited.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import os
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

from autointerp.errors import BadInput, RunLocked, StorageError
from autointerp.files import check_readable_twice, json_value, unwritten, write_all, write_bytes
from autointerp.people.session import Session, StepKind, canonical, session_fields, session_from
from autointerp.text import count

try:
    import fcntl
except ImportError:  # Windows: a rater must take care not to sit down twice
    fcntl = None  # type: ignore[assignment]

Verb = Literal["score", "skip", "guess", "describe", "undo", "widen", "decline", "consent"]
ANSWERS = ("score", "skip", "undo")  # verbs of a rating by which it is given or taken back

FORMAT = 1
# Of an entry's line: its first field by name.
BEGIN = re.compile(rb'\{"(?:answer":"[^"]*",")?at":"')
DIGEST = re.compile(rb'"digest":"([0-9a-f]{64})"')  # of the session, in the first line


@dataclass(frozen=True)
class Entry:
    """One thing that a rater did.

    Attributes:
        seq: From 0, for each rater of a session; only a line that was cut off is passed over.
        at: Time in UTC, for the record; nothing is computed from it.
        seconds: Spent on it, without pauses.
        score: With the verb `score`.
        text: A guess, a reason for skipping or a description.
        answer: The id by which its sender knows it, so that it is not written twice; None where
            nobody sends it.
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
    answer: str | None = None


def entry_fields(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON values, without an id where it has none, as lines ever were."""
    fields = dataclasses.asdict(entry)
    if entry.answer is None:
        del fields["answer"]
    return fields


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
        self._end = read.size
        self._chain, last = read.ends.get(rater, (first_link(session.digest, rater), -1))
        self._seq = last + 1

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def is_in_place(self) -> bool:
        """Return whether the path still leads to the open file, and nobody has shortened it."""
        held = os.fstat(self._file.fileno())
        try:
            there = self.path.stat()
        except OSError:
            return False
        return os.path.samestat(held, there) and held.st_size >= self._end

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
        answer: str | None = None,
    ) -> Entry:
        """Add an entry; when this returns it is on the disk.

        Raises StorageError, and leaves the file as it was, where it cannot be written, or has been
        removed or replaced meanwhile: nobody would find the entry.
        """
        if not self.is_in_place():
            raise StorageError(
                f"{self.path} was removed or replaced while it was being rated; put it back, or "
                "open it again"
            )
        at = at or datetime.datetime.now(datetime.UTC)
        entry = Entry(
            rater=self.rater,
            seq=self._seq,
            at=at.isoformat(timespec="seconds"),
            seconds=round(seconds, 3),
            kind=kind,
            verb=verb,
            item=item,
            repeat=repeat,
            score=score,
            text=text,
            answer=answer,
        )
        chain = link(self._chain, entry)
        line = canonical({**entry_fields(entry), "chain": chain}) + "\n"
        handle = self._file.fileno()
        try:
            os.ftruncate(handle, self._end)  # what an earlier failure could not take back
            os.lseek(handle, self._end, os.SEEK_SET)
            write_all(handle, line.encode())
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, self._end)
            raise StorageError(
                f"cannot write {self.path} ({error.strerror}); all answers before this one are "
                "safe: free some space and run the same command again"
            ) from None
        self._end += len(line)
        self._chain = chain
        self._seq += 1
        self.entries.append(entry)
        return entry


@dataclass(frozen=True)
class Reading:
    """A journal as read.

    Attributes:
        session: None where the first line is damaged, so that nobody can go on with it.
        digest: Of the session; entries are chained to it.
        entries: Of each rater; `seq` has a gap where a line was cut off or edited.
        links: Of each rater, the link of each of them.
        ends: Of each rater, link and `seq` of the last line.
        size: Bytes up to the end of the last complete line.
        torn: Numbers of lines that were cut off, from 1, but for the last of the file.
        edited: Numbers of lines that do not follow from those before, and are not read.
    """

    session: Session | None
    digest: str
    entries: dict[str, list[Entry]]
    links: dict[str, list[str]]
    ends: dict[str, tuple[str, int]]
    size: int
    torn: tuple[int, ...] = ()
    edited: tuple[int, ...] = ()


def first_link(session: str, rater: str) -> str:
    """Return what a rater's first entry is chained to; `session` is the session's digest."""
    return hashlib.sha256(f"{session}/{rater}".encode()).hexdigest()[:16]


def link(chain: str, entry: Entry) -> str:
    """Return the digest that ties an entry to all that its rater did before."""
    text = chain + canonical(entry_fields(entry))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_session(path: Path, session: Session, mode: int | None = None) -> None:
    """Write a journal without entries; a kill leaves all of it or none.

    `mode` are the file's permissions, the system's default if None: packs are given away.

    Raises StorageError if it cannot be written.
    """
    head = {
        "autointerp": FORMAT,
        "digest": session.digest,
        "session": session_fields(session),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritten(path, error) from None
    write_bytes(path, (canonical(head) + "\n").encode(), mode=mode)


def read_journal(path: Path, known: Collection[str] = ()) -> Reading:
    """Return what a journal holds; lines that were cut off or edited are no entries, and told.

    Args:
        known: Digests of sessions that were given out: by these the answers of one whose own line
            is damaged can still be told from others.

    Raises BadInput if it cannot be read, is no journal, or its session is damaged and not known.
    """
    try:
        check_readable_twice(path)
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {path} ({error.strerror})") from None
    return _read(path, content, known)


@dataclass
class _Chain:
    """A rater's chain while it is read.

    Attributes:
        claimed: Link that the last line gives.
        computed: Link that the last line should give, where that is another.
        doubtful: That line's entry and number, until the next line vouches for it.
        seq: Of the last line.
        gap: Whether a line since may have been the rater's, for nobody can tell whose it was.
    """

    claimed: str
    computed: str = ""
    doubtful: tuple[Entry, int] | None = None
    seq: int = -1
    gap: bool = False


def _read(path: Path, content: bytes, known: Collection[str] = ()) -> Reading:
    """Return what is in a journal.

    An entry is believed if its link follows from the rater's line before, whatever became of that
    line itself. Behind lines of which nobody can tell whose they were, an entry with a later number
    is taken as the first after the gap.
    """
    session, digest = _read_head(path, content.partition(b"\n")[0], known)
    size = content.rfind(b"\n") + 1
    chains: dict[str, _Chain] = {}
    entries: dict[str, list[Entry]] = {}
    links: dict[str, list[str]] = {}
    torn: list[int] = []
    edited: list[int] = []

    def believe(entry: Entry, chain: str) -> None:
        entries.setdefault(entry.rater, []).append(entry)
        links.setdefault(entry.rater, []).append(chain)

    for number, line in enumerate(content[:size].split(b"\n")[1:-1], 2):
        read = _read_line(line)
        entry = read.entry
        if read.cut:
            torn.append(number)
        elif entry is None:
            edited.append(number)
        if read.cut or entry is None:
            for chain in chains.values():
                chain.gap = True
        if entry is None:
            continue
        fresh = _Chain(first_link(digest, entry.rater), gap=bool(torn or edited))
        state = chains.setdefault(entry.rater, fresh)
        follows = link(state.claimed, entry)
        if read.chain == follows:
            believe(entry, read.chain)
            state.computed, state.doubtful = "", None
        elif state.doubtful and read.chain == link(state.computed, entry):
            believe(state.doubtful[0], state.computed)  # only its own link was damaged
            edited.remove(state.doubtful[1])
            believe(entry, read.chain)
            state.computed, state.doubtful = "", None
        elif state.gap and entry.seq > state.seq + 1:
            believe(entry, read.chain)
            state.computed, state.doubtful = "", None
        else:
            edited.append(number)
            state.computed, state.doubtful = follows, (entry, number)
            if state is fresh:  # the name may be what was changed
                for chain in chains.values():
                    chain.gap = True
        state.claimed, state.seq, state.gap = read.chain, entry.seq, False
    ends = {rater: (chain.claimed, chain.seq) for rater, chain in chains.items()}
    return Reading(session, digest, entries, links, ends, size, tuple(torn), tuple(edited))


def _read_head(path: Path, line: bytes, known: Collection[str]) -> tuple[Session | None, str]:
    """Return the session and its digest; the session is None where it is damaged, but known."""
    session: Session | None = None
    claimed = ""
    try:
        head = json_value(line)
        if head["autointerp"] != FORMAT:
            raise BadInput(
                f"{path} is a session of format {head['autointerp']}; this version reads {FORMAT}"
            )
        session, claimed = session_from(head["session"]), head["digest"]
    except (ValueError, KeyError, TypeError, AttributeError):
        digest = DIGEST.search(line)
        claimed = digest[1].decode() if digest else ""
    if session is not None and session.digest in (claimed, *known):
        return session, session.digest
    if claimed in known:
        return None, claimed
    if session is None:
        raise BadInput(f"{path} is not a session or pack of autointerp, or was edited")
    raise BadInput(
        f"{path} was edited: its content does not fit its digest; ask for the file again"
    )


@dataclass(frozen=True)
class _Line:
    """A line as read: `cut` if a part is missing; no entry where there is none to be read."""

    entry: Entry | None
    chain: str = ""
    cut: bool = False


def _read_line(line: bytes) -> _Line:
    """Return the entry in a line; where one was cut off, of the line that was written behind it."""
    try:
        fields: Any = json_value(line)
    except ValueError:
        # Text in an entry has its quotes escaped.
        begins = [match.start() for match in BEGIN.finditer(line, 1)]
        if not begins:
            return _Line(None, cut=True)
        return replace(_read_line(line[begins[-1] :]), cut=True)
    try:
        chain = fields.pop("chain")
        entry = Entry(**fields)
    except (KeyError, TypeError, AttributeError):
        return _Line(None)
    texts = (entry.rater, entry.at, entry.kind, entry.verb, entry.item, chain)
    if not all(isinstance(text, str) for text in texts) or not isinstance(entry.seq, int):
        return _Line(None)
    return _Line(entry, chain)


def damage_text(path: Path, read: Reading) -> str:
    """Return what of a journal could not be read, as a sentence; empty if nothing."""
    damage = [
        f"{count(len(numbers), 'line was', 'lines were')} {what} "
        f"(line {', '.join(str(number) for number in numbers[:5])})"
        for numbers, what in ((read.torn, "cut off"), (read.edited, "edited"))
        if numbers
    ]
    damage += ["its session, in line 1, is damaged"] if read.session is None else []
    return f"{path}: {' and '.join(damage)}; the other answers are read" if damage else ""


@contextlib.contextmanager
def open_journal(path: Path, rater: str) -> Iterator[Journal]:
    """Open a journal for one rater to add to; a line that was cut off is cleared away.

    Raises RunLocked while another process has it open, BadInput as `read_journal` does.
    """
    try:
        check_readable_twice(path)
    except OSError as error:
        raise BadInput(f"{path} is {error.strerror}") from None
    try:
        file = path.open("r+b", buffering=0)
    except FileNotFoundError:
        raise BadInput(f"no file {path}; give the path of a pack or a journal") from None
    except OSError as error:
        raise StorageError(f"cannot open {path} for writing ({error.strerror})") from None
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go at any death
            except BlockingIOError:
                raise RunLocked(
                    f"{path} is being rated in another window; finish there. Another person may "
                    "rate a copy"
                ) from None
        read = _read(path, file.read())
        if read.session is None:
            raise BadInput(f"{path} was edited: its session, in line 1, is damaged")
        try:
            os.ftruncate(file.fileno(), read.size)
        except OSError as error:
            raise unwritten(path, error) from None
        yield Journal(path, file, read.session, rater, read)


class Journals:
    """What the raters of a run have rated so far, read from their journals as they grow.

    `rest_s`: seconds between two looks into the folder; what is written in this process is told by
    `add`.
    """

    def __init__(self, folder: Path, rest_s: float = 0.0) -> None:
        self._folder = folder
        self._rest_s = rest_s
        self._looked: float | None = None
        self._read_to: dict[Path, int] = {}
        self._rated: dict[str, dict[str, bool]] = {}

    def counts(self, without: str) -> Counter[str]:
        """Return how many people other than `without` have rated each item."""
        now = time.monotonic()
        if self._looked is None or now - self._looked >= self._rest_s:
            self._looked = now
            for path in sorted(self._folder.glob("*.jsonl")):
                self._catch_up(path)
        return Counter(
            item
            for rater, rated in self._rated.items()
            if rater != without
            for item, stands in rated.items()
            if stands
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
            for line in lines.splitlines():
                entry = _read_line(line).entry
                if entry is not None:
                    self.add(entry)

    def add(self, entry: Entry) -> None:
        """Count an entry; one that is counted already changes nothing."""
        if entry.kind == "rating" and entry.repeat == 0 and entry.verb in ANSWERS:
            self._rated.setdefault(entry.rater, {})[entry.item] = entry.verb == "score"


class OtherJournals:
    """What the other raters of a run have rated so far."""

    def __init__(self, folder: Path, rater: str) -> None:
        self._journals = Journals(folder)
        self._rater = rater

    def counts(self) -> Counter[str]:
        """Return how many other people have rated each item."""
        return self._journals.counts(self._rater)
