"""A run's subject once more, as it was harvested, and the columns that the run's units are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import BadInput, RunMismatch, SubjectError
from autointerp.store.run import TOKENS, Run
from autointerp.subjects import Subject
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.load import load_sae_alone, load_subject
from autointerp.subjects.part_files import look_at_parts
from autointerp.subjects.provenance import changed_part
from autointerp.units.sample import numbers_of as numbers_again
from autointerp.units.sources import Calibration, Source, load_source
from autointerp.units.stream import calibrate, quiet_torch
from autointerp.units.subject_record import is_unchanged, keep_record

__all__ = ["dictionary_again", "numbers_again", "sources_again", "subject_again"]


def subject_again(run: Run, option: str) -> Subject:
    """Return the subject of a run, for what `option` asks.

    Raises RunMismatch if a part of it is not as it was, BadInput if the run has none.
    """
    if run.is_imported:
        raise BadInput(
            f"{option} needs the model, and run '{run.name}' was {run.without_model}; name "
            "a run that `autointerp harvest` or `rate` made"
        )
    before = look_at_parts(run.settings.subject)
    subject = load_subject(run.settings.subject, tokens=run.path.parent / TOKENS)
    part = changed_part(run.about["digests"], subject.digests)
    if part is not None:
        raise RunMismatch(f"{option} reads the subject again, and this {part} is not the run's")
    keep_record(run, before, subject)
    return subject


def sources_again(
    run: Run, subject: Subject, unit_ids: Sequence[int], calibration: Calibration | None = None
) -> Iterator[tuple[str, Source, list[int]]]:
    """Yield each source of these units, by name, with those of them that are its own.

    The first tokens of the corpus are read for it, unless their `calibration` is given.
    """
    seed = run.settings.seed
    with quiet_torch():
        if calibration is None:
            calibration = calibrate(subject, run.settings.harvest, seed)
        for name, units in run.by_source(unit_ids).items():
            yield name, load_source(name, subject, calibration, seed), units


def dictionary_again(run: Run, option: str) -> NDArray[np.float32]:
    """Return the dictionary vectors [d_sae, d_out] of a run's SAE, for what `option` asks.

    The model is not loaded where the subject's files are those that the run was made of. Raises
    BadInput if the run has no SAE, SubjectError if its decoder is not known, else as
    `subject_again` does.
    """
    is_known = not run.is_imported and is_unchanged(run)
    sae = load_sae_alone(run.settings.subject) if is_known else subject_again(run, option).sae
    if sae is None:
        raise BadInput(
            f"{option}: run '{run.name}' has no SAE, so no dictionary; name a run of features"
        )
    if not isinstance(sae, SparseAutoencoder):
        raise SubjectError(f"{option}: the decoder of {type(sae).__name__} is not known")
    return sae.W_dec.float().cpu().numpy()
