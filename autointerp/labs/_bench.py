"""Units on the bench: their subject opened once, and their activations in texts of any kind.

Labs that look at units one by one share it, so that examining a unit opens the model once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.errors import BadInput, SubjectError
from autointerp.labs import Options, Row
from autointerp.records import Context
from autointerp.store.run import Run
from autointerp.subjects import KeepingModel, Subject
from autointerp.subjects.recorded import RecordedSite
from autointerp.units.held import Place
from autointerp.units.others import windows_up_to
from autointerp.units.reopen import numbers_again, sources_again, subject_again
from autointerp.units.sources import Block, Calibration, SiteBatch, Source
from autointerp.units.stream import calibrate, first_is_none, quiet_torch

TOKENS = 8_192  # of texts that go through the model at a time


@dataclass(frozen=True)
class Window:
    """One of a unit's strongest contexts, in the window in which the model read it.

    Attributes:
        number: Of the context in the run.
        ids: From the first of the window up to the peak, the token on which the unit fires.
        first: Where the context's own first token stands in `ids`.
    """

    number: int
    context: Context
    ids: tuple[int, ...]
    first: int

    @property
    def shown(self) -> tuple[str, ...]:
        """The texts of the context's tokens up to the peak, those of `ids[first:]`."""
        return self.context.tokens[: self.context.focus + 1]


@dataclass(frozen=True)
class OnBench:
    """A unit that can be measured.

    Attributes:
        number: In its source.
        block: Its column.
    """

    unit_id: int
    name: str
    source_name: str
    source: Source
    number: int
    block: Block


@dataclass(frozen=True)
class Bench:
    """A run's subject and some of its units.

    Attributes:
        calibration: The first tokens of the corpus at the site.
        memo: What a lab has computed for all units at once, by a key of its own.
    """

    run: Run
    subject: Subject
    calibration: Calibration
    units: dict[int, OnBench]
    _windows: dict[tuple[int, int], list[Window]] = field(default_factory=dict, repr=False)
    _unreadable: dict[int, str] = field(default_factory=dict, repr=False)
    memo: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def windows(self, unit_id: int, count: int) -> list[Window]:
        """Return up to `count` of the unit's strongest contexts, the strongest first.

        The corpus is read once for all units of the bench. Raises BadInput if it does not hold
        them any more.
        """
        if (unit_id, count) not in self._windows:
            self._read_windows(count)
        return self._windows[unit_id, count]

    def _read_windows(self, count: int) -> None:
        rows = self.run.rows(
            "SELECT unit_id, context_id FROM context WHERE draw = 'top' AND split = 'explain'"
            " AND unit_id IN (SELECT unnest(?::INTEGER[]))"
            " QUALIFY row_number() OVER (PARTITION BY unit_id"
            "  ORDER BY activations[focus + 1] DESC, context_id) <= ?"
            " ORDER BY unit_id, activations[focus + 1] DESC, context_id",
            [list(self.units), count],
        )
        contexts = self.run.contexts_numbered([number for _, number in rows])
        places = [
            Place(number, one.document, one.position, one.position - one.focus, len(one.tokens))
            for number, one in contexts.items()
        ]
        read = windows_up_to(self.subject, self.run.settings, places)
        lacking = len(contexts) - len(read)
        if lacking:
            raise BadInput(
                f"the corpus of run '{self.run.name}' lacks {lacking} of the contexts that were "
                "harvested from it; give the corpus as it was, or harvest a new run"
            )
        for unit_id in self.units:
            self._windows[unit_id, count] = []
        for unit_id, number in rows:
            ids, first = read[number]
            self._windows[unit_id, count].append(
                Window(number, contexts[number], tuple(ids), first)
            )

    @cached_property
    def neutral(self) -> tuple[int, int]:
        """The two commonest tokens of the corpus: the first, and what stands in for itself."""
        counts = self.calibration.token_counts.copy()
        counts[[index for index in self.subject.special if index < len(counts)]] = 0
        first, second = np.argsort(-counts, kind="stable")[:2].tolist()
        return first, second

    def activations(
        self, unit_id: int, ids: Tensor, last: bool = False, before: Sequence[int] = ()
    ) -> Tensor:
        """Return the unit's activations [rows, tokens] in texts of these ids, all of one length;
        [rows] at their `last` token. Special tokens have 0, and so has a first token that counts as
        none, as in the harvest.

        `before`: what stands before each of the texts, and is read once where the model keeps it.
        """
        block = self.units[unit_id].block
        parts = []
        rows = max(1, TOKENS // (len(before) + ids.shape[1]))
        with quiet_torch():
            for begin in range(0, len(ids), rows):
                batch = self._batch(ids[begin : begin + rows], last, before)
                values = block(batch)[..., 0].float() * batch.kept
                parts.append((values[:, -1] if last else values).cpu())
        return torch.cat(parts)

    def _batch(self, ids: Tensor, last: bool, before: Sequence[int]) -> SiteBatch:
        subject = self.subject
        ahead = torch.tensor(before, dtype=ids.dtype)
        whole = torch.cat([ahead.expand(len(ids), -1), ids], dim=1).to(subject.device)
        on_device = whole, torch.ones_like(whole, dtype=torch.bool)
        part = slice(-1, None) if last else slice(len(before), None)
        hidden = None
        if subject.read_both is not None:
            x, both = subject.read_both(*on_device)
            hidden = both.to(x.device)[:, part]
            x = x[:, part]
        elif len(before) and isinstance(subject.model, KeepingModel):
            x = subject.model.activations_behind(ahead, ids)
            x = x[:, -1:] if last else x
        else:
            x = subject.model.activations(*on_device)[:, part]
        ids = whole[:, part]
        special = torch.tensor(sorted(subject.special), dtype=ids.dtype, device=ids.device)
        kept = ~torch.isin(ids, special)
        if first_is_none(subject, self.run.settings.harvest) and ids.shape == whole.shape:
            kept[:, 0] = False
        twin = subject.untrained
        return SiteBatch(
            x,
            ids.to(x.device),
            kept.to(x.device),
            np.zeros(tuple(ids.shape), dtype=np.uint64),
            hidden,
            None
            if twin is None
            else lambda: twin().model.activations(*on_device).to(x.device)[:, part],
        )

    def why_unreadable(self, unit_id: int) -> str:
        """Return why the unit has no activation in a text of one's own; empty where it has one.

        What it did in its strongest context it has to do there again, read alone: a unit that is
        dealt to places of the corpus does not.
        """
        if isinstance(self.subject.model, RecordedSite):
            return "activations of this subject are recorded, so there are none in another text"
        if unit_id not in self._unreadable:
            reason = ""
            for window in self.windows(unit_id, 1):
                (again,) = self.activations(unit_id, torch.tensor([window.ids]), last=True)
                if again <= self.run.settings.harvest.fires < window.context.activation:
                    reason = (
                        f"units of {self.units[unit_id].source_name} do not fire by the text, so "
                        "they have no activation in another one"
                    )
            self._unreadable[unit_id] = reason
        return self._unreadable[unit_id]


def open_bench(run: Run, unit_ids: Sequence[int], option: str) -> Bench:
    """Return the bench of a run's units. Raises as `subject_again` does."""
    subject = subject_again(run, option)
    calibration = calibrate(subject, run.settings.harvest, run.settings.seed)
    named = dict(
        run.rows(
            "SELECT unit_id, unit_label(source, idx, sign, note) FROM unit"
            " WHERE unit_id IN (SELECT unnest(?::INTEGER[]))",
            [list(unit_ids)],
        )
    )
    units: dict[int, OnBench] = {}
    for name, source, members in list(sources_again(run, subject, unit_ids, calibration)):
        numbers: NDArray[np.int64] = numbers_again(run, name, source, members)
        for place, unit_id in enumerate(members):
            one = numbers[place : place + 1]
            with quiet_torch():
                block = source.block(one)
            units[unit_id] = OnBench(unit_id, named[unit_id], name, source, int(one[0]), block)
    return Bench(run, subject, calibration, {unit_id: units[unit_id] for unit_id in unit_ids})


Measure = Callable[[Bench, int, Options], Iterator[Row]]


def each(
    run: Run, units: Sequence[int], option: str, measure: Measure, options: Options
) -> Iterator[Row]:
    """Yield the rows of a lab that measures units one by one."""
    bench = open_bench(run, units, option)
    for unit_id in units:
        yield from measure(bench, unit_id, options)


def without(unit_id: int, columns: Iterable[str], reason: str) -> Row:
    """Return the row of a unit that a lab cannot measure, and why."""
    return {"unit_id": unit_id, **dict.fromkeys(columns), "outcome": reason}


def reason_of(error: SubjectError) -> str:
    """Return the reason of a refusal as one line."""
    return " ".join(str(error).split())
