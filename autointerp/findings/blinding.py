"""The blinding check: can raters tell what they rated?

People are asked at the end of a session. For a model, ask `guess_rubric` about the same items and
store what `read_guess` makes of the replies with `people.add_guesses`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from autointerp.errors import TooFewRatings
from autointerp.people.session import GUESSES, Guess
from autointerp.questions.rubric import Rubric
from autointerp.records import Reply
from autointerp.stats.blinding_index import bang_index, james_index
from autointerp.stats.results import Integers, Statistic
from autointerp.store.run import Run

ARMS: tuple[Guess, ...] = ("feature", "neuron", "control")
ARM_OF: Mapping[str, Guess] = {"features": "feature", "neurons": "neuron"}
LABELS: Mapping[Guess, str] = {
    "feature": "a feature of a sparse autoencoder",
    "neuron": "a neuron",
    "control": "a control: made to look like one of the two",
    "unknown": "cannot be told",
}
TEXT = """\
You are shown where one unit of a language model fires. It is a feature of a sparse autoencoder, \
a neuron, or a control that was made to look like one of the two. Say which, from the contexts \
alone. If you cannot tell, say so: a guess without a reason is worth nothing here.

{shown}

The answers

{scale}

{reply}"""


@dataclass(frozen=True)
class SourceBlinding:
    """How one source was guessed.

    Attributes:
        arm: What a right guess would be.
        guesses: Count of each answer.
        bang: 0 at chance, 1 where it is always told.
        james: Of this source against all others; below 0.5 where it is told.
    """

    source: str
    arm: Guess
    guesses: Mapping[Guess, int]
    bang: Statistic
    james: Statistic


@dataclass(frozen=True)
class Blinding:
    """How a rater's blind held. `james` is of all sources together, by arm."""

    rater: str
    sources: tuple[SourceBlinding, ...]
    james: Statistic


def guess_rubric(rubric: Rubric) -> Rubric:
    """Return the question of the blinding check about what `rubric` shows.

    Its scores are the places of `GUESSES`, from 1. Never store its replies as ratings.
    """
    return replace(
        rubric,
        id="blinding-check",
        version=1,
        title="Feature, neuron or control?",
        scale=tuple((place, LABELS[guess]) for place, guess in enumerate(GUESSES, 1)),
        asks=(),
        text=TEXT,
    )


def read_guess(question: Rubric, reply: Reply) -> Guess | None:
    """Return the guess in a reply to `guess_rubric`'s question; None where there is none."""
    read = question.read(reply)
    return None if read.score is None else GUESSES[read.score - 1]


def arm_of(source: str, is_control: bool) -> Guess:
    """Return what a right guess of a source is: what is no neuron and no control is a feature."""
    return "control" if is_control else ARM_OF.get(source, "feature")


def blinding_of(run: Run, rubric_digest: str, rater: str, level: float = 0.95) -> Blinding:
    """Return the blinding indices of a rater's guesses about items of a rubric.

    Raises TooFewRatings if the rater was never asked.
    """
    rows = run.rows(
        "SELECT source, is_control, guess, count(*) FROM unit_guess"
        " WHERE rubric_digest = ? AND rater = ? GROUP BY ALL ORDER BY source",
        [rubric_digest, rater],
    )
    if not rows:
        raise TooFewRatings(f"{rater} was never asked what the items were")
    arms: dict[str, Guess] = {}
    tables: dict[str, dict[Guess, int]] = {}
    for source, is_control, guess, count in rows:
        arms[source] = arm_of(source, is_control)
        tables.setdefault(source, dict.fromkeys(GUESSES, 0))[guess] = count
    return blinding_from(rater, tables, arms, level)


def blinding_from(
    rater: str,
    tables: Mapping[str, Mapping[Guess, int]],
    arms: Mapping[str, Guess],
    level: float = 0.95,
) -> Blinding:
    """Return the indices of guesses counted by source."""
    by_arm = np.zeros((len(ARMS), len(GUESSES)), dtype=np.int64)
    for source, counts in tables.items():
        by_arm[ARMS.index(arms[source])] += [counts[guess] for guess in GUESSES]
    found = []
    for source, counts in tables.items():
        arm = arms[source]
        others = [tables[name] for name in tables if name != source]
        right, unknown = counts[arm], counts["unknown"]
        wrong = sum(counts.values()) - right - unknown
        found.append(
            SourceBlinding(
                source,
                arm,
                dict(counts),
                bang_index(right, wrong, unknown, arms=len(ARMS), level=level),
                james_index(_against_others(counts, others, arm), level=level),
            )
        )
    return Blinding(rater, tuple(found), james_index(by_arm, level=level))


def _against_others(
    counts: Mapping[Guess, int], others: list[Mapping[Guess, int]], arm: Guess
) -> Integers:
    """Return a table of two arms: this source and the rest; guesses of its arm, another, none."""

    def row(table: Mapping[Guess, int]) -> list[int]:
        other = sum(table[guess] for guess in ARMS if guess != arm)
        return [table[arm], other, table["unknown"]]

    rest = np.sum([row(table) for table in others], axis=0) if others else np.zeros(3)
    return np.stack([np.array(row(counts)), rest]).astype(np.int64)


def guessers(run: Run, rubric_digest: str) -> list[str]:
    """Return the raters that were asked what the items of a rubric were."""
    rows = run.rows(
        "SELECT DISTINCT g.rater FROM current_guess g JOIN item i USING (item_id)"
        " WHERE i.rubric_digest = ? ORDER BY g.rater",
        [rubric_digest],
    )
    return [row[0] for row in rows]
