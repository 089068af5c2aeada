"""What is wrong with a run's files, and what of it can be put in order.

Nothing is changed before a copy of it lies in a folder of the run.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb

from autointerp.errors import StorageError
from autointerp.files import PRIVATE_FILE, PRIVATE_FOLDER, write_text
from autointerp.store.database import DATABASE, SETTINGS, WAL, bring_up_to_date, unopened
from autointerp.store.replies import FILE as REPLIES
from autointerp.store.replies import read_replies
from autointerp.store.run import Run, read_about
from autointerp.store.tables import COMMITS, first_line, is_damage, now, read_commits, write_commits
from autointerp.text import count

Trouble = Literal["", "missing", "log", "commits", "file"]
POSITION = re.compile(r"byte position (\d+)")
ROWS = 2048  # read at once where a table is damaged


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a database; `words` say it, empty for nothing.

    Attributes:
        trouble: `missing`: there is none. `log`: its write-ahead log cannot be read to the end.
            `commits`: it lacks transactions. `file`: a part of it cannot be read.
        place: Byte of the log up to which it can be read; transactions that the file has.
    """

    trouble: Trouble
    words: str = ""
    place: int = 0


class Copies:
    """The folder of copies, made with the first of them."""

    def __init__(self, run: Path) -> None:
        self.folder = run / f"before-doctor-{now():%Y%m%d-%H%M%S}"

    def keep(self, *files: Path) -> None:
        """Copy files that are there. Raises StorageError if they cannot be."""
        for file in files:
            if not file.exists():
                continue
            try:
                self.folder.mkdir(PRIVATE_FOLDER, exist_ok=True)
                shutil.copy2(file, self.folder / file.name)
            except OSError as error:
                with contextlib.suppress(OSError):  # one without a copy
                    self.folder.rmdir()
                raise StorageError(
                    f"cannot copy {file} to {self.folder} ({error.strerror}); free some space: "
                    "nothing is changed without a copy"
                ) from None


def diagnose(path: Path) -> Diagnosis:
    """Return what is wrong with a run's database, all of which is read; nothing is changed.

    Raises RunLocked if another process has it open, StorageError if it must not be read.
    """
    file = path / DATABASE
    if not file.exists() or not file.stat().st_size:
        return Diagnosis("missing", "missing or empty")
    try:
        connection = duckdb.connect(str(file), read_only=True)
    except duckdb.Error as error:
        if isinstance(error, duckdb.IOException) and not is_damage(error):
            raise unopened(path, error) from None
        position = POSITION.search(str(error))
        if "replaying WAL" in str(error) and position:
            return Diagnosis("log", first_line(error), int(position[1]))
        return Diagnosis("file", first_line(error))
    with contextlib.closing(connection):
        return _missing_commits(path, connection) or _unreadable(connection)


def _missing_commits(path: Path, connection: duckdb.DuckDBPyConnection) -> Diagnosis | None:
    try:
        rows = connection.execute("SELECT value FROM state WHERE name = ?", [COMMITS]).fetchall()
    except duckdb.CatalogException:
        rows = []
    except duckdb.Error as error:
        return Diagnosis("file", first_line(error))
    commits, expected = int(rows[0][0]) if rows else 0, read_commits(path)
    if commits >= expected:
        return None
    words = f"lacks the last {expected - commits} of {expected} transactions"
    return Diagnosis("commits", words, commits)


def _unreadable(connection: duckdb.DuckDBPyConnection) -> Diagnosis:
    try:
        for table in _tables(connection):
            connection.execute(f'SELECT bit_xor(hash(t)) FROM "{table}" t').fetchall()
    except duckdb.Error as error:
        return Diagnosis("file", f"table {table}: {first_line(error)}")
    return Diagnosis("")


def _tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    return [
        name
        for (name,) in connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE NOT internal ORDER BY table_name"
        ).fetchall()
    ]


@dataclass(frozen=True)
class Beside:
    """What lies beside a run's database, should that be lost.

    Attributes:
        calls: Replies of a model that a stopped command left in its journal.
        journals: Files of people's answers.
    """

    calls: int
    journals: int

    def __str__(self) -> str:
        parts = [count(self.calls, "reply of a model", "replies of models")] * bool(self.calls)
        parts += [count(self.journals, "journal") + " of people"] * bool(self.journals)
        return " and ".join(parts)


def beside(path: Path) -> Beside:
    """Return what can be recovered of a run without its database."""
    records = read_replies(path / REPLIES).records if (path / REPLIES).exists() else ()
    calls = sum(record["kind"] == "came" and bool(record["call"]) for record in records)
    return Beside(calls, len(list((path / "journals").glob("*.jsonl"))))


def rebuild_database(path: Path, copies: Copies) -> str:
    """Make a lost database anew from what lies beside it; return what was recovered.

    Replies come back as calls, not as ratings: a call's key is that of all that was asked, so
    the same question finds its reply, and no other. Journals stay where they are: their sessions
    are known by all that they showed. Raises StorageError if there is neither.
    """
    found = beside(path)
    if not found.calls and not found.journals:
        raise StorageError(
            f"{path / DATABASE} is missing or empty, and nothing of it is left: neither {REPLIES} "
            "nor journals; restore it from a copy, or move the folder away to begin again"
        )
    copies.keep(path / DATABASE, path / WAL, path / COMMITS, path / REPLIES)
    new = path / f".{DATABASE}.salvaged"
    for old in (new, path / WAL, path / COMMITS):
        old.unlink(missing_ok=True)
    try:
        with contextlib.closing(duckdb.connect(str(new))) as connection:
            bring_up_to_date(path, connection, read_only=False)
            if (path / REPLIES).exists():
                replies = read_replies(path / REPLIES)
                calls = [{**record, "rating": None} for record in replies.records]
                Run(path, read_about(path), connection).take_in(
                    replies.journal, calls, replies.unsettled()
                )
            connection.execute("CHECKPOINT")
        new.chmod(PRIVATE_FILE)
        new.replace(path / DATABASE)
    except duckdb.Error as error:
        raise unopened(path, error) from None
    finally:
        new.unlink(missing_ok=True)
    (path / REPLIES).unlink(missing_ok=True)
    return (
        f"was missing; made anew with {found}. Units, items and all other ratings are lost: the "
        f"commands that made them, such as `autointerp rate --run {path.name}`, make them again, "
        "and what was answered to the same questions is not asked or paid again"
    )


def open_unchanged(path: Path) -> Run:
    """Open a run for reading alone, and leave every file as it is."""
    connection = duckdb.connect(str(path / DATABASE), read_only=True)
    bring_up_to_date(path, connection, read_only=True)
    return Run(path, read_about(path), connection)


def restore_settings(path: Path, copies: Copies) -> bool:
    """Write run.toml again as the database remembers it; return whether it does."""
    try:
        with contextlib.closing(duckdb.connect(str(path / DATABASE), read_only=True)) as connection:
            rows = connection.execute(
                "SELECT value FROM state WHERE name = ?", [SETTINGS]
            ).fetchall()
    except duckdb.Error:
        return False
    if not rows:
        return False
    copies.keep(path / SETTINGS)
    write_text(path / SETTINGS, str(rows[0][0]), mode=PRIVATE_FILE)
    return True


def repair_database(path: Path, diagnosis: Diagnosis, copies: Copies) -> str:
    """Put a damaged database in order as far as possible; return what was done."""
    copies.keep(path / DATABASE, path / WAL, path / COMMITS)
    if diagnosis.trouble == "log":
        with (path / WAL).open("rb+") as log:
            log.truncate(diagnosis.place)
        return f"{WAL} was cut at byte {diagnosis.place:,}"
    if diagnosis.trouble == "commits":
        write_commits(path, diagnosis.place)
        return "what is there is accepted"
    lost = _salvage(path)
    rows = ", ".join(f"{n:,} of {table}" for table, n in lost.items() if n)
    return f"written anew without the rows that cannot be read ({rows or 'none'})"


def _salvage(path: Path) -> dict[str, int]:
    """Write the database anew from the rows that can be read; return those lost, by table."""
    old, new = path / DATABASE, path / f".{DATABASE}.salvaged"
    new.unlink(missing_ok=True)
    lost: dict[str, int] = {}
    try:
        with contextlib.closing(duckdb.connect(str(new))) as connection:
            bring_up_to_date(path, connection, read_only=False)
            quoted = str(old).replace("'", "''")
            connection.execute(f"ATTACH '{quoted}' AS old (READ_ONLY)")
            connection.execute("DELETE FROM state")
            for table in _tables_of_old(connection):
                lost[table] = _copy_rows(connection, table)
            connection.execute("DELETE FROM state WHERE name = ?", [COMMITS])
            connection.execute("DETACH old")
        new.chmod(PRIVATE_FILE)
        new.replace(old)
    except duckdb.Error as error:
        raise StorageError(
            f"{old} cannot be read at all ({first_line(error)}); restore it from a copy"
        ) from None
    finally:
        new.unlink(missing_ok=True)
    (path / WAL).unlink(missing_ok=True)
    (path / COMMITS).unlink(missing_ok=True)
    return lost


def _tables_of_old(connection: duckdb.DuckDBPyConnection) -> list[str]:
    rows = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'old' INTERSECT"
        " SELECT table_name FROM duckdb_tables() WHERE database_name <> 'old'"
    ).fetchall()
    return sorted(name for (name,) in rows)


def _copy_rows(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    """Copy a table, in parts where a part cannot be read; return the number of rows left out."""
    both = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = ? AND database_name = 'old'"
        " INTERSECT SELECT column_name FROM duckdb_columns() WHERE table_name = ?"
        " AND database_name <> 'old'",
        [table, table],
    ).fetchall()
    columns = ", ".join(f'"{name}"' for (name,) in both)
    copy = f'INSERT INTO "{table}" ({columns}) SELECT {columns} FROM old."{table}"'
    try:
        connection.execute(f"{copy} ON CONFLICT DO NOTHING")
    except duckdb.Error:
        return _copy_parts(connection, table, copy)
    return 0


def _copy_parts(connection: duckdb.DuckDBPyConnection, table: str, copy: str) -> int:
    ((rows,),) = connection.execute(f'SELECT count(*) FROM old."{table}"').fetchall()
    lost = 0
    for first in range(0, rows, ROWS):
        try:
            connection.execute(
                f"{copy} WHERE rowid BETWEEN {first} AND {first + ROWS - 1} ON CONFLICT DO NOTHING"
            )
        except duckdb.Error:
            lost += min(ROWS, rows - first)
    return lost


@dataclass(frozen=True)
class Orphans:
    """Rows that lack what they belong to, what they are called, and what helps."""

    what: str
    rows: int
    remedy: str


def orphans(run: Run) -> Iterator[Orphans]:
    """Yield, for each rule between the tables, how many rows break it."""
    again = f"`autointerp rate --run {run.name}` makes the keys again"
    copy = f"restore {DATABASE} from a copy"
    rules = {
        "items without a key": ("item ANTI JOIN key USING (item_id)", again),
        "keys without an item": ("key ANTI JOIN item USING (item_id)", again),
        "keys without a unit": ("key ANTI JOIN unit USING (unit_id)", copy),
        "units without a source": ("unit ANTI JOIN source USING (source)", copy),
        "contexts without a unit": ("context ANTI JOIN unit USING (unit_id)", copy),
        "contexts shown that are not there": (
            "(SELECT unnest(contexts) AS context_id FROM key) ANTI JOIN context USING (context_id)",
            copy,
        ),
        "questions without a unit": ("probe ANTI JOIN unit USING (unit_id)", copy),
        "ratings without their call": (
            "(SELECT * FROM rating WHERE call_key IS NOT NULL AND status = 'ok')"
            " ANTI JOIN call USING (call_key)",
            copy,
        ),
    }
    for what, (broken, remedy) in rules.items():
        yield Orphans(what, int(run.rows(f"SELECT count(*) FROM {broken}")[0][0]), remedy)
