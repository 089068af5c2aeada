"""Groups as they are in the population, from samples drawn with unequal probabilities."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
import scipy

from autointerp.stats.bounded import Scale, wilson_ends
from autointerp.stats.results import Floats, Statistic, as_level, as_scores

LEAST_EFFECTIVE = 10.0
UNSEEN = 1.5  # weight of a unit that a sample may have missed, in those of its largest
BY_USE = (
    "sum of weight x score over sum of weights, linearised, Wilson at the effective n with "
    "Satterthwaite's degrees of freedom, one unit of 1.5 times the largest weight added over the "
    "scale"
)


def weighted_mean(
    scores: npt.ArrayLike,
    inclusion_probabilities: npt.ArrayLike,
    *,
    population: int | None = None,
    strata: Sequence[Hashable] | None = None,
    finite: bool = False,
    level: float = 0.95,
) -> Statistic:
    """Return the mean over the population from a sample of unequal probabilities.

    Hájek's estimator, sum(y/π) / sum(1/π), or Horvitz-Thompson's, sum(y/π) / N, where the
    `population` size N is given. The interval is by linearisation, with t on units less strata
    degrees of freedom.

    Args:
        scores: [units].
        inclusion_probabilities: π of each unit, above 0 and at most 1, [units].
        strata: The stratum from which each unit was drawn, [units]; None if there was one.
        finite: Speak of these very units and no others: a stratum that was rated whole then
            adds no error. Otherwise of units such as these.

    A stratum of a single unit borrows the spread of the others; the interval is undefined if no
    stratum has two.

    Raises TooFewRatings if there are no scores, ValueError if a probability is out of range.
    Source: Horvitz & Thompson 1952, JASA 47:663; Särndal, Swensson & Wretman 1992, section 5.7.
    """
    as_level(level)
    y = as_scores(scores)
    pi = _probabilities(inclusion_probabilities, y)
    weight = 1 / pi
    if population is None:
        total, method = float(weight.sum()), "Hájek mean, linearised, t over units"
        value = float(np.average(y, weights=weight))
        part = weight * (y - value) / total
    else:
        total, method = float(population), "Horvitz-Thompson mean, t over units"
        value = float((weight * y).sum() / total)
        part = weight * y / total
    labels = [0] * len(y) if strata is None else list(strata)
    if len(labels) != len(y):
        raise ValueError(f"{len(labels)} strata for {len(y)} scores")
    places = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    code = np.array([places[label] for label in labels])
    size = np.bincount(code)
    freedom = len(y) - len(size)
    if freedom == 0:
        note = "no stratum has two units"
        return Statistic(value, None, None, (len(y),), method, level, note)
    centred = part - (np.bincount(code, part) / size)[code]
    squares = np.bincount(code, centred**2)
    pooled = squares.sum() / freedom
    spread = np.where(size > 1, squares / np.maximum(size - 1, 1), pooled)
    left = 1 - np.bincount(code, pi) / size if finite else np.ones(len(size))
    variance = float((size * left * spread).sum())
    if variance <= 1e-24 * max(1.0, value**2):
        rated = finite and not left.any()
        note = "every unit of the population was rated" if rated else "all ratings agree"
        return Statistic(value, None, None, (len(y),), method, level, note)
    half = float(scipy.stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(variance)
    return Statistic(value, value - half, value + half, (len(y),), method, level)


def effective_units(weights: npt.ArrayLike) -> float:
    """Return how many units of one weight vary as much: (sum w)² / sum w².

    Source: Kish 1965, Survey Sampling, section 11.7.
    """
    w = as_scores(weights)
    return float(w.sum() ** 2 / (w**2).sum()) if w.any() else 0.0


def mean_by_use(
    scores: npt.ArrayLike, weights: npt.ArrayLike, scale: Scale, level: float = 0.95
) -> Statistic:
    """Return the mean score per unit of use, where units were drawn alike and are used unlike.

    The ratio of two totals over the population, estimated from the sample's: scores and weights
    both vary from unit to unit, and the interval speaks of both. It has no correction for a finite
    population, as that of the plain mean has none.

    Args:
        scores: [units], on the scale.
        weights: How much each unit is used, [units], at least 0.
        scale: Lowest and highest score that could be.

    The units that are used most are few, so a sample may lack one as large as its largest: one of
    1.5 times that weight, spread evenly over the scale, is added to the variance, whose degrees of
    freedom are Satterthwaite's. 95 % intervals then cover 95 to 99 % where log use is normal with
    a standard deviation of up to 1.5 (40 units or more), 2 (100) or 2.5 (300), whether units that
    are used more score higher or not (`python -m bench labs`). The interval is undefined where the
    use of a few units outweighs that of all others, so that fewer than 10 units of one weight would
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
        note = f"a few units carry nearly all use: as much as {effective:.1f} units of one weight"
        return Statistic(shown, None, None, n, BY_USE, level, note)
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
    return Statistic(shown, low + span * float(least), low + span * float(most), n, BY_USE, level)


def _probabilities(inclusion_probabilities: npt.ArrayLike, scores: Floats) -> Floats:
    pi = as_scores(inclusion_probabilities)
    if pi.shape != scores.shape:
        raise ValueError(f"{len(pi)} inclusion probabilities for {len(scores)} scores")
    if not ((pi > 0) & (pi <= 1)).all():
        raise ValueError("inclusion probabilities must be above 0 and at most 1")
    return pi
