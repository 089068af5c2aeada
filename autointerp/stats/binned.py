"""Rankings of two classes from counts in bins: the area under the ROC curve, and F1 at bin edges.

Bins stand in ascending order of the value. What lies in one bin is taken as tied, so that the area
is off by at most half of the pairs that share a bin; bin 0 holds values that are equal, such as
a unit's silence, and ties there are ties.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

from autointerp.stats.results import Floats, Integers


def binned_auc(over: npt.ArrayLike, under: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return P(over > under) + ½ P(equal), [...], and by how much binning can have changed it.

    Args:
        over, under: Counts in bins, [..., bins] each. All values in bin 0 are equal.

    NaN for both where a class is empty.
    Source: Hanley & McNeil 1982, Radiology 143:29; the bound is half of the pairs within a bin.
    """
    first, second = _shares(over), _shares(under)
    below = np.cumsum(second, axis=-1) - second / 2
    value = (first * below).sum(axis=-1)
    error = (first[..., 1:] * second[..., 1:]).sum(axis=-1) / 2
    return np.asarray(value), np.asarray(error)


def _shares(counts: npt.ArrayLike) -> Floats:
    array = np.asarray(counts, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(array / array.sum(axis=-1, keepdims=True))


def binned_f1(over: npt.ArrayLike, under: npt.ArrayLike) -> Floats:
    """Return F1 of "the value lies in this bin or a higher one", [..., bins]; exact at bin edges.

    Bin 0 calls everything positive. 0 where a class is empty.
    """
    hits = np.cumsum(np.asarray(over, np.float64)[..., ::-1], axis=-1)[..., ::-1]
    false = np.cumsum(np.asarray(under, np.float64)[..., ::-1], axis=-1)[..., ::-1]
    called = hits + false + hits[..., :1]
    return np.asarray(np.divide(2 * hits, called, out=np.zeros_like(hits), where=called > 0))


def best_of_fewer(order: npt.ArrayLike, values: npt.ArrayLike, chosen: int) -> float:
    """Return the mean of what is chosen where only `chosen` of all candidates may be searched.

    Of every subset of that size the candidate that comes first in the search is taken; what is
    returned is the mean of its value over all subsets.

    Args:
        order: [n] candidates, best of the search first.
        values: [n] of each candidate, such as its figure on held-out text.

    Raises ValueError if `chosen` is not from 1 to n.
    """
    ranked = np.asarray(values, np.float64)[np.asarray(order)]
    n = len(ranked)
    if not 1 <= chosen <= n:
        raise ValueError(f"{chosen} of {n} candidates; choose from 1 to {n}")
    # P(the best of a subset has rank r, from 0) = C(n - 1 - r, chosen - 1) / C(n, chosen).
    left = n - 1 - np.arange(n - chosen + 1)
    log = _log_choose(left, chosen - 1) - _log_choose(np.array([n]), chosen)
    return float(np.exp(log) @ ranked[: len(left)])


def _log_choose(n: Integers, k: int) -> Floats:
    gammaln = scipy.special.gammaln
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
