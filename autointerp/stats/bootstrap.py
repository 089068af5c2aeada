"""Intervals by resampling units, and raters with them where there are repeats.

The unit is what is drawn, never the single rating: all ratings of a unit come and go with it.
Units that look alike to a statistic share a cell, and a resample is a count a cell, so that ten
thousand units on a five-point scale cost no more than five numbers a resample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from autointerp.errors import TooFewRatings
from autointerp.stats.results import Floats, Integers, Statistic, as_level
from autointerp.stats.superiority import count_levels, superiority_of_counts

Ends = Literal["percentile", "bca"]

CELLS_AT_ONCE = 4_000_000  # bounds memory: about 32 MB an array
GRID = 1 << 14
MIN_RESAMPLES = 100


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

        values = _pigeonhole(of_both, [len(scores)], scores.shape[1], 1, rng, resamples)
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


def bootstrap_mean_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    raters_too: bool = False,
    resamples: int = 2_000,
    ends: Ends = "percentile",
    level: float = 0.95,
) -> Statistic:
    """Return the difference of two groups' means of unit means, with a bootstrap interval.

    Arguments as in `bootstrap_superiority`. Raises TooFewRatings if a group has no rated unit.
    """
    x, y = _both(first, second)
    x_unit, y_unit = np.nanmean(x, axis=1), np.nanmean(y, axis=1)
    value = float(x_unit.mean() - y_unit.mean())
    n = (len(x), len(y))

    def difference(scores: Sequence[Floats], drawn: Sequence[Floats]) -> Floats:
        means = [
            _ratio((weight * score).sum(axis=1), weight.sum(axis=1))
            for score, weight in zip(scores, drawn, strict=True)
        ]
        return means[0] - means[1]

    if raters_too:
        _forbid_bca(ends)
        values = _shared_raters(difference, x, y, rng, resamples)
        return _statistic(values, value, n, "units and raters", ends, level, None)
    x_levels, x_counts = np.unique(x_unit, return_counts=True)
    y_levels, y_counts = np.unique(y_unit, return_counts=True)
    values = resample(
        lambda drawn: drawn[0] @ x_levels / n[0] - drawn[1] @ y_levels / n[1],
        [x_counts, y_counts],
        rng,
        resamples,
    )
    influence = [x_unit - x_unit.mean(), y_unit.mean() - y_unit]
    return _statistic(values, value, n, "units", ends, level, influence)


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


def resample(
    statistic: Callable[[Sequence[Integers]], Floats],
    counts: Sequence[Integers],
    rng: np.random.Generator,
    resamples: int,
) -> Floats:
    """Return `statistic` of each bootstrap resample, [resamples].

    Args:
        statistic: Takes, for each group, how often each cell was drawn, [chunk, cells], and
            returns [chunk]; NaN where a resample leaves it undefined.
        counts: Units in each cell of each group, [cells]; groups are resampled separately.

    Raises ValueError if `resamples` is under 100.
    """
    if resamples < MIN_RESAMPLES:
        raise ValueError(f"{resamples} resamples; at least {MIN_RESAMPLES} are needed")
    widest = max(max(len(group), _indexed(group)) for group in counts)
    chunk = max(1, CELLS_AT_ONCE // widest)
    parts = []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        parts.append(statistic([_draw(group, rng, size) for group in counts]))
    return np.concatenate(parts)


def interval_of(
    values: Floats,
    estimate: float,
    ends: Ends,
    level: float,
    influence: Sequence[Floats] | None = None,
) -> tuple[float, float] | None:
    """Return the ends of the interval from bootstrap `values`, [resamples], stretched to hold
    the estimate; None if fewer than half are defined, or all are equal.

    Args:
        influence: Empirical influence of each unit of each group, for `bca`.

    Source: Efron 1987, JASA 82:171; Davison & Hinkley 1997, section 5.3 (several groups).
    """
    as_level(level)
    defined = values[np.isfinite(values)]
    if 2 * len(defined) < len(values) or np.ptp(defined) < 1e-12:
        return None
    tail = (1 - level) / 2
    shares = np.array([tail, 1 - tail])
    if ends == "bca":
        if influence is None:
            raise ValueError("BCa needs the units' influence values")
        # Ties with the estimate count half: the statistic is discrete.
        tied = np.abs(defined - estimate) < 1e-12
        under = ((defined < estimate) & ~tied).mean() + tied.mean() / 2
        under = np.clip(under, 0.5 / len(defined), 1 - 0.5 / len(defined))
        bias = float(stats.norm.ppf(under))
        squares = sum(float((group**2).sum()) / len(group) ** 2 for group in influence)
        cubes = sum(float((group**3).sum()) / len(group) ** 3 for group in influence)
        skew = cubes / (6 * squares**1.5) if squares > 0 else 0.0
        z = bias + stats.norm.ppf(shares)
        shares = stats.norm.cdf(bias + z / (1 - skew * z))
    low, high = np.quantile(defined, shares)
    return min(float(low), estimate), max(float(high), estimate)


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


def _indexed(counts: Integers) -> int:
    """Return the units to be drawn one by one: 0 where a multinomial draw is cheaper."""
    units = int(counts.sum())
    return units if len(counts) > units / 8 else 0


def _draw(counts: Integers, rng: np.random.Generator, resamples: int) -> Integers:
    """Return how often each cell is drawn, [resamples, cells]."""
    units, cells = int(counts.sum()), len(counts)
    if not _indexed(counts):
        return rng.multinomial(units, counts / units, size=resamples)
    cell = np.repeat(np.arange(cells), counts)
    drawn = cell[rng.integers(0, units, size=(resamples, units))]
    drawn += cells * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * cells).reshape(resamples, cells)


def _pigeonhole(
    statistic: Callable[[Sequence[Integers], Integers], Floats],
    units: Sequence[int],
    raters: int,
    least: int,
    rng: np.random.Generator,
    resamples: int,
) -> Floats:
    """Return `statistic` of resampled units of each group and resampled raters, [resamples].

    `least` is the number of cells a resample that the statistic itself needs, for chunking.
    """
    if raters < 2:
        raise TooFewRatings("one rater cannot be resampled; add a rater or resample units alone")
    if resamples < MIN_RESAMPLES:
        raise ValueError(f"{resamples} resamples; at least {MIN_RESAMPLES} are needed")
    chunk = max(1, CELLS_AT_ONCE // max(*units, least))
    parts = []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = [_draw(np.ones(group, dtype=np.int64), rng, size) for group in units]
        parts.append(statistic(drawn, _draw(np.ones(raters, dtype=np.int64), rng, size)))
    return np.concatenate(parts)


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
    filled = [np.where(seen, group, 0.0) for seen, group in zip(present, (first, second))]
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
    return _pigeonhole(of_both, sizes, first.shape[1], GRID, rng, resamples)


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
