"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import duckdb

from autointerp.errors import BadInput, StorageError
from autointerp.store.run import Run


def copy_to_file(run: Run, query: str, file: Path, options: str) -> int:
    """Write the rows of a query to `file` as DuckDB's COPY does; return their number.

    Raises StorageError if the file cannot be written, BadInput if it is a folder or a device.
    """
    with partial_file(file) as partial:
        try:
            rows = run.rows(f"COPY ({query}) TO {quoted(str(partial))} ({options})")
        except duckdb.IOException as error:
            raise StorageError(
                f"cannot write {file} ({str(error).splitlines()[0]}); free some space or choose "
                "another place"
            ) from None
    return int(rows[0][0])


@contextlib.contextmanager
def partial_file(file: Path) -> Iterator[Path]:
    """Give a path beside `file` that takes its place if all goes well, and is removed if not."""
    if file.exists() and not file.is_file():
        raise BadInput(f"-o {file} is no file; name one, or leave -o away for stdout")
    file = file.resolve()  # a link stays one
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, file)
    except OSError as error:
        raise StorageError(
            f"cannot write {file} ({error.strerror}); choose another place"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def quoted(text: str) -> str:
    """Return the text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
