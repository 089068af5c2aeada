"""Corpus → contexts, in one pass: a forward to the site, a block of columns, reservoirs.

Nothing dense is kept, so peak memory does not grow with the corpus, and a neuron that fires
everywhere costs what a sparse feature costs.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.errors import CorpusError, SubjectError
from autointerp.records import Context, Draw, Outcome, Split, UnitSummary
from autointerp.settings import HarvestSettings
from autointerp.subjects import Subject
from autointerp.subjects.windows import Windows
from autointerp.units.reservoirs import Entries, Levelled, Lowest, Strongest, interval_of, joined
from autointerp.units.sources import Block, Calibration, SiteBatch, Source, unit_hash

CALIBRATION_TOKENS = 50_000
LEAST_TOKENS = 2_000
COLUMNS_AT_ONCE = 1024
DRAWS: tuple[Draw, ...] = ("top", "interval", "random")
LOW_32 = np.uint64(0xFFFFFFFF)
SPLITS: tuple[Split, Split] = ("explain", "score")


@dataclass(frozen=True)
class Wanted:
    """Units to harvest: numbers of one source, and their places in its random order."""

    name: str
    source: Source
    numbers: NDArray[np.int64]
    orders: NDArray[np.int64]


@dataclass(frozen=True)
class HarvestedUnit:
    """A unit with all that was kept of it."""

    summary: UnitSummary
    contexts: list[Context]


def place_hash(
    seed: int, document: NDArray[np.int64], position: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return 64 random bits of each place in the corpus: a function of seed and place alone."""
    with np.errstate(over="ignore"):
        mixed = unit_hash(document.astype(np.uint64), seed * 2 + 1)
        return unit_hash(mixed + position.astype(np.uint64), 0)


def split_of(seed: int, document: NDArray[np.int64], explain_share: float) -> NDArray[np.int64]:
    """Return 0 (`explain`) or 1 (`score`) for each document: disjoint by construction."""
    uniform = unit_hash(document.astype(np.uint64), seed * 2 + 2) / 2.0**64
    return (uniform >= explain_share).astype(np.int64)


def unit_salts(source: str, numbers: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """Return 64 random bits of each unit: half turn the priorities of its interval draws."""
    name = int.from_bytes(source.encode()[:7], "little")
    return unit_hash(numbers.astype(np.uint64), name + seed)


def window_length(subject: Subject, settings: HarvestSettings) -> int:
    """Return the tokens in a model window."""
    return min(settings.window or min(subject.longest, 1024), subject.longest)


@contextlib.contextmanager
def quiet_torch() -> Iterator[None]:
    """Run without autograd, and without torch's warning on arrays that are only read."""
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        yield


@dataclass(frozen=True)
class Reading:
    """Windows that are to be read, and what of them counts.

    Attributes:
        kept: [rows, tokens] False on padding and special tokens, and beyond the token budget.
        position: [rows, tokens] places in their documents; they mean nothing where nothing is kept.
    """

    windows: Windows
    kept: NDArray[np.bool_]
    position: NDArray[np.int64]


def readings(subject: Subject, settings: HarvestSettings) -> Iterator[Reading]:
    """Yield the corpus in batches, before any forward pass.

    Stops after `settings.tokens` kept tokens, cutting the last window short where need be, so that
    the tokens read do not depend on the batch size.
    """
    is_text = np.ones(max(len(subject.token_texts), *subject.special, 0) + 1, dtype=bool)
    is_text[sorted(subject.special)] = False
    masks_first = settings.mask_first and not subject.begins_with_bos
    left = settings.tokens or None
    for windows in subject.cut(window_length(subject, settings), settings.rows):
        text = windows.attention & is_text[windows.ids]
        # A window's first token after BOS stands at `offset`; specials do not count as places.
        position = windows.offset[:, None] + np.cumsum(text, 1, dtype=np.int64) - 1
        if masks_first:
            text &= np.cumsum(windows.attention, 1) > 1
        if left is not None:
            text &= np.cumsum(text, dtype=np.int64).reshape(text.shape) <= left
            left -= int(text.sum())
        yield Reading(windows, text, position)
        if left == 0:
            return


def at_site(subject: Subject, reading: Reading, seed: int) -> SiteBatch:
    """Return the forward pass of a batch, up to the site."""
    windows = reading.windows
    ids = torch.from_numpy(windows.ids)
    attention = torch.from_numpy(windows.attention)
    x = subject.model.activations(ids.to(subject.device), attention.to(subject.device))
    hashes = place_hash(seed, windows.document[:, None], reading.position)
    return SiteBatch(x, ids.to(x.device), torch.from_numpy(reading.kept).to(x.device), hashes)


def site_batches(
    subject: Subject, settings: HarvestSettings, seed: int
) -> Iterator[tuple[SiteBatch, Windows, NDArray[np.int64]]]:
    """Yield the corpus at the site, the windows, and the kept tokens' places in their documents."""
    for reading in readings(subject, settings):
        yield at_site(subject, reading, seed), reading.windows, reading.position


def calibrate(subject: Subject, settings: HarvestSettings, seed: int) -> Calibration:
    """Return the first tokens of the corpus at the site.

    Raises CorpusError if the corpus has fewer than 2,000 tokens, SubjectError if an activation is
    infinite or no number.
    """
    activations, ids, total, wrong = [], [], 0, 0
    with quiet_torch():
        for batch, _, _ in site_batches(subject, settings, seed):
            activations.append(batch.activations[batch.kept])
            wrong += int((~activations[-1].isfinite()).any(-1).sum())
            ids.append(batch.ids[batch.kept])
            total += len(ids[-1])
            if total >= CALIBRATION_TOKENS:
                break
        if total < LEAST_TOKENS:
            raise CorpusError(
                f"the corpus of subject '{subject.name}' has {total} tokens; "
                f"at least {LEAST_TOKENS} are needed"
            )
        if wrong:
            # float16 overflows where a model trained in bfloat16 has a large residual stream.
            raise SubjectError(
                f"the activations at {subject.site} are not finite on {wrong:,} of "
                f"{total:,} tokens; give dtype bfloat16 or float32, or fetch the model again"
            )
        return Calibration(
            torch.cat(activations)[:CALIBRATION_TOKENS], torch.cat(ids)[:CALIBRATION_TOKENS]
        )


class Columns:
    """Reservoirs of some columns of the matrix; two streams, one a split, for each column."""

    def __init__(self, name: str, salts: NDArray[np.uint64], settings: HarvestSettings) -> None:
        self.name = name
        self.count = columns = len(salts)
        self.settings = settings
        window = 2 * settings.each_side + 1
        keys = 2 * columns
        # A unit's priorities are the place's bits turned by an offset of its own: uniform for
        # every unit, and a batch's sorted bits serve all units.
        self.offset = salts & LOW_32
        self.random_offset = salts >> np.uint64(32)
        self.top = Strongest(keys, settings.top, window)
        # More than wanted: an interval overlaps levels only in part.
        self.levels = Levelled(keys, max(4, math.ceil(1.6 * settings.per_interval)), window)
        self.random = Lowest(keys, settings.random, window)
        self.fired = torch.zeros(columns, dtype=torch.int64)

    def add(self, block: Tensor, batch: Chunk) -> None:
        """Take in a block [rows, tokens, columns] of activations; it is overwritten.

        Raises SubjectError if one is infinite or no number.
        """
        # From here on a unit fires where its activation is over 0.
        block = torch.threshold_(block.contiguous(), self.settings.fires, 0.0)
        if batch.some_left_out is not None:
            block *= batch.some_left_out
        flat = block.flatten(0, 1)
        self._add_strongest(block, batch)
        self.fired += flat.sign().sum(0).long().cpu()
        self._add_levels(block, flat, batch)
        self._add_random(block, batch)

    def _pair(self, values: NDArray[Any], reduce: Callable[..., NDArray[Any]]) -> NDArray[Any]:
        """Return per column the reduction of its two streams' `values` [keys]."""
        return reduce(values.reshape(self.count, 2), axis=1)

    def _add_strongest(self, block: Tensor, batch: Chunk) -> None:
        peaks = block.amax(1)
        if not peaks.sum().isfinite():
            raise SubjectError(
                f"an activation of the {self.name} is not finite, though the site's are; look for "
                "weights that are not, or that overflow the SAE's dtype"
            )
        least = self._pair(self.top.least, np.min)
        rows, columns = _where(peaks > torch.from_numpy(least).to(peaks.device))
        if not len(rows):
            return
        values = peaks[rows, columns].cpu().numpy()
        keys = 2 * columns + batch.split[rows]
        passes = values > self.top.least[keys]
        rows, columns = rows[passes], columns[passes]
        chosen = block[rows, :, columns]
        places = rows * block.shape[1] + chosen.argmax(1).cpu().numpy()
        self.top.add(batch.entries(block, places, columns, self.offset))

    def _add_levels(self, block: Tensor, flat: Tensor, batch: Chunk) -> None:
        cut = self._pair(self.levels.cut, np.min)
        places, columns = _where(flat > torch.from_numpy(cut).to(flat.device))
        below, below_columns = batch.under(self.offset, self._pair(self.levels.widest, np.max))
        if len(below):
            values = batch.at(flat, below, below_columns)
            fires = (values > 0) & (values <= cut[below_columns])
            places = np.concatenate([places, below[fires]])
            columns = np.concatenate([columns, below_columns[fires]])
        if not len(places):
            return
        values = batch.at(flat, places, columns)
        priority = batch.priority(places, columns, self.offset)
        passes = self.levels.passes(2 * columns + batch.place_split[places], values, priority)
        self.levels.add(batch.entries(block, places[passes], columns[passes], self.offset))

    def _add_random(self, block: Tensor, batch: Chunk) -> None:
        places, columns = batch.under(self.random_offset, self._pair(self.random.bound, np.max))
        passes = self.random.passes(
            2 * columns + batch.place_split[places],
            batch.priority(places, columns, self.random_offset),
        )
        self.random.add(batch.entries(block, places[passes], columns[passes], self.random_offset))

    def contexts(
        self, texts: NDArray[np.object_]
    ) -> tuple[list[list[Context]], NDArray[np.float64], NDArray[np.float64]]:
        """Return each unit's contexts, interval sizes [units, intervals] and peaks [units].

        Contexts stand by split, then top (strongest first), intervals (weakest first), random.
        """
        for reservoir in (self.top, self.levels, self.random):
            reservoir.compact()
        intervals = self.settings.intervals
        peaks = np.zeros(self.count)
        np.maximum.at(peaks, self.top.kept.key // 2, self.top.kept.value.astype(np.float64))
        by_key = np.repeat(peaks, 2)
        drawn, _, sizes = self.levels.draw_intervals(by_key, intervals, self.settings.per_interval)
        everything = joined([self.top.kept, drawn, self.random.kept])
        sizes_of_draws = [len(self.top.kept), len(drawn), len(self.random.kept)]
        draw = np.repeat(np.arange(3), sizes_of_draws)
        order = np.argsort(everything.key * 3 + draw, kind="stable")
        everything, draw = everything.take(order), draw[order]
        interval = 1 + interval_of(
            everything.value, np.where(by_key > 0, by_key, 1.0)[everything.key], intervals
        )
        made = _as_contexts(everything, draw, interval, self.settings.each_side, texts)
        edges = np.searchsorted(everything.key, 2 * np.arange(self.count + 1))
        split = [made[a:b] for a, b in itertools.pairwise(edges)]
        return split, sizes.reshape(self.count, 2, intervals).sum(1), peaks


def _where(mask: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if mask.device.type == "cpu":  # numpy finds them five times as fast as torch
        return np.divmod(np.flatnonzero(mask.numpy()), mask.shape[1])
    rows, columns = mask.nonzero(as_tuple=True)
    return rows.cpu().numpy(), columns.cpu().numpy()


class Chunk:
    """A batch's places, as reservoirs need them."""

    def __init__(
        self,
        kept: NDArray[np.bool_],
        windows: Windows,
        position: NDArray[np.int64],
        hashes: NDArray[np.uint64],
        split: NDArray[np.int64],
        each_side: int,
        device: torch.device,
    ) -> None:
        self.rows, self.length = kept.shape
        self.kept = kept.ravel()
        self.split = split
        self.place_split = np.repeat(split, self.length)
        self.document = np.repeat(windows.document, self.length)
        self.position = position.ravel()
        self.bits = (hashes.ravel() >> np.uint64(16)) & LOW_32
        order = np.argsort(self.bits)
        order = order[self.kept[order]]
        self.sorted_bits, self.sorted_places = self.bits[order], order
        self.each_side = each_side
        self.reach = np.arange(-each_side, each_side + 1)
        padded = np.full((self.rows, self.length + 2 * each_side), -1, dtype=np.int32)
        padded[:, each_side : each_side + self.length] = np.where(kept, windows.ids, -1)
        self.ids = np.lib.stride_tricks.sliding_window_view(padded, 2 * each_side + 1, axis=1)
        self.some_left_out = (
            None if kept.all() else torch.from_numpy(kept[..., None]).to(device, torch.float32)
        )

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

    def under(
        self, offset: NDArray[np.uint64], bound: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the kept places whose priority for a column is under the column's bound.

        Those are one or two runs of the sorted bits, so no column looks at every place.
        """
        ceiling = np.uint64(2**32)
        low = (ceiling - offset) & LOW_32
        high = low + bound
        first = np.searchsorted(self.sorted_bits, low)
        last = np.searchsorted(self.sorted_bits, np.minimum(high, ceiling))
        wrapped = np.searchsorted(self.sorted_bits, np.maximum(high, ceiling) - ceiling)
        begins = np.concatenate([first, np.zeros_like(wrapped)])
        counts = np.concatenate([last - first, wrapped])
        columns = np.tile(np.arange(len(offset)), 2)
        ranks = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.sorted_places[np.repeat(begins, counts) + ranks], np.repeat(columns, counts)

    def entries(
        self,
        block: Tensor,
        places: NDArray[np.int64],
        columns: NDArray[np.int64],
        offset: NDArray[np.uint64],
    ) -> Entries:
        """Return the table rows of places [n] in columns [n], with their windows.

        Activations outside the model's window are whatever stands there; their ids are -1.
        """
        row, column_in_row = np.divmod(places, self.length)
        width = block.shape[2]
        around = ((places * width + columns)[:, None]) + self.reach * width
        np.clip(around, 0, block.numel() - 1, out=around)
        taken = block.reshape(-1).take(torch.from_numpy(around).to(block.device))
        activations = taken.cpu().numpy()
        return Entries(
            key=2 * columns + self.place_split[places],
            value=activations[:, self.each_side].copy(),
            priority=self.priority(places, columns, offset),
            document=self.document[places],
            position=self.position[places],
            ids=self.ids[row, column_in_row],
            activations=activations,
        )


@dataclass(frozen=True)
class Part:
    """Some units of a source, few enough for one block, and what is kept of them."""

    want: Wanted
    numbers: NDArray[np.int64]
    orders: NDArray[np.int64]
    block: Block
    columns: Columns


def parts_of(wanted: list[Wanted], settings: HarvestSettings, seed: int) -> list[Part]:
    """Return the wanted units in parts, nothing kept yet."""
    parts = []
    for want in wanted:
        for begin in range(0, len(want.numbers), COLUMNS_AT_ONCE):
            reach = slice(begin, begin + COLUMNS_AT_ONCE)
            numbers = want.numbers[reach]
            columns = Columns(want.name, unit_salts(want.name, numbers, seed), settings)
            block = want.source.block(numbers)
            parts.append(Part(want, numbers, want.orders[reach], block, columns))
    return parts


def take_in(
    parts: list[Part],
    batch: SiteBatch,
    reading: Reading,
    settings: HarvestSettings,
    seed: int,
    is_first: bool,
) -> int:
    """Take a batch into every part; return how many tokens it has.

    The `is_first` one is taken in growing slices: while reservoirs are empty everything passes,
    after a few windows little does. The result is the same, the cost is not.
    """
    windows, kept = reading.windows, reading.kept
    split = split_of(seed, windows.document, settings.explain_share)
    chunks = []
    for rows in _growing(len(kept)) if is_first else [slice(0, len(kept))]:
        some = Windows(
            windows.ids[rows],
            windows.attention[rows],
            windows.document[rows],
            windows.offset[rows],
        )
        chunk = Chunk(
            kept[rows],
            some,
            reading.position[rows],
            batch.place_hash[rows],
            split[rows],
            settings.each_side,
            batch.activations.device,
        )
        chunks.append((rows, chunk))
    for part in parts:
        block = part.block(batch)
        for rows, chunk in chunks:
            part.columns.add(block[rows], chunk)
    return int(kept.sum())


def _growing(count: int) -> Iterator[slice]:
    first, size = 0, 2
    while first < count:
        yield slice(first, first + size)
        first, size = first + size, 2 * size


Progress = Callable[[int], None]


def harvest(
    subject: Subject,
    wanted: list[Wanted],
    settings: HarvestSettings,
    seed: int,
    min_density: float,
    max_density: float,
    progress: Progress = lambda tokens: None,
) -> list[HarvestedUnit]:
    """Return every wanted unit with its density, its fate and, if eligible, its contexts.

    `progress` is called with the tokens read so far. Raises CorpusError if the corpus has fewer
    than 2,000 tokens.
    """
    parts = parts_of(wanted, settings, seed)
    tokens = 0
    with quiet_torch():
        for number, reading in enumerate(readings(subject, settings)):
            batch = at_site(subject, reading, seed)
            tokens += take_in(parts, batch, reading, settings, seed, is_first=number == 0)
            progress(tokens)
    return list(harvested_units(subject, parts, tokens, min_density, max_density))


def harvested_units(
    subject: Subject, parts: list[Part], tokens: int, min_density: float, max_density: float
) -> Iterator[HarvestedUnit]:
    """Return the parts' units after `tokens` tokens, made one part at a time; `parts` is emptied.

    Contexts as objects take several times the memory of what they are made from. Raises
    CorpusError if the tokens are fewer than 2,000.
    """
    if tokens < LEAST_TOKENS:
        raise CorpusError(
            f"the corpus of subject '{subject.name}' has {tokens} tokens; "
            f"at least {LEAST_TOKENS} are needed"
        )
    texts = np.array([*subject.token_texts, ""], dtype=object)  # the last is id -1
    return _made(parts, texts, tokens, min_density, max_density)


def _made(
    parts: list[Part],
    texts: NDArray[np.object_],
    tokens: int,
    min_density: float,
    max_density: float,
) -> Iterator[HarvestedUnit]:
    while parts:
        part = parts.pop(0)
        contexts, sizes, peaks = part.columns.contexts(texts)
        for place, (number, order) in enumerate(zip(part.numbers, part.orders, strict=True)):
            fired = int(part.columns.fired[place])
            fate = outcome_of(fired, fired / tokens, min_density, max_density)
            summary = UnitSummary(
                unit=part.want.source.unit(int(number)),
                density=fired / tokens,
                tokens=tokens,
                peak=float(peaks[place]),
                order=int(order),
                outcome=fate,
                interval_tokens=tuple(sizes[place].tolist()),
                note=part.want.source.note(int(number)),
            )
            yield HarvestedUnit(summary, contexts[place] if fate == "eligible" else [])
            contexts[place] = []


def outcome_of(fired: int, density: float, least: float, most: float) -> Outcome:
    """Return what becomes of a unit that fires on `fired` tokens."""
    if not fired:
        return "dead"
    if density < least:
        return "ultralow"
    return "dense" if density > most else "eligible"


def _as_contexts(
    entries: Entries,
    draw: NDArray[np.int64],
    interval: NDArray[np.int64],
    each_side: int,
    texts: NDArray[np.object_],
) -> list[Context]:
    """Return the entries as contexts; a few microseconds each, since there are many."""
    inside = entries.ids >= 0
    activations = np.where(inside, entries.activations, np.float32(0))
    rows = zip(
        texts[entries.ids].tolist(),
        activations.tolist(),
        inside.tolist(),
        np.all(inside, axis=1).tolist(),
        inside[:, :each_side].sum(1).tolist(),
        draw.tolist(),
        interval.tolist(),
        (entries.value > 0).tolist(),
        (entries.key % 2).tolist(),
        (activations == 0).all(1).tolist(),
        entries.document.tolist(),
        entries.position.tolist(),
        strict=True,
    )
    contexts = []
    for tokens, values, within, whole, focus, kind, level, fires, split, silent, doc, pos in rows:
        if not whole:
            tokens = list(itertools.compress(tokens, within))
            values = list(itertools.compress(values, within))
        contexts.append(
            Context(
                tuple(tokens),
                tuple(values),
                focus,
                DRAWS[kind],
                level if fires else None,
                SPLITS[split],
                silent,
                doc,
                pos,
            )
        )
    return contexts
