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
from autointerp.units.sources import SiteBatch, Source
from autointerp.units.stream import Reading, at_site, quiet_torch, readings


def count_firings(
    subject: Subject,
    sources: Mapping[str, Source],
    settings: HarvestSettings,
    seed: int,
    progress: Callable[[int], None] = lambda tokens: None,
    some: Mapping[str, NDArray[np.int64]] | None = None,
    read: Callable[[Reading], Mapping[str, SiteBatch]] | None = None,
) -> tuple[dict[str, NDArray[np.int64]], int]:
    """Return on how many of the harvest's tokens each unit fires, by source [size], and the tokens.

    Or each of `some` units [units] of a source. One pass over the corpus; no text is kept. `read`
    returns what each source is given; the subject at its site if not given. Raises SubjectError if
    an activation is infinite or no number.
    """
    numbers = some or {name: np.arange(source.size) for name, source in sources.items()}
    fires = {name: np.zeros(len(of_source), np.int64) for name, of_source in numbers.items()}
    tokens = 0
    with quiet_torch():
        parts = [
            (name, reach, sources[name].block(of_source[reach]))
            for name, of_source in numbers.items()
            for begin in range(0, len(of_source), COLUMNS_AT_ONCE)
            for reach in [slice(begin, begin + COLUMNS_AT_ONCE)]
        ]
        for reading in readings(subject, settings):
            if read is None:
                batches = dict.fromkeys(sources, at_site(subject, reading, seed))
            else:
                batches = dict(read(reading))
            for name, reach, block in parts:
                batch = batches[name]
                columns = block(batch).flatten(0, 1)[batch.kept.flatten()]
                if not columns.sum().isfinite():
                    ends = numbers[name][reach][[0, -1]].tolist()
                    first, last = (sources[name].unit(number) for number in ends)
                    raise SubjectError(
                        f"an activation among {first} to {last} is not finite; look for weights "
                        "that are not, or that overflow the SAE's dtype"
                    )
                fires[name][reach] += count_by_column(over(columns, settings.fires))
            tokens += int(reading.kept.sum())
            progress(tokens)
    return fires, tokens
