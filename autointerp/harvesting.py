"""Corpus → contexts, in one pass: a forward to the site, a block of columns, reservoirs.

Nothing dense is kept, so peak memory does not grow with the corpus, and a neuron that fires
everywhere costs what a sparse feature costs.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.errors import CorpusError
from autointerp.records import Context, Draw, Split, UnitSummary
from autointerp.reservoirs import Entries, Levelled, Lowest, Strongest
from autointerp.settings import HarvestSettings
from autointerp.sources import Block, Calibration, SiteBatch, Source, unit_hash
from autointerp.subjects import Subject
from autointerp.subjects.windows import Windows

CALIBRATION_TOKENS = 50_000
LEAST_TOKENS = 2_000
COLUMNS_AT_ONCE = 1024
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


def window_length(subject: Subject, settings: HarvestSettings) -> int:
    """Return the tokens in a model window."""
    return min(settings.window or min(subject.longest, 1024), subject.longest)


@contextlib.contextmanager
def quiet_torch() -> Iterator[None]:
    """Run without autograd, and without torch's warning on arrays that are only read."""
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        yield


def site_batches(
    subject: Subject, settings: HarvestSettings, seed: int
) -> Iterator[tuple[SiteBatch, Windows, NDArray[np.int64]]]:
    """Yield the corpus at the site, the windows, and the kept tokens' places in their documents.

    Positions are [rows, tokens]; they mean nothing where nothing is kept. Stops after
    `settings.tokens` kept tokens, cutting the last window short where need be, so that the tokens
    read do not depend on the batch size.
    """
    special = torch.tensor(sorted(subject.special), dtype=torch.int64)
    left = settings.tokens or None
    for windows in subject.cut(window_length(subject, settings), settings.rows):
        ids = torch.from_numpy(windows.ids)
        attention = torch.from_numpy(windows.attention)
        kept = attention & ~torch.isin(ids, special)
        if left is not None:
            running = kept.flatten().cumsum(0).reshape(kept.shape)
            kept &= running <= left
            left -= int(kept.sum())
        # A window's first token after BOS stands at `offset`; specials do not count as places.
        order = np.cumsum(windows.attention & ~np.isin(windows.ids, sorted(subject.special)), 1) - 1
        position = windows.offset[:, None] + order
        x = subject.model.activations(ids.to(subject.device), attention.to(subject.device))
        on_device = kept.to(x.device)
        if not bool(on_device.all()):
            x = x * on_device[..., None]
        yield (
            SiteBatch(
                x,
                ids.to(x.device),
                on_device,
                place_hash(seed, windows.document[:, None], position),
            ),
            windows,
            position,
        )
        if left == 0:
            return


def calibrate(subject: Subject, settings: HarvestSettings, seed: int) -> Calibration:
    """Return the first tokens of the corpus at the site.

    Raises CorpusError if the corpus has fewer than 2,000 tokens.
    """
    activations, ids, total = [], [], 0
    with quiet_torch():
        for batch, _, _ in site_batches(subject, settings, seed):
            activations.append(batch.activations[batch.kept])
            ids.append(batch.ids[batch.kept])
            total += len(ids[-1])
            if total >= CALIBRATION_TOKENS:
                break
        if total < LEAST_TOKENS:
            raise CorpusError(
                f"the corpus of subject '{subject.name}' has {total} tokens; "
                f"at least {LEAST_TOKENS} are needed"
            )
        return Calibration(
            torch.cat(activations)[:CALIBRATION_TOKENS], torch.cat(ids)[:CALIBRATION_TOKENS]
        )


class Columns:
    """Reservoirs of some columns of the matrix; two streams, one a split, for each column."""

    def __init__(self, columns: int, salts: NDArray[np.uint64], settings: HarvestSettings) -> None:
        self.count = columns
        self.settings = settings
        window = 2 * settings.each_side + 1
        keys = 2 * columns
        # A unit's priorities are the place's bits turned by an offset of its own: uniform for
        # every unit, and a batch's sorted bits serve all units.
        self.offset = salts & np.uint64(0xFFFFFFFF)
        self.random_offset = salts >> np.uint64(32)
        self.top = Strongest(keys, settings.top, window)
        # Twice as many as wanted: an interval overlaps levels only in part.
        self.levels = Levelled(keys, max(4, 2 * settings.per_interval), window)
        self.random = Lowest(keys, settings.random, window)
        self.fired = torch.zeros(columns, dtype=torch.int64)

    def add(self, block: Tensor, batch: Chunk) -> None:
        """Take in a block [rows, tokens, columns] of activations, zero where not kept."""
        flat = block.flatten(0, 1)
        fires = self.settings.fires
        self.fired += batch.count_over(flat, fires)
        self._add_strongest(block, batch)
        self._add_levels(block, flat, batch)
        self._add_random(block, flat, batch)

    def _pair(self, values: NDArray[np.generic], reduce: Callable[..., NDArray[np.generic]]) -> NDArray[np.generic]:
        """Return per column the reduction of its two streams' `values` [keys]."""
        return reduce(values.reshape(self.count, 2), axis=1)

    def _add_strongest(self, block: Tensor, batch: Chunk) -> None:
        peaks = block.amax(1)
        least = np.maximum(self._pair(self.top.least, np.min), self.settings.fires)
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
        cut = np.maximum(self._pair(self.levels.cut, np.min), self.settings.fires).astype(np.float32)
        places, columns = _where(flat > torch.from_numpy(cut).to(flat.device))
        below, below_columns = batch.under(self.offset, self._pair(self.levels.widest, np.max))
        if len(below):
            values = flat[below, below_columns].cpu().numpy()
            fires = (values > self.settings.fires) & (values <= cut[below_columns])
            places = np.concatenate([places, below[fires]])
            columns = np.concatenate([columns, below_columns[fires]])
        if not len(places):
            return
        values = flat[places, columns].cpu().numpy()
        priority = batch.priority(places, columns, self.offset)
        passes = self.levels.passes(2 * columns + batch.place_split[places], values, priority)
        self.levels.add(batch.entries(block, places[passes], columns[passes], self.offset))

    def _add_random(self, block: Tensor, flat: Tensor, batch: Chunk) -> None:
        places, columns = batch.under(self.random_offset, self._pair(self.random.bound, np.max))
        keep = batch.kept[places]
        self.random.add(batch.entries(block, places[keep], columns[keep], self.random_offset))

    def finish(self) -> None:
        for reservoir in (self.top, self.levels, self.random):
            reservoir.compact()


def _where(mask: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows, columns = mask.nonzero(as_tuple=True)
    return rows.cpu().numpy(), columns.cpu().numpy()


class Chunk:
    """A batch's places, as reservoirs need them."""

    def __init__(
        self,
        batch: SiteBatch,
        windows: Windows,
        position: NDArray[np.int64],
        split: NDArray[np.int64],
        each_side: int,
    ) -> None:
        self.rows, self.length = windows.ids.shape
        self.kept = batch.kept.cpu().numpy().ravel()
        self.split = split
        self.place_split = np.repeat(split, self.length)
        self.document = np.repeat(windows.document, self.length)
        self.position = position.ravel()
        self.bits = (batch.place_hash >> np.uint64(16)).ravel() & np.uint64(0xFFFFFFFF)
        order = np.argsort(self.bits, kind="stable")
        order = order[self.kept[order]]
        self.sorted_bits, self.sorted_places = self.bits[order], order
        self.reach = np.arange(-each_side, each_side + 1)
        self.ids = np.where(self.kept, windows.ids.ravel(), -1).astype(np.int32)
        self.ones = torch.ones(self.rows * self.length, device=batch.activations.device)

    def count_over(self, flat: Tensor, threshold: float) -> Tensor:
        """Return how many of each column's activations are over `threshold`."""
        return (self.ones @ (flat > threshold).float()).long().cpu()

    def priority(
        self,
        places: NDArray[np.int64],
        columns: NDArray[np.int64],
        offset: NDArray[np.uint64],
    ) -> NDArray[np.uint64]:
        """Return the 32-bit priorities of places for columns."""
        return (self.bits[places] + offset[columns]) & np.uint64(0xFFFFFFFF)

    def under(
        self, offset: NDArray[np.uint64], bound: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the kept places whose priority for a column is under the column's bound.

        Those are one or two runs of the sorted bits, so no column looks at every place.
        """
        low = (np.uint64(2**32) - offset) & np.uint64(0xFFFFFFFF)
        high = low + bound
        n = len(self.sorted_bits)
        first = np.searchsorted(self.sorted_bits, low)
        last = np.searchsorted(self.sorted_bits, np.minimum(high, np.uint64(2**32)))
        over = np.where(high > np.uint64(2**32), high - np.minimum(high, np.uint64(2**32)), np.uint64(0))
        wrapped = np.searchsorted(self.sorted_bits, over)
        begins = np.concatenate([first, np.zeros_like(wrapped)])
        counts = np.concatenate([last - first, np.minimum(wrapped, n)])
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
        """Return the table rows of places [n] in columns [n], with their windows."""
        row, column_in_row = np.divmod(places, self.length)
        reach = column_in_row[:, None] + self.reach
        inside = (reach >= 0) & (reach < self.length)
        around = row[:, None] * self.length + np.where(inside, reach, 0)
        ids = np.where(inside, self.ids[around], -1)
        flat = block.flatten(0, 1)
        activations = flat[torch.from_numpy(around), torch.from_numpy(columns)[:, None]].cpu().numpy()
        focus = len(self.reach) // 2
        return Entries(
            key=2 * columns + self.place_split[places],
            value=activations[:, focus].copy(),
            priority=self.priority(places, columns, offset),
            document=self.document[places],
            position=self.position[places],
            ids=ids,
            activations=np.where(ids >= 0, activations, np.float32(0)),
        )


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
    parts: list[tuple[Wanted, slice, Block, Columns]] = []
    for want in wanted:
        for begin in range(0, len(want.numbers), COLUMNS_AT_ONCE):
            part = slice(begin, begin + COLUMNS_AT_ONCE)
            numbers = want.numbers[part]
            salt = sum(ord(letter) << (8 * (place % 6)) for place, letter in enumerate(want.name))
            salts = unit_hash(numbers.astype(np.uint64), salt + seed)
            parts.append(
                (want, part, want.source.block(numbers), Columns(len(numbers), salts, settings))
            )
    tokens = 0
    with quiet_torch():
        for batch, windows, position in site_batches(subject, settings, seed):
            split = split_of(seed, windows.document, settings.explain_share)
            chunk = Chunk(batch, windows, position, split, settings.each_side)
            for _, _, compute, columns in parts:
                block = compute(batch)
                if not chunk.kept.all():
                    block = block * batch.kept[..., None]
                columns.add(block, chunk)
            tokens += int(chunk.kept.sum())
            progress(tokens)
    if tokens < LEAST_TOKENS:
        raise CorpusError(
            f"the corpus of subject '{subject.name}' has {tokens} tokens; "
            f"at least {LEAST_TOKENS} are needed"
        )
    harvested = []
    for want, part, _, columns in parts:
        columns.finish()
        finder = {
            name: _rows_by_key(reservoir.kept, 2 * columns.count)
            for name, reservoir in (
                ("top", columns.top),
                ("levels", columns.levels),
                ("random", columns.random),
            )
        }
        for place, (number, order) in enumerate(
            zip(want.numbers[part], want.orders[part], strict=True)
        ):
            fired = int(columns.fired[place])
            density = fired / tokens
            keys = (2 * place, 2 * place + 1)
            peak = max((finder["top"][key].value.max(initial=0.0) for key in keys), default=0.0)
            outcome = (
                "dead"
                if fired == 0
                else "eligible"
                if min_density <= density <= max_density
                else "ultralow"
                if density < min_density
                else "dense"
            )
            contexts, counts = _contexts(columns, finder, keys, float(peak), settings, subject)
            summary = UnitSummary(
                unit=want.source.unit(int(number)),
                density=density,
                tokens=tokens,
                peak=float(peak),
                order=int(order),
                outcome=outcome,
                interval_tokens=tuple(counts),
                note=want.source.note(int(number)),
            )
            harvested.append(HarvestedUnit(summary, contexts if outcome == "eligible" else []))
    return harvested


def _rows_by_key(entries: Entries, keys: int) -> list[Entries]:
    """Return the entries of each key; they stand sorted by key."""
    edges = np.searchsorted(entries.key, np.arange(keys + 1))
    return [
        entries.take(np.arange(low, high)) for low, high in zip(edges[:-1], edges[1:], strict=True)
    ]


def _contexts(
    columns: Columns,
    finder: dict[str, list[Entries]],
    keys: tuple[int, int],
    peak: float,
    settings: HarvestSettings,
    subject: Subject,
) -> tuple[list[Context], list[float]]:
    """Return a unit's contexts and, by interval, the tokens on which it fires."""
    contexts: list[Context] = []
    counts = [0.0] * settings.intervals
    if peak <= 0:
        return contexts, counts
    edges = np.linspace(0, peak, settings.intervals + 1)
    low_edges, high_edges = [settings.fires, *edges[1:-1]], [*edges[1:-1], np.inf]
    for key, split in zip(keys, SPLITS, strict=True):

        def add(entries: Entries, draw: Draw, split: Split = split) -> None:
            contexts.extend(
                _as_context(entries, row, draw, split, peak, settings, subject)
                for row in range(len(entries))
            )

        add(finder["top"][key], "top")
        for interval, (low, high) in enumerate(zip(low_edges, high_edges, strict=True)):
            drawn, count = columns.levels.draw_interval(
                key, finder["levels"][key], low, high, settings.per_interval
            )
            counts[interval] += count
            add(drawn, "interval")
        add(finder["random"][key], "random")
    return contexts, counts


def _as_context(
    entries: Entries,
    row: int,
    draw: Draw,
    split: Split,
    peak: float,
    settings: HarvestSettings,
    subject: Subject,
) -> Context:
    inside = entries.ids[row] >= 0
    activations = entries.activations[row][inside]
    value = float(entries.value[row])
    fires = value > settings.fires
    interval = min(settings.intervals, int(value / peak * settings.intervals) + 1)
    return Context(
        tokens=tuple(subject.token_texts[index] for index in entries.ids[row][inside]),
        activations=tuple(float(a) for a in activations),
        focus=int(inside[: settings.each_side].sum()),
        draw=draw,
        interval=interval if fires else None,
        split=split,
        silent=bool((activations <= settings.fires).all()),
        document=int(entries.document[row]),
        position=int(entries.position[row]),
    )
