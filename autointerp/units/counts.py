"""On how many tokens each unit of a source fires: all of them, not only those that were drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from autointerp.errors import SubjectError
from autointerp.settings import HarvestSettings
from autointerp.subjects import Subject
from autointerp.units.passes import COLUMNS_AT_ONCE
from autointerp.units.sources import Source
from autointerp.units.stream import at_site, quiet_torch, readings


def count_firings(
    subject: Subject,
    source: Source,
    settings: HarvestSettings,
    seed: int,
    progress: Callable[[int], None] = lambda tokens: None,
) -> tuple[NDArray[np.int64], int]:
    """Return on how many of the harvest's tokens each unit fires, [source.size], and the tokens.

    One pass over the corpus; no text is kept. Raises SubjectError if an activation is infinite or
    no number.
    """
    numbers = np.arange(source.size)
    parts = [
        numbers[begin : begin + COLUMNS_AT_ONCE] for begin in range(0, source.size, COLUMNS_AT_ONCE)
    ]
    fires, tokens = np.zeros(source.size, np.int64), 0
    with quiet_torch():
        blocks = [source.block(part) for part in parts]
        for reading in readings(subject, settings):
            batch = at_site(subject, reading, seed)
            kept = batch.kept.flatten()
            for part, block in zip(parts, blocks, strict=True):
                columns = block(batch).flatten(0, 1)[kept]
                if not columns.sum().isfinite():
                    raise SubjectError(
                        f"an activation among {source.unit(int(part[0]))} to "
                        f"{source.unit(int(part[-1]))} is not finite; look for weights that are "
                        "not, or that overflow the SAE's dtype"
                    )
                fired = (columns > settings.fires).sum(0, dtype=torch.int64)
                fires[part] += fired.cpu().numpy()
            tokens += int(kept.sum())
            progress(tokens)
    return fires, tokens
