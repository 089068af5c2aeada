"""Parquet, a file or a folder of them: a row a document, with a column of text or of token ids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb

from autointerp.errors import CorpusError
from autointerp.files import plain_name
from autointerp.subjects.corpora._documents import (
    Content,
    Extent,
    Options,
    files_digest,
    files_with,
    token_ids,
)

SUFFIXES = (".parquet",)
USUAL = ("text", "content", "tokens", "input_ids")
ROWS = 1024  # read at once
READ = "read_parquet(?, hive_partitioning = false)"  # the path's folders are no columns


def recognises(source: str) -> bool:
    return bool(files_with(Path(source), *SUFFIXES))


def digest(source: str) -> str:
    return files_digest(files_with(Path(source), *SUFFIXES))


def extent(source: str, options: Options) -> Extent | None:
    """Return the number of rows, from the files' metadata; None where a file is damaged."""
    try:
        with duckdb.connect(":memory:", config={"threads": 1}) as connection:
            rows = 0
            for path in files_with(Path(source), *SUFFIXES):
                with plain_name(path) as name:
                    rows += connection.execute(
                        "SELECT num_rows FROM parquet_file_metadata(?)", [name]
                    ).fetchall()[0][0]
    except (duckdb.Error, IndexError):
        return None  # `read` says what is wrong
    return Extent(int(rows), "documents")


def read(source: str, options: Options) -> Iterator[Content]:
    """Yield the rows in order, file by file.

    Raises CorpusError if a file is damaged, no column fits, or a value is missing, naming its row.
    """
    connection = duckdb.connect(":memory:", config={"threads": 1})
    try:
        for path in files_with(Path(source), *SUFFIXES):
            with plain_name(path) as name:
                yield from _rows(connection, path, name, options.field)
    except duckdb.Error as error:
        raise CorpusError(f"{source}: {str(error).splitlines()[0]}") from None
    finally:
        connection.close()


def _rows(
    connection: duckdb.DuckDBPyConnection, path: Path, name: str, field: str
) -> Iterator[Content]:
    described = connection.execute(f"DESCRIBE SELECT * FROM {READ}", [name])
    columns = {name: str(kind) for name, kind, *_ in described.fetchall()}
    column = _column(columns, path, field)
    quoted = column.replace('"', '""')
    reader = connection.execute(f'SELECT "{quoted}" FROM {READ}', [name])
    number = 0
    while rows := reader.fetchmany(ROWS):
        for (value,) in rows:
            number += 1
            if value is None:
                raise CorpusError(f"{path}, row {number}: `{column}` is null")
            if isinstance(value, str):
                yield value
            else:
                yield token_ids(value, f"{path}, row {number}")


def _column(columns: dict[str, str], path: Path, field: str) -> str:
    if field:
        usable = [field] if field in columns else []
    else:
        usable = [name for name in USUAL if name in columns]
        usable = usable or [name for name, kind in columns.items() if kind == "VARCHAR"]
    if len(usable) == 1 or (usable and usable[0] in USUAL):
        return usable[0]
    listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    wanted = f"column '{field}'" if field else "one column that is clearly the text"
    raise CorpusError(
        f"{path} has not {wanted} (columns: {listed}); give the column as corpus_field"
    )
