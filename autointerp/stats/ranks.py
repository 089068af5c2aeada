"""Figures of ranks alone: the area under the ROC curve, and Spearman's correlation."""

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
