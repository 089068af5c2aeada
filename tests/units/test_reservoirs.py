from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autointerp.units.draws import interval_of
from autointerp.units.reservoirs import (
    BINS,
    Buffered,
    Entries,
    Levelled,
    Lowest,
    Strongest,
    bin_edge,
    joined,
    rank_within,
    value_bins,
)

KEYS = 3


def entries(seed: int, count: int) -> Entries:
    rng = np.random.default_rng(seed)
    return Entries(
        key=rng.integers(0, KEYS, count),
        value=rng.exponential(1.0, count).astype(np.float32) + np.float32(1e-3),
        priority=rng.integers(0, 2**32, count, dtype=np.uint64),
        document=np.arange(count),
        position=rng.integers(0, 50, count),
        ids=rng.integers(0, 9, (count, 3)).astype(np.int32),
        activations=rng.random((count, 3), dtype=np.float32),
    )


def fill(reservoir: Buffered, stream: Entries, cuts: list[int]) -> None:
    """Feed the stream in parts, sorted after each, as a harvest with those batches would."""
    edges = [0, *sorted(cuts), len(stream)]
    for first, last in itertools.pairwise(edges):
        part = stream.take(np.arange(min(first, len(stream)), min(last, len(stream))))
        if isinstance(reservoir, Levelled):
            part = part.take(reservoir.passes(part.key, part.value, part.priority))
        elif isinstance(reservoir, Lowest):
            part = part.take(reservoir.passes(part.key, part.priority))
        elif isinstance(reservoir, Strongest):
            part = part.take(part.value > reservoir.least[part.key])
        reservoir.add(part)
        reservoir.compact()


def same(one: Entries, other: Entries) -> bool:
    def places(table: Entries) -> list[tuple[int, int]]:
        return sorted(zip(table.key.tolist(), table.document.tolist(), strict=True))

    return places(one) == places(other)


cuts_of = st.lists(st.integers(0, 400), max_size=6)


@given(seed=st.integers(0, 10**6), cuts=cuts_of)
@settings(max_examples=30, deadline=None)
def test_what_is_kept_does_not_depend_on_how_the_stream_is_cut(seed: int, cuts: list[int]) -> None:
    stream = entries(seed, 400)
    for make in (Strongest, Lowest, Levelled):
        whole, cut = make(KEYS, 5, 3), make(KEYS, 5, 3)
        fill(whole, stream, [])
        fill(cut, stream, cuts)
        assert same(whole.kept, cut.kept)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_two_parts_merge_to_what_one_stream_gives(seed: int) -> None:
    stream = entries(seed, 300)
    for make in (Strongest, Lowest, Levelled):
        whole, first, second, merged = (make(KEYS, 5, 3) for _ in range(4))
        fill(whole, stream, [])
        fill(first, stream.take(np.arange(0, 120)), [])
        fill(second, stream.take(np.arange(120, 300)), [])
        merged.add(second.kept)
        merged.add(first.kept)
        merged.compact()
        assert same(whole.kept, merged.kept)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_strongest_and_lowest_are_those_of_a_sort(seed: int) -> None:
    stream = entries(seed, 200)
    strongest, lowest = Strongest(KEYS, 7, 3), Lowest(KEYS, 7, 3)
    fill(strongest, stream, [50, 90])
    fill(lowest, stream, [50, 90])
    for key in range(KEYS):
        mine = stream.take(stream.key == key)
        by_value = np.sort(mine.value)[::-1][:7]
        assert np.sort(strongest.kept.value[strongest.kept.key == key])[::-1].tolist() == (
            by_value.tolist()
        )
        by_priority = np.sort(mine.priority)[:7]
        assert np.sort(lowest.kept.priority[lowest.kept.key == key]).tolist() == (
            by_priority.tolist()
        )


def drawn(stream: Entries, most: int) -> tuple[Entries, NDArray[np.int64], NDArray[np.float64]]:
    levels = Levelled(KEYS, 12, 3)
    fill(levels, stream, [100, 1000])
    peaks = np.zeros(KEYS)
    np.maximum.at(peaks, stream.key, stream.value.astype(float))
    return levels.draw_intervals(peaks, 10, most)


def test_interval_draws_are_the_lowest_priorities_of_the_interval() -> None:
    stream = entries(5, 5000)
    table, interval, _ = drawn(stream, most=4)
    peaks = np.array([stream.value[stream.key == key].max() for key in range(KEYS)], float)
    where = interval_of(stream.value, peaks[stream.key], 10)
    for key in range(KEYS):
        for number in range(10):
            inside = np.sort(stream.priority[(stream.key == key) & (where == number)])
            found = np.sort(table.priority[(table.key == key) & (interval == number)])
            assert len(found) <= 4
            assert set(found.tolist()) <= set(inside.tolist())
            # 12 of a level are kept and an interval overlaps a few levels: 4 are there to draw.
            assert len(found) == min(4, len(inside))


def test_interval_sizes_are_estimated_without_bias() -> None:
    # 60 streams; the estimate of an interval's size, over its true size, has mean 1. A bottom-12
    # sketch has relative spread 1/sqrt(10) = 0.32, so the mean of 60 has 0.04; 0.15 is 3.7 of it.
    ratios = []
    for seed in range(60):
        stream = entries(1000 + seed, 3000)
        _, _, sizes = drawn(stream, most=3)
        peak = float(stream.value[stream.key == 0].max())
        mine = stream.value[stream.key == 0]
        true = (interval_of(mine, np.array(peak), 10) == 1).sum()
        ratios.append(sizes[0, 1] / true)
    assert abs(np.mean(ratios) - 1) < 0.15


@given(st.floats(2.0**-100, 2.0**100, width=32))
def test_a_value_stands_in_the_bin_that_begins_at_or_under_it(value: float) -> None:
    [number] = value_bins(np.array([value], np.float32))
    edges = bin_edge(np.array([number, number + 1]))
    assert edges[0] <= np.float32(value) < edges[1]
    assert edges[1] / edges[0] <= 1.25 + 1e-6


def test_levels_reach_four_octaves_under_the_maximum() -> None:
    levels = Levelled(1, 2, 3)
    one = entries(0, 1)
    maximum = Entries(
        np.array([0]), np.array([8.0], np.float32), one.priority, one.document, one.position,
        one.ids, one.activations,
    )  # fmt: skip
    levels.add(maximum)
    levels.compact()
    values = np.array([8.0, 16.0, 0.7, 0.3, 1e-6], np.float32)
    found = levels.level(np.zeros(5, np.int64), values)
    # 8 to 10 is the highest level; 16 levels down is 0.5 to 0.625, the lowest, with all under it.
    assert found.tolist() == [BINS - 1, BINS, 1, 0, 0]


def test_rank_within_counts_from_zero_in_each_group() -> None:
    groups = (np.array([0, 0, 0, 2, 2]), np.array([1, 1, 4, 4, 4]))
    assert rank_within(groups).tolist() == [0, 1, 0, 0, 1]


def test_joining_keeps_every_row_in_order() -> None:
    one, other = entries(1, 4), entries(2, 3)
    both = joined([one, other])
    assert both.priority.tolist() == [*one.priority.tolist(), *other.priority.tolist()]
