"""Resampling of units, and of raters with them; the engine of `bootstrap` and `agreement`.

Units that look alike to a statistic share a cell, and a resample is a count a cell, so that ten
thousand units on a five-point scale cost no more than five numbers a resample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import scipy

from autointerp.errors import TooFewRatings
from autointerp.stats.results import Floats, Integers, as_level

Ends = Literal["percentile", "bca"]

CELLS_AT_ONCE = 4_000_000  # bounds memory: about 32 MB an array
MIN_RESAMPLES = 100


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


def resample_both(
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
        bias = float(scipy.stats.norm.ppf(under))
        squares = sum(float((group**2).sum()) / len(group) ** 2 for group in influence)
        cubes = sum(float((group**3).sum()) / len(group) ** 3 for group in influence)
        skew = cubes / (6 * squares**1.5) if squares > 0 else 0.0
        z = bias + scipy.stats.norm.ppf(shares)
        shares = scipy.stats.norm.cdf(bias + z / (1 - skew * z))
    low, high = np.quantile(defined, shares)
    return min(float(low), estimate), max(float(high), estimate)


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
