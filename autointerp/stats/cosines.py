"""Nearest neighbours and one-to-one partners of two sets of vectors by cosine, in blocks.

All products of 100,000 by 100,000 vectors would take 40 GB; no more than `BLOCK` of them are held
at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

Vectors = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

BLOCK = 2**24  # cosines held at a time: 64 MB
GROUP = 64  # columns whose maximum stands for them while the largest are looked for
CANDIDATES = 16  # partners tried for each vector where not all pairs can be
EXACT = 4_096**2  # pairs up to which all are tried
STEP = 1e-3  # by which a bid is raised at least


@dataclass(frozen=True)
class Nearest:
    """The nearest vectors of two sets, `left` [n, width] and `right` [m, width], to one another.

    Attributes:
        index: [n, k] rows of `right` nearest to each of `left`, the nearest first.
        cosine: [n, k] float32, theirs.
        back_index: [m] the row of `left` that is nearest to each of `right`.
        back_cosine: [m] float32, its.
    """

    index: Indices
    cosine: Vectors
    back_index: Indices
    back_cosine: Vectors


@dataclass(frozen=True)
class Partners:
    """A one-to-one matching.

    Attributes:
        index: [n] row of `right` that each of `left` has for itself; -1 where it has none.
        cosine: [n] float32, NaN where it has none.
        is_exact: Whether no other matching has a larger sum of cosines. Otherwise none has one
            larger by `STEP` a vector, among those that pair each of `left` with one of its nearest.
    """

    index: Indices
    cosine: Vectors
    is_exact: bool


def unit_length(vectors: npt.ArrayLike) -> Vectors:
    """Return vectors [n, width] scaled to length 1, float32.

    Raises ValueError for another shape, a vector of length 0, or one that is not finite.
    """
    rows = np.asarray(vectors, dtype=np.float32)
    if rows.ndim != 2:
        raise ValueError(f"vectors have shape {rows.shape}; expected [n, width]")
    largest = np.abs(rows).max(axis=1, initial=0)  # first, so that no square overflows
    if not np.isfinite(largest).all() or not largest.all():
        raise ValueError("a vector is not finite, or 0; leave it out")
    rows = rows / largest[:, None]
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def nearest(left: Vectors, right: Vectors, k: int = 1, block: int = BLOCK) -> Nearest:
    """Return the `k` nearest of `right` to each of `left`, and the nearest of `left` to each of
    `right`, both of length 1.

    `k` is at most the number of rows of `right`. No more than `block` cosines, or one row of them,
    are held at a time. Raises ValueError where a set is empty.
    """
    if not len(left) or not len(right):
        raise ValueError("a set has no vectors")
    n, m = len(left), len(right)
    k = min(k, m)
    groups = -(-m // GROUP)
    columns = groups * GROUP
    rows = max(1, min(n, block // columns))
    index, cosine = np.empty((n, k), np.int64), np.empty((n, k), np.float32)
    back_index, back_cosine = np.zeros(m, np.int64), np.full(m, -np.inf, np.float32)
    products = np.full((rows, columns), -np.inf, np.float32)
    for start in range(0, n, rows):
        part = left[start : start + rows]
        held = products[: len(part)]
        held[:, :m] = part @ right.T
        index[start : start + rows], cosine[start : start + rows] = _largest(held, k, groups)
        highest = held[:, :m].max(axis=0)
        # Few columns improve after the first blocks, and only for these the row is looked for.
        (better,) = np.nonzero(highest > back_cosine)
        back_cosine[better] = highest[better]
        back_index[better] = held[:, better].argmax(axis=0) + start
    return Nearest(index, np.clip(cosine, -1, 1), back_index, np.clip(back_cosine, -1, 1))


def _largest(products: Vectors, k: int, groups: int) -> tuple[Indices, Vectors]:
    """Return the columns of the `k` largest of each row, largest first, and their values.

    The k largest lie in the k groups of columns with the largest maxima. Column c is in group
    c modulo `groups`, so that maxima are taken over long rows.
    """
    rows, columns = products.shape
    maxima = products.reshape(rows, columns // groups, groups).max(axis=1)
    chosen = min(k, groups)
    held = np.argpartition(-maxima, chosen - 1, axis=1)[:, :chosen]
    candidates = (held[:, :, None] + np.arange(columns // groups) * groups).reshape(rows, -1)
    values = np.take_along_axis(products, candidates, axis=1)
    largest = np.argpartition(-values, k - 1, axis=1)[:, :k]
    candidates = np.take_along_axis(candidates, largest, axis=1)
    values = np.take_along_axis(values, largest, axis=1)
    order = np.lexsort((candidates, -values), axis=1)  # equal ones by their place
    return np.take_along_axis(candidates, order, axis=1), np.take_along_axis(values, order, axis=1)


def partners(left: Vectors, right: Vectors, near: Nearest, exact: int = EXACT) -> Partners:
    """Return the one-to-one matching of two sets that has the largest sum of cosines.

    Up to `exact` pairs it is the one of all that pair every vector of the smaller set
    (Hungarian method). Beyond, only the nearest of each of `left` count, and a vector without a
    partner counts 0: it has none where its candidates are better used by others. The sum is then
    the largest but for `STEP` a vector.

    Source: Kuhn 1955, Naval Research Logistics Quarterly 2:83; Crouse 2016, IEEE Transactions on
    Aerospace and Electronic Systems 52:1679.
    """
    n, m = len(left), len(right)
    index, cosine = np.full(n, -1, np.int64), np.full(n, np.nan, np.float32)
    if n * m <= exact:
        products = np.clip(left @ right.T, -1, 1)
        rows, columns = scipy.optimize.linear_sum_assignment(products, maximize=True)
        index[rows], cosine[rows] = columns, products[rows, columns]
        return Partners(index, cosine, True)
    index = _auction(near, m)
    (has,) = np.nonzero(index >= 0)
    place = (near.index[has] == index[has, None]).argmax(axis=1)
    cosine[has] = near.cosine[has, place]
    return Partners(index, cosine, False)


def _auction(near: Nearest, m: int) -> Indices:
    """Return the column [n] that each row gets, -1 for none, by an auction of all rows at once.

    Each row without a column bids for the one that is worth most to it at its price, as much as
    makes its second choice worth the same (none at all is worth 0), and `STEP` more. A column goes
    to the highest bid; who had it bids again. Prices begin at 0, so that columns that nobody has
    cost nothing and the sum is within `STEP` a row of the largest.

    Source: Bertsekas 1988, Annals of Operations Research 14:105.
    """
    owner = np.full(m, -1, np.int64)
    has = np.full(len(near.index), -1, np.int64)
    price = np.zeros(m)
    bidders = np.arange(len(near.index))
    while len(bidders):
        values = near.cosine[bidders] - price[near.index[bidders]]
        best = values.argmax(axis=1)
        line = np.arange(len(bidders))
        first = values[line, best]
        values[line, best] = -np.inf
        second = np.maximum(values.max(axis=1), 0)
        stays = first > 0  # who has nothing left that is worth its price stops
        bidders, best = bidders[stays], best[stays]
        wanted = near.index[bidders, best]
        bid = price[wanted] + (first - second)[stays] + STEP
        order = np.lexsort((bidders, -bid, wanted))
        columns, highest = np.unique(wanted[order], return_index=True)
        winners = bidders[order[highest]]
        outbid = owner[columns]
        price[columns] = bid[order[highest]]
        owner[columns], has[winners] = winners, columns
        outbid = outbid[outbid >= 0]
        has[outbid] = -1
        bidders = np.concatenate([np.setdiff1d(bidders, winners, assume_unique=True), outbid])
    return has
