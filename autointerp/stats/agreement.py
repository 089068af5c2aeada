"""Would a second rater agree? Agreement between raters on an ordinal scale.

Ratings are [units, raters], NaN where one is missing. Where every rating is the same value no
agreement beyond chance can be seen: the value is None, and the note says so.

Of fewer than 5 units there is no value either: even full agreement would say nothing
(`results.too_few`).

Intervals of alpha, kappa and the intraclass correlations are the jackknife's over units on
Fisher's scale. Where the units are too few, or too many of their ratings the same value, no known
interval holds what it promises: then there is none, and the note says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from autointerp.errors import TooFewRatings
from autointerp.stats import ranks
from autointerp.stats.results import (
    Floats,
    Integers,
    Statistic,
    as_level,
    as_ratings,
    as_scores,
    too_few,
)
from autointerp.text import count

AlphaMetric = Literal["nominal", "ordinal", "interval"]
IccForm = Literal["ICC(1,1)", "ICC(2,1)", "ICC(3,1)", "ICC(2,k)"]

MAX_LEVELS = 64
LEAST_UNITS = 20
MANY_UNITS = 50
MODE_OF_FEW, MODE_OF_MANY = 0.5, 0.7  # share of ratings on one value, at most
PERFECT = "perfect agreement shows no spread"
LOOKED_AT = 1_000  # scores, for the values that they take
METHOD = "jackknife over units on Fisher's scale, t with half the units (Arvesen 1969)"


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """How two raters agree on the units that both rated."""

    raters: tuple[str, str]
    units: int
    kappa: Statistic
    alpha: Statistic
    icc: Statistic
    spearman: Statistic


@dataclass(frozen=True, slots=True)
class Agreement:
    """How all raters agree, and each pair of them. `icc` uses the units that all rated."""

    alpha: Statistic
    icc: Statistic
    pairs: tuple[PairAgreement, ...]


def krippendorff_alpha(
    ratings: npt.ArrayLike,
    *,
    metric: AlphaMetric = "ordinal",
    level: float = 0.95,
) -> Statistic:
    """Return Krippendorff's alpha of `ratings`, [units, raters] with NaN where missing.

    1 is full agreement, 0 what chance gives. Units with a single rating do not count.
    Undefined where every rating is the same value, and of fewer than 5 units.

    Raises TooFewRatings if no unit has two ratings, ValueError above 64 distinct ratings.
    Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability.
    """
    scores = as_ratings(ratings)
    scores = scores[(~np.isnan(scores)).sum(axis=1) >= 2]
    if len(scores) == 0:
        raise TooFewRatings("no unit has two ratings, so no agreement; add a rater or repeats")
    levels = np.unique(scores[~np.isnan(scores)])
    if len(levels) > MAX_LEVELS:
        raise ValueError(f"{len(levels)} distinct ratings; alpha takes at most {MAX_LEVELS}")
    patterns, counts = _patterns(scores)
    k = len(levels)
    tally = (patterns[:, :, None] == levels).sum(axis=1).astype(np.float64)  # [patterns, levels]
    pairs = tally[:, :, None] * tally[:, None, :]
    pairs[:, np.arange(k), np.arange(k)] -= tally
    pairs /= (tally.sum(axis=1) - 1)[:, None, None]
    flat = pairs.reshape(len(patterns), k * k)

    def alpha(weights: Floats | Integers) -> Floats:
        coincidences = (weights @ flat).reshape(-1, k, k)
        totals = coincidences.sum(axis=2)
        n = totals.sum(axis=1)
        if metric == "nominal":
            squares = np.broadcast_to(1.0 - np.eye(k), coincidences.shape)
        else:
            # Krippendorff's ordinal distance of two values is that of their mean ranks.
            place = (
                np.cumsum(totals, axis=1) - totals / 2
                if metric == "ordinal"
                else np.broadcast_to(levels, totals.shape)
            )
            squares = (place[:, :, None] - place[:, None, :]) ** 2
        observed = (coincidences * squares).sum(axis=(1, 2))
        expected = (totals[:, :, None] * totals[:, None, :] * squares).sum(axis=(1, 2))
        return _one_minus(observed * (n - 1), expected)

    name = f"Krippendorff's alpha, {metric}"
    return _by_units(alpha, counts, _mode_share(scores), level, name)


def quadratic_kappa(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    level: float = 0.95,
) -> Statistic:
    """Return Cohen's kappa with quadratic weights of two raters' scores, [units] each.

    Units that one of them did not rate (NaN) do not count. The weights are squared differences
    of the scores themselves. Undefined where all ratings agree on one value, and of fewer than 5
    units.

    Raises TooFewRatings if no unit was rated by both.
    Source: Cohen 1968, Psychol. Bull. 70:213; Fleiss & Cohen 1973.
    """
    scores = _complete(np.stack([_column(first), _column(second)], axis=1))
    patterns, counts = _patterns(scores)
    a, b = patterns[:, 0], patterns[:, 1]
    centre = a.mean()  # moments about a near point lose no digits
    columns = np.stack([a - centre, b - centre, (a - centre) ** 2, (b - centre) ** 2], axis=1)

    def kappa(weights: Floats | Integers) -> Floats:
        n = weights.sum(axis=1)
        a1, b1, a2, b2 = ((weights @ columns) / n[:, None]).T
        observed = (weights @ (a - b) ** 2) / n
        # E(A - B)² of independent A and B is var A + var B + (mean A - mean B)².
        return _one_minus(observed, a2 - a1**2 + b2 - b1**2 + (a1 - b1) ** 2)

    return _by_units(kappa, counts, _mode_share(scores), level, "quadratic weighted kappa")


def intraclass_correlation(
    ratings: npt.ArrayLike,
    *,
    form: IccForm = "ICC(2,1)",
    level: float = 0.95,
) -> Statistic:
    """Return the intraclass correlation of `ratings`, [units, raters].

    ICC(2,1), the default: raters are a sample of raters, agreement is absolute, and it speaks of
    one rater's score; ICC(2,k) of the mean of all k; ICC(3,1) ignores constant differences
    between raters; ICC(1,1) takes the raters of each unit as others. Units with a missing rating
    do not count. Undefined where every rating is the same value, and of fewer than 5 units.

    Raises TooFewRatings if fewer than two units, or two raters, are complete.
    Source: Shrout & Fleiss 1979, Psychol. Bull. 86:420.
    """
    scores = as_ratings(ratings)
    k = scores.shape[1]
    if k < 2:
        raise TooFewRatings("one rater; an intraclass correlation needs two")
    scores = _complete(scores, least=2)
    patterns, counts = _patterns(scores - scores.mean())
    squares, unit = (patterns**2).sum(axis=1), patterns.mean(axis=1)

    def icc(weights: Floats | Integers) -> Floats:
        n = weights.sum(axis=1)
        grand = weights @ unit / n
        rater = weights @ patterns / n[:, None]
        total = weights @ squares - n * k * grand**2
        between = k * (weights @ unit**2 - n * grand**2)
        raters = n * ((rater - grand[:, None]) ** 2).sum(axis=1)
        units_ms = between / (n - 1)
        raters_ms = raters / (k - 1)
        error_ms = (total - between - raters) / ((n - 1) * (k - 1))
        within_ms = (total - between) / (n * (k - 1))
        if form == "ICC(1,1)":
            return _share(units_ms - within_ms, units_ms + (k - 1) * within_ms)
        if form == "ICC(3,1)":
            return _share(units_ms - error_ms, units_ms + (k - 1) * error_ms)
        if form == "ICC(2,k)":
            return _share(units_ms - error_ms, units_ms + (raters_ms - error_ms) / n)
        below = units_ms + (k - 1) * error_ms + k * (raters_ms - error_ms) / n
        return _share(units_ms - error_ms, below)

    return _by_units(icc, counts, _mode_share(scores), level, form)


def spearman(first: npt.ArrayLike, second: npt.ArrayLike, level: float = 0.95) -> Statistic:
    """Return Spearman's rank correlation of two variables, [units] each, mean ranks for ties.

    The interval is Fisher's z with Bonett and Wright's variance, (1 + r²/2) / (n - 3); undefined
    at r = ±1, and where most values of a variable are the same. Undefined for fewer than 5 units,
    and where either variable is constant.

    Source: Spearman 1904; Bonett & Wright 2000, Psychometrika 65:23.
    """
    as_level(level)
    x, y = as_scores(first, 0), as_scores(second, 0)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} and {len(y)} values; they must be of the same units")
    n, method = (len(x),), "Spearman's rho; Fisher's z, variance of Bonett & Wright 2000"
    if few := too_few(len(x)):
        return Statistic(None, None, None, n, method, level, few)
    r = ranks.spearman(x, y)
    if math.isnan(r):
        return Statistic(None, None, None, n, method, level, "one variable is constant")
    if abs(r) > 1 - 1e-12:
        return Statistic(r, None, None, n, method, level, PERFECT)
    withheld = _withheld(max(len(x), LEAST_UNITS), max(_mode_share(x), _mode_share(y)), level)
    if withheld:
        return Statistic(r, None, None, n, method, level, withheld)
    half = float(scipy.stats.norm.ppf((1 + level) / 2)) * math.sqrt((1 + r * r / 2) / (len(x) - 3))
    low, high = math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)
    return Statistic(r, low, high, n, method, level)


def agreement(
    ratings: npt.ArrayLike,
    raters: Sequence[str],
    *,
    level: float = 0.95,
) -> Agreement:
    """Return the agreement of all raters and of each pair; `ratings` is [units, raters].

    A statistic that the data cannot give (two raters with no unit in common) has the value None
    and a note, so that one pair does not hide the others.

    Raises ValueError if the columns are not as many as `raters`.
    """
    scores = as_ratings(ratings)
    if scores.shape[1] != len(raters):
        raise ValueError(f"{scores.shape[1]} columns of ratings for {len(raters)} raters")

    def alpha(columns: Floats) -> Statistic:
        return krippendorff_alpha(columns, level=level)

    def icc(columns: Floats) -> Statistic:
        return intraclass_correlation(columns, level=level)

    def kappa(columns: Floats) -> Statistic:
        first, second = columns.T
        return quadratic_kappa(first, second, level=level)

    def rho(columns: Floats) -> Statistic:
        return spearman(columns[:, 0], columns[:, 1], level)

    def or_note(statistic: Callable[[Floats], Statistic], columns: Floats) -> Statistic:
        try:
            return statistic(columns)
        except TooFewRatings as too_few:
            return Statistic(None, None, None, (len(columns),), "", level, str(too_few))

    pairs = []
    for i, j in combinations(range(len(raters)), 2):
        both = scores[:, [i, j]]
        both = both[~np.isnan(both).any(axis=1)]
        statistics = [or_note(statistic, both) for statistic in (kappa, alpha, icc, rho)]
        pairs.append(PairAgreement((raters[i], raters[j]), len(both), *statistics))
    return Agreement(or_note(alpha, scores), or_note(icc, scores), tuple(pairs))


def _column(scores: npt.ArrayLike) -> Floats:
    column = as_ratings(scores)
    if column.shape[1] != 1:
        raise ValueError(f"scores of shape {column.shape}; expected [units]")
    return column[:, 0]


def _complete(scores: Floats, least: int = 1) -> Floats:
    kept = scores[~np.isnan(scores).any(axis=1)]
    if len(kept) < least:
        raise TooFewRatings(
            f"{count(len(kept), 'unit')} rated by all raters; at least {least} are needed"
        )
    return kept


def _patterns(scores: Floats) -> tuple[Floats, Integers]:
    """Return the distinct rows of `scores`, [patterns, raters], and the units of each.

    Scores take few values as a rule, so that a row is a number.
    """
    levels = np.append(np.unique(scores[np.isfinite(scores)][:LOOKED_AT]), np.nan)
    codes = np.searchsorted(levels[:-1], scores)  # a missing score is the last level
    strange = (levels[codes] != scores) & ~np.isnan(scores)
    raters = scores.shape[1]
    if strange.any() or len(levels) ** raters >= 2**63:
        patterns, counts = np.unique(scores, axis=0, return_counts=True, equal_nan=True)
        return patterns, counts
    places = len(levels) ** np.arange(raters, dtype=np.int64)[::-1]
    numbers = codes @ places
    if len(levels) ** raters <= len(scores):  # few enough to count without sorting
        every = np.bincount(numbers, minlength=1)
        rows = np.flatnonzero(every)
        counts = every[rows]
    else:
        rows, counts = np.unique(numbers, return_counts=True)
    return levels[rows[:, None] // places % len(levels)], counts


def _one_minus(observed: Floats, expected: Floats) -> Floats:
    """Return 1 - observed / expected, NaN where nothing but agreement can be expected."""
    return 1 - _share(observed, expected)


def _share(above: Floats, below: Floats) -> Floats:
    """Return above / below, NaN where `below` is 0 but for rounding."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(np.abs(below) > 1e-12, above / below, np.nan))


def _by_units(
    statistic: Callable[[Floats | Integers], Floats],
    counts: Integers,
    mode_share: float,
    level: float,
    name: str,
) -> Statistic:
    """Return `statistic` of the patterns' counts with a jackknife interval over units.

    Units of one pattern leave the same behind, so one evaluation a pattern will do. The interval
    is made on Fisher's scale, atanh. t has half the units for degrees of freedom less one: the
    jackknife's variance is itself uncertain, more than that of as many normal values.

    Source: Arvesen 1969, Ann. Math. Stat. 40:2076; Fleiss & Davies 1982, Am. J. Epidemiol.
    115:841 (jackknife of kappa).
    """
    as_level(level)
    units = int(counts.sum())
    n, method = (units,), f"{name}; {METHOD}"
    if few := too_few(units):
        return Statistic(None, None, None, n, method, level, few)
    value = float(statistic(counts[None, :])[0])
    if math.isnan(value):
        return Statistic(None, None, None, n, method, level, "undefined: all ratings agree")
    withheld = _withheld(units, mode_share, level)
    if withheld:
        return Statistic(value, None, None, n, method, level, withheld)
    left = statistic(counts[None, :] - np.eye(len(counts), dtype=np.int64))
    if not -1 < value < 1 or not (np.abs(left) < 1).all():
        return Statistic(value, None, None, n, method, level, PERFECT)
    scaled = np.arctanh(left)
    centre = float(counts @ scaled) / units
    error = math.sqrt((units - 1) / units * float(counts @ (scaled - centre) ** 2))
    if error < 1e-12:
        return Statistic(value, None, None, n, method, level, PERFECT)
    half = float(scipy.stats.t.ppf((1 + level) / 2, units / 2 - 1)) * error
    low, high = math.tanh(math.atanh(value) - half), math.tanh(math.atanh(value) + half)
    return Statistic(value, low, high, n, method, level)


def _mode_share(ratings: Floats) -> float:
    """Return the share of all ratings that lie on the most frequent value."""
    _, counts = np.unique(ratings[~np.isnan(ratings)], return_counts=True)
    return float(counts.max() / counts.sum()) if len(counts) else 1.0


def _withheld(units: int, mode_share: float, level: float) -> str:
    """Return why no interval would hold what it promises; empty where one does."""
    if units < LEAST_UNITS:
        return f"too few units for a {level:.0%} interval: {units}, at least {LEAST_UNITS} needed"
    most = MODE_OF_FEW if units < MANY_UNITS else MODE_OF_MANY
    if mode_share > most:
        return (
            f"too few units for a {level:.0%} interval where {mode_share:.0%} of the ratings are "
            f"the same value: {units}"
        )
    return ""
