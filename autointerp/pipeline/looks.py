"""Open a run to look at its ratings, so that the look can be written into its ledger."""

from __future__ import annotations

import os
from pathlib import Path

from autointerp.errors import RunLocked, StorageError
from autointerp.findings.comparison import Comparison
from autointerp.pipeline.events import Note, On
from autointerp.store.run import Run, open_run


def open_to_look(name: str, folder: Path) -> tuple[Run, bool]:
    """Return a run and whether it can be written.

    One on a read-only disk is still read, and so is one that others are reading.
    """
    file = folder / name / "run.duckdb"
    writable = not file.exists() or (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))
    if not writable:
        return open_run(name, folder=folder, read_only=True), False
    try:
        return open_run(name, folder=folder), True
    except (RunLocked, StorageError):  # other readers leave room for one more, in this process too
        return open_run(name, folder=folder, read_only=True), False


def say_unrecorded(comparison: Comparison, on: On) -> None:
    """Say so where a look could not be written into the ledger."""
    if any(not look.recorded for look in comparison.looks):
        on(
            Note(
                f"run '{comparison.run}' cannot be written now, so this look at its ratings is not "
                "in its ledger"
            )
        )
