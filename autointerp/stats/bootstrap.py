"""Intervals by resampling units, and raters with them where there are repeats.

The unit is what is drawn, never the single rating: all ratings of a unit come and go with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from autointerp.errors import TooFewRatings
from autointerp.stats.resample import Ends, interval_of, resample, resample_both
from autointerp.stats.results import Floats, Integers, Statistic, as_ratings
from autointerp.stats.superiority import count_levels, superiority_of_counts

GRID = 1 << 14


def bootstrap_mean(
    ratings: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    weights: npt.ArrayLike | None = None,
    raters_too: bool = False,
    resamples: int = 2_000,
    ends: Ends = "percentile",
    level: float = 0.95,
) -> Statistic:
    """Return the mean over units of each unit's mean rating, with a bootstrap interval.

    Args:
        ratings: [units], or [units, raters] with NaN where a rating is missing. A unit without
            any is left out.
        weights: Of the units in the mean, [units]; inverse inclusion probabilities, say.
        raters_too: Resample raters as well, independently of units (the pigeonhole bootstrap):
            the interval then speaks of other raters like these. Slightly too wide by design, and
            no cure for having two raters.
        ends: `bca` corrects bias and skewness; for resampled units only.

    Raises TooFewRatings if no unit is rated.
    Source: Efron 1987, JASA 82:171 (BCa); Owen 2007, Ann. Appl. Stat. 1:386 (pigeonhole).
    """
    scores = as_ratings(ratings)
    weight = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64)
    if weight.shape != (len(scores),) or not (weight > 0).all():
        raise ValueError(f"weights must be positive, one for each of {len(scores)} units")
    rated = ~np.isnan(scores).all(axis=1)
    scores, weight = _some(scores[rated]), weight[rated]
    unit = np.nanmean(scores, axis=1)
    value = float(np.average(unit, weights=weight))

    if raters_too:
        _forbid_bca(ends)
        present = ~np.isnan(scores)
        filled = np.where(present, scores, 0.0)

        def of_both(units: Sequence[Integers], raters: Integers) -> Floats:
            rating_count = raters @ present.T
            drawn = units[0] * weight * (rating_count > 0)
            each = (raters @ filled.T) / np.maximum(rating_count, 1)
            return _ratio((drawn * each).sum(axis=1), drawn.sum(axis=1))

        values = resample_both(of_both, [len(scores)], scores.shape[1], 1, rng, resamples)
        return _statistic(values, value, (len(unit),), "units and raters", ends, level, None)

    cells, counts = np.unique(np.stack([unit, weight], axis=1), axis=0, return_counts=True)
    numerator, denominator = cells[:, 0] * cells[:, 1], cells[:, 1]
    values = resample(
        lambda drawn: _ratio(drawn[0] @ numerator, drawn[0] @ denominator),
        [counts],
        rng,
        resamples,
    )
    influence = [weight * (unit - value) / weight.mean()]
    return _statistic(values, value, (len(unit),), "units", ends, level, influence)


def bootstrap_superiority(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    raters_too: bool = False,
    resamples: int = 2_000,
    ends: Ends = "percentile",
    level: float = 0.95,
) -> Statistic:
    """Return P(first > second) + ½ P(equal) of the units' mean ratings, bootstrap interval.

    Args:
        first, second: [units], or [units, raters] with NaN where a rating is missing; the same
            raters in the same columns of both. A unit without any rating is left out.
        raters_too: Resample raters as well, the same ones in both groups. Means of ratings that
            differ by less than 1/16384 of their range then count as ties.
        ends: `bca` corrects bias and skewness; for resampled units only.

    Raises TooFewRatings if a group has no rated unit.
    Source: Efron 1987, JASA 82:171 (BCa); Owen 2007, Ann. Appl. Stat. 1:386 (pigeonhole).
    """
    x, y = _both(first, second)
    x_unit, y_unit = np.nanmean(x, axis=1), np.nanmean(y, axis=1)
    x_counts, y_counts = count_levels(x_unit, y_unit)
    value = float(superiority_of_counts(x_counts, y_counts))
    n = (len(x), len(y))
    if raters_too:
        _forbid_bca(ends)
        low = min(np.nanmin(x), np.nanmin(y))
        span = max(np.nanmax(x), np.nanmax(y)) - low

        def on_grid(scores: Sequence[Floats], drawn: Sequence[Floats]) -> Floats:
            tables = []
            for score, weight in zip(scores, drawn, strict=True):
                place = np.rint((score - low) / (span or 1.0) * (GRID - 1)).astype(np.int64)
                place += GRID * np.arange(len(score))[:, None]
                flat = np.bincount(place.ravel(), weight.ravel(), minlength=GRID * len(score))
                tables.append(flat.reshape(len(score), GRID))
            return superiority_of_counts(tables[0], tables[1])

        values = _shared_raters(on_grid, x, y, rng, resamples)
        return _statistic(values, value, n, "units and raters", ends, level, None)
    values = resample(
        lambda drawn: superiority_of_counts(drawn[0], drawn[1]),
        [x_counts, y_counts],
        rng,
        resamples,
    )
    levels = np.unique(np.concatenate([x_unit, y_unit]))
    x_place = (np.cumsum(y_counts) - y_counts / 2) / n[1] - value
    y_place = 1 - value - (np.cumsum(x_counts) - x_counts / 2) / n[0]
    influence = [
        x_place[np.searchsorted(levels, x_unit)],
        y_place[np.searchsorted(levels, y_unit)],
    ]
    return _statistic(values, value, n, "units", ends, level, influence)


def _some(scores: Floats) -> Floats:
    if len(scores) == 0:
        raise TooFewRatings("no unit has a rating; rate some first")
    return scores


def _both(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Floats, Floats]:
    x, y = as_ratings(first), as_ratings(second)
    return _some(x[~np.isnan(x).all(axis=1)]), _some(y[~np.isnan(y).all(axis=1)])


def _forbid_bca(ends: Ends) -> None:
    if ends == "bca":
        raise ValueError("BCa has no form for resampled raters; ask for percentile")


def _ratio(above: Floats, below: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(above / below)


def _shared_raters(
    statistic: Callable[[Sequence[Floats], Sequence[Floats]], Floats],
    first: Floats,
    second: Floats,
    rng: np.random.Generator,
    resamples: int,
) -> Floats:
    """Return `statistic` of two groups' unit scores and weights, both [chunk, units], where the
    same resampled raters rate both groups, [resamples]."""
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"{first.shape[1]} raters and {second.shape[1]}: columns must be shared")
    present = [~np.isnan(group) for group in (first, second)]
    filled = [np.where(np.isnan(group), 0.0, group) for group in (first, second)]
    floor = min(np.nanmin(first), np.nanmin(second))  # for units that no drawn rater rated

    def of_both(units: Sequence[Integers], raters: Integers) -> Floats:
        scores, weights = [], []
        for group in range(2):
            rating_count = raters @ present[group].T
            mean = (raters @ filled[group].T) / np.maximum(rating_count, 1)
            scores.append(np.where(rating_count > 0, mean, floor))
            weights.append(np.where(rating_count > 0, units[group], 0.0))
        return statistic(scores, weights)

    sizes = [len(first), len(second)]
    return resample_both(of_both, sizes, first.shape[1], GRID, rng, resamples)


def _statistic(
    values: Floats,
    estimate: float,
    n: tuple[int, ...],
    drawn: str,
    ends: Ends,
    level: float,
    influence: Sequence[Floats] | None,
) -> Statistic:
    name = {"percentile": "percentile", "bca": "BCa"}[ends]
    method = f"bootstrap of {drawn}, {name}, {len(values)} resamples"
    found = interval_of(values, estimate, ends, level, influence)
    if found is None:
        return Statistic(estimate, None, None, n, method, level, "resamples show no spread")
    return Statistic(estimate, found[0], found[1], n, method, level)
