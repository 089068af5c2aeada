"""Open a run to look at its ratings, so that the look can be written into its ledger."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from autointerp.errors import RunLocked, StorageError
from autointerp.findings.across import AcrossRuns
from autointerp.findings.comparison import Comparison
from autointerp.findings.looks import looks_of
from autointerp.people.ingest import ingest_journals
from autointerp.pipeline.events import Note, On
from autointerp.store.run import Run, open_run
from autointerp.store.snapshots import Snapshot, open_to_read


def open_to_look(name: str, folder: Path) -> tuple[Run, bool]:
    """Return a run and whether it can be written.

    One on a read-only disk is still read, and so is one that others are reading. One that another
    process writes is read from a copy, with the answers of people that are not in it yet; a look at
    that goes into the run's ledger all the same.
    """
    file = folder / name / "run.duckdb"
    writable = not file.exists() or (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))
    if not writable:
        return open_run(name, folder=folder, read_only=True), False
    try:
        return open_run(name, folder=folder), True
    except (RunLocked, StorageError):  # other readers leave room for one more, in this process too
        run = open_to_read(name, folder)
        if isinstance(run, Snapshot):
            notes: list[str] = []
            ingest_journals(run, notes.append)
            run.notes = (*run.notes, *notes)
        return run, False


def say_unrecorded(comparison: Comparison, on: On) -> None:
    """Say so where a look could not be written into the ledger."""
    if any(not look.recorded for look in comparison.looks):
        on(
            Note(
                f"run '{comparison.run}' cannot be written now, so this look at its ratings is not "
                "in its ledger"
            )
        )


def with_looks_across(
    comparisons: Sequence[Comparison], runs: Sequence[Run], across: AcrossRuns, on: On
) -> list[Comparison]:
    """Return the comparisons with the looks across runs in their ledgers, and say so where one
    could not be written."""
    if across.unrecorded:
        names = ", ".join(f"'{name}'" for name in across.runs)
        on(Note(f"runs {names} cannot be written now, so looks across them are in no ledger"))
    return [
        replace(
            comparison,
            looks=(*looks_of(run), *(look for look in comparison.looks if not look.recorded)),
        )
        for comparison, run in zip(comparisons, runs, strict=True)
    ]
