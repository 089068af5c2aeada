"""Contexts of a unit that share a passage: copies of one text, from another place in it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from autointerp.subjects.passages import passages
from autointerp.units.draws import unit_hash
from autointerp.units.reservoirs import Entries, among, identities, in_both

UNITS_AT_ONCE = 64  # so that passages take some 10 MB, however many units there are


def on_the_wrong_side(entries: Entries, words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the rows that share a passage with the other split of their unit, and do not keep it.

    Of the passages that a context shares, that of the lowest bits says which split keeps it: the
    same for all copies. `words` [vocabulary + 1] are those of `subjects.passages.words_of`.
    """
    lost = []
    for rows in _slabs(entries):
        bits, row = _passages(entries, rows, words)
        in_score = entries.key[row] % 2 == 1
        hit = in_both(bits, in_score)
        if not hit.any():
            continue
        lowest = np.full(len(entries), np.iinfo(np.uint64).max)
        np.minimum.at(lowest, row[hit], bits[hit])
        some = np.unique(row[hit])
        lost.append(some[(lowest[some] % 2 == 1) != (entries.key[some] % 2 == 1)])
    return np.concatenate(lost) if lost else np.zeros(0, np.int64)


def holding(entries: Entries, others: Entries, words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the rows of `entries` that share a passage with one of the `others` of their unit."""
    found = []
    of_others = {int(others.key[rows[0]] // 2) // UNITS_AT_ONCE: rows for rows in _slabs(others)}
    for rows in _slabs(entries):
        theirs = of_others.get(int(entries.key[rows[0]] // 2) // UNITS_AT_ONCE)
        if theirs is not None:
            bits, row = _passages(entries, rows, words)
            found.append(np.unique(row[among(bits, _passages(others, theirs, words)[0])]))
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _slabs(entries: Entries) -> Iterator[NDArray[np.int64]]:
    """Yield rows of some units at a time."""
    slab = entries.key // (2 * UNITS_AT_ONCE)
    order = np.argsort(slab, kind="stable")
    begins = np.flatnonzero(np.diff(slab[order])) + 1
    yield from (rows for rows in np.split(order, begins) if len(rows))


def _passages(
    entries: Entries, rows: NDArray[np.int64], words: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return bits of each passage in these rows, other ones for each unit, and its row."""
    ids = entries.ids[rows]
    bits, place = passages(words[ids].ravel(), np.repeat(np.arange(len(rows)), ids.shape[1]))
    row = rows[place]
    return unit_hash(identities(entries.key[row] // 2, bits), 3), row
