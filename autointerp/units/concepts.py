"""Which units know a concept: all units of all sources against labels of tokens, in two readings.

The first reading counts, for every unit at once, in which bins of its activation the tokens with
and without a label lie, on either side of the split. Memory depends on units, concepts and bins,
not on the corpus; what binning can change is stated (`stats.binned`). It also draws, of each
concept, tokens with and without it. The second reading looks at the drawn tokens alone, with the
few units that came first in the search: they train the sparse probes, and say how sure the held-out
figures are.

Documents of the split `explain` are searched, those of `score` only ever tested.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.errors import BadInput, CorpusError, SubjectError
from autointerp.settings import LEAST_TOKENS, HarvestSettings
from autointerp.stats.results import Floats, Integers
from autointerp.subjects import Subject
from autointerp.text import count
from autointerp.units.draws import split_of
from autointerp.units.labels import Labels
from autointerp.units.sources import Block, SiteBatch, Source
from autointerp.units.stream import Reading, at_site, quiet_torch, readings, some_rows

BINS = 64  # bin 0 is silence
UNITS_AT_ONCE = 1_024
EDGE_TOKENS = 8_192  # whose activations say where bins begin
COUNTERS = 2**27  # of four bytes, that are held at a time; more units are counted in turns
POSITIVES, NEGATIVES = 1_000, 2_000  # tokens drawn of a concept, on either side of the split

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Candidates:
    """Units of one source that are searched: their numbers in it."""

    name: str
    source: Source
    numbers: NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """Tokens by bin of activation.

    Attributes:
        edges: [units, BINS - 1] lower end of each bin but bin 0; a value on it lies under it.
        with_concept: [2, concepts, units, BINS] tokens with the label, by side of the split.
        labelled: [2, groups, units, BINS] tokens that have labels of a group at all.
    """

    edges: NDArray[np.float32]
    with_concept: NDArray[np.int64]
    labelled: NDArray[np.int64]

    def without(self, side: int, concept: int, group: int) -> NDArray[np.int64]:
        """Return the tokens [units, BINS] that are labelled as not of the concept."""
        return np.asarray(self.labelled[side, group] - self.with_concept[side, concept])


@dataclass(frozen=True)
class Drawn:
    """Tokens drawn of one concept on one side, lowest random bits first.

    Attributes:
        place: [tokens, 3] number of the batch, row, token in the row.
        document: [tokens]
        truth: [tokens] whether they have the label.
    """

    place: Integers
    document: Integers
    truth: NDArray[np.bool_]


@dataclass(frozen=True)
class FirstReading:
    """What the first reading found beside the counts.

    Attributes:
        drawn: By side and concept.
        tokens: Read, by side.
        tokens_with, tokens_labelled: [2, concepts].
    """

    drawn: tuple[tuple[Drawn, ...], ...]
    tokens: tuple[int, int]
    tokens_with: Integers
    tokens_labelled: Integers


def first_reading(
    subject: Subject,
    candidates: Sequence[Candidates],
    labels: Labels,
    settings: HarvestSettings,
    seed: int,
    take: Callable[[str, NDArray[np.int64], Counts], None],
    progress: Progress = lambda label, tokens: None,
) -> FirstReading:
    """Count all units; `take` gets a source, places in its candidates, and the counts of these.

    Units are taken in as many turns as their counters fill the memory that is allowed, each of
    them a reading of the corpus. Raises CorpusError if the corpus has fewer than 2,000 tokens,
    SubjectError if an activation is infinite or no number.
    """
    turns = _turns(candidates, COUNTERS // (2 * BINS * (len(labels.concepts) + labels.group_count)))
    draws = _Draws(labels)
    for turn, parts in enumerate(turns):
        counters = [_Counter(one, places, labels) for one, places in parts]
        label = "searching" if len(turns) == 1 else f"searching, part {turn + 1} of {len(turns)}"
        tokens = 0
        pending: list[tuple[SiteBatch, _Marks]] = []
        with quiet_torch():
            for number, reading in enumerate(readings(subject, settings)):
                marks = _marks(reading, labels, settings, seed)
                batch = at_site(subject, reading, seed)
                tokens += len(marks.side)
                if not turn:
                    draws.add(number, reading, marks, batch.place_hash)
                pending.append((batch, marks))
                progress(label, tokens)
                if counters[0].edges is None and tokens < EDGE_TOKENS:
                    continue
                _count(counters, pending, settings.fires)
                pending = []
            if tokens < LEAST_TOKENS:
                raise CorpusError(
                    f"the corpus of subject '{subject.name}' has {count(tokens, 'token')}; "
                    f"at least {LEAST_TOKENS} are needed"
                )
            if pending:
                _count(counters, pending, settings.fires)
        while counters:
            counter = counters.pop(0)
            take(counter.candidates.name, counter.places, counter.counts(draws))
    return FirstReading(draws.drawn(), draws.tokens, draws.tokens_with, draws.tokens_labelled)


def _turns(
    candidates: Sequence[Candidates], most: int
) -> list[list[tuple[Candidates, NDArray[np.int64]]]]:
    """Return which places of the candidates are counted together, at most so many in a turn."""
    turns: list[list[tuple[Candidates, NDArray[np.int64]]]] = [[]]
    room = most = max(1, most)
    for one in candidates:
        begin = 0
        while begin < len(one.numbers):
            if not room:
                turns.append([])
                room = most
            size = min(UNITS_AT_ONCE, room, len(one.numbers) - begin)
            turns[-1].append((one, np.arange(begin, begin + size)))
            begin, room = begin + size, room - size
    return turns


@dataclass(frozen=True)
class _Marks:
    """A batch's kept tokens: side of the split, labels, and which batch tokens they are."""

    side: NDArray[np.int64]
    truth: NDArray[np.bool_]
    known: NDArray[np.bool_]
    row: NDArray[np.int64]
    token: NDArray[np.int64]


def _marks(reading: Reading, labels: Labels, settings: HarvestSettings, seed: int) -> _Marks:
    found = labels.of(reading)
    row, token = np.nonzero(reading.kept)
    side = split_of(seed, reading.windows.content, settings.explain_share)[row]
    return _Marks(side, found.truth, found.known, row, token)


def _count(
    counters: Sequence[_Counter], pending: Sequence[tuple[SiteBatch, _Marks]], fires: float
) -> None:
    for counter in counters:
        values = [counter.values(batch) for batch, _ in pending]
        if counter.edges is None:
            counter.place_edges(torch.cat(values)[:EDGE_TOKENS], fires)
        for one, (_, marks) in zip(values, pending, strict=True):
            counter.add(one, marks, fires)


class _Counter:
    """Counts of some units of a source; the bins are placed by the first tokens.

    Attributes:
        edges: [units, BINS - 1]; None before they are placed.
    """

    def __init__(self, candidates: Candidates, places: NDArray[np.int64], labels: Labels) -> None:
        self.candidates, self.places = candidates, places
        self.block: Block = candidates.source.block(candidates.numbers[places])
        self.edges: Tensor | None = None
        self._concepts = np.zeros((2, len(labels.concepts), len(places), BINS), np.int32)
        self._groups = np.zeros((2, labels.group_count, len(places), BINS), np.int32)

    def values(self, batch: SiteBatch) -> Tensor:
        """Return the activations [kept tokens, units]. Raises SubjectError if one is not finite."""
        values = self.block(batch)[batch.kept].float()
        if not bool(values.sum().isfinite()):
            raise SubjectError(
                f"an activation of the {self.candidates.name} is not finite; look for weights that "
                "are not, or that overflow the SAE's dtype"
            )
        return values

    def place_edges(self, values: Tensor, fires: float) -> None:
        """Place the bins so that each holds as many of a unit's firing values [tokens, units]."""
        ordered = values.T.sort(dim=1).values
        firing = (ordered > fires).sum(1)
        shares = torch.arange(1, BINS - 1, device=values.device) / (BINS - 1)
        # Of n firing values that are last of all, the one at each share of them.
        at = ordered.shape[1] - firing[:, None] + (shares * firing[:, None]).long()
        at = at.clamp(max=ordered.shape[1] - 1)
        edges = torch.full((len(ordered), BINS - 1), fires, device=values.device)
        edges[:, 1:] = torch.gather(ordered, 1, at).clamp(min=fires)
        self.edges = edges

    def add(self, values: Tensor, marks: _Marks, fires: float) -> None:
        """Count a batch's activations [kept tokens, units]."""
        assert self.edges is not None
        token, unit = (values > fires).nonzero(as_tuple=True)
        chosen = values[token, unit]
        # The last edge below each value, by bisection; the first edge is, since it fires.
        bins = torch.zeros_like(unit)
        step = BINS // 2
        while step:
            further = bins + step
            inside = further < BINS - 1
            edge = self.edges[unit, further.clamp(max=BINS - 2)]
            bins = torch.where(inside & (edge < chosen), further, bins)
            step //= 2
        place = (unit * BINS + bins + 1).cpu().numpy()
        # Firings stand by token: those of token t begin at first[t].
        first = np.searchsorted(token.cpu().numpy(), np.arange(len(values) + 1))
        for held, marked in ((self._concepts, marks.truth), (self._groups, marks.known)):
            for number in range(marked.shape[1]):
                for side in (0, 1):
                    tokens = np.flatnonzero(marked[:, number] & (marks.side == side))
                    own = place[_ranges(first[tokens], first[tokens + 1])]
                    counted = np.bincount(own, minlength=held[side, number].size)
                    held[side, number] += counted.reshape(held.shape[2:]).astype(np.int32)

    def counts(self, draws: _Draws) -> Counts:
        """Return the counts, silence included."""
        assert self.edges is not None
        concepts, groups = self._concepts.astype(np.int64), self._groups.astype(np.int64)
        concepts[..., 0] = draws.tokens_with[..., None] - concepts.sum(-1)
        groups[..., 0] = draws.tokens_of_group[..., None] - groups.sum(-1)
        return Counts(self.edges.cpu().numpy(), concepts, groups)


def _ranges(begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers from each begin up to its end, one range behind the other."""
    size = end - begin
    before = np.cumsum(size) - size
    return np.repeat(begin - before, size) + np.arange(int(size.sum()))


class _Draws:
    """Tokens of each concept and side, drawn by the random bits of their places.

    Attributes:
        tokens_with: [2, concepts] tokens with the label.
        tokens_of_group: [2, groups] labelled tokens.
    """

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.tokens = (0, 0)
        self.tokens_with = np.zeros((2, len(labels.concepts)), np.int64)
        self.tokens_of_group = np.zeros((2, labels.group_count), np.int64)
        # Of each side, concept and truth: [tokens, 5] bits, batch, row, token, document.
        self._held = {
            (side, concept, truth): np.zeros((0, 5), np.uint64)
            for side in (0, 1)
            for concept in range(len(labels.concepts))
            for truth in (False, True)
        }

    @property
    def tokens_labelled(self) -> Integers:
        """[2, concepts] tokens that are labelled as of the concept or not."""
        return self.tokens_of_group[:, list(self.labels.groups)]

    def add(
        self, number: int, reading: Reading, marks: _Marks, place_hash: NDArray[np.uint64]
    ) -> None:
        """Take in the labels of a batch."""
        entries = np.stack(
            [
                place_hash[marks.row, marks.token],
                np.full(len(marks.row), number, np.uint64),
                marks.row.astype(np.uint64),
                marks.token.astype(np.uint64),
                reading.windows.document[marks.row].astype(np.uint64),
            ],
            axis=1,
        )
        on_side = [marks.side == side for side in (0, 1)]
        self.tokens = (
            self.tokens[0] + int(on_side[0].sum()),
            self.tokens[1] + int(on_side[1].sum()),
        )
        for side in (0, 1):
            self.tokens_with[side] += (marks.truth & on_side[side][:, None]).sum(0)
            self.tokens_of_group[side] += (marks.known & on_side[side][:, None]).sum(0)
        for (side, concept, truth), held in self._held.items():
            known = marks.known[:, self.labels.groups[concept]]
            own = known & on_side[side] & (marks.truth[:, concept] == truth)
            most = POSITIVES if truth else NEGATIVES
            if len(held) == most:
                own &= entries[:, 0] < held[-1, 0]
            if own.any():
                joined = np.concatenate([held, entries[own]])
                order = np.argsort(joined[:, 0], kind="stable")[:most]
                self._held[side, concept, truth] = joined[order]

    def drawn(self) -> tuple[tuple[Drawn, ...], ...]:
        """Return the drawn tokens by side and concept."""
        return tuple(
            tuple(self._drawn(side, concept) for concept in range(len(self.labels.concepts)))
            for side in (0, 1)
        )

    def _drawn(self, side: int, concept: int) -> Drawn:
        parts = [self._held[side, concept, truth] for truth in (True, False)]
        joined = np.concatenate(parts).astype(np.int64)
        truth = np.repeat([True, False], [len(part) for part in parts])
        return Drawn(joined[:, 1:4], joined[:, 4], truth)


# ------------------------------------------------------------------------------ second reading


def second_reading(
    subject: Subject,
    chosen: Mapping[str, tuple[Source, Sequence[NDArray[np.int64]]]],
    drawn: Sequence[Sequence[Drawn]],
    settings: HarvestSettings,
    seed: int,
    progress: Progress = lambda label, tokens: None,
) -> dict[str, list[list[Floats]]]:
    """Return by source, side and concept the activations [tokens, units] of chosen units on drawn
    tokens; 0 where a unit does not fire, as in the first reading.

    `chosen` gives, by source, the units' numbers for each concept. Only windows in which a drawn
    token stands go through the model.
    """
    values: dict[str, list[list[Floats]]] = {}
    blocks: dict[str, list[Block]] = {}
    column_of: dict[str, list[NDArray[np.int64]]] = {}
    for name, (source, of_concept) in chosen.items():
        distinct = np.unique(np.concatenate([*of_concept, np.zeros(0, np.int64)]))
        column_of[name] = [np.searchsorted(distinct, numbers) for numbers in of_concept]
        blocks[name] = [
            source.block(distinct[begin : begin + UNITS_AT_ONCE])
            for begin in range(0, len(distinct), UNITS_AT_ONCE)
        ]
        values[name] = [
            [
                np.full((len(one.truth), len(numbers)), np.nan)
                for one, numbers in zip(of_side, of_concept, strict=True)
            ]
            for of_side in drawn
        ]
    wanted: dict[int, list[tuple[int, int, Integers]]] = {}
    for side, of_side in enumerate(drawn):
        for concept, one in enumerate(of_side):
            if any(len(of_concept[concept]) for _, of_concept in chosen.values()):
                for number in np.unique(one.place[:, 0]).tolist():
                    entries = np.flatnonzero(one.place[:, 0] == number)
                    wanted.setdefault(number, []).append((side, concept, entries))
    read = 0
    with quiet_torch():
        for number, reading in enumerate(readings(subject, settings)):
            read += int(reading.kept.sum())
            if number not in wanted:
                continue
            rows = np.unique(
                np.concatenate([drawn[s][c].place[e, 1] for s, c, e in wanted[number]])
            )
            batch = at_site(subject, some_rows(reading, rows.tolist()), seed)
            for name, of_source in blocks.items():
                if not of_source:
                    continue
                active = torch.cat([block(batch).float() for block in of_source], dim=-1)
                for side, concept, entries in wanted[number]:
                    place = drawn[side][concept].place[entries]
                    at = active[
                        torch.from_numpy(np.searchsorted(rows, place[:, 1])).to(active.device),
                        torch.from_numpy(place[:, 2]).to(active.device),
                    ]
                    columns = torch.from_numpy(column_of[name][concept]).to(at.device)
                    own = at[:, columns].double().cpu().numpy()
                    values[name][side][concept][entries] = np.where(own > settings.fires, own, 0.0)
            progress("testing", read)
            if number == max(wanted):
                break
    for name, read_of in values.items():
        if any(np.isnan(one).any() for part in read_of for one in part):
            raise BadInput(
                f"the corpus was read otherwise the second time (units of {name}); leave it as it "
                "is while concepts are measured"
            )
    return values
