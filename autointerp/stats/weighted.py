"""Means where some units count for more than others: by their use, or for how they were drawn."""

from __future__ import annotations

import numpy.typing as npt

from autointerp.stats.bounded import Scale, wilson_ends
from autointerp.stats.results import Statistic, as_level, as_scores

LEAST_EFFECTIVE = 10.0
UNSEEN = 1.5  # weight of a unit that a sample may have missed, in those of its largest
METHOD = (
    "sum of weight x score over sum of weights, linearised, Wilson at the effective n with "
    "Satterthwaite's degrees of freedom, one unit of 1.5 times the largest weight added over the "
    "scale"
)


def effective_units(weights: npt.ArrayLike) -> float:
    """Return how many units of one weight vary as much: (sum w)² / sum w².

    Source: Kish 1965, Survey Sampling, section 11.7.
    """
    w = as_scores(weights)
    return float(w.sum() ** 2 / (w**2).sum()) if w.any() else 0.0


def weighted_mean(
    scores: npt.ArrayLike, weights: npt.ArrayLike, scale: Scale, level: float = 0.95
) -> Statistic:
    """Return the mean score per unit of weight: of units that were drawn alike and are used unlike,
    by their use; of units that were drawn unlike, by the inverse of their probability (Hájek's).

    The ratio of two totals over the population, estimated from the sample's: scores and weights
    both vary from unit to unit, and the interval speaks of both. It has no correction for a finite
    population, as that of the plain mean has none.

    Args:
        scores: [units], on the scale.
        weights: [units], at least 0.
        scale: Lowest and highest score that could be.

    The units that weigh most are few, so a sample may lack one as large as its largest: one of
    1.5 times that weight, spread evenly over the scale, is added to the variance, whose degrees of
    freedom are Satterthwaite's. 95 % intervals then cover 95 to 99 % where log use is normal with
    a standard deviation of up to 1.5 (40 units or more), 2 (100) or 2.5 (300), whether units that
    are used more score higher or not (`python -m bench labs`). The interval is undefined where a
    few units outweigh all others, so that fewer than 10 units of one weight would
    vary as much.

    Raises TooFewRatings if there are none, ValueError if a weight is negative, or all are 0, or a
    score is off the scale.
    Source: Särndal, Swensson & Wretman 1992, section 5.6 (ratio of totals); Satterthwaite 1946,
    Biometrics Bull. 2:110; Wilson form as `mean`.
    """
    as_level(level)
    y, w = as_scores(scores), as_scores(weights)
    if w.shape != y.shape or (w < 0).any() or not w.any():
        raise ValueError("give each score a weight of at least 0, not all of them 0")
    low, high = scale
    share = (y - low) / (high - low)
    if share.min() < 0 or share.max() > 1:
        raise ValueError(f"scores from {y.min()} to {y.max()} leave {low} to {high}")
    n, part = (len(y),), w / w.sum()
    value = float(part @ share)
    effective = effective_units(w)
    shown = low + (high - low) * value
    if effective < LEAST_EFFECTIVE:
        note = (
            f"a few units carry nearly all weight: as much as {effective:.1f} units of one weight"
        )
        return Statistic(shown, None, None, n, METHOD, level, note)
    unseen = UNSEEN * float(part.max())
    unseen /= 1 + unseen
    # A unit spread evenly over 0 to 1 in steps of a five-point scale has the variance 1/8.
    added = ((0.5 - value) ** 2 + 0.125) * unseen**2
    squares = (part * (share - value)) ** 2
    total = float(squares.sum())
    freedom = max(1.0, total**2 / float((squares**2).sum())) if total > 0 else effective - 1
    variance = len(y) / (len(y) - 1) * total + added
    smoothed = value + unseen * (0.5 - value)
    least, most = wilson_ends(value, variance, freedom, (1 - level) / 2, variance_at=smoothed)
    span = high - low
    return Statistic(shown, low + span * float(least), low + span * float(most), n, METHOD, level)
