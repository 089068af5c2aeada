"""P(superiority) within each rater, and combined over raters (van Elteren).

Scores of different raters are never averaged or compared: a severe rater who saw more of one
group would pass for a difference of the groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from autointerp.errors import TooFewRatings
from autointerp.stats.bounded import AT_SEPARATION, not_past_separation, wilson_ends
from autointerp.stats.results import Floats, HypothesisTest, Statistic, as_level, as_ratings
from autointerp.stats.superiority import ALL_EQUAL, count_levels, smoothed_levels, superiority

METHOD = (
    "probability of superiority within each rater, weighted n1 n2 / (n1 + n2 + 1) (van Elteren "
    "1960); variance over units, each with all its raters (Obuchowski 1997); Wilson at the "
    f"effective n; {AT_SEPARATION}"
)


@dataclass(frozen=True, slots=True)
class RaterSuperiority:
    """P(superiority) by one rater.

    Attributes:
        rater: As given.
        weight: Its share of the combined estimate, 0 where it rated one group alone.
        superiority: None where it rated one group alone.
    """

    rater: str
    weight: float
    superiority: Statistic | None


@dataclass(frozen=True, slots=True)
class Combined:
    """P(superiority) within raters.

    Attributes:
        superiority: Weighted mean of the raters' own; `n` counts units, not ratings.
        test: Of `superiority` = ½.
        raters: In the order of the columns.
    """

    superiority: Statistic
    test: HypothesisTest
    raters: tuple[RaterSuperiority, ...]


def van_elteren(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    raters: Sequence[str],
    level: float = 0.95,
) -> Combined:
    """Return P(first > second) + ½ P(equal) within each rater, and combined.

    Units that several raters rated count once: what a unit adds to the estimates of all its
    raters is summed before squaring. With one rater this is `superiority`. It speaks of these
    raters, not of others like them.

    Args:
        first, second: [units, raters], NaN where a rating is missing; the same raters in the
            same columns. A rater's repeats of a unit come averaged.
        raters: Name of each column.

    Where a rater gave every unit the same value its share is ½ and counts. No interval where no
    rater's own has one.

    Raises TooFewRatings if no rater rated units of both groups, ValueError for other columns.
    Source: van Elteren 1960, Bull. Int. Stat. Inst. 37:351; Obuchowski 1997, Biometrics 53:567;
    Brunner, Domhof & Langer 2002, Nonparametric Analysis of Longitudinal Data.
    """
    as_level(level)
    x, y = as_ratings(first), as_ratings(second)
    if not x.shape[1] == y.shape[1] == len(raters):
        raise ValueError(f"{x.shape[1]} and {y.shape[1]} columns for {len(raters)} raters")
    rated = [(x[~np.isnan(x[:, k]), k], y[~np.isnan(y[:, k]), k]) for k in range(len(raters))]
    raw = np.array([len(a) * len(b) / (len(a) + len(b) + 1) for a, b in rated])
    if not raw.any():
        raise TooFewRatings("no rater has rated units of both groups; rate more")
    weights = raw / raw.sum()
    parts = tuple(
        RaterSuperiority(name, float(w), superiority(a, b, level) if w else None)
        for name, w, (a, b) in zip(raters, weights, rated, strict=True)
    )
    n = (_units(x[:, weights > 0]), _units(y[:, weights > 0]))
    value = sum(p.weight * float(p.superiority.value or 0) for p in parts if p.superiority)
    variance, smooth, freedom = _spread(x, y, weights)
    if min(n) < 2 or all(np.ptp(np.concatenate(pair)) == 0 for pair in rated if len(pair[0])):
        note = "one unit shows no spread" if min(n) < 2 else ALL_EQUAL
        nothing = Statistic(value, None, None, n, METHOD, level, note)
        return Combined(nothing, HypothesisTest(None, None, METHOD, note), parts)
    known = [part.superiority for part in parts if part.superiority is not None]
    if len(known) == 1 or all(own.low is None for own in known):
        only = known[0]
        estimate = Statistic(value, only.low, only.high, n, METHOD, level, only.note)
    else:
        tail = (1 - level) / 2
        low, high = wilson_ends(value, variance, freedom, tail, variance_at=smooth)
        low, high = not_past_separation(low, high, min(n), tail)
        estimate = Statistic(value, float(low), float(high), n, METHOD, level)
    statistic = (value - 0.5) / variance**0.5
    p_value = float(2 * scipy.stats.t.sf(abs(statistic), freedom))
    return Combined(estimate, HypothesisTest(statistic, p_value, METHOD), parts)


def _units(ratings: Floats) -> int:
    return int((~np.isnan(ratings).all(axis=1)).sum())


def _spread(first: Floats, second: Floats, weights: Floats) -> tuple[float, float, float]:
    """Return the variance of the combined estimate, the value it goes with and its degrees of
    freedom, from tables with one unit added to each group of each rater, spread like both."""
    totals = [np.zeros(len(first)), np.zeros(len(second))]
    added = [0.0, 0.0]
    smooth = 0.0
    for k in np.flatnonzero(weights):
        columns = first[:, k], second[:, k]
        present = [~np.isnan(column) for column in columns]
        levels = np.unique(np.concatenate([c[p] for c, p in zip(columns, present, strict=True)]))
        counts = count_levels(columns[0][present[0]], columns[1][present[1]])
        x, y = smoothed_levels(*counts)
        x_place = (np.cumsum(y) - y / 2) / y.sum()
        y_place = 1 - (np.cumsum(x) - x / 2) / x.sum()
        p = float(x @ x_place / x.sum())
        smooth += weights[k] * p
        for side, (table, place) in enumerate(((x, x_place), (y, y_place))):
            size = table.sum()
            scale = weights[k] / np.sqrt(size * (size - 1))
            rows = np.flatnonzero(present[side])
            at = np.searchsorted(levels, columns[side][rows])
            totals[side][rows] += scale * (place[at] - p)
            extra = ((table - counts[side]) * (place - p) ** 2).sum()
            added[side] += float(scale * np.sqrt(extra))  # the added unit is one to all raters
    sides = [float((t**2).sum()) + root**2 for t, root in zip(totals, added, strict=True)]
    sizes = [_units(first[:, weights > 0]), _units(second[:, weights > 0])]
    variance = sum(sides)
    spread = sum(side**2 / max(size, 1) for side, size in zip(sides, sizes, strict=True))
    freedom = variance**2 / spread if spread > 0 else 1.0
    return variance, smooth, float(min(freedom, max(1, min(sizes) - 1)))
