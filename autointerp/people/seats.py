"""People at their sessions over a line that may be slow, cut off, or tried twice: no HTTP here.

A seat is a rater at a session: the state machine over the rater's journal. It hands out steps by
keys that say nothing of the items, some of them ahead for when the line is gone, and takes what the
rater did, each with an id that goes into the journal: what is sent twice is written once. An answer
is on the disk before it is acknowledged.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autointerp.errors import BadInput, RunLocked
from autointerp.files import PRIVATE_FILE
from autointerp.people.journal import Entry, Journal, Journals, open_journal, write_session
from autointerp.people.machine import IDLE_S, Machine
from autointerp.people.session import Part, Session, Step, Training

AHEAD = 8  # steps that a page holds for when the line is gone
LEASE_S = 900.0  # for which items that a rater has before them count as rated
MOST_S = 3600.0  # of work on one answer, as a page claims it
REST_S = 1.0  # between looks into journals that other processes write
IDLE_SEAT_S = 1800.0  # after which a journal is let go, so that a terminal may take it up
LONGEST = 2000  # characters of a text that a rater gives
ANSWER_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")

Doing = Literal["score", "skip", "guess", "describe", "undo", "widen", "decline", "accept"]
Why = Literal["", "answered already", "not the last answer", "not asked", "does not fit"]


@dataclass(frozen=True)
class Deed:
    """One thing that a rater did, as a page sends it.

    Attributes:
        id: Made by the page, the same however often it is sent.
        step: Key of the step that it is about; for a part, the part.
        seconds: Of work on it, as the page has seen it.
    """

    id: str
    step: str
    verb: Doing
    score: int | None = None
    text: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What became of a deed.

    Attributes:
        refused: Why it was not written; empty where it stands in the journal.
        feedback: After a practice item.
    """

    id: str
    refused: Why = ""
    feedback: Training | None = None
    given: int | None = None


class Leases:
    """Items that raters have before them, each for a while: no others are asked about them, so that
    an overlap is not exceeded by those who rate at the same time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, lasts_s: float = LEASE_S):
        self._clock = clock
        self._lasts_s = lasts_s
        self._held: dict[str, tuple[float, frozenset[str]]] = {}
        self._lock = threading.Lock()

    def take(self, rater: str, items: Iterable[str]) -> None:
        """Lease items to a rater, in place of those that the rater had."""
        with self._lock:
            self._held[rater] = (self._clock() + self._lasts_s, frozenset(items))

    def release(self, rater: str) -> None:
        """End a rater's leases."""
        with self._lock:
            self._held.pop(rater, None)

    def counts(self, without: str) -> Counter[str]:
        """Return how many raters other than `without` have each item before them."""
        now = self._clock()
        with self._lock:
            return Counter(
                item
                for rater, (until, items) in self._held.items()
                if rater != without and until > now
                for item in items
            )


class WorkClock:
    """A clock that goes on by what a page says of its rater's work, since answers that waited for
    the line come all at once."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def work(self, seconds: float) -> None:
        self._seconds += seconds

    def monotonic(self) -> float:
        return self._seconds

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)


class Seat:
    """A rater at a session. Made by `Seating.seat`; all of it is safe to call from any thread."""

    def __init__(self, journal: Journal, seating: Seating) -> None:
        self.rater = journal.rater
        self.session = journal.session
        self._journal = journal
        self._seating = seating
        self._clock = WorkClock()
        self._lock = threading.RLock()
        self._held: list[Step] = []
        self._closed = False
        self.machine = Machine(journal, self._clock, self._others)
        self._known: dict[str, Entry] = {
            entry.answer: entry for entry in journal.entries if entry.answer is not None
        }
        self._steps = {self.key(step): step for step in self.machine.all_steps}

    @property
    def name(self) -> str:
        """What a page calls this sitting: the same each time, and it says nothing."""
        return self._digest("sitting")

    def key(self, step: Step) -> str:
        """Return what a page calls a step: nobody can tell from it what the step is about, or that
        it is a repeat."""
        return self._digest(f"{step.kind}/{step.item}/{step.repeat}")

    def _digest(self, text: str) -> str:
        whole = f"{self.session.digest}/{self.session.seed}/{self.rater}/{text}"
        return hashlib.sha256(whole.encode()).hexdigest()[:20]

    def _others(self) -> Mapping[str, int]:
        return self._seating.counts(self.rater)

    def close(self, journal: contextlib.ExitStack) -> None:
        """Let the journal go; what comes after is refused, to be sent again."""
        with self._lock:
            self._closed = True
            journal.close()

    def _check_open(self) -> None:
        """Raise RunLocked once the journal was let go."""
        if self._closed:
            raise RunLocked("this sitting was closed; ask again")

    def ahead(self) -> list[Step]:
        """Return the steps that a page may hold, the present one first, and lease their items.

        A practice item stands alone, since what is said after it comes from here; and the last
        question is not given away before all is rated.
        """
        with self._lock, self._seating.turn:
            self._check_open()
            self.machine.look_again()  # what the others have before them by now is theirs
            upcoming = list(self.machine.upcoming)
            if not upcoming:
                self._seating.leases.release(self.rater)
                self._held = []
                return []
            if upcoming[0] != self.machine.again:  # what the page has stays where it is
                held = [step for step in self._held if step in upcoming]
                upcoming = [*held, *(step for step in upcoming if step not in held)]
            kind = upcoming[0].kind
            many = 1 if kind == "training" else AHEAD
            self._held = [step for step in upcoming[:many] if step.kind == kind]
            self.machine.turn_to(self._held[0])
            self._seating.leases.take(
                self.rater, [step.item for step in self._held if step.part == "ratings"]
            )
            return list(self._held)

    def consent(self, digest: str) -> None:
        """Note that the rater has agreed to a text."""
        with self._lock:
            self._check_open()
            self.machine.consent(digest)

    def is_in_place(self) -> bool:
        """Return whether the journal is still the one that lies at its path."""
        return self._journal.is_in_place()

    def do(self, deed: Deed) -> Outcome:
        """Do what a page sends; once, however often it comes. Then it is on the disk.

        Raises BadInput for an id or a text that nothing of ours sends, StorageError where the
        journal cannot be written, RunLocked where it was let go.
        """
        if not ANSWER_ID.fullmatch(deed.id):
            raise BadInput(f"answer id '{deed.id[:80]}': 8 to 64 letters and digits")
        if len(deed.text) > LONGEST:
            raise BadInput(f"a text of {len(deed.text):,} characters; give {LONGEST:,} at most")
        with self._lock:
            self._check_open()
            known = self._known.get(deed.id)
            if known is not None:
                return self._outcome(deed.id, known)
            before = len(self._journal.entries)
            self.machine.sent_as = deed.id
            try:
                refused = self._try(deed)
            except ValueError:
                refused = "does not fit"
            finally:
                self.machine.sent_as = None
            written = self._journal.entries[before:]
            for entry in written:
                self._known[deed.id] = entry
                self._seating.journals.add(entry)
            if refused or not written:
                return Outcome(deed.id, refused)
            return self._outcome(deed.id, written[-1])

    def _try(self, deed: Deed) -> Why:
        machine = self.machine
        if deed.verb in ("decline", "accept"):
            parts: tuple[Part, ...] = ("practice", "repeats", "guesses")
            if deed.step not in parts:
                return "not asked"
            part = next(one for one in parts if one == deed.step)
            done = machine.decline(part) if deed.verb == "decline" else machine.accept(part)
            return "" if done else "not asked"
        step = self._steps.get(deed.step)
        if step is None:
            return "not asked"
        if deed.verb == "undo":
            undone = machine.last == step and machine.undo()
            return "" if undone else "not the last answer"
        if machine.is_answered(step):
            return "answered already"
        if not machine.turn_to(step):
            return "not asked"
        if deed.verb == "widen":
            return "" if machine.widen() else "not asked"
        if deed.verb == "describe":
            machine.describe(deed.text)
            return ""
        self._work(deed.seconds)
        if deed.verb == "score":
            if deed.score is None:
                return "does not fit"
            machine.rate(deed.score)
        elif deed.verb == "skip":
            machine.skip(deed.text)
        else:
            machine.guess(deed.text)
        machine.go_on()
        return ""

    def _work(self, seconds: float) -> None:
        """Let the clock go on by the work that a page claims; what is no number is none."""
        left = min(seconds, MOST_S) if seconds > 0 else 0.0
        while left > 0:
            self._clock.work(min(left, IDLE_S))
            self.machine.touch()
            left -= IDLE_S

    def _outcome(self, identifier: str, entry: Entry) -> Outcome:
        if entry.verb != "score":
            return Outcome(identifier)
        step = Step(entry.kind, entry.item, entry.repeat)
        return Outcome(identifier, feedback=self.machine.training_of(step), given=entry.score)


class Seating:
    """The seats of a run: journals that are open, and who has which items before them."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.leases = Leases(clock)
        self.journals = Journals(folder, REST_S)
        self._clock = clock
        self._lock = threading.RLock()
        self._seats: dict[Path, tuple[Seat, contextlib.ExitStack, list[float]]] = {}
        self._opening: dict[Path, threading.Lock] = {}
        self._counts = threading.Lock()
        self.turn = threading.Lock()  # one rater at a time is handed items

    def counts(self, without: str) -> Counter[str]:
        """Return how many others have rated each item, or have it before them."""
        with self._counts:
            rated = self.journals.counts(without)
        return rated + self.leases.counts(without)

    def seat(self, path: Path, rater: str) -> Seat:
        """Return the rater's seat at the session of a journal, opened where it is not.

        Raises RunLocked while somebody rates it in a terminal, BadInput if it is no journal.
        """
        with self._lock:
            self._let_go()
            opening = self._opening.setdefault(path, threading.Lock())
        with opening:  # reading a journal takes a while: nobody else waits for it
            with self._lock:
                held = self._seats.get(path)
                if held is not None and not held[0].is_in_place():  # a backup was put there, say
                    self._drop(path)
                    held = None
                if held is not None:
                    held[2][0] = self._clock()
            if held is None:
                with contextlib.ExitStack() as stack:
                    seat = Seat(stack.enter_context(open_journal(path, rater)), self)
                    held = (seat, stack.pop_all(), [self._clock()])
                with self._lock:
                    self._seats[path] = held
        if held[0].rater != rater:
            raise BadInput(f"{path.name} is another person's")
        return held[0]

    def _let_go(self) -> None:
        """Close journals that nobody has used for a while."""
        now = self._clock()
        for path, (_, _, used) in list(self._seats.items()):
            if now - used[0] > IDLE_SEAT_S:
                self._drop(path)

    def _drop(self, path: Path) -> None:
        seat, stack, _ = self._seats.pop(path)
        self.leases.release(seat.rater)
        seat.close(stack)

    def close(self) -> None:
        """Close all journals."""
        with self._lock:
            for seat, stack, _ in self._seats.values():
                seat.close(stack)
            self._seats.clear()


def journal_of(folder: Path, rater: str, session: Session) -> Path:
    """Return where a person's answers to a session that they were invited to lie."""
    return folder / f"{rater.replace(':', '-')}.{session.digest[:12]}.jsonl"


def seated(folder: Path) -> list[tuple[str, str]]:
    """Return who has a journal in a folder, and how the session's digest begins: of those, too, who
    have answered nothing, whose journals say it by their names alone."""
    names = (path.name.rsplit(".", 2) for path in sorted(folder.glob("*.*.jsonl")))
    return [(person.replace("-", ":", 1), digest) for person, digest, _ in names]


def sit_down(folder: Path, rater: str, session: Session) -> Path:
    """Return the rater's journal of a session, begun where there is none; a kill leaves all of it
    or none."""
    path = journal_of(folder, rater, session)
    if not path.exists():
        write_session(path, session, PRIVATE_FILE)
    return path
