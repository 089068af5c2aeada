"""Writing of a query's rows to a file."""

from __future__ import annotations

from pathlib import Path

import duckdb

from autointerp.errors import BadInput, StorageError
from autointerp.files import partial_file
from autointerp.store.run import Run
from autointerp.store.tables import neutral_cells


def copy_to_file(run: Run, query: str, file: Path, options: str) -> int:
    """Write the rows of a query to `file` as DuckDB's COPY does; return their number.

    In CSV no cell is one that a spreadsheet runs.

    Raises StorageError if the file cannot be written, BadInput if it is a folder or a device.
    """
    check_is_file(file)
    if "csv" in options:
        query = neutral_cells(run.connection, query)
    with partial_file(file) as partial:
        try:
            rows = run.rows(f"COPY ({query}) TO {quoted(str(partial))} ({options})")
        except duckdb.IOException as error:
            raise StorageError(
                f"cannot write {file} ({str(error).splitlines()[0]}); free some space or choose "
                "another place"
            ) from None
    return int(rows[0][0])


def check_is_file(file: Path) -> None:
    """Raise BadInput where something else than a file has the name."""
    if file.exists() and not file.is_file():
        what = "a folder" if file.is_dir() else "no file"
        raise BadInput(f"-o {file} is {what}; name a file, or leave -o out for standard output")


def quoted(text: str) -> str:
    """Return the text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
