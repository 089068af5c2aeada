"""Sessions without a run: items of plain words, as many as a test asks for."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from autointerp.people.journal import Journal, open_journal, write_session
from autointerp.people.session import Session, Training
from autointerp.questions.rubric_files import load_rubric
from autointerp.records import Item, ItemContext

SENTENCE = (
    "the quick brown fox jumps over the lazy dog while a small cat sat upon the old grey mat "
    "and looked at all who came"
)
WORDS = SENTENCE.split()


@dataclass
class SetClock:
    """A clock that a test moves; `wall` is what people set, and may jump."""

    seconds: float = 1000.0
    wall: datetime.datetime = field(default=datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC))

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime.datetime:
        return self.wall


def make_item(name: str, token: str = " cat", contexts: int = 10) -> Item:
    rubric = load_rubric("interpretability-1-5")
    shown = []
    for place in range(contexts):
        before = tuple(" " + word for word in WORDS[place : place + 8])
        after = tuple(" " + word for word in WORDS[place + 4 : place + 12])
        shown.append(ItemContext((*before, token, *after), None, 8, "explain", False))
    return Item(name, rubric.id, tuple(shown))


@pytest.fixture
def make_session() -> Callable[..., Session]:
    """Return a function that makes a session of `n` items, `training` more for practice."""

    def make(n: int = 4, training: int = 0, token: str = " cat", **fields: object) -> Session:
        rated = tuple(f"item{i:03}" for i in range(n))
        practice = tuple(Training(f"gold{i}", 5, "It fires on 'cat'.") for i in range(training))
        names = (*rated, *(one.item for one in practice))
        content: dict[str, object] = {
            "run": "a run",
            "rubric": load_rubric("interpretability-1-5"),
            "items": tuple(make_item(name, token) for name in sorted(names)),
            "to_rate": rated,
            "to_guess": rated,
            "training": practice,
            "repeat_share": 0.0,
            "contexts": 10,
            "seed": "0",
        }
        return Session(**{**content, **fields})  # type: ignore[arg-type]

    return make


@pytest.fixture
def journal_of(tmp_path: Path) -> Callable[..., AbstractContextManager[Journal]]:
    """Return a function that opens the journal of a session, as written or taken up again."""

    def open_one(session: Session, rater: str = "human:ann") -> AbstractContextManager[Journal]:
        path = tmp_path / f"{rater.replace(':', '-')}.jsonl"
        if not path.exists():
            write_session(path, session)
        return open_journal(path, rater)

    return open_one


@pytest.fixture
def clock() -> SetClock:
    return SetClock()
