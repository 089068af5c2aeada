"""Did the blind hold? Indices of guesses about what was judged.

Guesses are a table [arms, arms + 1] of counts: row the arm that it was, column the arm that was
guessed, in the same order, and last "don't know".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from autointerp.errors import TooFewRatings
from autointerp.stats.results import Floats, Statistic, as_level, too_few
from autointerp.stats.superiority import holm

BANG = "Bang's index, multinomial variance, normal interval (Bang, Ni & Davis 2004)"
LEAST_ANSWERS = 20
FEW = f"fewer than {LEAST_ANSWERS} answers: too few for a normal interval"
JAMES = "James' index, delta-method variance, normal interval (James et al. 1996)"


def bang_index(
    right: int, wrong: int, unknown: int, *, arms: int = 2, level: float = 0.95
) -> Statistic:
    """Return Bang's blinding index of one arm, from how often it was guessed.

    1: always guessed right, the blind is broken; 0: as chance guesses, or nobody ventured a
    guess; below 0: guessed wrong more often than chance would. With two arms it is the share of
    right guesses less that of wrong ones; with more, a wrong guess counts 1 / (arms - 1), which
    keeps 0 at chance.

    It says how the answers fell, not whether the rater can tell: who always names one arm has
    index 1 there. `blinding_decision` tells the two apart. No interval below 20 answers,
    no value below 5.

    Raises TooFewRatings without any answer, ValueError for a negative count or fewer than 2 arms.
    Source: Bang, Ni & Davis 2004, Control. Clin. Trials 25:143.
    """
    as_level(level)
    if min(right, wrong, unknown) < 0 or arms < 2:
        raise ValueError(f"counts {right}, {wrong}, {unknown} of {arms} arms")
    n = right + wrong + unknown
    if n == 0:
        raise TooFewRatings("nobody was asked what it was; finish a session's blinding check")
    if few := too_few(n, "answer"):
        return Statistic(None, None, None, (n,), BANG, level, few)
    cost = 1 / (arms - 1)
    value = (right - cost * wrong) / n
    variance = ((right + cost**2 * wrong) / n - value**2) / n
    if variance < 1e-15:
        return Statistic(value, None, None, (n,), BANG, level, "all answers alike: no spread")
    if n < LEAST_ANSWERS:
        return Statistic(value, None, None, (n,), BANG, level, FEW)
    half = float(scipy.stats.norm.ppf((1 + level) / 2)) * math.sqrt(variance)
    return Statistic(value, max(-1.0, value - half), min(1.0, value + half), (n,), BANG, level)


def james_index(guesses: npt.ArrayLike, *, level: float = 0.95) -> Statistic:
    """Return James' blinding index of a table of guesses, [arms, arms + 1], of all arms together.

    1: everybody says "don't know"; 0.5: guesses as chance; 0: every answer is a right guess.
    Right guesses weigh 0, wrong ones 0.5, "don't know" 1. No interval below 20
    answers, no value below 5. Undefined where all guesses name one arm and nothing else was
    judged, for then chance cannot be told from knowledge.

    Raises TooFewRatings without any answer, ValueError for a table of another shape.
    Source: James, Bloch, Lee, Kraemer & Fuller 1996, Stat. Med. 15:1421.
    """
    as_level(level)
    counts = np.asarray(guesses, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[1] != counts.shape[0] + 1 or (counts < 0).any():
        raise ValueError(f"a table of shape {counts.shape}; expected counts [arms, arms + 1]")
    n = int(counts.sum())
    if n == 0:
        raise TooFewRatings("nobody was asked what it was; finish a session's blinding check")
    if few := too_few(n, "answer"):
        return Statistic(None, None, None, (n,), JAMES, level, few)
    share = counts / n
    unknown = float(share[:, -1].sum())
    guessed = share[:, :-1]
    if unknown == 1:
        return Statistic(1.0, None, None, (n,), JAMES, level, "nobody ventured a guess")
    weights: Floats = 0.5 * (1 - np.eye(len(counts)))
    arm, guess = guessed.sum(axis=1), guessed.sum(axis=0)
    observed = float((weights * guessed).sum())
    chance = float(arm @ weights @ guess)
    if chance < 1e-15:
        note = "all guesses name the only arm: chance would do as well"
        return Statistic(None, None, None, (n,), JAMES, level, note)
    # James writes K = (Po - Pe) / Pe with both conditional on a guess and the index as
    # (1 + unknown + (1 - unknown) K) / 2; with the shares of all answers that is:
    guessing = 1 - unknown
    value = unknown + guessing**2 * observed / (2 * chance)
    slope = np.empty_like(share)  # of the index by each share
    slope[:, :-1] = (guessing**2 / (2 * chance)) * (
        weights - (observed / chance) * ((weights @ guess)[:, None] + (arm @ weights)[None, :])
    )
    slope[:, -1] = 1 - guessing * observed / chance
    variance = float((share * slope**2).sum() - (share * slope).sum() ** 2) / n
    if variance < 1e-15:
        return Statistic(value, None, None, (n,), JAMES, level, "all answers alike: no spread")
    if n < LEAST_ANSWERS:
        return Statistic(value, None, None, (n,), JAMES, level, FEW)
    half = float(scipy.stats.norm.ppf((1 + level) / 2)) * math.sqrt(variance)
    return Statistic(value, max(0.0, value - half), min(1.0, value + half), (n,), JAMES, level)


@dataclass(frozen=True, slots=True)
class BlindingDecision:
    """Whether a rater can tell sources apart.

    Attributes:
        p_values: One a source: that its own arm is named no more often of it than of sources of
            other arms; None where there is nothing to tell it from.
        adjusted: For the number of sources (Holm).
        told: Whether the adjusted p-value is at most alpha, one a source.
    """

    p_values: tuple[float | None, ...]
    adjusted: tuple[float | None, ...]
    told: tuple[bool, ...]

    @property
    def broken(self) -> bool:
        """Whether any source is told: so for at most a share alpha of raters who guess."""
        return any(self.told)


def blinding_decision(
    guesses: npt.ArrayLike, arms: Sequence[int], alpha: float = 0.05
) -> BlindingDecision:
    """Return whether the guesses of a rater show that it can tell any source.

    Each source's share of answers that name its arm is held against the same share among sources
    of other arms, by Fisher's exact one-sided test; Holm's adjustment over sources. A rater who
    answers at random, however it prefers some answers, is held to tell with probability `alpha`
    at most, for any number of answers; one who always gives the same answer never.

    Args:
        guesses: Counts, [sources, answers]; answers are the arms in order, then "don't know".
        arms: Number of the arm of each source, from 0, [sources].

    Raises ValueError if shapes do not match or an arm has no column.
    Source: Fisher 1935, The Design of Experiments, chapter 2; Holm 1979.
    """
    counts = np.asarray(guesses, dtype=np.int64)
    arm = np.asarray(arms, dtype=np.int64)
    if counts.ndim != 2 or arm.shape != (len(counts),) or (counts < 0).any():
        raise ValueError(f"{len(arm)} arms for counts of shape {counts.shape}")
    if len(arm) and not (arm.min() >= 0 and arm.max() < counts.shape[1]):
        raise ValueError(f"arms {arm.tolist()} for {counts.shape[1]} answers")
    asked, named = counts.sum(axis=1), counts[np.arange(len(arm)), arm]
    elsewhere = arm[:, None] != arm
    others = elsewhere @ asked
    named_elsewhere = (elsewhere * counts[:, arm].T).sum(axis=1)
    # P(at least `named` of the source's answers | how often its arm was named at all)
    tails = scipy.stats.hypergeom.sf(named - 1, asked + others, named + named_elsewhere, asked)
    p_values = [
        float(p) if mine and rest else None
        for p, mine, rest in zip(tails, asked, others, strict=True)
    ]
    adjusted = holm(dict(enumerate(p_values)))
    return BlindingDecision(
        tuple(p_values),
        tuple(adjusted.values()),
        tuple(p is not None and p <= alpha for p in adjusted.values()),
    )
