"""The corpus's first batches at the site, held in memory from calibration to the pass that follows.

Calibration reads them, then the look at how many units a pass should be about, then the pass: the
model is run once for all three.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from autointerp.subjects import Subject
from autointerp.units import stream

ROOM = 1 << 28  # bytes that are held at most, of all sites together

Read = tuple[Tensor, Tensor | None]


class FirstBatches:
    """Activations of the first batches that are read, as they were read.

    A batch is known by its windows and its width, and never cut or joined with others: what is
    recalled is bit for bit what the model gave. Held are as many as are read up to so many kept
    `tokens`, and fit in `room` bytes.
    """

    def __init__(self, room: int, tokens: int) -> None:
        self._left, self._tokens_left = room, tokens
        self._held: dict[tuple[bytes, int], Read] = {}

    def recall(self, window: NDArray[np.int64], kept: NDArray[np.bool_]) -> Read | None:
        """Return what was kept of a batch of windows; None if nothing was."""
        return self._held.get((window.tobytes(), kept.shape[1]))

    def keep(
        self,
        window: NDArray[np.int64],
        kept: NDArray[np.bool_],
        x: Tensor,
        hidden: Tensor | None,
    ) -> None:
        """Hold a batch, if there is room for it and tokens are left."""
        key = window.tobytes(), kept.shape[1]
        if key in self._held or self._tokens_left <= 0:
            return
        self._tokens_left -= int(kept.sum())
        self._left -= x.nbytes + (0 if hidden is None else hidden.nbytes)
        if self._left < 0:
            self._tokens_left = 0
            return
        self._held[key] = x, hidden


def holding_first_batches(*subjects: Subject) -> list[Subject]:
    """Return subjects of one model with the batches that calibration reads held in memory, once for
    each site; as they are where one has a cache.
    """
    if any(subject.cache is not None for subject in subjects):
        return list(subjects)
    sites = {subject.site for subject in subjects}
    held = {site: FirstBatches(ROOM // len(sites), stream.CALIBRATION_TOKENS) for site in sites}
    return [replace(subject, cache=held[subject.site]) for subject in subjects]
