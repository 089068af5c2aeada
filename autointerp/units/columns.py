"""What is kept of some columns of the matrix, and the contexts that it makes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.errors import SubjectError
from autointerp.records import DRAWS, SPLITS, Context
from autointerp.settings import HarvestSettings
from autointerp.subjects.passages import words_of
from autointerp.subjects.token_texts import TokenTexts
from autointerp.subjects.windows import Windows
from autointerp.units.draws import interval_of
from autointerp.units.masks import firing, where
from autointerp.units.near_copies import holding, on_the_wrong_side
from autointerp.units.reservoirs import (
    Entries,
    Levelled,
    Lowest,
    Strongest,
    among,
    firsts,
    identities,
    in_both,
    in_order,
    joined,
    rank_within,
)

LOW_32 = np.uint64(0xFFFFFFFF)


class Columns:
    """Reservoirs of some columns of the matrix; two streams, one a split, for each column."""

    def __init__(
        self,
        name: str,
        salts: NDArray[np.uint64],
        settings: HarvestSettings,
        label: Callable[[int], str] = str,
    ) -> None:
        self.name = name
        self.label = label  # of a column, for errors
        self.count = columns = len(salts)
        self.settings = settings
        window = 2 * settings.each_side + 1
        keys = 2 * columns
        # A unit's priorities are the text's bits turned by an offset of its own: uniform for
        # every unit, and a batch's sorted bits serve all units.
        self.offset = salts & LOW_32
        self.random_offset = salts >> np.uint64(32)
        # More than wanted: some are drawn in another interval or in the other split.
        self.top = Strongest(keys, with_spare(settings.top), window)
        size = max(4, math.ceil(1.4 * settings.per_interval))
        self.levels = Levelled(keys, size, window, settings.intervals)
        self.random = Lowest(keys, with_spare(settings.random), window)
        self.fired = np.zeros(columns, np.int64)
        self.near_copies = np.zeros(columns, np.int64)  # texts that `contexts` left out as such

    def add(self, block: Tensor, places: Places) -> None:
        """Take in a block [rows, tokens, columns] of activations; it is overwritten.

        Raises SubjectError if one is infinite or no number, on a token that is kept.
        """
        block = block.contiguous()
        silent = np.flatnonzero(~places.whole.kept)
        if len(silent):
            block.view(-1, self.count)[torch.from_numpy(silent).to(block.device)] = 0.0
        for rows, chunk in places.in_turn:
            self._add_firing(block[rows], chunk)
        self._add_random(block, places.whole)

    def _add_firing(self, block: Tensor, batch: Chunk) -> None:
        """Take in where the units fire.

        A batch is looked at once: what is over the least value that either reservoir looks at.
        """
        fires = np.float32(self.settings.fires)
        cut = np.maximum(self._pair(self.levels.cut, np.min), fires)
        least = np.minimum(np.maximum(self._pair(self.top.least, np.min), fires), cut)
        flat = block.flatten(0, 1)
        places, columns, fired = firing(flat, least, self.settings.fires)
        self.fired += fired
        values = batch.at(flat, places, columns)
        if not np.isfinite(values).all():
            raise self._not_finite(block, batch)
        self._add_strongest(block, batch, places, columns, values)
        by_value = np.flatnonzero(values > cut[columns])
        if len(by_value) < len(values):
            places, columns, values = places[by_value], columns[by_value], values[by_value]
        self._add_levels(block, batch, cut, places, columns, values)

    def _pair(self, values: NDArray[Any], reduce: Callable[..., NDArray[Any]]) -> NDArray[Any]:
        """Return per column the reduction of its two streams' `values` [keys]."""
        return reduce(values.reshape(self.count, 2), axis=1)

    def _add_strongest(
        self,
        block: Tensor,
        batch: Chunk,
        places: NDArray[np.int64],
        columns: NDArray[np.int64],
        values: NDArray[np.float32],
    ) -> None:
        """Take in the peaks of windows that are over the least of their stream."""
        keys = 2 * columns + batch.place_split[places]
        passes = np.flatnonzero(values > self.top.least[keys])
        if not len(passes):
            return
        window = places[passes] // batch.length * self.count + columns[passes]
        values = values[passes]
        peak = np.zeros(batch.rows * self.count, np.float32)
        np.maximum.at(peak, window, values)
        strongest = np.flatnonzero(values == peak[window])[::-1]
        first = np.full(len(peak), -1)
        first[window[strongest]] = passes[strongest]  # of equal ones the first is written last
        peaks = first[first >= 0]
        self.top.add(self._entries(block, batch, places[peaks], columns[peaks], self.offset))

    def _not_finite(self, block: Tensor, batch: Chunk) -> SubjectError:
        place, column = next(zip(*where(~block.flatten(0, 1).isfinite()), strict=True))
        return SubjectError(
            f"an activation of the {self.name} is not finite, though the site's are: that of "
            f"{self.label(int(column))} in document {batch.document[place]} at its token "
            f"{batch.position[place]}; look for weights that are not, or that overflow the SAE's "
            "dtype"
        )

    def _add_levels(
        self,
        block: Tensor,
        batch: Chunk,
        cut: NDArray[np.float32],
        places: NDArray[np.int64],
        columns: NDArray[np.int64],
        values: NDArray[np.float32],
    ) -> None:
        """Take in values over the `cut` [columns], which are given, and some under it."""
        self.levels.places += np.tile(batch.count, self.count)
        below, below_columns = batch.under(self.offset, self.levels.widest)
        low = batch.at(block.flatten(0, 1), below, below_columns)
        fires = np.flatnonzero((low > self.settings.fires) & (low <= cut[below_columns]))
        places = np.concatenate([places, below[fires]])
        columns = np.concatenate([columns, below_columns[fires]])
        values = np.concatenate([values, low[fires]])
        priority = batch.priority(places, columns, self.offset)
        passes = self.levels.passes(2 * columns + batch.place_split[places], values, priority)
        self.levels.add(self._entries(block, batch, places[passes], columns[passes], self.offset))

    def _add_random(self, block: Tensor, batch: Chunk) -> None:
        random = self.random
        places, columns = batch.lowest(self.random_offset, random.bound, random.size)
        random.add(self._entries(block, batch, places, columns, self.random_offset))

    def _entries(
        self,
        block: Tensor,
        batch: Chunk,
        places: NDArray[np.int64],
        columns: NDArray[np.int64],
        offset: NDArray[np.uint64],
    ) -> Entries:
        return batch.entries(block, places, columns, offset, self.settings.fires)

    def contexts(
        self, texts: WindowTexts
    ) -> tuple[list[Sequence[Context]], NDArray[np.float64], NDArray[np.float64]]:
        """Return each unit's contexts, interval sizes [units, intervals] and peaks [units].

        Contexts stand by split, then top (strongest first), intervals (weakest first), random.
        """
        for reservoir in (self.top, self.levels, self.random):
            reservoir.compact()
        intervals = self.settings.intervals
        peaks = np.zeros(self.count)
        np.maximum.at(peaks, self.top.kept.key // 2, self.top.kept.value.astype(np.float64))
        by_key = np.repeat(peaks, 2)
        drawn, sizes = self._drawn(by_key, texts.words)
        everything = joined(drawn)
        draw = np.repeat(np.arange(3), [len(entries) for entries in drawn])
        order = np.argsort(everything.key * 3 + draw, kind="stable")
        everything, draw = everything.take(order), draw[order]
        interval = 1 + interval_of(
            everything.value, np.where(by_key > 0, by_key, 1.0)[everything.key], intervals
        )
        edges = np.searchsorted(everything.key, 2 * np.arange(self.count + 1)).tolist()
        side = self.settings.each_side
        of_units: list[Sequence[Context]] = [
            DrawnContexts(everything.take(slice(a, b)), draw[a:b], interval[a:b], side, texts)
            for a, b in itertools.pairwise(edges)
        ]
        return of_units, sizes.reshape(self.count, 2, intervals).sum(1), peaks

    def _drawn(
        self, peaks: NDArray[np.float64], words: NDArray[np.uint64]
    ) -> tuple[list[Entries], NDArray[np.float64]]:
        """Return the strongest, of intervals and at random, and the intervals' sizes by key.

        No text is drawn for both splits of a unit, nor two that share a passage: where they stand
        in documents of both, their own bits say which split has them, and other texts take their
        place in the intervals of the other.
        """
        settings = self.settings
        drawn, _, sizes = self.levels.draw_intervals(
            peaks, settings.intervals, settings.per_interval
        )
        parts = [first(self.top.kept, settings.top), drawn,
                 first(self.random.kept, settings.random)]  # fmt: skip
        every = joined(parts)
        key, content = every.key, every.content
        unit, in_score = identities(key // 2, content), key % 2 == 1
        goes_to_score = content % 2 == 1
        lost = in_both(unit, in_score) & (in_score != goes_to_score)
        stays = np.flatnonzero(~lost)
        near = stays[on_the_wrong_side(every.take(stays), words)]
        if not (lost.any() or len(near)):
            return parts, sizes
        left_out = identities(key[lost], content[lost])
        # Only units that have such texts are looked at further.
        has_copies = np.zeros(self.count, dtype=bool)
        has_copies[key[np.append(np.flatnonzero(lost), near)] // 2] = True
        won = np.setdiff1d(stays[in_score[stays] & has_copies[key[stays] // 2]], near)
        near_explain = self._near(every.take(won), words, 0, has_copies)
        is_score = np.tile([False, True], self.count)
        to_explain = np.repeat(has_copies, 2) & ~is_score
        to_score = np.repeat(has_copies, 2) & is_score
        explain = self._without(np.concatenate([left_out, near_explain]), peaks, to_explain)
        # What now took a place in `explain` is not for `score` either.
        seen = [identities(part.key + 1, part.content) for part in explain]
        near_score = self._near(joined(explain), words, 1, has_copies)
        score = self._without(np.concatenate([left_out, *seen, near_score]), peaks, to_score)
        as_drawn = [part.take(np.flatnonzero(~has_copies[part.key // 2])) for part in parts]
        return [joined([*three]) for three in zip(as_drawn, explain, score, strict=True)], sizes

    def _near(
        self,
        drawn: Entries,
        words: NDArray[np.uint64],
        split: int,
        has_copies: NDArray[np.bool_],
    ) -> NDArray[np.uint64]:
        """Return the identities of a split's texts that share a passage with some drawn for the
        other, of the units that have copies. They are counted, but for the very same texts.
        """
        found = []
        for reservoir in (self.top, self.levels, self.random):
            kept = reservoir.kept
            kept = kept.take((kept.key % 2 == split) & has_copies[kept.key // 2])
            near = holding(kept, drawn, words)
            found.append((kept.key[near], kept.content[near]))
        key, content = (np.concatenate(column) for column in zip(*found, strict=True))
        same = among(identities(key // 2, content), identities(drawn.key // 2, drawn.content))
        identity, at = np.unique(identities(key, content), return_index=True)
        np.add.at(self.near_copies, key[at] // 2, ~same[at])
        return identity

    def _without(
        self, left_out: NDArray[np.uint64], peaks: NDArray[np.float64], of: NDArray[np.bool_]
    ) -> list[Entries]:
        """Return the draws `of` some keys [keys] without texts whose identities are left out."""
        settings = self.settings

        def kept_of(reservoir: Strongest | Lowest, most: int) -> Entries:
            kept = reservoir.kept
            stays = np.flatnonzero(of[kept.key])
            identity = identities(kept.key[stays], kept.content[stays])
            return first(kept.take(stays[~among(identity, left_out)]), most)

        drawn, _, _ = self.levels.draw_intervals(
            peaks, settings.intervals, settings.per_interval, left_out, of
        )
        return [kept_of(self.top, settings.top), drawn, kept_of(self.random, settings.random)]


def with_spare(size: int) -> int:
    """Return how many texts are kept so that `size` are left where some go to the other split."""
    return size + math.ceil(size / 4)


def first(entries: Entries, most: int) -> Entries:
    """Return the first `most` rows of each key; rows are sorted by key."""
    return entries.take(np.flatnonzero(rank_within((entries.key,)) < most))


class _Sorted:
    """Places of a batch by split, then by their bits.

    Attributes:
        order: [n] the places.
        both: [n] split and bits of each as one number.
    """

    def __init__(
        self,
        order: NDArray[np.int64],
        split: NDArray[np.int64],
        bits: NDArray[np.uint64],
    ) -> None:
        self.order = order
        self.both = (split[order].astype(np.uint64) << np.uint64(32)) | bits[order]

    def under(
        self, offset: NDArray[np.uint64], bound: NDArray[np.uint64], most: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return places and columns, of each stream the `most` lowest priorities under its bound.

        A priority is the bits turned by the column's offset, so these are one or two runs of the
        sorted bits: no column looks at every place.
        """
        ceiling = np.uint64(2**32)
        begin = np.tile(np.array([0, ceiling], np.uint64), len(offset))  # of either split
        low = np.repeat((ceiling - offset) & LOW_32, 2)
        high = low + bound
        starts, ends, first, last, wrapped = (
            np.searchsorted(self.both, begin + edge)
            for edge in (
                np.uint64(0),
                ceiling,
                low,
                np.minimum(high, ceiling),
                np.maximum(high, ceiling) - ceiling,
            )
        )
        counts = np.minimum(last - first + wrapped - starts, most)
        at = np.arange(counts.sum()) + np.repeat(first - (np.cumsum(counts) - counts), counts)
        again = np.repeat(ends, counts)
        at = np.where(at >= again, at - np.repeat(ends - starts, counts), at)
        columns = np.repeat(np.arange(len(offset)), counts.reshape(-1, 2).sum(1))
        return self.order[at], columns


class Chunk:
    """A batch's places, as reservoirs need them."""

    def __init__(
        self,
        kept: NDArray[np.bool_],
        windows: Windows,
        position: NDArray[np.int64],
        contents: NDArray[np.uint64],
        split: NDArray[np.int64],
        each_side: int,
    ) -> None:
        self.rows, self.length = kept.shape
        self.kept = kept.ravel()
        self.split = split
        self.place_split = np.repeat(split, self.length)
        self.document = np.repeat(windows.document, self.length)
        self.position = position.ravel()
        self.content = contents.ravel()
        self.bits = (self.content >> np.uint64(16)) & LOW_32
        self.count = np.bincount(self.place_split[self.kept], minlength=2)
        order = in_order(self.place_split, self.bits, self)
        self._all = _Sorted(order[self.kept[order]], self.place_split, self.bits)
        self._each = _Sorted(self._texts(self._all), self.place_split, self.bits)
        self.each_side = each_side
        self.reach = np.arange(-each_side, each_side + 1)
        padded = np.full((self.rows, self.length + 2 * each_side), -1, dtype=np.int32)
        padded[:, each_side : each_side + self.length] = np.where(kept, windows.ids, -1)
        window = 2 * each_side + 1
        windowed = np.lib.stride_tricks.sliding_window_view(padded, window, axis=1)
        self.ids = np.ascontiguousarray(windowed).reshape(-1, window)
        gaps = np.zeros((self.rows, padded.shape[1] + 1), np.int64)
        np.cumsum(padded < 0, axis=1, out=gaps[:, 1:])
        self.is_cut = (gaps[:, window:] > gaps[:, :-window]).ravel()  # windows that hold a -1

    def at(
        self, flat: Tensor, places: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return the activations [n] at places of columns."""
        where = torch.from_numpy(places * flat.shape[1] + columns).to(flat.device)
        return flat.reshape(-1).take(where).cpu().numpy()

    def priority(
        self,
        places: NDArray[np.int64],
        columns: NDArray[np.int64],
        offset: NDArray[np.uint64],
    ) -> NDArray[np.uint64]:
        """Return the 32-bit priorities of places for columns."""
        return (self.bits[places] + offset[columns]) & LOW_32

    def _texts(self, places: _Sorted) -> NDArray[np.int64]:
        """Return the first place of each text in either split, in the same order."""
        equal = places.both[1:] == places.both[:-1]
        tied = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
        stays = np.ones(len(places.order), dtype=bool)
        rows = places.order[tied]
        stays[tied] = firsts(identities(self.place_split[rows], self.content[rows]))
        return places.order[stays]

    def under(
        self, offset: NDArray[np.uint64], bound: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the kept places whose priority for a column is under the `bound` [keys] of its
        stream, and their columns.
        """
        return self._all.under(offset, bound, len(self._all.order))

    def lowest(
        self, offset: NDArray[np.uint64], bound: NDArray[np.uint64], size: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return, of what `under` returns, the first place of the `size` texts of lowest priority
        of each stream.
        """
        return self._each.under(offset, bound, size)

    def entries(
        self,
        block: Tensor,
        places: NDArray[np.int64],
        columns: NDArray[np.int64],
        offset: NDArray[np.uint64],
        fires: float,
    ) -> Entries:
        """Return the table rows of places [n] in columns [n], with their windows.

        An activation that is not over `fires` is 0. A window ends where a token is not kept, such
        as the one between two documents. Activations outside are whatever stands there; their ids
        are -1.
        """
        ids = self.ids.take(places, axis=0)
        side, cut = self.each_side, np.flatnonzero(self.is_cut[places])
        inside = ids[cut] >= 0
        before = np.logical_and.accumulate(inside[:, side::-1], axis=1)[:, ::-1]
        after = np.logical_and.accumulate(inside[:, side:], axis=1)
        within = np.concatenate([before[:, :-1], after], axis=1)
        ids[cut] = np.where(within, ids[cut], np.int32(-1))
        width = block.shape[2]
        around = (places * width + columns)[:, None] + self.reach * width
        if block.device.type == "cpu":  # numpy takes them in less than half of torch's time
            activations = block.reshape(-1).numpy().take(around, mode="clip")
        else:
            np.clip(around, 0, block.numel() - 1, out=around)
            taken = block.reshape(-1).take(torch.from_numpy(around).to(block.device))
            activations = taken.cpu().numpy()
        torch.threshold_(torch.from_numpy(activations), fires, 0.0)
        return Entries(
            key=2 * columns + self.place_split[places],
            value=activations[:, self.each_side].copy(),
            priority=self.priority(places, columns, offset),
            content=self.content[places],
            times=np.ones(len(places), np.int64),
            document=self.document[places],
            position=self.position[places],
            ids=ids,
            activations=activations,
        )


@dataclass(frozen=True)
class Places:
    """The places of a batch, and those of slices of its rows where it is looked at in slices."""

    whole: Chunk
    slices: Sequence[tuple[slice, Chunk]] = ()

    @property
    def in_turn(self) -> Sequence[tuple[slice, Chunk]]:
        """The slices; a batch without any is one slice."""
        return self.slices or [(slice(None), self.whole)]


class WindowTexts:
    """The texts of tokens, alone and in windows.

    Attributes:
        alone: [vocabulary + 1] the text of each token id; the last is that of id -1.
        is_broken: [vocabulary + 1] whether an id is a part of a character.
        words: [vocabulary + 1] the token's text without its case: see `subjects.passages`.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.alone = np.array([*texts, ""], dtype=object)
        self.is_broken = np.zeros(len(texts) + 1, dtype=bool)
        self.words = words_of([*texts, ""])
        self._texts = texts
        if isinstance(texts, TokenTexts):
            self.is_broken[list(texts.broken)] = True

    def joined(self, ids: Sequence[int], focus: int) -> list[str]:
        """Return the texts of tokens that stand side by side, characters made whole."""
        assert isinstance(self._texts, TokenTexts)  # no other has parts of characters
        return self._texts.joined(ids, focus)


@dataclass(frozen=True, eq=False)
class DrawnContexts(Sequence[Context]):
    """The contexts of a unit, columns of what was kept; an object is made when one is looked at.

    Attributes:
        entries: What was kept, [n].
        draw: [n] which of `DRAWS` each is.
        interval: [n] the interval of its activation, from 1; means nothing where it is silent.
        each_side: Tokens on either side of the focus.
        texts: Of the tokens.
    """

    entries: Entries
    draw: NDArray[np.int64]
    interval: NDArray[np.int64]
    each_side: int
    texts: WindowTexts

    def __len__(self) -> int:
        return len(self.draw)

    @overload
    def __getitem__(self, index: int) -> Context: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Context]: ...

    def __getitem__(self, index: int | slice) -> Context | Sequence[Context]:
        return self._made[index]

    def __iter__(self) -> Iterator[Context]:
        return iter(self._made)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._made == list(other)

    @cached_property
    def _made(self) -> list[Context]:
        return [Context(*fields) for fields in zip(*self.columns(tuple).values(), strict=True)]

    def columns(self, of_tokens: Callable[[list[Any]], Any] = list) -> dict[str, list[Any]]:
        """Return the fields of `Context` by name; those of tokens as `of_tokens` makes them."""
        entries, texts = self.entries, self.texts
        inside = entries.ids >= 0
        activations = np.where(inside, entries.activations, np.float32(0))
        values = activations.tolist()
        tokens = texts.alone[entries.ids].tolist()
        for row in np.flatnonzero(~np.all(inside, axis=1)).tolist():
            within = inside[row].tolist()
            tokens[row] = list(itertools.compress(tokens[row], within))
            values[row] = list(itertools.compress(values[row], within))
        focus = inside[:, : self.each_side].sum(1).tolist()
        for row in np.flatnonzero(np.any(texts.is_broken[entries.ids], axis=1)).tolist():
            ids = entries.ids[row]
            tokens[row] = texts.joined(ids[ids >= 0].tolist(), focus[row])
        levels: list[int | None] = self.interval.tolist()
        for row in np.flatnonzero(~(entries.value > 0)).tolist():
            levels[row] = None
        is_list = of_tokens is list
        return {
            "tokens": tokens if is_list else [of_tokens(row) for row in tokens],
            "activations": values if is_list else [of_tokens(row) for row in values],
            "focus": focus,
            "draw": [DRAWS[kind] for kind in self.draw.tolist()],
            "interval": levels,
            "split": [SPLITS[split] for split in (entries.key % 2).tolist()],
            "silent": (activations == 0).all(1).tolist(),
            "document": entries.document.tolist(),
            "position": entries.position.tolist(),
        }
