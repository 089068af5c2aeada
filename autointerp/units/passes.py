"""Corpus → contexts, in one pass: a forward to the site, a block of columns, reservoirs.

Nothing dense is kept, so peak memory does not grow with the corpus, and a neuron that fires
everywhere costs what a sparse feature costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from autointerp import extensions
from autointerp.errors import BadInput, CorpusError
from autointerp.records import HarvestedUnit, Outcome, UnitSummary
from autointerp.settings import LEAST_TOKENS, HarvestSettings
from autointerp.subjects import Subject
from autointerp.text import count
from autointerp.units.columns import Chunk, Columns, Places, WindowTexts
from autointerp.units.draws import split_of, unit_salts
from autointerp.units.sources import Block, SiteBatch, Source
from autointerp.units.stream import Reading, at_site, quiet_torch, readings, some_rows

# Few enough that a batch's block stays under the 32 MB from which memory is taken from the system
# anew each time; and rows at a power of two from each other cost a product a fifth more.
COLUMNS_AT_ONCE = 1008


@dataclass(frozen=True)
class Wanted:
    """Units to harvest: numbers of one source, and their places in its random order."""

    name: str
    source: Source
    numbers: NDArray[np.int64]
    orders: NDArray[np.int64]


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
            salts = unit_salts(want.name, numbers, seed)
            columns = Columns(want.name, salts, settings, _labels(want, numbers))
            block = want.source.block(numbers)
            extensions.with_members(
                block, ("__call__",), f"source '{want.name}': block()", "a function of a batch"
            )
            parts.append(Part(want, numbers, want.orders[reach], block, columns))
    return parts


def _labels(want: Wanted, numbers: NDArray[np.int64]) -> Callable[[int], str]:
    return lambda column: str(want.source.unit(int(numbers[column])))


def take_in(parts: list[Part], batch: SiteBatch, places: Places) -> None:
    """Take a batch into every part."""
    for part in parts:
        part.columns.add(_computed(part, batch), places)


def _computed(part: Part, batch: SiteBatch) -> torch.Tensor:
    """Return the columns of a part. Raises BadInput if its source gives something else."""
    call = f"source '{part.want.name}': block()"
    columns = extensions.returned(part.block(batch), torch.Tensor, f"{call}(batch)")
    wanted = (*batch.kept.shape, len(part.numbers))
    if columns.shape != wanted:
        raise BadInput(
            f"{call}(batch) returned columns of shape {tuple(columns.shape)}; they must be rows, "
            f"tokens and units, {wanted} (docs/extending.md)"
        )
    return columns


def places_of(reading: Reading, settings: HarvestSettings, seed: int, is_first: bool) -> Places:
    """Return the places of a reading: the same for all parts, of whichever sources.

    The `is_first` reading is looked at in growing slices, too: while reservoirs are empty
    everything passes, after a few windows little does. The result is the same, the cost is not.
    """
    windows, kept = reading.windows, reading.kept
    split = split_of(seed, windows.content, settings.explain_share)
    contents = reading.contents(seed)

    def chunk(rows: slice) -> Chunk:
        return Chunk(
            kept[rows],
            some_rows(reading, rows).windows,
            reading.position[rows],
            contents[rows],
            split[rows],
            settings.each_side,
        )

    slices = _growing(len(kept)) if is_first else ()
    return Places(chunk(slice(None)), [(rows, chunk(rows)) for rows in slices])


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
    """Return every wanted unit with its density, its outcome and, if eligible, its contexts.

    `progress` is called with the tokens read so far. Raises CorpusError if the corpus has fewer
    than 2,000 tokens.
    """
    parts = parts_of(wanted, settings, seed)
    tokens = 0
    with quiet_torch():
        for number, reading in enumerate(readings(subject, settings)):
            batch = at_site(subject, reading, seed)
            take_in(parts, batch, places_of(reading, settings, seed, is_first=number == 0))
            tokens += int(reading.kept.sum())
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
            f"the corpus of subject '{subject.name}' has {count(tokens, 'token')}; "
            f"at least {LEAST_TOKENS} are needed"
        )
    return _made(parts, WindowTexts(subject.token_texts), tokens, min_density, max_density)


def _made(
    parts: list[Part],
    texts: WindowTexts,
    tokens: int,
    min_density: float,
    max_density: float,
) -> Iterator[HarvestedUnit]:
    while parts:
        part = parts.pop(0)
        contexts, sizes, peaks = part.columns.contexts(texts)
        for place, (number, order) in enumerate(zip(part.numbers, part.orders, strict=True)):
            fired = int(part.columns.fired[place])
            outcome = outcome_of(fired, fired / tokens, min_density, max_density)
            summary = UnitSummary(
                unit=part.want.source.unit(int(number)),
                density=fired / tokens,
                tokens=tokens,
                peak=float(peaks[place]),
                order=int(order),
                outcome=outcome,
                interval_tokens=tuple(sizes[place].tolist()),
                note=part.want.source.note(int(number)),
            )
            if outcome == "eligible":
                copies = int(part.columns.near_copies[place])
                yield HarvestedUnit(summary, contexts[place], copies)
            else:
                yield HarvestedUnit(summary)
            contexts[place] = ()


def outcome_of(fired: int, density: float, least: float, most: float) -> Outcome:
    """Return what becomes of a unit that fires on `fired` tokens."""
    if not fired:
        return "dead"
    if density < least:
        return "ultralow"
    return "dense" if density > most else "eligible"
