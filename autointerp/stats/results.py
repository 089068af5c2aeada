"""What every statistic returns: a value with its interval, a test, or a pair of bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autointerp.errors import TooFewRatings
from autointerp.text import count

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Of a coefficient: agreement, correlation, slope, blinding. By chance alone 4 pairs stand in one
# order, or in its reverse, 2 times in 24; 5 pairs 2 times in 120.
FEWEST = 5


def or_none(value: float) -> float | None:
    """Return the value; None for NaN."""
    return None if math.isnan(value) else value


@dataclass(frozen=True, slots=True)
class Statistic:
    """A number with its interval.

    Attributes:
        value: None where the statistic is undefined; `note` then says why.
        low, high: Ends of the interval; both None where it is undefined, and `note` says why.
        n: Units in each group.
        method: How the interval was made, with its reference.
        level: Nominal coverage, 0 to 1.
    """

    value: float | None
    low: float | None
    high: float | None
    n: tuple[int, ...]
    method: str
    level: float = 0.95
    note: str = ""

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError(f"half an interval: {self.low} to {self.high}")
        if (self.value is None or self.low is None) and not self.note:
            raise ValueError("what is undefined needs a note that says why")

    def __str__(self) -> str:
        """`0.83 [0.79, 0.86]`, or what there is of it and why the rest is not."""
        if self.value is None:
            return f"undefined ({self.note})"
        if self.low is None or self.high is None:
            return f"{self.value:.2f}, no interval ({self.note})"
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, slots=True)
class HypothesisTest:
    """A two-sided test.

    Attributes:
        statistic: None where it is infinite or undefined; `note` then says which.
        p_value: None where no test is possible; `note` then says why.
    """

    statistic: float | None
    p_value: float | None
    method: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A statistic with every missing score at the scale's end: first the worst, then the best.

    Attributes:
        missing: Missing scores in each group.
    """

    worst: Statistic
    best: Statistic
    missing: tuple[int, ...]


def too_few(n: int, of: str = "unit") -> str:
    """Return why a coefficient of so many units is withheld; empty where it is a number."""
    return "" if n >= FEWEST else f"too few for a number: {count(n, of)}, at least {FEWEST} needed"


def as_scores(scores: npt.ArrayLike, least: int = 1) -> Floats:
    """Return `scores` as float64 [units].

    Raises:
        ValueError: if they are not one-dimensional or one is not finite: a missing score is
            left out and counted, see `means.missing_bounds`.
        TooFewRatings: if there are fewer than `least`.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"scores have shape {array.shape}; expected [units]")
    if not np.isfinite(array).all():
        raise ValueError("a score is NaN or infinite; leave missing scores out and count them")
    if len(array) < least:
        raise TooFewRatings(
            f"{count(len(array), 'score')} where at least {least} are needed; rate more"
        )
    return array


def as_ratings(ratings: npt.ArrayLike) -> Floats:
    """Return `ratings` as float64 [units, raters], NaN where missing; [units] becomes one rater.

    Raises ValueError for another shape or an infinite rating.
    """
    array = np.asarray(ratings, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or np.isinf(array).any():
        raise ValueError(f"ratings of shape {array.shape}: expected finite [units, raters] or NaN")
    return array


def as_level(level: float) -> float:
    """Return `level`; raises ValueError if it is not between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1")
    return level
