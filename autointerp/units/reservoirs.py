"""What a harvest keeps of a stream: strongest entries and uniform draws, by key.

An entry carries a priority that depends on its text alone, and a draw is the entries of lowest
priority: a uniform draw of different texts. So the result depends neither on the order of the
stream nor on how it is cut, two parts merge exactly, and a text that comes again counts once.
Source: Cohen and Kaplan 2007, "Summarizing data using bottom-k sketches", PODC, §2.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from autointerp.units.draws import interval_of

NEVER_FULL = np.uint64(2**32)  # a threshold that every 32-bit priority passes


@dataclass(frozen=True)
class Entries:
    """Kept places, one a row.

    Attributes:
        key: [n] which stream (unit and split).
        value: [n] float32 activation at the place.
        priority: [n] 32 random bits of the text for this key, as uint64.
        content: [n] 64 random bits of the text: equal texts, and only they, have the same.
        times: [n] places that the entry stands for, all of the same text.
        document, position: [n] the place.
        ids: [n, window] token ids round the place; -1 outside the model's window or not kept.
        activations: [n, window] the unit's activations on them.
    """

    key: NDArray[np.int64]
    value: NDArray[np.float32]
    priority: NDArray[np.uint64]
    content: NDArray[np.uint64]
    times: NDArray[np.int64]
    document: NDArray[np.int64]
    position: NDArray[np.int64]
    ids: NDArray[np.int32]
    activations: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.key)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Entries:
        """Return the chosen rows: a copy, or a view of a slice."""
        if isinstance(rows, slice):
            return Entries(*(getattr(self, f.name)[rows] for f in fields(self)))
        at = np.flatnonzero(rows) if rows.dtype == bool else rows
        # numpy takes whole rows in a third of the time in which it indexes with them.
        return Entries(*(getattr(self, f.name).take(at, axis=0) for f in fields(self)))


def blank_entries(window: int, rows: int = 0) -> Entries:
    """Return a table for windows of this many tokens, to be written into."""
    return Entries(
        np.empty(rows, np.int64),
        np.empty(rows, np.float32),
        np.empty(rows, np.uint64),
        np.empty(rows, np.uint64),
        np.empty(rows, np.int64),
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


class Placed(Protocol):
    """Rows that stand at places of the corpus."""

    @property
    def document(self) -> NDArray[np.int64]: ...

    @property
    def position(self) -> NDArray[np.int64]: ...


def in_order(
    major: NDArray[np.int64], minor: NDArray[np.unsignedinteger], entries: Placed
) -> NDArray[np.int64]:
    """Return the order by `major`, then by the 32 bits of `minor`, then by place.

    One sort of both as one number takes a third of the time of sorting by each; only where
    numbers are equal does the place decide.
    """
    both = (major.astype(np.uint64) << np.uint64(32)) | minor.astype(np.uint64)
    order = np.argsort(both)
    in_turn = both[order]
    equal = in_turn[1:] == in_turn[:-1]
    if equal.any():
        tied = np.append(equal, False) | np.append(False, equal)
        rows = order[tied]
        order[tied] = rows[np.lexsort((entries.position[rows], entries.document[rows], both[rows]))]
    return order


def identities(key: NDArray[np.int64], content: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return 64 bits of each text of a key: the same where both are."""
    with np.errstate(over="ignore"):
        return content + key.astype(np.uint64) * np.uint64(0xBF58476D1CE4E5B9)


def firsts(identity: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which rows are the first of their identity."""
    first = np.ones(len(identity), dtype=bool)
    rows = repeated(identity)
    first[rows] = False
    first[rows[np.unique(identity[rows], return_index=True)[1]]] = True
    return first


def repeated(identity: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the rows whose identity, 64 random bits, is that of another row too, ascending.

    A table by some of the bits finds the few that may be in a sixth of the time of a sort.
    """
    bits = min(len(identity).bit_length() + 2, 28)
    bucket = (identity >> np.uint64(64 - bits)).astype(np.int64)
    number = np.arange(len(identity), dtype=np.int32)
    last = np.empty(1 << bits, np.int32)
    last[bucket] = number
    shared = np.zeros(1 << bits, dtype=bool)
    shared[bucket[last[bucket] != number]] = True
    rows = np.flatnonzero(shared[bucket])
    order = np.argsort(identity[rows])
    in_turn = identity[rows[order]]
    equal = in_turn[1:] == in_turn[:-1]
    again = np.zeros(len(rows), dtype=bool)
    again[order[1:][equal]] = again[order[:-1][equal]] = True
    return rows[again]


def among(values: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which `values` are among `others`: what `np.isin` does, for 64 random bits.

    A table by some of the bits finds the few that may be, so that only those are sorted.
    """
    bits = np.uint64(64 - min(max(len(values), len(others)).bit_length() + 3, 28))
    found = np.zeros(len(values), dtype=bool)
    of_others = np.zeros(1 << int(64 - bits), dtype=bool)
    of_others[others >> bits] = True
    maybe = np.flatnonzero(of_others[values >> bits])
    if len(maybe):
        of_values = np.zeros_like(of_others)
        of_values[values[maybe] >> bits] = True
        found[maybe] = np.isin(values[maybe], others[of_values[others >> bits]])
    return found


def in_both(values: NDArray[np.uint64], second: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which `values` stand on both sides, in the `second` and in the other one."""
    found = np.zeros(len(values), dtype=bool)
    found[second] = among(values[second], values[~second])
    found[~second] = among(values[~second], values[second])
    return found


class Buffered:
    """Entries kept so far and entries that wait; subclasses say which are kept.

    Both stand in one table, the kept ones first: many small arrays that outlive the large ones
    round them would keep the freed memory from other use.
    """

    def __init__(self, window: int, patience: int = 10_000) -> None:
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
        is_due = filled - self._kept > max(self.patience, self._kept // 2)
        if is_due and filled > len(self._table):  # room for what waits would be held to the end
            self._keep(joined([self._table.take(slice(self._filled)), entries]))
        elif len(entries):
            self._make_room(filled)
            self._write(entries, self._filled)
            if is_due:
                self.compact()

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
    """The `size` texts of largest value for each key, each where it is strongest; ties by place."""

    def __init__(self, keys: int, size: int, window: int) -> None:
        super().__init__(window)
        self.size = size
        self.least = np.zeros(keys, np.float32)  # a new value must be over this

    def chosen(self, entries: Entries) -> Entries:
        descending = ~entries.value.view(np.uint32)  # positive floats are ordered as their bits
        order = in_order(entries.key, descending, entries)
        order = order[firsts(identities(entries.key, entries.content)[order])]
        ranks = rank_within((entries.key[order],))
        last = order[ranks == self.size - 1]
        # The last one may come again at an earlier place.
        self.least[entries.key[last]] = np.nextafter(entries.value[last], np.float32(0))
        return entries.take(order[ranks < self.size])


class Lowest(Buffered):
    """The `size` texts of lowest priority for each key, each at its first place: a uniform draw."""

    def __init__(self, keys: int, size: int, window: int) -> None:
        super().__init__(window)
        self.size = size
        self.bound = np.full(keys, NEVER_FULL)  # a new priority must be under this

    def passes(self, key: NDArray[np.int64], priority: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which entries would be kept; an entry that is not is never needed."""
        return priority < self.bound[key]

    def chosen(self, entries: Entries) -> Entries:
        order = in_order(entries.key, entries.priority, entries)
        order = order[firsts(identities(entries.key, entries.content)[order])]
        ranks = rank_within((entries.key[order],))
        last = order[ranks == self.size - 1]
        self.bound[entries.key[last]] = entries.priority[last] + np.uint64(1)  # it may come again
        return entries.take(order[ranks < self.size])


@dataclass(frozen=True)
class Grid:
    """The values of each key in cells of equal width.

    An interval is at least `most / intervals` wide. A cell is at most half as wide, so that an
    interval holds a whole cell wherever it begins, and its width is a power of two: as `most`
    grows, cells only join. The lowest cell is what the first interval is sure to hold.

    Attributes:
        width: [keys] of a cell.
        first: [keys] cells of that width that make up the lowest cell.
        count: Cells of a key, at most.
    """

    width: NDArray[np.float64]
    first: NDArray[np.int64]
    count: int

    def cell(self, key: NDArray[np.int64], value: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the cell of each value, from 0."""
        number = np.floor(value / self.width[key]).astype(np.int64) - self.first[key] + 1
        cells: NDArray[np.int64] = np.clip(number, 0, self.count - 1)
        return cells

    def edge(self, cell: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the least value of a cell [keys] of each key."""
        return np.where(cell > 0, (self.first + cell - 1) * self.width, 0.0)


def grid_under(most: NDArray[np.float32], intervals: int) -> Grid:
    """Return the grid of keys whose largest values so far are `most`; 0 for none yet."""
    least = np.where(most > 0, most, 1.0).astype(np.float64) / intervals
    least *= 1 - 1e-6  # whatever the rounding of an interval's edges
    width = np.ldexp(0.5, np.frexp(least / 2)[1])
    return Grid(width, (least / width).astype(np.int64), 4 * intervals + 2)


@dataclass(frozen=True)
class _Sorted:
    """Entries by key, cell and value, and up to which priority a text there is wanted.

    Attributes:
        at: [n] key, cell and value of each as one number.
        of: [n] the segment, that is the key's cell, of each.
        segments: [segments] key and cell as one number, ascending.
        place: [keys × cells] where a segment is among those; -1 for one without entries.
        cell: [segments] priority of the `size`-th lowest text of the cell.
        below, above: [segments] the same of the cells beside it.
        upward: [n] the `size`-th lowest priority of the cell below and of this cell up to the
            entry, itself included; `downward` [n]: from above down to it.
    """

    at: NDArray[np.uint64]
    of: NDArray[np.int32]
    segments: NDArray[np.int64]
    place: NDArray[np.int32]
    cell: NDArray[np.uint64]
    below: NDArray[np.uint64]
    above: NDArray[np.uint64]
    upward: NDArray[np.uint64]
    downward: NDArray[np.uint64]


class Levelled(Buffered):
    """A uniform draw of at least `size` texts of every interval of value, for each key.

    Intervals are of equal width from 0 to the key's maximum, which is known at the end alone. So
    kept is what is among the `size` lowest priorities of *any* interval that there may be: of any
    range that is at least as wide as an interval is now. Such a range ends inside a cell and
    holds the cell beside it, or holds the cell; so an entry is dropped once `size` texts of lower
    priority stand in its cell, and `size` between it and the far end of the cell below, and of the
    cell above. That is 2 to 4 × `size` × `intervals` entries, whatever the values are (measured).

    Of one text in one cell two places are kept, the weakest and the strongest: a range that ends
    inside the cell holds one of them if it holds any.

    Attributes:
        most: [keys] the largest value so far.
        cut: [keys] values over this are looked at by value, the others by priority.
        widest: [keys] a new priority must be under this to be kept among the values under `cut`.
        places: [keys] that were looked at, whether the unit fires there or not: says what looking
            by priority costs, and changes nothing that is kept.
    """

    def __init__(self, keys: int, size: int, window: int, intervals: int) -> None:
        super().__init__(window)
        self.size = size
        self.intervals = intervals
        self.most = np.zeros(keys, np.float32)
        self.cut = np.zeros(keys, np.float32)
        self.widest = np.zeros(keys, np.uint64)
        self.places = np.zeros(keys, np.int64)
        self._grid = grid_under(self.most, intervals)
        self._sorted: _Sorted | None = None

    def passes(
        self,
        key: NDArray[np.int64],
        value: NDArray[np.float32],
        priority: NDArray[np.uint64],
    ) -> NDArray[np.bool_]:
        """Return which entries would be kept; an entry that is not is never needed."""
        kept = self._sorted
        if kept is None or not len(kept.at):
            return np.ones(len(key), dtype=bool)
        segment = self._segment(key, value)
        of = kept.place[segment]
        wanted = (of < 0) | (value > self.most[key])
        # Most are over every bound of their cell; the others are looked at by their value.
        wanted |= priority <= kept.cell[of]
        unsure = ~wanted & (segment % self._grid.count > 0)
        unsure &= priority <= np.maximum(kept.below, kept.above)[of]
        rows = np.flatnonzero(unsure)
        of = of[rows]
        after = np.searchsorted(kept.at, self._at(segment[rows], value[rows]))
        inside = np.minimum(after, len(kept.at) - 1)
        upward = np.where(
            (after > 0) & (kept.of[after - 1] == of), kept.upward[after - 1], kept.below[of]
        )
        downward = np.where(
            (after < len(kept.at)) & (kept.of[inside] == of), kept.downward[inside], kept.above[of]
        )
        wanted[rows] = priority[rows] <= np.maximum(upward, downward)
        return wanted

    def _segment(self, key: NDArray[np.int64], value: NDArray[np.float32]) -> NDArray[np.int64]:
        return key * self._grid.count + self._grid.cell(key, value)

    def _at(self, segment: NDArray[np.int64], value: NDArray[np.float32]) -> NDArray[np.uint64]:
        bits = np.ascontiguousarray(value, dtype=np.float32).view(np.uint32)
        return (segment.astype(np.uint64) << np.uint64(32)) | bits.astype(np.uint64)

    def chosen(self, entries: Entries) -> Entries:
        np.maximum.at(self.most, entries.key, entries.value)
        self._grid = grid_under(self.most, self.intervals)
        segment = self._segment(entries.key, entries.value)
        rows, times, is_again = self._once(entries, segment)
        segment, value = segment[rows], entries.value[rows]
        at = self._at(segment, value)
        order = np.argsort(at, kind="stable")  # what is kept already stands so, and is left so
        rows, times, at, segment = rows[order], times[order], at[order], segment[order]
        priority = entries.priority[rows]
        segments, lowest, wanted = self._lowest(segment, priority)
        place = np.full(len(self.most) * self._grid.count, -1, dtype=np.int32)
        place[segments] = np.arange(len(segments))
        kept = _beside(at, place[segment], priority, is_again[order], segments, place, lowest)
        beside = (priority <= kept.upward) | (priority <= kept.downward)
        wanted |= beside & (segment % self._grid.count > 0)
        some = np.flatnonzero(wanted)
        self._sorted = replace(
            kept,
            at=kept.at[some],
            of=kept.of[some],
            upward=kept.upward[some],
            downward=kept.downward[some],
        )
        self._look_by_value(kept)
        return replace(entries.take(rows[some]), times=times[some])

    def _once(
        self, entries: Entries, segment: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of the weakest and the strongest place of each text in each cell, how
        many places each stands for, and which of the two it is.

        0: the only one; 1: the strongest of two; -1: the weakest of two. Equal ones by place.
        """
        identity = identities(segment, entries.content)
        rows = repeated(identity)
        which = np.zeros(len(entries), np.int64)
        if not len(rows):
            return np.arange(len(entries)), entries.times, which
        group = np.unique(identity[rows], return_inverse=True)[1]
        value, places = entries.value[rows], (entries.position[rows], entries.document[rows])
        begins = np.searchsorted(np.sort(group), np.arange(int(group.max()) + 1))
        weakest = rows[np.lexsort((*places, value, group))[begins]]
        strongest = rows[np.lexsort((*places, -value, group))[begins]]
        two = weakest != strongest
        all_times = np.bincount(group, entries.times[rows]).astype(np.int64)
        times = entries.times.copy()
        times[strongest] = all_times - two
        times[weakest[two]] = 1
        which[strongest], which[weakest[two]] = two, -1
        stays = np.ones(len(entries), dtype=bool)
        stays[rows] = False
        stays[strongest] = stays[weakest] = True
        left = np.flatnonzero(stays)
        return left, times[left], which[left]

    def _lowest(
        self, segment: NDArray[np.int64], priority: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.bool_]]:
        """Return the segments, the `size` lowest priorities of each, and which rows are of them.

        Rows are by segment. Lowest priorities are [segments, size], of different texts, never full
        where fewer.
        """
        begins = np.append(True, segment[1:] != segment[:-1])
        number = (np.cumsum(begins) - 1).astype(np.uint64)
        order = np.argsort((number << np.uint64(32)) | priority)
        at = priority[order]
        first = np.flatnonzero(begins)
        other = begins | np.append(True, at[1:] != at[:-1])
        rank = np.cumsum(other)
        rank -= np.repeat(rank[first], np.diff(np.append(first, len(at))))
        low = np.flatnonzero(rank < self.size)
        in_cell = np.zeros(len(segment), dtype=bool)
        in_cell[order[low]] = True
        lowest = np.full((len(first), self.size), NEVER_FULL)
        lowest[number[low].astype(np.int64), rank[low]] = at[low]
        return segment[first], lowest, in_cell

    def _look_by_value(self, kept: _Sorted) -> None:
        """Low cells hold most places and want few, so they are looked into by priority alone, and
        those above by value: up to the cell where the places to look at are the fewest.
        """
        keys, cells = len(self.most), self._grid.count
        key, cell = np.divmod(kept.segments, cells)
        bound = np.full((keys, cells), NEVER_FULL)  # of what has no entry yet all is wanted
        beside = np.maximum(np.maximum(kept.below, kept.above), kept.cell)
        bound[key, cell] = np.where(cell > 0, beside, kept.cell)
        held = np.bincount(kept.of, minlength=len(kept.segments))
        is_full = kept.cell < NEVER_FULL
        places = np.zeros((keys, cells + 1))
        places[key, cell] = np.where(is_full, self.size * (2.0**32 / kept.cell), held)
        by_value = np.cumsum(places[:, ::-1], axis=1)[:, ::-1]  # in this cell and those above
        widest = np.zeros((keys, cells + 1), np.uint64)
        widest[:, 1:] = np.maximum.accumulate(bound, axis=1)
        by_priority = widest / 2.0**32 * self.places[:, None]
        lowest = np.argmin(by_value + by_priority, axis=1)
        edge = np.minimum(self._grid.edge(lowest), self.most).astype(np.float32)
        self.cut[:] = np.nextafter(edge, np.float32(0))
        chosen = widest[np.arange(keys), lowest]
        chosen = np.minimum(chosen + np.uint64(1), NEVER_FULL)
        self.widest[:] = np.where(lowest > 0, chosen, np.uint64(0))

    def draw_intervals(
        self,
        peaks: NDArray[np.float64],
        intervals: int,
        most: int,
        left_out: NDArray[np.uint64] | None = None,
        of: NDArray[np.bool_] | None = None,
    ) -> tuple[Entries, NDArray[np.int64], NDArray[np.float64]]:
        """Return a uniform draw of texts in each key's intervals, and the intervals' sizes.

        Intervals are of equal width from 0 to `peaks` [keys], each at least as large as any value
        seen of the key. Returned are at most `most` entries for each key and interval, lowest
        priority first, sorted by key and interval; the interval of each, from 0; and the places
        in each interval [keys, intervals]. A text that stands in several intervals is drawn in
        the strongest of them. Those whose `identities` are `left_out` are not drawn; the draw is
        exact as long as those that are missing for either reason are at most `size` - `most`.
        Of other keys than those `of` which it is asked, [keys], nothing is returned.

        The size is exact where no cell is full, else an estimate without bias (Cohen and Kaplan
        2007, §3).
        """
        entries = self.kept if of is None else self.kept.take(np.flatnonzero(of[self.kept.key]))
        safe = np.where(peaks > 0, peaks, 1.0)
        interval = interval_of(entries.value, safe[entries.key], intervals)
        sizes = self._sizes(entries, interval, len(peaks), intervals)
        identity = identities(entries.key, entries.content)
        may = np.ones(len(entries), dtype=bool)
        if left_out is not None:
            may = ~among(identity, left_out)
        # The strongest place of a text in an interval stands for it.
        rows = repeated(identity)
        order = rows[
            np.lexsort(
                (entries.position[rows], entries.document[rows], -entries.value[rows],
                 interval[rows], identity[rows])
            )
        ]  # fmt: skip
        again = _repeats(identity[order])
        same_interval = _repeats(interval[order])
        may[order[again & same_interval]] = False
        is_several = np.zeros(len(may), dtype=bool)
        is_several[rows] = np.isin(identity[rows], identity[order[again & ~same_interval]])
        downward = entries.key * intervals + (intervals - 1 - interval)
        order = in_order(downward, entries.priority, entries)
        order = order[may[order]]
        if is_several.any():
            order = _drawn_once(order, entries.key, interval, identity, is_several, most)
        ranks = rank_within((downward[order],))
        order = order[ranks < most]
        order = order[np.argsort((entries.key * intervals + interval)[order], kind="stable")]
        return entries.take(order), interval[order], sizes

    def _sizes(
        self, entries: Entries, interval: NDArray[np.int64], keys: int, intervals: int
    ) -> NDArray[np.float64]:
        """Return the places in each interval [keys, intervals], cell by cell."""
        sizes = np.zeros((keys, intervals))
        kept = self._sorted
        if kept is None:
            return sizes
        segment = self._segment(entries.key, entries.value)
        bound = kept.cell[kept.place[segment]]
        known = np.flatnonzero(entries.priority < bound)
        # In one order, so that the sum is the same to the last bit however the stream was cut.
        known = known[np.lexsort((entries.value[known], entries.content[known]))]
        weight = np.where(bound < NEVER_FULL, 2.0**32 / bound, 1.0) * entries.times
        np.add.at(sizes, (entries.key[known], interval[known]), weight[known])
        return sizes


def _drawn_once(
    order: NDArray[np.int64],
    key: NDArray[np.int64],
    interval: NDArray[np.int64],
    identity: NDArray[np.uint64],
    is_several: NDArray[np.bool_],
    most: int,
) -> NDArray[np.int64]:
    """Return `order` without texts that a stronger interval has drawn.

    `order` is by key, then from the strongest interval, then by priority.
    """
    left = order
    for number in np.unique(interval[order])[::-1]:
        here = left[interval[left] == number]
        drawn = here[rank_within((key[here],)) < most]
        gone = np.isin(identity[left], identity[drawn[is_several[drawn]]])
        left = left[~(gone & (interval[left] < number))]
    return left


def _beside(
    at: NDArray[np.uint64],
    of: NDArray[np.int32],
    priority: NDArray[np.uint64],
    is_again: NDArray[np.int64],
    segments: NDArray[np.int64],
    place: NDArray[np.int32],
    lowest: NDArray[np.uint64],
) -> _Sorted:
    """Return entries by key, cell and value, with what stands between them and other cells."""
    nothing = np.full((1, lowest.shape[1]), NEVER_FULL)
    adjoins = (segments[1:] == segments[:-1] + 1)[:, None]
    below = np.concatenate([nothing, np.where(adjoins, lowest[:-1], NEVER_FULL)])
    above = np.concatenate([np.where(adjoins, lowest[1:], NEVER_FULL), nothing])
    # Of two places of a text the first one that comes counts, from either side.
    upward = running_lowest(np.where(is_again == 1, NEVER_FULL, priority), of, below)
    downward = running_lowest(
        np.where(is_again == -1, NEVER_FULL, priority)[::-1], len(segments) - 1 - of[::-1],
        above[::-1],
    )[::-1]  # fmt: skip
    return _Sorted(
        at, of, segments, place, lowest[:, -1], below[:, -1], above[:, -1], upward, downward
    )


def running_lowest(
    priority: NDArray[np.uint64],
    group: NDArray[np.int64] | NDArray[np.int32],
    before: NDArray[np.uint64],
) -> NDArray[np.uint64]:
    """Return, at each row, the k-th lowest of `before` [groups, k] and of its group up to the row.

    Groups ascend. A priority that is in `before` already does not count again.
    """
    bound = before[:, -1]
    # What is not under the bound at the start changes nothing.
    counts = np.flatnonzero(priority < bound[group])
    current, of = priority[counts].astype(np.int64), group[counts]
    first = np.ascontiguousarray(before[of].T, dtype=np.int64)
    current[(first == current).any(axis=0)] = np.int64(NEVER_FULL)
    # Later groups get lower numbers, so that a minimum over all rows begins anew with each.
    base = (len(before) - 1 - of.astype(np.int64)) << 33
    current += base
    begins = np.append(True, of[1:] != of[:-1])[: len(of)]
    lowest = current
    for at_first in first:
        at_first += base
        lowest = np.minimum(np.minimum.accumulate(current), at_first)
        earlier = np.empty_like(lowest)
        earlier[1:] = lowest[:-1]
        np.copyto(earlier, at_first, where=begins)
        np.maximum(earlier, current, out=current)  # what an entry pushes out, or itself
    found = bound[group]
    if len(counts):
        # Each row has what the last that counts left in its group.
        last = np.zeros(len(group), np.int64)
        last[counts] = np.arange(1, len(counts) + 1)
        last = np.maximum.accumulate(last) - 1
        has = (last >= 0) & (of[last] == group)
        found[has] = (lowest - base)[last[has]].astype(np.uint64)
    return found


def _repeats(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return whether each value, sorted, is that of the one before it."""
    repeats = np.zeros(len(values), dtype=bool)
    repeats[1:] = values[1:] == values[:-1]
    return repeats
