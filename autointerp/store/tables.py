"""Tables of an open run: transactions, appended rows, queries."""

from __future__ import annotations

import atexit
import contextlib
import datetime
import math
import os
import re
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import numpy as np
from numpy.typing import NDArray

from autointerp.errors import BadInput, StorageError
from autointerp.files import PRIVATE_FILE

if TYPE_CHECKING:
    import pandas

FEW = 4  # rows that are written as values
SOME = 300  # rows that are written as a list a column
PLAIN = frozenset({str, int, bool, type(None)})  # what DuckDB takes as it is
FORMULA = r"^[=+\-@\t\r\n]"  # the beginning of a cell that a spreadsheet runs


COMMITS = "commits"  # beside the database, and in its table `state`
DAMAGED = re.compile(
    r"corrupt|checksum|could not read enough bytes|replaying WAL|not a valid DuckDB|"
    r"has been invalidated|metadata pointer|serializ",
    re.IGNORECASE,
)
FULL = re.compile(r"no space left|disk quota|file too large|could not write|failed to commit", re.I)


def now() -> datetime.datetime:
    """Return the time in UTC, without a zone, as it is stored."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


class Turn:
    """What all objects of this process that have one run open share.

    Attributes:
        lock: Held while one of them writes: DuckDB refuses two transactions at once that both
            count themselves.
        commits: Transactions that were committed in the run's life. The number stands in the
            database and in a file beside it: a database that has fewer has lost some.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.commits = 0


_turns: weakref.WeakValueDictionary[Path, Turn] = weakref.WeakValueDictionary()
_finding_turn = threading.Lock()


def turn_of(path: Path) -> Turn:
    """Return what the objects of this process that have the run of a folder open share."""
    with _finding_turn:
        return _turns.setdefault(path.resolve(), Turn())


class Tables:
    """A connection to a run's DuckDB: what units, ratings and batches are stored with."""

    path: Path
    connection: duckdb.DuckDBPyConnection
    turn: Turn

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is kept, or nothing; other threads of this process wait.

        Raises StorageError where the disk is full or read-only.
        """
        with self.turn.lock:
            yield from self._transaction()

    def _transaction(self) -> Iterator[None]:
        is_open = True
        try:
            self.connection.execute("BEGIN")
            yield
            self._count_commit()
            self.connection.execute("COMMIT")
            is_open = False
            self.turn.commits += 1
            write_commits(self.path, self.turn.commits)
        except (duckdb.IOException, duckdb.FatalException, OSError) as error:
            raise unusable(self.path, error) from None
        except duckdb.TransactionException as error:
            # So a COMMIT reports what it could not write, but a key that is taken, too.
            if "constraint" in str(error).lower():
                raise
            raise unusable(self.path, error) from None
        except duckdb.Error as error:
            if not is_damage(error):
                raise
            raise unusable(self.path, error) from None
        finally:
            if is_open:
                with contextlib.suppress(duckdb.Error):
                    self.connection.execute("ROLLBACK")

    def _count_commit(self) -> None:
        """Count a transaction in the database; replacing a row takes three times an update."""
        query = "INSERT OR REPLACE INTO state (value, name) VALUES (?, ?)"
        if self.turn.commits:
            query = "UPDATE state SET value = ? WHERE name = ?"
        self.connection.execute(query, [str(self.turn.commits + 1), COMMITS])

    def execute(self, query: str, parameters: Sequence[Any] = ()) -> duckdb.DuckDBPyConnection:
        """Execute a statement and return its result.

        Raises StorageError where the database is damaged, or the disk full.
        """
        with self._readable():
            return self.connection.execute(query, list(parameters))

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            if isinstance(error, duckdb.ConnectionException) and "already closed" in str(error):
                raise BadInput(
                    f"run '{self.path.name}' is closed; open it again, or ask inside its `with`"
                ) from None
            if not is_damage(error):
                raise
            raise unusable(self.path, error) from None

    def insert(self, table: str, rows: Sequence[dict[str, Any]], ignore: bool = False) -> None:
        """Append rows, columns by name; with `ignore`, rows whose key is taken are skipped.

        A few rows are written as values, some as a list of values for each column, and many from a
        data frame: whichever takes least. Rows one at a time take 200 times as long (SDKS).
        """
        if not rows:
            return
        if len(rows) <= SOME:
            self._insert_values(table, rows, ignore)
            return
        import pandas

        self._insert_frame(table, pandas.DataFrame(rows, dtype=object), ignore)

    def insert_columns(
        self,
        table: str,
        columns: Mapping[str, list[Any] | NDArray[Any]],
        ignore: bool = False,
    ) -> None:
        """Append rows that are given as columns, by name: half the time of a dict for each, and a
        tenth where they are arrays.
        """
        import pandas

        frame = pandas.DataFrame(
            {
                name: values
                if isinstance(values, np.ndarray)
                else pandas.Series(values, dtype=object)
                for name, values in columns.items()
            }
        )
        self._insert_frame(table, frame, ignore)

    def _insert_frame(self, table: str, incoming: pandas.DataFrame, ignore: bool) -> None:
        # Found by its name. Registered as a view, it would be kept until the transaction ends.
        columns = ", ".join(incoming.columns)
        conflict = " ON CONFLICT DO NOTHING" if ignore else ""
        self.connection.execute(
            f"INSERT INTO {table} ({columns}) SELECT {columns} FROM incoming{conflict}"
        )

    def _insert_values(self, table: str, rows: Sequence[dict[str, Any]], ignore: bool) -> None:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        given: list[Any] = [
            [value if type(value := row.get(name)) in PLAIN else _value(value) for row in rows]
            for name in columns
        ]
        if len(rows) > FEW:
            values = f"SELECT {', '.join(['unnest(?)'] * len(columns))}"
        else:
            one = f"({', '.join('?' * len(columns))})"
            values = f"VALUES {', '.join([one] * len(rows))}"
            given = [value for row in zip(*given, strict=True) for value in row]
        conflict = " ON CONFLICT DO NOTHING" if ignore else ""
        self.connection.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) {values}{conflict}", given
        )

    def frame(self, query: str, parameters: Sequence[Any] = ()) -> pandas.DataFrame:
        """Return the rows of a query as a data frame.

        Raises BadInput for anything but one SELECT; DuckDB's own error, which marks the place, for
        a query that it cannot read.
        """
        with self._readable():
            statements = self.connection.extract_statements(query)
            if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
                raise BadInput("frame(query) reads, by one SELECT; what was rated is never changed")
            return self.connection.execute(statements[0], list(parameters)).df()

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query as tuples."""
        with self._readable():
            return self.connection.execute(query, list(parameters)).fetchall()

    def has_rows(self, table: str) -> bool:
        """Return whether a table holds anything: a tenth of what it takes to plan a long query."""
        return bool(self.rows(f"SELECT 1 FROM {table} LIMIT 1"))

    def next_id(self, table: str, column: str) -> int:
        """Return the first number that is free in a column."""
        return int(self.rows(f"SELECT coalesce(max({column}) + 1, 0) FROM {table}")[0][0])


@cache
def _in_memory(process: int) -> duckdb.DuckDBPyConnection:
    """Return a database without a file, made once in a process: that takes as long as ten tables.

    A forked child makes its own, since the threads of its parent's are not there. It is let go at
    exit: DuckDB complains of connections that outlive the interpreter.
    """
    atexit.register(_in_memory.cache_clear)
    return duckdb.connect(":memory:")


def save_table(frame: pandas.DataFrame, path: Path) -> None:
    """Write a data frame to `path`.csv and `path`.parquet."""
    for suffix in ("csv", "parquet"):
        save_frame(frame, path.resolve().with_name(f"{path.name}.{suffix}"), suffix)


def save_frame(frame: pandas.DataFrame, file: Path, form: Literal["csv", "parquet"]) -> None:
    """Write a data frame to a file. In CSV no cell is one that a spreadsheet runs."""
    with _in_memory(os.getpid()).cursor() as connection:
        connection.register("saved", frame)
        query = "SELECT * FROM saved"
        if form == "csv":
            query = neutral_cells(connection, query)
        target = str(file).replace("'", "''")
        options = "FORMAT csv, HEADER" if form == "csv" else "FORMAT parquet"
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


def _value(value: Any) -> Any:
    """Return a value as a data frame hands it to DuckDB: NaN is none, numpy is plain Python."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return None if isinstance(value, float) and math.isnan(value) else value


def is_damage(error: duckdb.Error) -> bool:
    """Return whether an error says that the database file is not as it was written."""
    broken = duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException
    return isinstance(error, broken) or DAMAGED.search(str(error)) is not None


def is_full(error: duckdb.Error) -> bool:
    """Return whether an error says that the disk takes no more."""
    return FULL.search(str(error)) is not None


def unusable(path: Path, error: Exception) -> StorageError:
    """Return the error of a run whose database is damaged, or cannot be written.

    DuckDB reports a disk that is full as it reports damage: restoring a copy would lose the run.
    """
    file = path / "run.duckdb"
    if isinstance(error, duckdb.Error) and is_damage(error) and not is_full(error):
        return StorageError(
            f"{file} is damaged ({first_line(error)}); restore it from a copy, or save what can be "
            f"read of it with `autointerp doctor {path.name}`"
        )
    return StorageError(
        f"cannot write {file} ({first_line(error)}); free some space or choose another folder, "
        "then run the same command again"
    )


def write_commits(path: Path, commits: int) -> None:
    """Note beside the database how many transactions it has; a number that is too low says
    nothing, so that a disk that does not take it does no harm."""
    with contextlib.suppress(OSError):
        handle = os.open(path / COMMITS, os.O_WRONLY | os.O_CREAT, PRIVATE_FILE)
        try:
            os.write(handle, b"%020d\n" % commits)
        finally:
            os.close(handle)


def read_commits(path: Path) -> int:
    """Return how many transactions the database beside the file should have; 0 without a file."""
    try:
        text = (path / COMMITS).read_bytes()
    except OSError:
        return 0
    return int(text) if len(text) == 21 and text.strip().isdigit() else 0


def first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
