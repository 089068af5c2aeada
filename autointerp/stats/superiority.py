"""Is one group scored higher than another? P(superiority), its interval and its tests.

P(superiority) = P(X > Y) + ½ P(X = Y) for units X and Y drawn at random, one from each group. It
depends on the order of the scores alone: a monotone change of scale leaves it as it is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import scipy

from autointerp.stats.bounded import AT_SEPARATION, not_past_separation, wilson_ends
from autointerp.stats.results import (
    Floats,
    HypothesisTest,
    Integers,
    Statistic,
    as_level,
    as_scores,
)

Key = TypeVar("Key", bound=Hashable)

Of = Literal["superiority", "wins", "ties", "losses"]

LEAST_OFF_MODE = 3
MANY_UNITS = 50
ALL_EQUAL = "every rating is the same value"
SEPARATED = "every score of one group is above every score of the other"


@dataclass(frozen=True, slots=True)
class Placements:
    """P(superiority) and the spread of its placements, for tables of any leading shape [...].

    The placement of a unit is the share of the other group that it beats, ties counted half.

    Attributes:
        p: P(superiority), [...].
        first, second: Sampling variance that each group adds to that of `p`, [...]; infinite
            for a group of one unit.
        first_size, second_size: Units in each group, [...].
    """

    p: Floats
    first: Floats
    second: Floats
    first_size: Floats
    second_size: Floats

    @property
    def variance(self) -> Floats:
        """Variance of `p`, [...]. Source: DeLong et al. 1988; Brunner & Munzel 2000."""
        return self.first + self.second

    @property
    def freedom(self) -> Floats:
        """Satterthwaite's degrees of freedom, [...]; NaN where the variance is 0."""
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = self.first**2 / (self.first_size - 1) + self.second**2 / (self.second_size - 1)
            return np.asarray(self.variance**2 / spread)


@dataclass(frozen=True, slots=True)
class Pairs:
    """What becomes of pairs of units, one from each group: three shares that sum to 1.

    Attributes:
        wins: The first group's unit has the higher score.
        ties: Both have the same.
        losses: The second group's unit has the higher score.
    """

    wins: Statistic
    ties: Statistic
    losses: Statistic

    @property
    def shares(self) -> tuple[Statistic, Statistic, Statistic]:
        """Wins, ties and losses, in this order."""
        return self.wins, self.ties, self.losses


def count_levels(first: Floats, second: Floats) -> tuple[Integers, Integers]:
    """Return how many scores of each group lie on each distinct value, both [levels]."""
    levels, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    k = len(levels)
    return (
        np.bincount(codes[: len(first)], minlength=k),
        np.bincount(codes[len(first) :], minlength=k),
    )


def superiority_of_counts(first: npt.ArrayLike, second: npt.ArrayLike) -> Floats:
    """Return P(superiority), [...], from counts or weights by level, [..., levels] ascending.

    NaN where a group is empty.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    below = np.cumsum(y, axis=-1) - y / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((x * below).sum(axis=-1) / (x.sum(axis=-1) * y.sum(axis=-1)))


def placements(first: npt.ArrayLike, second: npt.ArrayLike, of: Of = "superiority") -> Placements:
    """Return P(superiority) with its variance from counts by level, both [..., levels] ascending.

    `of` wins, ties or losses of the first group gives the share of these among all pairs instead.
    Counts may be fractional; each group must hold some.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    x_size, y_size = x.sum(axis=-1), y.sum(axis=-1)
    x_under, y_under = np.cumsum(x, axis=-1), np.cumsum(y, axis=-1)  # at or below each level
    if of == "ties":
        beaten, beating = y, x
    elif of == "wins":
        beaten, beating = y_under - y, x_size[..., None] - x_under
    elif of == "losses":
        beaten, beating = y_size[..., None] - y_under, x_under - x
    else:
        beaten, beating = y_under - y / 2, x_size[..., None] - x_under + x / 2
    x_place, y_place = beaten / y_size[..., None], beating / x_size[..., None]
    p = np.asarray((x * x_place).sum(axis=-1) / x_size)
    x_squares = (x * (x_place - p[..., None]) ** 2).sum(axis=-1)
    y_squares = (y * (y_place - p[..., None]) ** 2).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        x_variance = np.where(x_size > 1, x_squares / (x_size - 1) / x_size, np.inf)
        y_variance = np.where(y_size > 1, y_squares / (y_size - 1) / y_size, np.inf)
    # What rounding leaves of a variance of 0 must not pass for one.
    return Placements(
        p,
        np.where(x_variance < 1e-20, 0.0, x_variance),
        np.where(y_variance < 1e-20, 0.0, y_variance),
        x_size,
        y_size,
    )


def smoothed_levels(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return the counts by level, [..., levels], with one unit added to each group, spread like
    the mean of both groups: a group that shows one value alone is not taken to have no spread."""
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    shared = (x / x.sum(axis=-1, keepdims=True) + y / y.sum(axis=-1, keepdims=True)) / 2
    return x + shared, y + shared


def superiority_ends(
    first: npt.ArrayLike, second: npt.ArrayLike, tail: npt.ArrayLike, of: Of = "superiority"
) -> tuple[Floats, Floats, Floats]:
    """Return P(superiority) and the ends of its interval from counts by level, [...] each.

    `first` and `second` are [..., levels] ascending, `tail` the probability beyond either end;
    see `superiority`. Where a group has fewer than two units the ends are 0 and 1.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    p = placements(x, y, of).p
    smooth = placements(*smoothed_levels(x, y), of)
    least = np.minimum(x.sum(axis=-1), y.sum(axis=-1)) - 1
    freedom = np.fmin(smooth.freedom, np.maximum(least, 1e-3))
    low, high = wilson_ends(p, smooth.variance, freedom, tail, variance_at=smooth.p)
    low, high = not_past_separation(low, high, least + 1, tail)
    whole = least < 1
    return p, np.where(whole, 0.0, low), np.where(whole, 1.0, high)


def nearly_one_value(off: npt.ArrayLike, units: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return whether of so many units nearly all, at least 90 % and all but fewer than
    `LEAST_OFF_MODE`, are on one value; `off` are those that are not."""
    off = np.asarray(off)
    return np.asarray((off < LEAST_OFF_MODE) & (off <= np.asarray(units) / 10))


def hides_spread(first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return whether no interval of P(superiority) holds, [...], for counts by level, [..., k].

    So where both groups together are `nearly_one_value`: how often another value happens is then
    hardly known, and 95 % intervals cover 88 %. So, too, where one group is at least half as large
    again as the other, and the smaller shows fewer than `LEAST_OFF_MODE` off its own most frequent
    value: the larger cannot show how it spreads. Complete separation is left out.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    x_size, y_size = x.sum(axis=-1), y.sum(axis=-1)
    p = superiority_of_counts(x, y)

    def off_mode(counts: Floats) -> Floats:
        return np.asarray(counts.sum(axis=-1) - counts.max(axis=-1))

    def hides(counts: Floats, size: Floats, other: Floats) -> npt.NDArray[np.bool_]:
        return np.asarray((off_mode(counts) < LEAST_OFF_MODE) & (other >= 1.5 * size))

    one_value = nearly_one_value(off_mode(x + y), x_size + y_size)
    hidden = one_value | hides(x, x_size, y_size) | hides(y, y_size, x_size)
    return np.asarray(hidden & (p > 0) & (p < 1))


def hidden_spread(level: float) -> str:
    """Return why there is no interval where `hides_spread`."""
    return (
        f"too few units for a {level:.0%} interval: nearly all scores, or those of the smaller "
        "group, are on one value"
    )


def superiority(first: npt.ArrayLike, second: npt.ArrayLike, level: float = 0.95) -> Statistic:
    """Return P(first > second) + ½ P(equal) for two groups of scores, [units] each.

    The interval is Wilson's score interval at the effective sample size p(1-p)/v, with v the
    DeLong (Brunner-Munzel) variance and t in place of z: Satterthwaite's degrees of freedom, but
    no more than the smaller group has. p and v of that size are taken after adding one unit to
    each group, spread like the mean of both groups; so the interval stays within 0 to 1 and always
    holds the estimate. At complete separation, and near it, it is as wide as the exact one
    (`bounded.not_past_separation`). Its measured coverage is that of `python -m bench coverage`.

    No interval where every rating is the same value (the estimate is ½), a group has one unit,
    or nearly all scores, or those of the smaller of two unequal groups, are on one value
    (`hides_spread`).

    Raises TooFewRatings if a group is empty.
    Source: DeLong et al. 1988, Biometrics 44:837; Brunner & Munzel 2000, Biometrical J. 42:17;
    Kottas, Kuss & Zapf 2014, BMC Med. Res. Methodol. 14:26 (Wilson form); Clopper & Pearson 1934,
    Biometrika 26:404 (at separation).
    """
    as_level(level)
    counts = count_levels(as_scores(first), as_scores(second))
    return _share_of_pairs(*counts, "superiority", level)


def pairs(first: npt.ArrayLike, second: npt.ArrayLike, level: float = 0.95) -> Pairs:
    """Return the shares of wins, ties and losses of `first` among all pairs of units, one from
    each of two groups of scores, [units] each.

    Intervals as of `superiority`, each for itself; none of ties where a group of fewer than
    `MANY_UNITS` meets one more than twice as large. P(superiority) is wins + ½ ties.

    Raises TooFewRatings if a group is empty.
    Source: Agresti 1980, Biometrics 36:59 (ordinal odds of pairs); variances as `superiority`.
    """
    as_level(level)
    counts = count_levels(as_scores(first), as_scores(second))
    return Pairs(
        wins=_share_of_pairs(*counts, "wins", level),
        ties=_share_of_pairs(*counts, "ties", level),
        losses=_share_of_pairs(*counts, "losses", level),
    )


def _share_of_pairs(x_counts: Integers, y_counts: Integers, of: Of, level: float) -> Statistic:
    method = (
        "Wilson score interval at the DeLong effective n, one unit added (Kottas 2014); "
        f"{AT_SEPARATION}"
    )
    n = (int(x_counts.sum()), int(y_counts.sum()))
    p, low, high = (float(x) for x in superiority_ends(x_counts, y_counts, (1 - level) / 2, of))
    if len(x_counts) == 1:
        return Statistic(p, None, None, n, method, level, ALL_EQUAL)
    if min(n) < 2:
        return Statistic(p, None, None, n, method, level, "one unit shows no spread")
    if hides_spread(x_counts, y_counts):
        return Statistic(p, None, None, n, method, level, hidden_spread(level))
    few, many = sorted(n)
    if of == "ties" and few < MANY_UNITS and many > 2 * few:
        note = f"too few units for a {level:.0%} interval of ties between groups so unequal"
        return Statistic(p, None, None, n, method, level, note)
    separated = of == "superiority" and p in (0.0, 1.0)
    return Statistic(p, low, high, n, method, level, SEPARATED if separated else "")


def cliffs_delta(p: Statistic) -> Statistic:
    """Return Cliff's delta, P(first > second) - P(first < second), of a P(superiority).

    It is 2 P(superiority) - 1, and so are the ends of its interval.

    Source: Cliff 1993, Psychol. Bull. 114:494.
    """

    def scaled(end: float | None) -> float | None:
        return None if end is None else 2 * end - 1

    return replace(p, value=scaled(p.value), low=scaled(p.low), high=scaled(p.high))


def brunner_munzel(first: npt.ArrayLike, second: npt.ArrayLike) -> HypothesisTest:
    """Return the Brunner-Munzel test of P(superiority) = ½; positive where `first` is higher.

    Unlike Mann-Whitney's it allows the groups to differ in spread. Where the groups are
    completely separated its variance is 0 (scipy returns NaN or p = 0); the p-value is then
    that of the test's permutation version: the share of all divisions of the pooled scores that
    separate them as completely. Undefined where every rating is the same value.

    Raises TooFewRatings if a group has fewer than two scores.
    Source: Brunner & Munzel 2000, Biometrical J. 42:17; Neubert & Brunner 2007, CSDA 51:5192.
    """
    x, y = as_scores(first, 2), as_scores(second, 2)
    table = placements(*count_levels(x, y))
    method = "Brunner-Munzel, two-sided, t with Satterthwaite's degrees of freedom"
    if table.variance > 0:
        statistic = float((table.p - 0.5) / np.sqrt(table.variance))
        p_value = float(2 * scipy.stats.t.sf(abs(statistic), float(table.freedom)))
        few = min(len(x), len(y)) < 10
        note = "fewer than 10 units in a group: prefer the permutation test" if few else ""
        return HypothesisTest(statistic, p_value, method, note)
    if table.p == 0.5:
        return HypothesisTest(None, None, method, ALL_EQUAL)
    pooled = np.sort(np.concatenate([x, y]))
    top, bottom = (x, y) if table.p > 0.5 else (y, x)
    # The opposite division separates too unless a tie straddles its border.
    mirrored = int(pooled[len(top) - 1] < pooled[len(top)])
    divisions = math.comb(len(pooled), len(bottom))
    return HypothesisTest(
        None,
        (1 + mirrored) / divisions,
        "Brunner-Munzel, two-sided, permutation version, exact (Neubert & Brunner 2007)",
        f"{SEPARATED}; the statistic is infinite",
    )


def mann_whitney(first: npt.ArrayLike, second: npt.ArrayLike) -> HypothesisTest:
    """Return the Mann-Whitney test of equal distributions; the statistic is U of `first`.

    Exact where there are no ties and a group has at most 8 scores; otherwise normal, corrected
    for ties and continuity. Undefined where every rating is the same value.

    Raises TooFewRatings if a group is empty.
    Source: Mann & Whitney 1947, Ann. Math. Stat. 18:50, by scipy.
    """
    x, y = as_scores(first), as_scores(second)
    if np.ptp(np.concatenate([x, y])) == 0:
        return HypothesisTest(len(x) * len(y) / 2, None, "Mann-Whitney, two-sided", ALL_EQUAL)
    result = scipy.stats.mannwhitneyu(x, y, alternative="two-sided", method="auto")
    return HypothesisTest(float(result.statistic), float(result.pvalue), "Mann-Whitney, two-sided")


def superiority_test(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    rng: np.random.Generator,
    resamples: int = 9_999,
) -> HypothesisTest:
    """Return the test of P(superiority) = ½ that holds its level for groups of these sizes.

    The studentised permutation test where the smaller group has fewer than `MANY_UNITS` units or
    the other is at least half as large again; else Brunner-Munzel's with t, which is the same to
    the second digit there.

    Raises TooFewRatings if a group has fewer than two scores.
    Source: Neubert & Brunner 2007, Comput. Stat. Data Anal. 51:5192.
    """
    x, y = as_scores(first, 2), as_scores(second, 2)
    few, many = sorted((len(x), len(y)))
    if few < MANY_UNITS or many >= 1.5 * few:
        return permutation_test(x, y, rng, resamples)
    return brunner_munzel(x, y)


def permutation_test(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    rng: np.random.Generator,
    resamples: int = 9_999,
) -> HypothesisTest:
    """Return the permutation test of P(superiority) = ½ with the Brunner-Munzel statistic.

    The statistic is studentised, so the test holds its level under unequal spread too, as one
    that permutes a difference of means does not. Exact over all divisions where there are at
    most `resamples` of them; otherwise over that many drawn at random, the observed one counted
    among them. Time and memory grow with the number of distinct scores. Undefined where every
    rating is the same value.

    Raises TooFewRatings if a group has fewer than two scores.
    Source: Neubert & Brunner 2007, Comput. Stat. Data Anal. 51:5192; Phipson & Smyth 2010.
    """
    x, y = as_scores(first, 2), as_scores(second, 2)
    x_counts, y_counts = count_levels(x, y)
    pooled = x_counts + y_counts
    if len(pooled) == 1:
        return HypothesisTest(None, None, "permutation of Brunner-Munzel's statistic", ALL_EQUAL)
    observed = float(_studentised(x_counts, y_counts))
    exceeds = abs(observed) * (1 - 1e-9)  # equal statistics may differ by rounding
    if math.comb(len(x) + len(y), len(x)) <= resamples:
        every = _every_division(pooled, len(x))
        p_value = float((np.abs(_studentised(every, pooled - every)) >= exceeds).mean())
        method = f"permutation of Brunner-Munzel's statistic, all {len(every)} divisions"
    else:
        hits, left = 1, resamples
        chunk = max(1, 2_000_000 // len(pooled))
        while left > 0:
            draws = rng.multivariate_hypergeometric(
                pooled, len(x), size=min(chunk, left), method="marginals"
            )
            hits += int((np.abs(_studentised(draws, pooled - draws)) >= exceeds).sum())
            left -= len(draws)
        p_value = hits / (resamples + 1)
        method = f"permutation of Brunner-Munzel's statistic, {resamples} random divisions"
    if math.isinf(observed):
        note = f"{SEPARATED}; the statistic is infinite"
        return HypothesisTest(None, p_value, method, note)
    return HypothesisTest(observed, p_value, method)


def holm(p_values: Mapping[Key, float | None]) -> dict[Key, float | None]:
    """Return p-values adjusted for their number by Holm's step-down method.

    A None stays None and is not counted among the tests.

    Raises ValueError if a p-value lies outside 0 to 1. Source: Holm 1979, Scand. J. Stat. 6:65.
    """
    ascending = sorted(
        ((p, place, key) for place, (key, p) in enumerate(p_values.items()) if p is not None),
        key=lambda entry: entry[:2],
    )
    adjusted: dict[Key, float | None] = dict.fromkeys(p_values)
    largest = 0.0
    for rank, (p, _, key) in enumerate(ascending):
        if not 0 <= p <= 1:
            raise ValueError(f"p-value {p} of {key} is not between 0 and 1")
        largest = max(largest, min(1.0, (len(ascending) - rank) * p))
        adjusted[key] = largest
    return adjusted


def holm_unfinished(
    p_values: Mapping[Key, float | None], interim: Collection[Key], awaited: int = 0
) -> dict[Key, float | None]:
    """Return p-values adjusted by Holm's method in a family that is not at its end.

    Tests at an `interim` look and `awaited` more may yet reject nothing, and so they count for the
    others: what these reject stays rejected, whatever is to come.
    """

    def adjusted(family: Iterable[float | None]) -> list[float | None]:
        return list(holm(dict(enumerate([*family, *([1.0] * awaited)]))).values())

    settled = [1.0 if p is not None and key in interim else p for key, p in p_values.items()]
    both = zip(p_values, adjusted(p_values.values()), adjusted(settled), strict=False)
    return {key: now if key in interim else last for key, now, last in both}


def _studentised(first: Integers, second: Integers) -> Floats:
    """Return (p - ½) / its standard error, [...]; signed infinity at complete separation."""
    table = placements(first, second)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((table.p - 0.5) / np.sqrt(table.variance))


def _every_division(pooled: Integers, size: int) -> Integers:
    """Return the first group's counts, [divisions, levels], for all ways to choose its units."""
    levels = np.repeat(np.arange(len(pooled)), pooled)
    chosen = levels[list(itertools.combinations(range(len(levels)), size))]
    return np.asarray((chosen[:, :, None] == np.arange(len(pooled))).sum(axis=1), np.int64)
