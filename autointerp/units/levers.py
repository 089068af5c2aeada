"""Units of a source as levers: which model to change, what they read there and what they write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.errors import SubjectError
from autointerp.subjects import Subject
from autointerp.subjects.interventions import ChangeableModel, Levers, changeable
from autointerp.subjects.readout import Readout
from autointerp.units.sources import Block, Directed, DirectedElsewhere, SiteBatch, Source

COLUMNS = 4_096  # units whose activations are computed at a time


def model_of(subject: Subject, name: str, source: Source) -> ChangeableModel:
    """Return the model, read at the site, that units of a source are set in: the subject's, or the
    source's own.

    Raises SubjectError where its units are no directions, a transcoder writes elsewhere, or
    nothing can be set at the site.
    """
    if isinstance(source, DirectedElsewhere):
        return changeable(source.own_model, f"{name} of {subject.name}")
    if not isinstance(source, Directed):
        raise SubjectError(f"units of {name} are no directions in the model, so none can be set")
    if source.transcodes:
        raise SubjectError(
            f"{name} of a transcoder are written at another site than they are read at, "
            f"{subject.site}; name an SAE of one site"
        )
    model = subject.model
    if getattr(source, "are_hidden", False) and subject.hidden is not None:
        model = subject.hidden
    return changeable(model, subject.name)


def levers_of(source: Source, numbers: NDArray[np.int64]) -> Levers:
    """Return the levers of units of a source, by their numbers in it, [len(numbers)]."""
    block = source.block(numbers)
    if isinstance(source, DirectedElsewhere):
        written = source.own_written(numbers).float().clone()
        return Levers(lambda x: computed(block, x), written, source.own_scale)
    assert isinstance(source, Directed)
    return Levers(
        lambda x: computed(block, x),
        source.written(numbers).float().clone(),
        getattr(source, "written_scale", None),
    )


def direct_path(
    subject: Subject, source: Source
) -> tuple[Readout, Callable[[NDArray[np.int64]], Tensor]]:
    """Return the path of a source's directions to the logits, of the model that they are in, and
    the function that gives the directions of numbered units.

    Raises SubjectError where units are no directions, or nothing leads from them to the logits.
    """
    if isinstance(source, DirectedElsewhere):
        return source.own_model.readout(), source.own_written
    if not isinstance(source, Directed):
        raise SubjectError("they are no directions in the model")
    written = None if subject.loaded is None else subject.loaded.writes
    model = (subject.hidden if getattr(source, "are_hidden", False) else None) or subject.model
    return model.readout(source.transcodes, written), source.written


def active_units(
    source: Source, x: Tensor, over: float, numbers: Sequence[int] | None = None
) -> Iterator[tuple[int, int, float]]:
    """Yield position, number and activation of a source's units, of all or of those numbered, where
    they are over `over` in x [tokens, width]; units in turn.
    """
    chosen = np.arange(source.size) if numbers is None else np.array(numbers, dtype=np.int64)
    for begin in range(0, len(chosen), COLUMNS):
        part = chosen[begin : begin + COLUMNS]
        values = computed(source.block(part), x[None])[0].cpu()
        for column, position in (values > over).T.nonzero().tolist():
            yield position, int(part[column]), float(values[position, column])


def computed(block: Block, x: Tensor) -> Tensor:
    """Return a block's columns [rows, tokens, units] of activations x [rows, tokens, width], those
    of the model that the units are read in.
    """
    nothing = torch.zeros(x.shape[:-1], dtype=torch.long, device=x.device)
    hashes = np.zeros(tuple(x.shape[:-1]), dtype=np.uint64)
    batch = SiteBatch(x, nothing, nothing == 0, hashes, hidden=x, read_untrained=lambda: x)
    return block(batch).float()
