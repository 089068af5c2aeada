"""A run's subject once more, as it was harvested, and the columns that the run's units are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from autointerp import extensions
from autointerp.errors import BadInput, RunMismatch
from autointerp.store.run import Run
from autointerp.subjects import Subject
from autointerp.subjects.load import load_subject
from autointerp.units import sources as sources_folder
from autointerp.units.draws import random_order
from autointerp.units.sources import Source
from autointerp.units.stream import calibrate, quiet_torch


def subject_again(run: Run, option: str) -> Subject:
    """Return the subject of a run, for what `option` asks.

    Raises RunMismatch if a part of it is not as it was, BadInput if the run has none.
    """
    if run.is_imported:
        raise BadInput(
            f"{option} needs the model, and run '{run.name}' was imported without one; name a run "
            "that `autointerp harvest` or `rate` made"
        )
    subject = load_subject(run.settings.subject)
    for part, digest in subject.digests.items():
        if run.about["digests"].get(part) != digest:
            raise RunMismatch(f"{option} reads the subject again, and this {part} is not the run's")
    return subject


def sources_again(
    run: Run, subject: Subject, unit_ids: Sequence[int]
) -> Iterator[tuple[str, Source, list[int]]]:
    """Yield each source of these units, by name, with those of them that are its own."""
    seed = run.settings.seed
    with quiet_torch():
        calibration = calibrate(subject, run.settings.harvest, seed)
        for name, units in run.by_source(unit_ids).items():
            module = extensions.load(sources_folder, "source", name)
            yield name, module.create(subject, calibration, seed), units


def numbers_again(run: Run, name: str, source: Source, units: Sequence[int]) -> NDArray[np.int64]:
    """Return the numbers in their source of units of a run, [len(units)]."""
    orders = dict(run.rows("SELECT unit_id, ord FROM unit WHERE source = ?", [name]))
    return random_order(run.settings.seed, name, source.size)[[orders[unit] for unit in units]]
