"""A person rates a pack, with nothing loaded but what that takes: packs go to small machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autointerp.people.journal import open_journal
from autointerp.people.machine import Machine
from autointerp.records import check_person
from autointerp.text import count

Ask = Callable[[Machine], None]  # shows each question until the person stops


@dataclass(frozen=True)
class SitResult:
    """What a person did in one sitting.

    Attributes:
        answers: Answers given in this sitting.
        rated, skipped: Of the session, so far.
        left: Questions that remain; 0 where the session is complete.
        unread: Why the answers are not in the run yet; empty if they are. The journal keeps them.
    """

    rater: str
    answers: int
    rated: int
    skipped: int
    left: int
    unread: str = ""
    journal: Path | None = None

    def __str__(self) -> str:
        text = f"{self.rater}: {self.rated} rated, {self.skipped} skipped"
        if self.left:
            text += f"; {count(self.left, 'question')} left: the same command continues from here"
        else:
            text += "; all done"
        if not self.unread:
            return text
        return (
            f"your answers are safe in {self.journal}, and are read into the run next time "
            f"({self.unread})\n{text}"
        )


def result_of(
    machine: Machine, answers: int, unread: str = "", journal: Path | None = None
) -> SitResult:
    """Return where a session stands after a sitting of so many answers."""
    counts = machine.counts
    left = 0 if machine.step is None else machine.left
    return SitResult(machine.rater, answers, counts["score"], counts["skip"], left, unread, journal)


def rate_pack(path: Path, rater: str, ask: Ask) -> SitResult:
    """Let a person rate a pack; the answers are stored in the same file."""
    with open_journal(path, check_person(rater)) as journal:
        before = len(journal.entries)
        machine = Machine(journal)
        ask(machine)
        answers = len(journal.entries) - before
    return result_of(machine, answers)
