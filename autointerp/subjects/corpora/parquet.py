"""Parquet, a file or a folder of them: a row a document, with a column of text or of token ids."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb

from autointerp.errors import CorpusError
from autointerp.files import LONGEST_LINE, check_unpacked, plain_name
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
VECTOR = 2048  # rows that DuckDB unpacks at once
ROWS = 16  # of them, held as Python values
MOST_AT_ONCE = 2**30  # bytes of a vector
MEMORY: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "memory_limit": "2GB",
}  # for what a row group unpacks to
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
    connection = duckdb.connect(":memory:", config=MEMORY)
    try:
        for path in files_with(Path(source), *SUFFIXES):
            with plain_name(path) as name:
                yield from _rows(connection, path, name, options.field)
    except duckdb.OutOfMemoryException:
        raise CorpusError(
            f"{source}: a part of it unpacks to more than {MEMORY['memory_limit']} at once; write "
            "it in row groups of fewer rows, and see whether it holds what it should"
        ) from None
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
    size = f'strlen("{quoted}")' if columns[column] == "VARCHAR" else f'8 * len("{quoted}")'
    # What rows unpack to is known before they are: a page of a few bytes may be gigabytes.
    sizes = connection.cursor().execute(f"SELECT {size} FROM {READ}", [name])
    reader = connection.execute(f'SELECT "{quoted}" FROM {READ}', [name])
    number = unpacked = 0
    while following := sizes.fetchmany(VECTOR):
        unpacked += _checked([row[0] or 0 for row in following], number, unpacked, path)
        for value in _values(reader, len(following)):
            number += 1
            if value is None:
                raise CorpusError(f"{path}, row {number}: `{column}` is null")
            if isinstance(value, str):
                yield value
            else:
                yield token_ids(value, f"{path}, row {number}")


def _checked(sizes: list[int], first: int, before: int, path: Path) -> int:
    """Return the bytes of rows that are about to be read, after so many others.

    Raises CorpusError if memory might not hold them, or they are more than the file can mean.
    """
    for number, size in enumerate(sizes, first + 1):
        if size > LONGEST_LINE:
            raise CorpusError(f"{path}, row {number} has {size:,} bytes; cut it into shorter ones")
    if sum(sizes) > MOST_AT_ONCE:
        raise CorpusError(
            f"{path}, from row {first + 1:,}: {len(sizes):,} rows of {sum(sizes) >> 20:,} MB are "
            f"more than can be read at once ({MOST_AT_ONCE >> 20:,} MB); cut them into shorter ones"
        )
    try:
        check_unpacked(before + sum(sizes), path.stat().st_size)
    except ValueError as error:
        raise CorpusError(f"{path}, from row {first + 1:,}: {error}") from None
    return sum(sizes)


def _values(reader: duckdb.DuckDBPyConnection, count: int) -> Iterator[object]:
    while count and (rows := reader.fetchmany(min(ROWS, count))):
        count -= len(rows)
        yield from (value for (value,) in rows)


def _column(columns: dict[str, str], path: Path, field: str) -> str:
    if field:
        usable = [field] if field in columns else []
    else:
        usable = [name for name in USUAL if name in columns]
        usable = usable or [name for name, kind in columns.items() if kind == "VARCHAR"]
    if len(usable) == 1 or (usable and usable[0] in USUAL):
        kind = columns[usable[0]]
        is_ids = re.search(r"INT(EGER)?\[\]$", kind)
        if kind == "VARCHAR" or kind.startswith("ENUM(") or kind == "JSON" or is_ids:
            return usable[0]
        raise CorpusError(
            f"{path}: column {usable[0]} is of type {kind}; it must be texts or lists of token "
            "ids; give another column as corpus_field"
        )
    listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    wanted = f"column '{field}'" if field else "one column that is clearly the text"
    raise CorpusError(
        f"{path} has not {wanted} (columns: {listed}); give the column as corpus_field"
    )
