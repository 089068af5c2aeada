"""Direct effects of units on the logits, some units at a time: what labs of logit effects share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from autointerp.errors import BadInput, SubjectError
from autointerp.labs._refusals import none_measured
from autointerp.store.run import Run
from autointerp.subjects import Subject
from autointerp.units.levers import direct_path
from autointerp.units.reopen import numbers_again, sources_again, subject_again

UNITS = 32  # whose effects on the full vocabulary are held at a time

Kept = TypeVar("Kept")
Keep = Callable[[Tensor, Subject, Sequence[int]], Sequence[Kept]]


def effects_in_parts(
    run: Run, unit_ids: Sequence[int], option: str, keep: Keep[Kept]
) -> Iterator[tuple[str, Sequence[int], dict[int, Kept], str]]:
    """Yield source, units and what is kept of each one's effects, and why they have none.

    `keep` is given effects [units, vocabulary], the subject and the units' ids. The run's subject
    is loaded for it, by `option`.
    """
    subject = subject_again(run, option)
    for name, source, units in sources_again(run, subject, unit_ids):
        begin = 0
        try:
            readout, written = direct_path(subject, source)
            numbers = numbers_again(run, name, source, units)
            for begin in range(0, len(units), UNITS):
                part = units[begin : begin + UNITS]
                effects = readout.effects(written(numbers[begin : begin + UNITS]))
                kept = keep(effects, subject, part)
                yield name, part, dict(zip(part, kept, strict=True)), ""
        except SubjectError as error:
            yield name, units[begin:], {}, str(error)


def with_text(subject: Subject, device: torch.device) -> Tensor:
    """Return the ids of tokens that are a text: special ones left out."""
    texts = subject.token_texts
    return torch.tensor(
        [index for index, text in enumerate(texts) if text and index not in subject.special],
        device=device,
    )


def no_effects(option: str, reasons: dict[str, str]) -> BadInput:
    """Return the error that says why no unit has effects, by source."""
    remedy = "name units of another source or site"
    return none_measured(f"{option}: no unit has any", reasons, remedy)
