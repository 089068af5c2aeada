"""Figures of ranks alone: area under the ROC curve, average precision, Spearman's correlation."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from autointerp.stats.results import Floats, Integers


def auc(
    over: npt.ArrayLike,
    under: npt.ArrayLike,
    over_weights: npt.ArrayLike | None = None,
    under_weights: npt.ArrayLike | None = None,
) -> float:
    """Return P(a value of `over` exceeds one of `under`) + ½ P(they are equal).

    Args:
        over, under: Values of either group, [n] and [m].
        over_weights, under_weights: Of the values of each group, summing to 1 in each; None for
            equal weights.

    NaN where a group is empty.
    Source: Hanley & McNeil 1982, Radiology 143:29.
    """
    first = np.asarray(over, dtype=np.float64)
    second = np.asarray(under, dtype=np.float64)
    if not len(first) or not len(second):
        return math.nan
    if over_weights is None and under_weights is None:
        ordered = np.sort(second)
        twice = ordered.searchsorted(first).sum() + ordered.searchsorted(first, "right").sum()
        return float(twice) / 2 / (len(first) * len(second))
    _, rank = np.unique(np.concatenate([first, second]), return_inverse=True)
    levels = int(rank.max()) + 1
    mass_over, total_over = _mass(rank[: len(first)], over_weights, levels)
    mass_under, total_under = _mass(rank[len(first) :], under_weights, levels)
    pairs = float(mass_over @ (np.cumsum(mass_under) - mass_under / 2))
    return pairs / (total_over * total_under)


def _mass(rank: Integers, weights: npt.ArrayLike | None, levels: int) -> tuple[Floats, int]:
    """Return the weight at each level, [levels], and what the weights sum to.

    Equal weights are counts, so that no rounding enters.
    """
    if weights is None:
        return np.bincount(rank, minlength=levels).astype(np.float64), len(rank)
    mass = np.bincount(rank, np.asarray(weights, dtype=np.float64), levels)
    return mass.astype(np.float64), 1


def average_precision(levels: npt.ArrayLike, relevant: npt.ArrayLike) -> float:
    """Return the mean over what is relevant of the share that is, from the top down to it.

    Args:
        levels: [n], by which things are ranked, the largest first.
        relevant: [n] True for what is to stand at the top.

    Ties stand in random order: the expectation over it, which is not that of any one order, and
    where all tie it is the average precision of chance. NaN where nothing is relevant.
    """
    values = np.asarray(levels, dtype=np.float64)
    wanted = np.asarray(relevant, dtype=bool)
    if not wanted.any():
        return math.nan
    total, above, above_wanted = 0.0, 0, 0
    for level in np.unique(values)[::-1]:
        tied = values == level
        size, hits = int(tied.sum()), int(wanted[tied].sum())
        if hits:
            places = np.arange(1, size + 1)
            # With one of `hits` at a place, the others fall on those before it alike.
            before = (places - 1) * ((hits - 1) / (size - 1) if size > 1 else 0.0)
            precision = (above_wanted + 1 + before) / (above + places)
            total += float(precision.sum()) * hits / size
        above, above_wanted = above + size, above_wanted + hits
    return total / int(wanted.sum())


def spearman(x: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Return Spearman's rank correlation of two variables, [n] each: Pearson's of their ranks.

    Ties have their mean rank. Under `weights`, [n], a rank is the weight below the value and half
    of the weight that ties with it; values of weight 0 do not count.

    NaN where either variable does not vary, or fewer than 2 values count.
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    weight = np.ones(len(first)) if weights is None else np.asarray(weights, dtype=np.float64)
    counts = weight > 0
    first, second, weight = first[counts], second[counts], weight[counts]
    if len(first) < 2:
        return math.nan
    share = weight / weight.sum()
    a, b = _centred_ranks(first, share), _centred_ranks(second, share)
    spread = float((share * a * a).sum() * (share * b * b).sum())
    if spread <= 1e-24:
        return math.nan
    return max(-1.0, min(1.0, float((share * a * b).sum() / math.sqrt(spread))))


def _centred_ranks(values: Floats, share: Floats) -> Floats:
    """Return each value's mid-rank, as a share of all weight, less their weighted mean."""
    _, level = np.unique(values, return_inverse=True)
    mass = np.bincount(level, share)
    rank = (np.cumsum(mass) - mass / 2)[level]
    return np.asarray(rank - (share * rank).sum())
