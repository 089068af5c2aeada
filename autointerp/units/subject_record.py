"""Whether a run's subject is still the one that it was made of, without loading it if possible.

What a run keeps for that is the record of `autointerp.subjects.part_files`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autointerp.store.run import Run
from autointerp.subjects.part_files import PartFiles, known_again, record_of

if TYPE_CHECKING:
    from autointerp.subjects import Subject

RECORD = "subject files"


def is_unchanged(run: Run) -> bool:
    """Return whether the files of a run's subject say that it is the one that it was made of.

    False where they leave a doubt: then it has to be loaded. What was found out about files that
    were touched is kept, unless the run is open to be read alone, so that they are not read the
    next time.
    """
    record = run.recall(RECORD)
    if record is None:
        return False
    again = known_again(record, run.settings.subject, run.about["digests"])
    if again is not None and again != record and not run.is_read_only:
        run.remember(RECORD, again)
    return again is not None


def keep_record(run: Run, before: PartFiles | None, subject: Subject) -> None:
    """Keep by which files a subject is known again, which was loaded after `before`.

    Nothing is read where the run's record is still right.
    """
    if before is None or is_unchanged(run):
        return
    record = record_of(before, run.settings.subject, subject)
    if record is not None and not run.is_read_only and record != run.recall(RECORD):
        run.remember(RECORD, record)
