"""The blinding check: can raters tell what they rated?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autointerp.errors import TooFewRatings
from autointerp.findings.groups import Judgement
from autointerp.questions.guess import GUESSES, Guess
from autointerp.records import SourceKind
from autointerp.stats.blinding_index import bang_index, blinding_decision, james_index
from autointerp.stats.results import Integers, Statistic
from autointerp.store.run import Run
from autointerp.units.sources import kind_of, source_kinds

ARMS: tuple[Guess, ...] = ("feature", "neuron", "control")


@dataclass(frozen=True)
class SourceBlinding:
    """How one source was guessed.

    Attributes:
        arm: What a right guess would be.
        guesses: Count of each answer.
        bang: 0 at chance, 1 where every answer names its arm.
        james: Of this source against all others; below 0.5 where answers are right more often
            than at chance.
        p_value: That its arm is named no more often of it than of sources of other arms, adjusted
            for the number of sources; None where there is no such source.
        recognised: Whether that is rejected at 5 %.
    """

    source: str
    arm: Guess
    guesses: Mapping[Guess, int]
    bang: Statistic
    james: Statistic
    p_value: float | None
    recognised: bool


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
    def recognised(self) -> list[str]:
        """The sources that the rater recognises."""
        return [source.source for source in self.sources if source.recognised]

    @property
    def is_broken(self) -> bool:
        """Whether the rater recognises any source; a rater who guesses does with 5 % at most."""
        return bool(self.recognised)

    @property
    def answers(self) -> int:
        """How many items the rater was asked about."""
        return sum(self.guesses.values())

    @property
    def can_tell(self) -> bool:
        """Whether there were sources of two arms, so that one can be distinguished from another."""
        return any(source.p_value is not None for source in self.sources)


def arm_of(kind: SourceKind) -> Guess:
    """Return the right guess for the units of a source.

    A studied source whose units are called neither feature nor neuron counts as features.
    """
    if kind.is_control:
        return "control"
    return next((guess for guess in ARMS if kind.names[0].split()[-1] == guess), "feature")


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
    kinds = source_kinds(run)
    arms: dict[str, Guess] = {}
    tables: dict[str, dict[Guess, int]] = {}
    for source, is_control, guess, count in rows:
        arms[source] = arm_of(kinds.get(source) or kind_of(source, is_control))
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
    decision = blinding_decision(
        [[counts[guess] for guess in GUESSES] for counts in tables.values()],
        [ARMS.index(arms[source]) for source in tables],
        alpha=1 - level,
    )
    by_source = []
    for place, (source, counts) in enumerate(tables.items()):
        arm = arms[source]
        others = [tables[name] for name in tables if name != source]
        right, unknown = counts[arm], counts["unknown"]
        wrong = sum(counts.values()) - right - unknown
        by_source.append(
            SourceBlinding(
                source,
                arm,
                dict(counts),
                bang_index(right, wrong, unknown, arms=len(ARMS), level=level),
                james_index(_against_others(counts, others, arm), level=level),
                decision.adjusted[place],
                decision.told[place],
            )
        )
    guesses = {guess: sum(counts[guess] for counts in tables.values()) for guess in GUESSES}
    return Blinding(rater, tuple(by_source), guesses, james_index(by_arm, level=level))


def _against_others(
    counts: Mapping[Guess, int], others: list[Mapping[Guess, int]], arm: Guess
) -> Integers:
    """Return a table of two arms: this source and the rest; guesses of its arm, another, none."""

    def row(table: Mapping[Guess, int]) -> list[int]:
        other = sum(table[guess] for guess in ARMS if guess != arm)
        return [table[arm], other, table["unknown"]]

    rest = np.sum([row(table) for table in others], axis=0) if others else np.zeros(3)
    return np.stack([np.array(row(counts)), rest]).astype(np.int64)


def blindings(run: Run, judgements: Sequence[Judgement], level: float) -> Iterator[Blinding]:
    """Yield how the blind of each rater held that was asked, on each rubric that was rated."""
    for digest, rubric in {j.rubric_digest: j.rubric for j in judgements}.items():
        for rater in guessers(run, digest):
            yield replace(blinding_of(run, digest, rater, level), run=run.name, rubric=rubric)


def guessers(run: Run, rubric_digest: str) -> list[str]:
    """Return the raters that were asked what the items of a rubric were."""
    rows = run.rows(
        "SELECT DISTINCT g.rater FROM current_guess g JOIN item i USING (item_id)"
        " WHERE i.rubric_digest = ? ORDER BY g.rater",
        [rubric_digest],
    )
    return [row[0] for row in rows]
