"""A run's database: opened, with the tables and views of this version, or the reason why not."""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path

import duckdb

from autointerp.errors import RunLocked, StorageError
from autointerp.files import PRIVATE_FILE
from autointerp.store.replies import FILE as REPLIES
from autointerp.store.tables import (
    COMMITS,
    first_line,
    is_damage,
    is_full,
    read_commits,
    unusable,
)

DATABASE, SETTINGS, LOG = "run.duckdb", "run.toml", "log.jsonl"
WAL = f"{DATABASE}.wal"  # DuckDB's, of what is not in the database file yet
SCHEMA = "schema"  # in `state`: digest of the tables and views that the file has
TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (?P<name>\w+)")
COLUMN = re.compile(
    r"ALTER TABLE (?P<table>\w+) ADD COLUMN IF NOT EXISTS (?P<column>\w+) (?P<type>\w+(\[\])?)"
)
VIEW = re.compile(r"CREATE OR REPLACE (?P<kind>VIEW|MACRO) (?P<name>\w+)")


def connect(path: Path, read_only: bool, copy: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Open the database in a run's folder, made where this is the first time; or its copy in the
    folder `copy`, whose errors name the run all the same."""
    file = (copy or path) / DATABASE
    is_new = not file.exists() or not file.stat().st_size
    if is_new:
        require_unused(path)
    try:
        if read_only and is_new:  # a kill came before it was made
            connect(path, read_only=False).close()
        connection = _connection(str(file.resolve()), read_only)
        try:
            if is_new:
                file.chmod(PRIVATE_FILE)
            bring_up_to_date(path, connection, read_only)
            # A notebook without ipywidgets has no bar, and DuckDB refuses to switch it off there.
            with contextlib.suppress(duckdb.InvalidInputException):
                connection.execute("SET enable_progress_bar = false")
        except BaseException:
            # Open in this process it could not be opened for reading, and would be blamed for that.
            connection.close()
            raise
    except (duckdb.Error, OSError) as error:
        raise unopened(path, error) from None
    return connection


def _connection(file: str, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Return a connection to a database; where this process writes it, readers share that."""
    try:
        return duckdb.connect(file, read_only=read_only)
    except duckdb.ConnectionException:
        if not read_only:
            raise
        return duckdb.connect(file)


def require_unused(path: Path) -> None:
    """Raise StorageError where a run that has no database has been in use."""
    used = [name for name in (WAL, REPLIES, LOG) if (path / name).exists()]
    used += [COMMITS] if read_commits(path) else []
    used += ["journals"] if any((path / "journals").glob("*.jsonl")) else []
    if used:
        raise StorageError(
            f"{path / DATABASE} is missing or empty, but the run has been in use ({used[0]} is "
            f"there); restore it from a copy, have `autointerp doctor {path.name}` make it anew "
            "from what lies beside it, or move the folder away to begin again"
        )


def unopened(path: Path, error: duckdb.Error | OSError) -> RunLocked | StorageError:
    """Return the error of a database that could not be opened."""
    file, text = path / DATABASE, str(error)
    if isinstance(error, duckdb.ConnectionException) and "different configuration" in text:
        return StorageError(
            f"run '{path.name}' is open in this process to be read alone, so it cannot be written; "
            "close it first, by its close()"
        )
    if isinstance(error, duckdb.IOException) and "lock" in text.lower():
        holder = re.search(r"\(PID (\d+)", text)
        who = f"process {holder[1]}" if holder else "another process"
        return RunLocked(
            f"run '{path.name}' is in use by {who}; wait until that has ended, or stop it: what it "
            "has done is kept, and the same command goes on from there"
        )
    if isinstance(error, OSError) or is_full(error) or is_damage(error):
        return unusable(path, error)
    if isinstance(error, duckdb.IOException):
        return StorageError(
            f"cannot open {file} ({first_line(error)}); let yourself read and write it, or move "
            "the run to a folder that can be written"
        )
    if isinstance(error, duckdb.TransactionException):  # both make its tables
        return RunLocked(
            f"run '{path.name}' is being made by another thread of this process; wait until that "
            "has ended, and call again"
        )
    return StorageError(f"{file} is not a run of this version ({first_line(error)}); move it away")


def bring_up_to_date(path: Path, connection: duckdb.DuckDBPyConnection, read_only: bool) -> None:
    """Make the tables and views that a run of another version lacks.

    A file that cannot be written gets them for this connection only, the tables without rows.
    """
    folder = Path(__file__).parent
    schema, views = ((folder / f"{name}.sql").read_text("utf-8") for name in ("schema", "views"))
    digest = hashlib.sha256((schema + views).encode()).hexdigest()
    try:
        made = dict(connection.execute("SELECT name, value FROM state").fetchall())
    except duckdb.CatalogException:
        made = {}
    if made.get(SCHEMA) == digest:
        return
    if read_only:
        _add_temporarily(connection, schema, views)
        return
    connection.execute("BEGIN")  # all or nothing, and on the disk in one go
    connection.execute(schema)  # writes nothing where nothing is missing
    if made:
        _widen(connection)
    connection.execute(views)
    remembered = {SCHEMA: digest}
    if SETTINGS not in made and (path / SETTINGS).exists():  # so that it can be restored if lost
        remembered[SETTINGS] = (path / SETTINGS).read_text("utf-8")
    for name, value in remembered.items():
        connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", [name, value])
    connection.execute("COMMIT")


def _add_temporarily(connection: duckdb.DuckDBPyConnection, schema: str, views: str) -> None:
    """Give a connection that only reads what its file lacks: tables, columns and views."""
    columns: dict[str, set[str]] = {}
    for table, column in connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal"
    ).fetchall():
        columns.setdefault(table, set()).add(column)
    added: dict[str, list[str]] = {}
    tables = 0
    for statement in duckdb.extract_statements(schema):
        if (table := TABLE.search(statement.query)) and table["name"] not in columns:
            connection.execute(TABLE.sub(r"CREATE TEMP TABLE \g<name>", statement.query))
            tables += 1
        elif (
            (column := COLUMN.search(statement.query.strip().rstrip(";")))
            and column["table"] in columns
            and column["column"] not in columns[column["table"]]
        ):
            added.setdefault(column["table"], []).append(
                f"NULL::{column['type']} AS {column['column']}"
            )
    database = connection.execute("SELECT current_database()").fetchall()[0][0]
    for name, more in added.items():
        connection.execute(
            f'CREATE TEMP VIEW {name} AS SELECT *, {", ".join(more)} FROM "{database}".{name}'
        )
    for statement in duckdb.extract_statements(views):
        connection.execute(VIEW.sub(r"CREATE OR REPLACE TEMP \g<kind> \g<name>", statement.query))


def _widen(connection: duckdb.DuckDBPyConnection) -> None:
    """Let trials of a run of an earlier version point to tokens beyond the 32,767th."""
    for (column,) in connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = 'probe'"
        " AND data_type = 'SMALLINT[]'"
    ).fetchall():
        connection.execute(f"ALTER TABLE probe ALTER COLUMN {column} SET DATA TYPE INTEGER[]")
