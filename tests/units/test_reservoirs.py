from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autointerp.units.draws import interval_of
from autointerp.units.reservoirs import (
    Buffered,
    Entries,
    Levelled,
    Lowest,
    Strongest,
    among,
    firsts,
    grid_under,
    identities,
    in_both,
    joined,
    rank_within,
    repeated,
    running_lowest,
)

KEYS = 3


def entries(seed: int, count: int) -> Entries:
    rng = np.random.default_rng(seed)
    return Entries(
        key=rng.integers(0, KEYS, count),
        value=rng.exponential(1.0, count).astype(np.float32) + np.float32(1e-3),
        priority=rng.integers(0, 2**32, count, dtype=np.uint64),
        content=rng.integers(0, 2**63, count, dtype=np.uint64),
        times=np.ones(count, np.int64),
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


def peaks_of(stream: Entries) -> NDArray[np.float64]:
    peaks = np.zeros(KEYS)
    np.maximum.at(peaks, stream.key, stream.value.astype(float))
    return peaks


def with_repeats(stream: Entries, texts: int, per_text: int = 10) -> Entries:
    """The stream with few texts: each comes again, at other places and with other values."""
    number = np.arange(len(stream)) % (texts * per_text) // per_text
    content = np.random.default_rng(1).integers(0, 2**63, texts, dtype=np.uint64)[number]
    priority = content >> np.uint64(31)
    return replace(stream, content=content, priority=priority)


def result(reservoir: Buffered, stream: Entries) -> list[tuple[object, ...]]:
    """What a harvest takes out of a reservoir, row by row."""
    reservoir.compact()
    if not isinstance(reservoir, Levelled):
        return rows_of(reservoir.kept)
    table, interval, sizes = reservoir.draw_intervals(peaks_of(stream), 10, 4)
    return [*zip(rows_of(table), interval.tolist(), strict=True), *map(tuple, sizes)]


def rows_of(table: Entries) -> list[tuple[object, ...]]:
    columns = (table.key, table.value, table.content, table.document, table.position)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def made(make: type[Buffered]) -> Buffered:
    return Levelled(KEYS, 5, 3, 10) if make is Levelled else make(KEYS, 5, 3)  # type: ignore[call-arg, arg-type]


cuts_of = st.lists(st.integers(0, 400), max_size=6)
texts_of = st.sampled_from([0, 3, 20])  # 0: no text comes twice


@given(seed=st.integers(0, 10**6), cuts=cuts_of, texts=texts_of)
@settings(max_examples=60)
def test_what_is_drawn_does_not_depend_on_how_the_stream_is_cut(
    seed: int, cuts: list[int], texts: int
) -> None:
    stream = entries(seed, 400)
    stream = with_repeats(stream, texts) if texts else stream
    for make in (Strongest, Lowest, Levelled):
        whole, cut = made(make), made(make)
        fill(whole, stream, [])
        fill(cut, stream, cuts)
        assert result(whole, stream) == result(cut, stream)


@given(seed=st.integers(0, 10**6), texts=texts_of)
@settings(max_examples=40)
def test_two_parts_merge_to_what_one_stream_gives(seed: int, texts: int) -> None:
    stream = entries(seed, 300)
    stream = with_repeats(stream, texts) if texts else stream
    for make in (Strongest, Lowest, Levelled):
        whole, first, second, merged = (made(make) for _ in range(4))
        fill(whole, stream, [])
        fill(first, stream.take(np.arange(0, 120)), [])
        fill(second, stream.take(np.arange(120, 300)), [])
        merged.add(second.kept)
        merged.add(first.kept)
        assert result(whole, stream) == result(merged, stream)


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
    levels = Levelled(KEYS, most, 3, 10)
    fill(levels, stream, [100, 1000])
    return levels.draw_intervals(peaks_of(stream), 10, most)


SHAPES = {
    "exponential": lambda rng, n: rng.exponential(1.0, n),
    "far from zero": lambda rng, n: 3 + rng.exponential(1.0, n),  # as over a threshold
    "one far value": lambda rng, n: np.append(rng.exponential(0.02, n - KEYS), [9.0] * KEYS),
    "few values": lambda rng, n: rng.integers(1, 7, n) / 4,
    "rising": lambda rng, n: 10 - rng.exponential(1.0, n).clip(0, 9.9),
}


@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from(sorted(SHAPES)),
    cuts=st.lists(st.integers(0, 3000), max_size=4),
    most=st.integers(1, 6),
)
@settings(max_examples=60)
def test_interval_draws_are_the_lowest_priorities_of_the_interval(
    seed: int, shape: str, cuts: list[int], most: int
) -> None:
    stream = entries(seed, 3000)
    values = SHAPES[shape](np.random.default_rng(seed), 3000).astype(np.float32)
    stream = replace(stream, value=np.maximum(values, np.float32(1e-4)))
    levels = Levelled(KEYS, most, 3, 10)
    fill(levels, stream, cuts)
    peaks = peaks_of(stream)
    table, interval, _ = levels.draw_intervals(peaks, 10, most)
    where = interval_of(stream.value, peaks[stream.key], 10)
    for key in range(KEYS):
        for number in range(10):
            inside = np.sort(stream.priority[(stream.key == key) & (where == number)])
            found = table.priority[(table.key == key) & (interval == number)]
            assert found.tolist() == inside[:most].tolist()


@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from(sorted(SHAPES)),
    first=st.integers(0, 2000),
    places=st.sampled_from([0, 1_000, 10**7]),
)
@settings(max_examples=40, deadline=None)
def test_whatever_is_still_wanted_is_over_the_cut_or_under_the_widest_bound(
    seed: int, shape: str, first: int, places: int
) -> None:
    stream = entries(seed, 3000)
    values = SHAPES[shape](np.random.default_rng(seed), 3000).astype(np.float32)
    stream = replace(stream, value=np.maximum(values, np.float32(1e-4)))
    levels = Levelled(KEYS, 4, 3, 10)
    levels.places[:] = places
    fill(levels, stream.take(slice(first)), [])
    rest = stream.take(slice(first, None))  # also where nothing stood so far
    anywhere = np.random.default_rng(seed).random(len(rest), np.float32) * 10 + np.float32(1e-4)
    rest = replace(rest, value=anywhere)
    wanted = levels.passes(rest.key, rest.value, rest.priority)
    found = rest.value > levels.cut[rest.key]
    found |= rest.priority < levels.widest[rest.key]
    assert not (wanted & ~found).any()


def test_every_text_of_an_interval_is_as_likely_to_be_drawn() -> None:
    # 30 values stand in the interval from 4 to 5 of ten, which cells straddle at both ends, among
    # 400 others, more of them the lower. Over 3,000 seeds 4 of the 30 are drawn: 400 times each.
    # Chi-square with 29 degrees of freedom, less for drawing without replacement: 58.3 is passed
    # by one in a thousand.
    rng = np.random.default_rng(2)
    others = np.concatenate([rng.exponential(1.2, 399).clip(0.01, 9.9), [10.0]])
    others = np.where((others >= 4) & (others < 5), 3.99, others)
    values = np.concatenate([np.linspace(4, 4.999, 30), others]).astype(np.float32)
    seeds, size = 3000, len(values)  # a key a seed
    stream = replace(
        entries(0, seeds * size),
        value=np.tile(values, seeds),
        key=np.repeat(np.arange(seeds), size),
    )
    levels = Levelled(seeds, 4, 3, 10)
    fill(levels, stream, [seeds * size // 3])
    table, interval, _ = levels.draw_intervals(np.full(seeds, 10.0), 10, 4)
    counts = np.bincount(table.document[interval == 4] % size)
    assert counts.sum() == 4 * seeds
    assert len(counts) == 30
    expected = 3000 * 4 / 30
    statistic = ((counts - expected) ** 2 / expected).sum() / (1 - 4 / 30)
    assert statistic < 58.3


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_what_is_kept_for_interval_draws_does_not_grow_with_the_stream(shape: str) -> None:
    levels = Levelled(KEYS, 5, 3, 10)
    for seed in range(10):
        stream = entries(seed, 20_000)
        values = SHAPES[shape](np.random.default_rng(seed), 20_000).astype(np.float32)
        stream = replace(stream, value=np.maximum(values, np.float32(1e-4)))
        fill(levels, stream, [])
    # At most 42 cells; in each 5 of the cell and, as a range may end at any of its values, of
    # those on either side 5 × ln(n / n beside it): 20 on average is far from 200,000.
    assert len(levels.kept) / KEYS < 42 * 20


def test_a_text_that_comes_again_is_drawn_once_where_it_is_strongest() -> None:
    stream = with_repeats(entries(3, 400), texts=20)
    table, interval, sizes = drawn(stream, most=5)
    identity = list(zip(table.key.tolist(), table.content.tolist(), strict=True))
    assert len(set(identity)) == len(identity)
    peaks = peaks_of(stream)
    where = interval_of(stream.value, peaks[stream.key], 10)
    for row, (key, content) in enumerate(identity):
        same = (stream.key == key) & (stream.content == content) & (where == interval[row])
        assert table.value[row] == stream.value[same].max()
    # 20 texts at most in a cell and 5 kept: an estimate. All cells of which all is kept are exact.
    assert sizes.sum() == pytest.approx(400, rel=0.35)


def test_texts_that_are_left_out_make_room_for_others() -> None:
    stream = entries(4, 2000)
    levels = Levelled(KEYS, 6, 3, 10)
    fill(levels, stream, [])
    table, interval, _ = levels.draw_intervals(peaks_of(stream), 10, 4)
    gone = table.take((table.key == 0) & (interval == 0)).take(np.arange(2))
    again, where, _ = levels.draw_intervals(
        peaks_of(stream), 10, 4, identities(gone.key, gone.content)
    )
    left = again.content[(again.key == 0) & (where == 0)]
    assert len(left) == 4
    assert not set(left.tolist()) & set(gone.content.tolist())


@given(seed=st.integers(0, 10**6))
def test_running_lowest_are_those_of_a_sort(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group = np.sort(rng.integers(0, 4, 30))
    priority = rng.choice(1000, 30, replace=False).astype(np.uint64)
    before = np.sort(rng.choice(np.arange(1000, 2000), (4, 3), replace=False).astype(np.uint64))
    before[0, 2] = priority[0] if group[0] == 0 else before[0, 2]  # counts once
    before.sort(axis=1)
    lowest = running_lowest(priority, group, before)
    for row in range(30):
        so_far = priority[: row + 1][group[: row + 1] == group[row]]
        known = sorted({*before[group[row]].tolist(), *so_far.tolist()})
        assert lowest[row] == known[2]


def test_interval_sizes_are_estimated_without_bias() -> None:
    # 60 streams; the estimate of an interval's size, over its true size, has mean 1. A bottom-3
    # sketch has relative spread 1 at most, and an interval has two cells: the mean of 60 has 0.09.
    ratios = []
    for seed in range(60):
        stream = entries(1000 + seed, 3000)
        _, _, sizes = drawn(stream, most=3)
        peak = float(stream.value[stream.key == 0].max())
        mine = stream.value[stream.key == 0]
        true = (interval_of(mine, np.array(peak), 10) == 1).sum()
        ratios.append(sizes[0, 1] / true)
    assert abs(np.mean(ratios) - 1) < 0.3


@given(
    most=st.floats(2.0**-60, 2.0**60, width=32),
    larger=st.floats(1, 1000),
    intervals=st.integers(1, 60),
)
def test_cells_are_at_most_half_an_interval_wide_and_only_join_as_the_maximum_grows(
    most: float, larger: float, intervals: int
) -> None:
    key = np.zeros(200, np.int64)
    values = np.linspace(most / 1000, most, 200).astype(np.float32)
    fine = grid_under(np.array([most], np.float32), intervals)
    coarse = grid_under(np.array([most * larger], np.float32), intervals)
    assert most / intervals / 4 * 0.999 <= fine.width[0] <= most / intervals / 2
    assert fine.edge(np.array([1]))[0] <= most / intervals
    cells = fine.cell(key, values)
    assert cells.max() < fine.count - 1  # so that cells of two keys never adjoin
    merged = coarse.cell(key, values)
    for cell in set(cells.tolist()):
        assert len(set(merged[cells == cell].tolist())) == 1


def test_rank_within_counts_from_zero_in_each_group() -> None:
    groups = (np.array([0, 0, 0, 2, 2]), np.array([1, 1, 4, 4, 4]))
    assert rank_within(groups).tolist() == [0, 1, 0, 0, 1]


def test_joining_keeps_every_row_in_order() -> None:
    one, other = entries(1, 4), entries(2, 3)
    both = joined([one, other])
    assert both.priority.tolist() == [*one.priority.tolist(), *other.priority.tolist()]


# Few bits differ, at either end: most rows share a place in the table that says which may be equal.
few = st.lists(st.sampled_from([0, 1, 2, 3, 2**63, 2**63 + 1, 2**64 - 1]), max_size=40)


@given(values=few, others=few)
def test_repeated_firsts_and_among_are_those_of_a_sort(
    values: list[int], others: list[int]
) -> None:
    found, at = np.array(values, np.uint64), np.array(others, np.uint64)
    assert repeated(found).tolist() == [n for n, v in enumerate(values) if values.count(v) > 1]
    assert firsts(found).tolist() == [values.index(v) == n for n, v in enumerate(values)]
    assert among(found, at).tolist() == [value in others for value in values]
    both = np.concatenate([found, at])
    is_second = np.arange(len(both)) >= len(found)
    shared = set(values) & set(others)
    assert in_both(both, is_second).tolist() == [v in shared for v in values + others]
