"""On how many tokens each unit of a source fires: all of them, not only those that were drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import SubjectError
from autointerp.settings import HarvestSettings
from autointerp.subjects import Subject
from autointerp.units.masks import count_by_column, over
from autointerp.units.passes import COLUMNS_AT_ONCE
from autointerp.units.sources import Source
from autointerp.units.stream import at_site, quiet_torch, readings


def count_firings(
    subject: Subject,
    sources: Mapping[str, Source],
    settings: HarvestSettings,
    seed: int,
    progress: Callable[[int], None] = lambda tokens: None,
) -> tuple[dict[str, NDArray[np.int64]], int]:
    """Return on how many of the harvest's tokens each unit fires, by source [size], and the tokens.

    One pass over the corpus; no text is kept. Raises SubjectError if an activation is infinite or
    no number.
    """
    fires = {name: np.zeros(source.size, np.int64) for name, source in sources.items()}
    tokens = 0
    with quiet_torch():
        parts = [
            (name, part, sources[name].block(part))
            for name in sources
            for begin in range(0, sources[name].size, COLUMNS_AT_ONCE)
            for part in [np.arange(begin, min(begin + COLUMNS_AT_ONCE, sources[name].size))]
        ]
        for reading in readings(subject, settings):
            batch = at_site(subject, reading, seed)
            kept = batch.kept.flatten()
            for name, part, block in parts:
                columns = block(batch).flatten(0, 1)[kept]
                if not columns.sum().isfinite():
                    first, last = (sources[name].unit(int(part[at])) for at in (0, -1))
                    raise SubjectError(
                        f"an activation among {first} to {last} is not finite; look for weights "
                        "that are not, or that overflow the SAE's dtype"
                    )
                fires[name][part] += count_by_column(over(columns, settings.fires))
            tokens += int(kept.sum())
            progress(tokens)
    return fires, tokens
