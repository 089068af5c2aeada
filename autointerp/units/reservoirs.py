"""What a harvest keeps of a stream: strongest entries and uniform draws, by key.

Everything here is a bottom-k sketch: an entry carries a priority that depends on its place in the
corpus alone, and a bin keeps the entries of lowest priority. So the result depends neither on the
order of the stream nor on how it is cut, two parts merge exactly, and memory does not grow.
Source: Cohen and Kaplan 2007, "Summarizing data using bottom-k sketches", PODC, §2.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from autointerp.units.draws import interval_of

OCTAVES, MANTISSA_BITS = 4, 2
BINS = OCTAVES * 2**MANTISSA_BITS + 1  # the lowest bin holds all that is more than 4 octaves down
WELL_FILLED = np.uint64(128)  # a level that keeps under 1 in 32 of its places
NEVER_FULL = np.uint64(2**32)  # a threshold that every 32-bit priority passes


@dataclass(frozen=True)
class Entries:
    """Kept places, one a row.

    Attributes:
        key: [n] which stream (unit and split).
        value: [n] float32 activation at the place.
        priority: [n] 32 random bits of the place for this key, as uint64.
        document, position: [n] the place.
        ids: [n, window] token ids round the place; -1 outside the model's window or not kept.
        activations: [n, window] the unit's activations on them.
    """

    key: NDArray[np.int64]
    value: NDArray[np.float32]
    priority: NDArray[np.uint64]
    document: NDArray[np.int64]
    position: NDArray[np.int64]
    ids: NDArray[np.int32]
    activations: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.key)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Entries:
        """Return the chosen rows: a copy, or a view of a slice."""
        return Entries(*(getattr(self, f.name)[rows] for f in fields(self)))


def blank_entries(window: int, rows: int = 0) -> Entries:
    """Return a table for windows of this many tokens, to be written into."""
    return Entries(
        np.empty(rows, np.int64),
        np.empty(rows, np.float32),
        np.empty(rows, np.uint64),
        np.empty(rows, np.int64),
        np.empty(rows, np.int64),
        np.empty((rows, window), np.int32),
        np.empty((rows, window), np.float32),
    )


def joined(parts: list[Entries]) -> Entries:
    """Return the tables one behind the other."""
    return Entries(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Entries)))


def rank_within(groups: tuple[NDArray[np.int64], ...]) -> NDArray[np.int64]:
    """Return each row's rank, from 0, among the equal rows of `groups`, which are sorted."""
    n = len(groups[0])
    if not n:
        return np.zeros(0, np.int64)
    new = np.zeros(n, dtype=bool)
    new[0] = True
    for group in groups:
        new[1:] |= group[1:] != group[:-1]
    starts = np.flatnonzero(new)
    return np.arange(n) - np.repeat(starts, np.diff(np.append(starts, n)))


def in_order(
    major: NDArray[np.int64], minor: NDArray[np.unsignedinteger], entries: Entries
) -> NDArray[np.int64]:
    """Return the order by `major`, then by the 32 bits of `minor`, then by place.

    One sort of both as one number takes a third of the time of sorting by each; only where
    numbers are equal does the place decide.
    """
    both = (major.astype(np.uint64) << np.uint64(32)) | minor.astype(np.uint64)
    order = np.argsort(both)
    in_turn = both[order]
    if (in_turn[1:] == in_turn[:-1]).any():
        order = np.lexsort((entries.position, entries.document, both))
    return order


class Buffered:
    """Entries kept so far and entries that wait; subclasses say which are kept.

    Both stand in one table, the kept ones first: many small arrays that outlive the large ones
    round them would keep the freed memory from other use.
    """

    def __init__(self, window: int, patience: int = 5_000) -> None:
        self._table = blank_entries(window)
        self._kept = 0
        self._filled = 0
        self.patience = patience

    @property
    def kept(self) -> Entries:
        """What is kept, after `compact` of all seen; a view, valid until more is added."""
        return self._table.take(slice(self._kept))

    def add(self, entries: Entries) -> None:
        """Take entries in; the cost of sorting is paid when enough of them wait."""
        filled = self._filled + len(entries)
        if filled - self._kept > max(self.patience, self._kept // 2):
            self._keep(joined([self._table.take(slice(self._filled)), entries]))
        elif len(entries):
            self._make_room(filled)
            self._write(entries, self._filled)

    def compact(self) -> None:
        """Keep what is to be kept of all seen."""
        if self._filled > self._kept:
            self._keep(self._table.take(slice(self._filled)))

    def chosen(self, entries: Entries) -> Entries:
        """Return the entries that are kept, as a copy."""
        raise NotImplementedError

    def _keep(self, entries: Entries) -> None:
        kept = self.chosen(entries)
        self._make_room(len(kept))
        self._write(kept, 0)
        self._kept = self._filled

    def _make_room(self, rows: int) -> None:
        if rows > len(self._table):
            filled = self._table.take(slice(self._filled))
            self._table = blank_entries(self._table.ids.shape[1], rows + rows // 2)
            self._write(filled, 0)

    def _write(self, entries: Entries, begin: int) -> None:
        self._filled = begin + len(entries)
        for field in fields(Entries):
            getattr(self._table, field.name)[begin : self._filled] = getattr(entries, field.name)


class Strongest(Buffered):
    """The `size` entries of largest value for each key; equal ones by place."""

    def __init__(self, keys: int, size: int, window: int) -> None:
        super().__init__(window)
        self.size = size
        self.least = np.zeros(keys, np.float32)  # a new value must be over this

    def chosen(self, entries: Entries) -> Entries:
        descending = ~entries.value.view(np.uint32)  # positive floats are ordered as their bits
        order = in_order(entries.key, descending, entries)
        ranks = rank_within((entries.key[order],))
        kept = entries.take(order[ranks < self.size])
        last = ranks == self.size - 1
        self.least[entries.key[order][last]] = entries.value[order][last]
        return kept


class Lowest(Buffered):
    """The `size` entries of lowest priority for each key: a uniform draw of its places."""

    def __init__(self, keys: int, size: int, window: int) -> None:
        super().__init__(window)
        self.size = size
        self.bound = np.full(keys, NEVER_FULL)  # a new priority must be under this

    def passes(self, key: NDArray[np.int64], priority: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which entries would be kept; an entry that is not is never needed."""
        return priority < self.bound[key]

    def chosen(self, entries: Entries) -> Entries:
        order = in_order(entries.key, entries.priority, entries)
        ranks = rank_within((entries.key[order],))
        kept = entries.take(order[ranks < self.size])
        last = ranks == self.size - 1
        self.bound[entries.key[order][last]] = entries.priority[order][last]
        return kept


def value_bins(value: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the bin of each positive value: its binary exponent and 2 bits of its mantissa."""
    bits = np.ascontiguousarray(value, dtype=np.float32).view(np.uint32)
    return (bits >> np.uint32(23 - MANTISSA_BITS)).astype(np.int64)


def bin_edge(number: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the least value of each bin."""
    return (number.astype(np.uint32) << np.uint32(23 - MANTISSA_BITS)).view(np.float32)


class Levelled(Buffered):
    """A uniform draw of at least `size` places for each key and level of value.

    Levels are quarters of an octave, equally wide within it, down to 4 octaves under the key's
    maximum, and one below. They do not depend on the maximum, so it may grow while we read; when
    all is read, intervals of equal width are drawn from the levels that they overlap.

    Attributes:
        top: [keys] bin of the largest value so far; 0 before any.
        bounds: [keys, BINS + 1] a new priority must be under this, by level from the lowest; the
            last column, for values over the maximum, always lets pass.
        cut: [keys] values over this stand in a level that is not well filled, or above one.
        widest: [keys] largest bound among the levels under `cut`.
    """

    def __init__(self, keys: int, size: int, window: int) -> None:
        super().__init__(window)
        self.size = size
        self.top = np.zeros(keys, np.int64)
        self.bounds = np.full((keys, BINS + 1), NEVER_FULL)
        self.cut = np.zeros(keys, np.float32)
        self.widest = np.zeros(keys, np.uint64)

    def level(self, key: NDArray[np.int64], value: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return 0 for the lowest level to BINS - 1 for the highest; BINS if over the maximum."""
        levels: NDArray[np.int64] = value_bins(value) - self.top[key] + BINS - 1
        return np.clip(levels, 0, BINS)

    def passes(
        self,
        key: NDArray[np.int64],
        value: NDArray[np.float32],
        priority: NDArray[np.uint64],
    ) -> NDArray[np.bool_]:
        """Return which entries would be kept; an entry that is not is never needed."""
        return priority < self.bounds[key, self.level(key, value)]

    def chosen(self, entries: Entries) -> Entries:
        np.maximum.at(self.top, entries.key, value_bins(entries.value))
        level = self.level(entries.key, entries.value)
        order = in_order(entries.key * BINS + level, entries.priority, entries)
        key, level = entries.key[order], level[order]
        ranks = rank_within((key, level))
        self.bounds[:] = NEVER_FULL
        last = ranks == self.size - 1
        self.bounds[key[last], level[last]] = entries.priority[order][last]
        # Well-filled levels from the lowest upward are looked into by priority alone: few places
        # pass. What stands above them is looked at by value: few places stand there.
        filled = self.bounds[:, :BINS] < NEVER_FULL // WELL_FILLED
        lowest_open = np.where(filled.all(axis=1), BINS, np.argmin(filled, axis=1))
        edge = bin_edge(np.maximum(self.top + lowest_open - (BINS - 1), 0))
        self.cut[:] = np.where(lowest_open == 0, np.float32(0), edge)
        below = np.arange(BINS) < lowest_open[:, None]
        self.widest[:] = np.where(below, self.bounds[:, :BINS], np.uint64(0)).max(axis=1)
        return entries.take(order[ranks < self.size])

    def draw_intervals(
        self, peaks: NDArray[np.float64], intervals: int, most: int
    ) -> tuple[Entries, NDArray[np.int64], NDArray[np.float64]]:
        """Return a uniform draw of places in each key's intervals, and the intervals' sizes.

        Intervals are of equal width from 0 to `peaks` [keys]. Returned are at most `most` entries
        for each key and interval, lowest priority first, sorted by key and interval; the interval
        of each, from 0; and the places in each interval [keys, intervals].

        All places of an interval with a priority under the least bound of the levels that it
        overlaps are known, so they are a uniform draw, and taken first. Where they are fewer than
        `most`, which takes a level that is far denser outside the interval than the others are,
        the rest comes from the other levels, lowest priority first. The size is exact where no
        level is full, else an estimate without bias (Cohen and Kaplan 2007, §3).
        """
        keys = len(peaks)
        entries = self.kept
        safe = np.where(peaks > 0, peaks, 1.0)
        place = interval_of(entries.value, safe[entries.key], intervals)
        number = np.arange(keys)
        bound = np.empty((keys, intervals), np.uint64)
        for interval in range(intervals):
            low, high = (
                (safe * edge / intervals).astype(np.float32) for edge in (interval, interval + 1)
            )
            first = self.level(number, np.maximum(low, np.finfo(np.float32).tiny))
            last = np.minimum(self.level(number, high), BINS - 1)
            levels = np.arange(BINS)
            overlaps = (levels >= first[:, None]) & (levels <= last[:, None])
            bound[:, interval] = np.where(overlaps, self.bounds[:, :BINS], NEVER_FULL).min(1)
        certain = entries.priority < bound[entries.key, place]
        counts = np.zeros((keys, intervals))
        np.add.at(counts, (entries.key[certain], place[certain]), 1)
        sizes = counts * np.where(bound < NEVER_FULL, 2.0**32 / bound, 1.0)
        order = np.lexsort(
            (entries.position, entries.document, entries.priority, ~certain, place, entries.key)
        )
        ranks = rank_within((entries.key[order], place[order]))
        order = order[ranks < most]
        return entries.take(order), place[order], sizes
