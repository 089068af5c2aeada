"""Means, shares and distributions of unit scores, and what missing scores can do to them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy

from autointerp.errors import TooFewRatings
from autointerp.stats.bounded import Scale, mover_difference, unseen_share, wilson_ends
from autointerp.stats.results import Bounds, Floats, Statistic, as_level, as_scores
from autointerp.stats.superiority import nearly_one_value, superiority
from autointerp.text import count


@dataclass(frozen=True, slots=True)
class Share:
    """How many units had one outcome, and which share of all units that is."""

    outcome: str
    count: int
    share: Statistic


def mean(
    scores: npt.ArrayLike,
    level: float = 0.95,
    *,
    scale: Scale | None = None,
    design_effect: float = 1.0,
) -> Statistic:
    """Return the mean of `scores`, [units], with its interval.

    Args:
        design_effect: By how much the variance of the mean exceeds that of units that have nothing
            in common; only with a scale.
        scale: Lowest and highest score that could be. The interval is then Wilson's at the
            effective sample size, after adding one unit spread evenly over the scale to the
            variance: it stays on the scale and covers near its ends, where Student's does not
            (64 to 87 % for scores nearly all at the ceiling). None for scores without ends:
            Student's t.

    The interval is undefined for one value, and without a scale where all ratings agree. Where
    nearly all scores of a scale, all but `LEAST_OFF_MODE`, are on one value between the ends it
    reaches at least as far as if those that such a sample may lack were all at one end (else it
    covers 76 % where so they are).

    Raises TooFewRatings if there are none, ValueError if a score is off the scale.
    Source: Student 1908, Biometrika 6:1; Wilson 1927, JASA 22:209; Kottas et al. 2014; Clopper &
    Pearson 1934, Biometrika 26:404.
    """
    as_level(level)
    x = as_scores(scores)
    value, n = float(x.mean()), (len(x),)
    method = "Student's t over units"
    if scale is not None:
        x = _on_scale(x, *scale)
        method = (
            "Wilson score interval at the effective n, one unit added over the scale; near one "
            "value the exact bound on what was not seen (Clopper & Pearson 1934)"
        )
    if len(x) == 1:
        return Statistic(value, None, None, n, method, level, "one value shows no spread")
    if scale is not None:
        low, high = mean_ends(x, (1 - level) / 2, scale, design_effect)
        return Statistic(value, float(low), float(high), n, method, level)
    if np.ptp(x) == 0:
        return Statistic(value, None, None, n, method, level, "all ratings agree")
    half = float(
        scipy.special.stdtrit(len(x) - 1, (1 + level) / 2) * x.std(ddof=1) / math.sqrt(len(x))
    )
    return Statistic(value, value - half, value + half, n, method, level)


def mean_ends(
    scores: Floats, tail: float, scale: Scale, design_effect: float = 1.0
) -> tuple[Floats, Floats]:
    """Return the ends of the interval of the mean, [...] each, of scores, [..., units], on a
    scale; see `mean`. `tail` is the probability beyond either end."""
    span = scale[1] - scale[0]
    share = (scores - scale[0]) / span
    n = scores.shape[-1] + 1
    centre = (share.sum(axis=-1) + 1 / 2) / n
    # A unit spread evenly over 0 to 1 in steps of a five-point scale has the square 0.375.
    squares = (share**2).sum(axis=-1) + 0.375 - n * centre**2
    low, high = wilson_ends(
        share.mean(axis=-1),
        squares / (n - 1) / n * design_effect,
        n - 1,
        tail,
        variance_at=centre,
    )
    unseen = np.where(_nearly_one_inside(share), unseen_share((n - 1) / design_effect, tail), 0.0)
    value = share.mean(axis=-1)
    low = np.minimum(low, (1 - unseen) * value)
    high = np.maximum(high, (1 - unseen) * value + unseen)
    return scale[0] + span * low, scale[0] + span * high


def _nearly_one_inside(shares: Floats) -> npt.NDArray[np.bool_]:
    """Return whether nearly all of the shares of a scale, [..., units], are one value between its
    ends, [...].

    In ascending order that value stands at the middle.
    """
    middle = np.median(shares, axis=-1, keepdims=True)
    off = (shares != middle).sum(axis=-1)
    inside = ((middle > 0) & (middle < 1))[..., 0]
    return np.asarray(inside & nearly_one_value(off, shares.shape[-1]))


def mean_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    level: float = 0.95,
    *,
    scale: Scale | None = None,
) -> Statistic:
    """Return mean(first) - mean(second), [units] each, with its interval.

    With a `scale` the interval is made from those of both means (MOVER), so that it stays within
    what the scale allows; without one it is Welch's t.

    Undefined interval where a group has one unit, and without a scale where neither group has
    any spread.

    Raises TooFewRatings if a group is empty.
    Source: Welch 1947, Biometrika 34:28; Zou & Donner 2008, Stat. Med. 27:1693.
    """
    as_level(level)
    x, y = as_scores(first), as_scores(second)
    n = (len(x), len(y))
    if scale is not None:
        parts = mean(x, level, scale=scale), mean(y, level, scale=scale)
        return mover_difference(*parts, n, "MOVER of two Wilson intervals at the effective n")
    value, method = float(x.mean() - y.mean()), "Welch's t over units"
    if min(n) == 1:
        return Statistic(value, None, None, n, method, level, "one value shows no spread")
    a, b = float(x.var(ddof=1)) / len(x), float(y.var(ddof=1)) / len(y)
    if np.ptp(x) == 0 and np.ptp(y) == 0:
        note = "the ratings within each group agree"
        return Statistic(value, None, None, n, method, level, note)
    freedom = (a + b) ** 2 / (a**2 / (len(x) - 1) + b**2 / (len(y) - 1))
    half = float(scipy.special.stdtrit(freedom, (1 + level) / 2)) * math.sqrt(a + b)
    return Statistic(value, value - half, value + half, n, method, level)


def median(scores: npt.ArrayLike, level: float = 0.95) -> Statistic:
    """Return the median of `scores`, [units], with an interval between two of the scores.

    The ends are the order statistics that enclose it with at least `level` by the binomial
    distribution; undefined where there are too few for that (fewer than 6 at 95 %).

    Raises TooFewRatings if there are none.
    Source: Hahn & Meeker 1991, Statistical Intervals, section 5.2.
    """
    as_level(level)
    x = np.sort(as_scores(scores))
    value, n, method = float(np.median(x)), (len(x),), "order statistics (binomial)"
    below = _binomial_quantile((1 - level) / 2, len(x))  # P(B < below) <= (1 - level)/2
    if below == 0:
        note = f"too few for an interval of the median: {count(len(x), 'unit')}"
        return Statistic(value, None, None, n, method, level, note)
    return Statistic(value, float(x[below - 1]), float(x[-below]), n, method, level)


@lru_cache(1024)  # scipy takes a millisecond, and sources of a run are often of one size
def _binomial_quantile(share: float, n: int) -> int:
    return int(scipy.stats.binom.ppf(share, n, 0.5))


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> Statistic:
    """Return the share of `successes` with its Wilson score interval.

    Assumes independent trials; where a unit has several, resample units instead.

    Raises TooFewRatings if `trials` is 0. Source: Wilson 1927, JASA 22:209.
    """
    as_level(level)
    if not 0 <= successes <= max(trials, 0):
        raise ValueError(f"{successes} successes in {trials} trials")
    if trials == 0:
        raise TooFewRatings("no trials, so no share; rate more")
    p, z2 = successes / trials, float(scipy.special.ndtri((1 + level) / 2)) ** 2
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = math.sqrt(z2 * p * (1 - p) / trials + (z2 / trials) ** 2 / 4) / (1 + z2 / trials)
    low, high = max(0.0, min(centre - half, p)), min(1.0, max(centre + half, p))
    return Statistic(p, low, high, (trials,), "Wilson score interval", level)


def exact_interval(successes: int, trials: int, level: float = 0.95) -> Statistic:
    """Return the share of `successes` with its exact interval, which covers at any share.

    Assumes independent trials. Raises TooFewRatings if `trials` is 0.
    Source: Clopper & Pearson 1934, Biometrika 26:404.
    """
    as_level(level)
    if not 0 <= successes <= max(trials, 0):
        raise ValueError(f"{successes} successes in {trials} trials")
    if trials == 0:
        raise TooFewRatings("no trials, so no share; rate more")
    tail, beta = (1 - level) / 2, scipy.stats.beta
    low = float(beta.ppf(tail, successes, trials - successes + 1)) if successes else 0.0
    misses = trials - successes
    high = float(beta.ppf(1 - tail, successes + 1, misses)) if misses else 1.0
    return Statistic(successes / trials, low, high, (trials,), "exact binomial interval", level)


def score_distribution(
    scores: npt.ArrayLike,
    levels: Sequence[int],
    outcomes: Mapping[str, int] | None = None,
    level: float = 0.95,
) -> tuple[Share, ...]:
    """Return the share of all units at each of `levels`, then at each of the other `outcomes`.

    Dead, refused, unparsed and failed units belong in `outcomes`: they are in the denominator.

    Raises TooFewRatings if there are no units at all, ValueError if a score is not on the scale.
    """
    x = as_scores(scores, 0)
    strange = sorted(set(x.tolist()) - set(levels))
    if strange:
        raise ValueError(f"scores {strange} are not among the levels {list(levels)}")
    counts = {str(value): int((x == value).sum()) for value in levels}
    counts.update(outcomes or {})
    total = sum(counts.values())
    return tuple(
        Share(outcome, count, wilson_interval(count, total, level))
        for outcome, count in counts.items()
    )


def missing_bounds(
    scores: npt.ArrayLike, missing: int, lowest: float, highest: float, level: float = 0.95
) -> Bounds:
    """Return the mean with all `missing` scores at `lowest`, and with all at `highest`.

    Whatever the missing scores are, the mean of all units lies between the two values; from the
    low end of the worst to the high end of the best is an interval that assumes nothing of them.

    Raises TooFewRatings if there are no units at all.
    Source: Manski 1990, Am. Econ. Rev. 80:319; Horowitz & Manski 2000, JASA 95:77.
    """
    x = _on_scale(scores, lowest, highest)
    return Bounds(
        mean(_filled(x, missing, lowest), level, scale=(lowest, highest)),
        mean(_filled(x, missing, highest), level, scale=(lowest, highest)),
        (missing,),
    )


def missing_bounds_superiority(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    missing: tuple[int, int],
    lowest: float,
    highest: float,
    level: float = 0.95,
) -> Bounds:
    """Return P(first > second) + ½ P(equal) with the missing scores against and for `first`.

    The worst case puts those of `first` at `lowest` and those of `second` at `highest`.

    Raises TooFewRatings if a group has no units at all. Source: Horowitz & Manski 2000.
    """
    x, y = _on_scale(first, lowest, highest), _on_scale(second, lowest, highest)
    return Bounds(
        superiority(_filled(x, missing[0], lowest), _filled(y, missing[1], highest), level),
        superiority(_filled(x, missing[0], highest), _filled(y, missing[1], lowest), level),
        missing,
    )


def _on_scale(scores: npt.ArrayLike, lowest: float, highest: float) -> Floats:
    x = as_scores(scores, 0)
    if len(x) and not (lowest <= x.min() and x.max() <= highest):
        raise ValueError(f"scores from {x.min()} to {x.max()} leave {lowest} to {highest}")
    return x


def _filled(scores: Floats, missing: int, value: float) -> Floats:
    if missing < 0:
        raise ValueError(f"{missing} missing scores")
    return np.concatenate([scores, np.full(missing, value)])
