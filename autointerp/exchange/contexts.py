"""The contexts table: Parquet with one row for each context of each unit."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

import duckdb

from autointerp.errors import ExchangeError
from autointerp.exchange import ForeignContext, ForeignUnit, ImportOptions
from autointerp.exchange._files import copy_to_file
from autointerp.exchange._windows import (
    MOST_TOKENS,
    check_size,
    checked,
    spelling,
    strongest_control,
    window,
    written,
)
from autointerp.files import LONGEST_LINE, MOST_RATIO, SURE_BYTES, check_unpacked, plain_name
from autointerp.records import Draw, Split
from autointerp.store.run import Run
from autointerp.text import count, is_control_token

NOTES = ()

WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
NUMBER = {"FLOAT", "DOUBLE"}
REQUIRED = {
    "unit": ("string", {"VARCHAR"}),
    "source": ("string", {"VARCHAR"}),
    "context": ("int", WHOLE),
    "tokens": ("list<string>", {"VARCHAR[]"}),
    "activations": ("list<float>", {f"{kind}[]" for kind in NUMBER}),
}
# An export writes all of these, so that what comes back is what went out.
OPTIONAL = {
    "split": ("string", {"VARCHAR"}),
    "draw": ("string", {"VARCHAR"}),
    "focus": ("int", WHOLE),
    "interval": ("int", WHOLE),
    "document": ("int", WHOLE),
    "position": ("int", WHOLE),
    "density": ("float", NUMBER),
    "tokens_read": ("int", WHOLE),
    "peak": ("float", NUMBER),
    "note": ("string", {"VARCHAR"}),
}
COLUMNS = {**REQUIRED, **OPTIONAL}
TOGETHER = ("document", "position")
LARGEST = 2**31 - 1
ROWS = 64  # read at once
MEMORY_MB = 256  # in which a table is unpacked and sorted; beyond it the disk is used

# The path's folders are no columns.
READ = "read_parquet($file, file_row_number = true, hive_partitioning = false)"
# Rows of a unit stand together, in the order of their contexts: then nothing has to be sorted.
IN_ORDER = f"""
WITH beside AS (
    SELECT source, unit, context, lag(source) OVER rows AS source_before,
        lag(unit) OVER rows AS unit_before, lag(context) OVER rows AS context_before
    FROM {READ} WINDOW rows AS (ORDER BY file_row_number)
), compared AS (
    SELECT source, unit, context >= context_before AS follows,
        source IS NOT DISTINCT FROM source_before AND unit IS NOT DISTINCT FROM unit_before AS same
    FROM beside
)
SELECT count(*) FILTER (NOT same) = count(DISTINCT (source, unit))
    AND coalesce(bool_and(follows) FILTER (same), true)
FROM compared
"""
PLAIN = f"SELECT {{columns}} FROM {READ}"
QUERY = f"""
WITH placed AS (
    SELECT source, unit, min(file_row_number) AS place
    FROM {READ} GROUP BY ALL
)
SELECT {{columns}} FROM {READ} JOIN placed USING (source, unit)
ORDER BY place, context
"""

EXPORT = """
SELECT
    unit_label(u.source, u.idx, u.sign, u.note) AS unit,
    u.source,
    c.context_id AS context,
    c.tokens,
    c.activations,
    c.split,
    c.draw,
    c.focus::INTEGER AS focus,
    c.interval::INTEGER AS interval,
    c.document,
    c.position,
    u.density,
    u.tokens AS tokens_read,
    u.peak::DOUBLE AS peak,
    u.note
FROM context c JOIN unit u USING (unit_id)
ORDER BY u.unit_id, c.context_id
"""


def recognises(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def read(path: Path, options: ImportOptions) -> Iterator[ForeignUnit]:
    """Yield the units in the order of their first rows; rows of a unit need not be neighbours.

    Raises ExchangeError if a column is missing or of another type, or a row breaks the rules in
    docs/exchange.md, naming its unit and context.
    """
    if options.source:
        raise ExchangeError(f"--source {options.source}: the rows of {path} name their sources")
    with tempfile.TemporaryDirectory() as spill, plain_name(path) as file:
        limits: dict[str, str | bool | int | float | list[str]] = {
            "temp_directory": spill,
            "memory_limit": f"{MEMORY_MB}MB",
            "threads": 1,  # each unpacks a row group of its own
            # Sorted, the rows may lie there as they are unpacked.
            "max_temp_directory_size": f"{SURE_BYTES + MOST_RATIO * path.stat().st_size}B",
        }
        connection = duckdb.connect(":memory:", config=limits)
        try:
            _check_unpacked(connection, path, file)
            names = _columns(connection, path, file)
            rows = _rows(connection, path, file, names)
            first = next(rows, None)
            if first is None:
                raise ExchangeError(f"{path} has no rows; give a table with contexts")
            for (source, unit), group in itertools.groupby(
                itertools.chain([first], rows), key=lambda row: (row["source"], row["unit"])
            ):
                yield _unit(path, source, unit, list(group), options)
        except duckdb.OutOfMemoryException:
            raise ExchangeError(
                f"{path} unpacks to more than {MEMORY_MB} MB of memory and, on the disk, "
                f"{MOST_RATIO} times its size hold; see whether it holds what it should, and write "
                "it in row groups of fewer rows"
            ) from None
        except duckdb.Error as error:
            raise ExchangeError(f"{path}: {str(error).splitlines()[0]}") from None
        finally:
            connection.close()


def write(run: Run, file: Path) -> int:
    """Write every context that the run holds to `file`; return the number of rows.

    Raises StorageError if the file cannot be written, BadInput if it is a folder or a device.
    """
    return copy_to_file(run, EXPORT, file, "FORMAT parquet")


def _check_unpacked(connection: duckdb.DuckDBPyConnection, path: Path, file: str) -> None:
    """Refuse a table that says itself that it holds more than a file of its size can mean.

    Eight bytes a token is the least: its activation and where its text is.
    """
    values = connection.execute(
        "SELECT max(total) FROM (SELECT sum(num_values) AS total FROM parquet_metadata($file)"
        " GROUP BY path_in_schema)",
        {"file": file},
    ).fetchone()
    try:
        check_unpacked(8 * int(values[0] or 0) if values else 0, path.stat().st_size)
    except ValueError as error:
        raise ExchangeError(f"{path}: {error}") from None


def _columns(connection: duckdb.DuckDBPyConnection, path: Path, file: str) -> list[str]:
    described = connection.execute(f"DESCRIBE SELECT * FROM {READ}", {"file": file})
    columns = {name: str(kind) for name, kind, *_ in described.fetchall()}
    del columns["file_row_number"]
    optional = [name for name in OPTIONAL if name in columns]
    counts = ", ".join(["count(*)", *(f'count("{name}")' for name in optional)])
    ((_, *filled),) = connection.execute(f"SELECT {counts} FROM {READ}", {"file": file}).fetchall()
    for name, rows in zip(optional, filled, strict=True):
        if not rows:  # a column of nulls is as good as none, and of any type
            del columns[name]
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise ExchangeError(
            f"{path} has no column {', '.join(missing)} (columns: {', '.join(columns)}); "
            "docs/exchange.md says what a contexts table holds"
        )
    for name, (wanted, kinds) in COLUMNS.items():
        if name in columns and columns[name] not in kinds:
            raise ExchangeError(
                f"{path}: column {name} is of type {columns[name]}; it must be {wanted}"
            )
    if len(set(TOGETHER) & columns.keys()) == 1:
        raise ExchangeError(
            f"{path}: columns {' and '.join(TOGETHER)} go together; give both or neither"
        )
    return [name for name in COLUMNS if name in columns]


def _rows(
    connection: duckdb.DuckDBPyConnection, path: Path, file: str, names: list[str]
) -> Iterator[dict[str, Any]]:
    nulls = connection.execute(
        f"SELECT file_row_number + 1 FROM {READ}"
        " WHERE source IS NULL OR unit IS NULL OR context IS NULL LIMIT 1",
        {"file": file},
    ).fetchone()
    if nulls is not None:
        raise ExchangeError(f"{path}, row {nulls[0]}: unit, source or context is null")
    large = connection.execute(
        "SELECT source, unit, sum(greatest(len(tokens), len(activations))) AS size"
        f" FROM {READ} GROUP BY ALL HAVING size > {MOST_TOKENS} LIMIT 1",
        {"file": file},
    ).fetchone()
    if large is not None:
        check_size(int(large[2]), f"{path}, unit '{large[1]}' of source '{large[0]}'")
    large = connection.execute(
        "SELECT source, unit, sum(list_sum([strlen(token) for token in tokens])) AS size"
        f" FROM {READ} GROUP BY ALL HAVING size > {LONGEST_LINE} LIMIT 1",
        {"file": file},
    ).fetchone()
    if large is not None:
        raise ExchangeError(
            f"{path}, unit '{large[1]}' of source '{large[0]}': its contexts are over "
            f"{LONGEST_LINE >> 20} MB of text; give fewer or shorter ones"
        )
    in_order = connection.execute(IN_ORDER, {"file": file}).fetchone()
    query = PLAIN if in_order is not None and in_order[0] else QUERY
    reader = connection.execute(query.format(columns=", ".join(names)), {"file": file})
    while rows := reader.fetchmany(ROWS):
        for row in rows:
            yield dict(zip(names, row, strict=True))


def _unit(
    path: Path, source: str, unit: str, rows: list[dict[str, Any]], options: ImportOptions
) -> ForeignUnit:
    where = f"{path}, unit '{unit}' of source '{source}'"
    contexts = []
    before, control = None, 0.0
    kind = spelling([row["tokens"] for row in rows if _is_texts(row["tokens"])], strict=True)
    for row in rows:
        place = f"{where}, context {row['context']}"
        if row["context"] == before:
            raise ExchangeError(f"{place} is there twice; remove one row")
        before = row["context"]
        context = _context(row, options.each_side, kind, place)
        control = max(control, strongest_control(row["tokens"], row["activations"]))
        if context is not None:
            contexts.append(context)
    facts: dict[str, Any] = {}
    for name in ("density", "tokens_read", "peak", "note"):
        values = {row.get(name) for row in rows}
        if any(value != value for value in values):  # each NaN is another value than all others
            raise ExchangeError(f"{where}: {name} is NaN; leave it null where it is not known")
        if len(values) > 1:
            raise ExchangeError(f"{where}: its rows disagree on {name}")
        facts[name] = values.pop()
    density, peak = facts["density"], facts["peak"]
    if density is not None and not 0 < density <= 1:
        raise ExchangeError(f"{where}: density {density}; it must be a share above 0 and at most 1")
    if peak is not None and not 0 < peak < float("inf"):
        raise ExchangeError(f"{where}: peak {peak}; it must be above 0")
    if control and control >= max((max(c.activations) for c in contexts), default=0.0):
        peak = None  # it is a control token's
    tokens_read = facts["tokens_read"] or 0
    if not 0 <= tokens_read < 2**63:
        raise ExchangeError(f"{where}: tokens_read {tokens_read}; it must be 0 or more")
    return ForeignUnit(
        source, unit, tuple(contexts), density, tokens_read, peak, facts["note"] or ""
    )


def _is_texts(tokens: object) -> bool:
    return isinstance(tokens, list) and all(isinstance(token, str) for token in tokens)


def _context(
    row: dict[str, Any], each_side: int | None, kind: str, where: str
) -> ForeignContext | None:
    """Return a row as a context; None if what it is about is a control token."""
    tokens, activations = checked(row["tokens"], row["activations"], where)
    if min(activations) < 0:
        raise ExchangeError(
            f"{where}: activation {min(activations):g}; give 0 where the unit is silent, and the "
            "negative half of a signed one as a unit of its own, its name ending in '-'"
        )
    for name, allowed in (("split", get_args(Split)), ("draw", get_args(Draw))):
        if name in row and row[name] not in allowed:
            raise ExchangeError(f"{where}: {name} {row[name]!r}; it is {' or '.join(allowed)}")
    focus = row.get("focus")
    if focus is not None and not 0 <= focus < len(tokens):
        raise ExchangeError(
            f"{where}: focus {focus} of {count(len(tokens), 'token')}; it counts from 0"
        )
    place = None
    if "document" in row:
        if not all(type(row[name]) is int and 0 <= row[name] <= LARGEST for name in TOGETHER):
            raise ExchangeError(f"{where}: document and position must be whole numbers, 0 or more")
        place = (row["document"], row["position"])
    interval = row.get("interval")
    if interval is not None and not 1 <= interval <= 255:
        raise ExchangeError(f"{where}: interval {interval}; it must be from 1 to 255")
    if focus is not None and is_control_token(tokens[focus].strip()):
        return None
    cut = window(tokens, activations, focus, each_side)
    if cut is None:
        return None
    if kind:
        cut = replace(cut, tokens=tuple(written(cut.tokens, kind, cut.focus or 0)))
    return ForeignContext(
        cut.tokens,
        cut.activations,
        cut.focus,
        cast(Split | None, row.get("split")),
        cast(Draw | None, row.get("draw")),
        interval,
        place,
    )
