"""The blinding check: can raters tell what they rated?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autointerp.errors import TooFewRatings
from autointerp.findings.groups import Judgement
from autointerp.questions.guess import GUESSES, Guess
from autointerp.stats.blinding_index import bang_index, james_index
from autointerp.stats.results import Integers, Statistic
from autointerp.store.run import Run

ARMS: tuple[Guess, ...] = ("feature", "neuron", "control")
ARM_OF: Mapping[str, Guess] = {"features": "feature", "neurons": "neuron"}


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

    @property
    def above_chance(self) -> bool:
        """Whether the source is told better than chance: the interval of Bang's index, or where
        there is none the index, lies above 0."""
        lower = self.bang.value if self.bang.low is None else self.bang.low
        return lower is not None and lower > 0


@dataclass(frozen=True)
class Blinding:
    """How a rater's blind held on the items of a rubric.

    Attributes:
        guesses: Count of each answer, over all sources.
        james: Of all sources together, by arm.
    """

    rater: str
    sources: tuple[SourceBlinding, ...]
    guesses: Mapping[Guess, int]
    james: Statistic
    run: str = ""
    rubric: str = ""

    @property
    def is_broken(self) -> bool:
        """Whether all sources together are told: the interval of James' index, or where no answer
        differs the index itself, lies below 0.5."""
        upper = self.james.value if self.james.high is None else self.james.high
        return upper is not None and upper < 0.5


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
    guesses = {guess: sum(counts[guess] for counts in tables.values()) for guess in GUESSES}
    return Blinding(rater, tuple(found), guesses, james_index(by_arm, level=level))


def _against_others(
    counts: Mapping[Guess, int], others: list[Mapping[Guess, int]], arm: Guess
) -> Integers:
    """Return a table of two arms: this source and the rest; guesses of its arm, another, none."""

    def row(table: Mapping[Guess, int]) -> list[int]:
        other = sum(table[guess] for guess in ARMS if guess != arm)
        return [table[arm], other, table["unknown"]]

    rest = np.sum([row(table) for table in others], axis=0) if others else np.zeros(3)
    return np.stack([np.array(row(counts)), rest]).astype(np.int64)


def blindings(run: Run, judgements: Sequence[Judgement]) -> Iterator[Blinding]:
    """Yield how the blind of each rater held that was asked, on each rubric that was rated."""
    for digest, rubric in {j.rubric_digest: j.rubric for j in judgements}.items():
        for rater in guessers(run, digest):
            yield replace(blinding_of(run, digest, rater), run=run.name, rubric=rubric)


def guessers(run: Run, rubric_digest: str) -> list[str]:
    """Return the raters that were asked what the items of a rubric were."""
    rows = run.rows(
        "SELECT DISTINCT g.rater FROM current_guess g JOIN item i USING (item_id)"
        " WHERE i.rubric_digest = ? ORDER BY g.rater",
        [rubric_digest],
    )
    return [row[0] for row in rows]
