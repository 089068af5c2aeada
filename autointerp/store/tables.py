"""Tables of an open run: transactions, appended rows, queries."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from autointerp.errors import StorageError

if TYPE_CHECKING:
    import pandas

FORMULA = r"^[=+\-@\t\r\n]"  # the beginning of a cell that a spreadsheet runs


def now() -> datetime.datetime:
    """Return the time in UTC, without a zone, as it is stored."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


class Tables:
    """A connection to a run's DuckDB: what units, ratings and batches are stored with."""

    path: Path
    connection: duckdb.DuckDBPyConnection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is kept, or nothing.

        Raises StorageError where the disk is full or read-only.
        """
        try:
            self.connection.execute("BEGIN")
            yield
            self.connection.execute("COMMIT")
        except (duckdb.IOException, duckdb.FatalException, OSError) as error:
            raise self._unwritten(error) from None
        except duckdb.TransactionException as error:
            # So a COMMIT reports what it could not write, but a key that is taken, too.
            if "constraint" in str(error).lower():
                raise
            raise self._unwritten(error) from None
        finally:
            with contextlib.suppress(duckdb.Error):  # none is open after a COMMIT
                self.connection.execute("ROLLBACK")

    def _unwritten(self, error: Exception) -> StorageError:
        return StorageError(
            f"cannot write {self.path / 'run.duckdb'} ({first_line(error)}); "
            "free some space or choose another folder, then run the same command again"
        )

    def insert(self, table: str, rows: Sequence[dict[str, Any]], ignore: bool = False) -> None:
        """Append rows, columns by name; with `ignore`, rows whose key is taken are skipped.

        One statement from a data frame: 200 times the speed of one row at a time (SDKS).
        """
        if not rows:
            return
        import pandas

        frame = pandas.DataFrame(rows, dtype=object)
        columns = ", ".join(frame.columns)
        conflict = " ON CONFLICT DO NOTHING" if ignore else ""
        self.connection.register("incoming", frame)
        try:
            self.connection.execute(
                f"INSERT INTO {table} ({columns}) SELECT {columns} FROM incoming{conflict}"
            )
        finally:
            with contextlib.suppress(duckdb.Error):  # in a transaction that has failed
                self.connection.unregister("incoming")

    def frame(self, query: str, parameters: Sequence[Any] = ()) -> pandas.DataFrame:
        """Return the rows of a query as a data frame."""
        return self.connection.execute(query, list(parameters)).df()

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query as tuples."""
        return self.connection.execute(query, list(parameters)).fetchall()

    def rows_if_there(self, table: str, columns: str) -> list[tuple[Any, ...]]:
        """Return all rows of a table; none where the run is older than the table, and read-only."""
        return self.rows(f"SELECT {columns} FROM {table}") if self.has_table(table) else []

    def has_table(self, table: str) -> bool:
        """Return whether the run has a table; one that is older than it, and read-only, has not."""
        return bool(self.rows("SELECT 1 FROM duckdb_tables() WHERE table_name = ?", [table]))

    def next_id(self, table: str, column: str) -> int:
        """Return the first number that is free in a column."""
        return int(self.rows(f"SELECT coalesce(max({column}) + 1, 0) FROM {table}")[0][0])


def save_table(frame: pandas.DataFrame, path: Path) -> None:
    """Write a data frame to `path`.csv and `path`.parquet."""
    with duckdb.connect() as connection:
        connection.register("saved", frame)
        for suffix, options in (("csv", "FORMAT csv, HEADER"), ("parquet", "FORMAT parquet")):
            query = "SELECT * FROM saved"
            query = neutral_cells(connection, query) if suffix == "csv" else query
            target = str(path.resolve().with_name(f"{path.name}.{suffix}")).replace("'", "''")
            connection.execute(f"COPY ({query}) TO '{target}' ({options})")


def neutral_cells(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    """Return the query with an apostrophe before texts that a spreadsheet would run as a formula.

    Those begin with = + - @, a tab or a line break, and are no numbers.
    """
    replaced = []
    for name, kind, *_ in connection.execute(f"DESCRIBE {query}").fetchall():
        if kind == "VARCHAR":
            cell = '"' + str(name).replace('"', '""') + '"'
            replaced.append(
                f"CASE WHEN regexp_matches({cell}, '{FORMULA}')"
                f" AND try_cast({cell} AS DOUBLE) IS NULL"
                f" THEN chr(39) || {cell} ELSE {cell} END AS {cell}"
            )
    return f"SELECT * REPLACE ({', '.join(replaced)}) FROM ({query})" if replaced else query


def first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
