"""Groups as they are in the population, from samples drawn with unequal probabilities."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
import scipy

from autointerp.stats.results import Floats, Statistic, as_level, as_scores


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


def _probabilities(inclusion_probabilities: npt.ArrayLike, scores: Floats) -> Floats:
    pi = as_scores(inclusion_probabilities)
    if pi.shape != scores.shape:
        raise ValueError(f"{len(pi)} inclusion probabilities for {len(scores)} scores")
    if not ((pi > 0) & (pi <= 1)).all():
        raise ValueError("inclusion probabilities must be above 0 and at most 1")
    return pi
