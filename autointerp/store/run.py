"""A run on disk: `run.toml`, `run.duckdb`, `log.jsonl`. The only code that opens them."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from autointerp import __version__
from autointerp.errors import AutointerpError, RunLocked, RunMismatch, StorageError, UnknownName
from autointerp.records import Context, Rating, Reply, Request, Unit, UnitSummary
from autointerp.settings import RunSettings, first_difference, from_mapping

if TYPE_CHECKING:
    import pandas

    from autointerp.subjects import Subject
    from autointerp.units.passes import HarvestedUnit

RUNS = Path("runs")
IMPORTED = "imported"  # the subject of runs whose units come from files
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class KeyedItem:
    """A row of `item` and its row of `key`, to be written together."""

    item_id: str
    rubric: str
    rubric_digest: str
    evidence: str
    ord: int
    description: str | None
    unit_id: int
    scale: float
    contexts: tuple[int, ...]


@dataclass(frozen=True)
class StoredUnit:
    """A harvested unit with its number in the run."""

    unit_id: int
    summary: UnitSummary


def now() -> datetime.datetime:
    """Return the time in UTC, without a zone, as it is stored."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


def runs_in(folder: Path = RUNS) -> list[str]:
    """Return the names of the runs in a folder, sorted."""
    return sorted(path.parent.name for path in folder.glob("*/run.toml"))


class Run:
    """An open run. Made by `open_run`; close it, or use it in a `with` statement."""

    def __init__(
        self, path: Path, about: dict[str, Any], connection: duckdb.DuckDBPyConnection
    ) -> None:
        self.path = path
        self.name = path.name
        self.connection = connection
        self.about = about

    @property
    def settings(self) -> RunSettings:
        """The settings that the run was made with."""
        return from_mapping(RunSettings, self.about["settings"], str(self.path / "run.toml"))

    @property
    def is_imported(self) -> bool:
        """Whether its units come from files: then there is no subject to harvest more from."""
        return bool(self.about["settings"]["subject"]["model"] == IMPORTED)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write everything out and let the file go."""
        self.connection.close()

    # -------------------------------------------------------------------------- writing

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
            f"cannot write {self.path / 'run.duckdb'} ({_first_line(error)}); "
            "free some space or choose another folder, then give the same command again"
        )

    def insert(self, table: str, rows: Sequence[dict[str, Any]], ignore: bool = False) -> None:
        """Append rows, given as columns by name; with `ignore`, those with a known key are passed.

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

    def add_harvest(
        self, sources: dict[str, tuple[int, bool]], harvested: Iterable[HarvestedUnit]
    ) -> None:
        """Store units and their contexts, all or nothing; `sources` gives size and is_control."""
        next_unit = self.next_id("unit", "unit_id")
        next_context = self.next_id("context", "context_id")
        units: list[dict[str, Any]] = []
        contexts: list[dict[str, Any]] = []
        with self.transaction():
            self.insert(
                "source",
                [{"source": n, "size": s, "is_control": c} for n, (s, c) in sources.items()],
                ignore=True,
            )
            for unit_id, one in enumerate(harvested, next_unit):
                units.append(unit_row(unit_id, one.summary))
                for context in one.contexts:
                    contexts.append(context_row(next_context + len(contexts), unit_id, context))
                if len(contexts) >= 20_000:  # held at once, however many there are
                    next_context += len(contexts)
                    self.insert("unit", units)
                    self.insert("context", contexts)
                    units, contexts = [], []
            self.insert("unit", units)
            self.insert("context", contexts)

    def replace_source(self, name: str, size: int, is_control: bool) -> None:
        """Store a source, in place of what was known of it."""
        self.connection.execute(
            "INSERT OR REPLACE INTO source VALUES (?, ?, ?)", [name, size, is_control]
        )

    def add_items(self, items: Sequence[KeyedItem]) -> None:
        """Store items and their keys; those known already are left as they are."""
        key = ("item_id", "unit_id", "scale", "contexts")
        rows = [dataclasses.asdict(item) for item in items]
        with self.transaction():
            self.insert(
                "item",
                [{n: v for n, v in row.items() if n not in key[1:]} for row in rows],
                ignore=True,
            )
            self.insert(
                "key",
                [
                    {n: list(v) if n == "contexts" else v for n, v in row.items() if n in key}
                    for row in rows
                ],
                ignore=True,
            )

    def add_rubric(self, digest: str, name: str, content: str) -> None:
        """Keep a rubric's content, as JSON, for whoever reads the run without the rubric's file."""
        row = {"digest": digest, "id": name, "content": content}
        with self.transaction():
            self.insert("rubric", [row], ignore=True)

    def add_rater(self, rater: str, is_llm: bool) -> None:
        """Keep whether a rater is a language model."""
        with self.transaction():
            self.insert("rater", [{"rater": rater, "is_llm": is_llm}], ignore=True)

    def add_ratings(
        self,
        ratings: Sequence[Rating],
        attempts: Sequence[tuple[Request, int, Reply]] = (),
        rater: str = "",
    ) -> None:
        """Store ratings and the attempts behind them in one transaction.

        A rating of the same item, rater and repeat supersedes the earlier one. When this returns,
        a kill loses nothing.
        """
        at = now()
        calls = [
            {
                "call_key": request.key,
                "attempt": attempt,
                "item_id": request.item,
                "rater": rater,
                "repeat": request.repeat,
                "stop": reply.stop,
                "reply": reply.text,
                "error": reply.error,
                "model": reply.model,
                "tokens_in": reply.tokens_in,
                "tokens_out": reply.tokens_out,
                "cost_usd": reply.cost_usd,
                "latency_s": reply.latency_s,
                "details": json.dumps(reply.details, ensure_ascii=False),
                "made_at": at,
            }
            for request, attempt, reply in attempts
        ]
        with self.transaction():
            self.insert("call", calls)
            if ratings:
                versions = self._versions([rating.item for rating in ratings])
                rows = []
                for rating in ratings:
                    row = dataclasses.asdict(rating)
                    item = row.pop("item")
                    place = (item, rating.rater, rating.repeat)
                    versions[place] = versions.get(place, -1) + 1
                    rows.append({"item_id": item, **row, "version": versions[place], "made_at": at})
                self.insert("rating", rows)

    def remember(self, name: str, value: str) -> None:
        """Keep a fact about the world outside, such as what a server can do."""
        with self.transaction():
            self.connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", [name, value])

    def recall(self, name: str) -> str | None:
        """Return what was remembered under `name`, or None."""
        found = self.rows("SELECT value FROM about WHERE name = ?", [name])
        return str(found[0][0]) if found else None

    def stored_calls(self, keys: Sequence[str]) -> dict[str, list[tuple[int, Reply]]]:
        """Return the attempts of calls, first to last, by the call's key."""
        found: dict[str, list[tuple[int, Reply]]] = {}
        names = ("stop", "model", "tokens_in", "tokens_out", "cost_usd", "latency_s", "error")
        for key, attempt, details, text, *values in self.rows(
            f"SELECT call_key, attempt, details, reply, {', '.join(names)} FROM call"
            " WHERE call_key IN (SELECT unnest(?::VARCHAR[])) ORDER BY attempt",
            [list(keys)],
        ):
            known = json.loads(details) if details else {}
            reply = Reply(text, details=known, **dict(zip(names, values, strict=True)))
            found.setdefault(key, []).append((attempt, reply))
        return found

    def spent_usd(self) -> float:
        """Return what the run's calls have cost, as far as prices are known."""
        return float(self.rows("SELECT coalesce(sum(cost_usd), 0) FROM call")[0][0])

    def mean_tokens(self, rater: str, rubric_digest: str) -> tuple[float, float] | None:
        """Return the mean tokens in and out of a rater's replies to what was asked by a rubric.

        None if it gave none.
        """
        found = self.rows(
            "SELECT avg(tokens_in), avg(tokens_out) FROM call WHERE call_key IN"
            " (SELECT call_key FROM rating WHERE rater = ? AND rubric_digest = ?)"
            " AND tokens_in IS NOT NULL AND tokens_out IS NOT NULL",
            [rater, rubric_digest],
        )[0]
        return None if found[0] is None else (float(found[0]), float(found[1]))

    def add_batch(self, batch: dict[str, Any], calls: Sequence[Request] = ()) -> None:
        """Store a batch's new state, and with its first one the calls in it."""
        version = self.rows(
            "SELECT coalesce(max(version) + 1, 0) FROM batch WHERE label = ?", [batch["label"]]
        )[0][0]
        with self.transaction():
            self.insert("batch", [{**batch, "version": version, "made_at": now()}])
            self.insert(
                "batch_call",
                [
                    {
                        "label": batch["label"],
                        "call_key": request.key,
                        "item_id": request.item,
                        "repeat": request.repeat,
                    }
                    for request in calls
                ],
            )

    def open_batches(self) -> list[dict[str, Any]]:
        """Return the batches that are neither collected nor abandoned, oldest first."""
        found = self.connection.execute(
            "SELECT * FROM current_batch WHERE state IN ('intended', 'submitted') ORDER BY made_at"
        )
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def batch_calls(self, label: str) -> list[Request]:
        """Return the calls in a batch, without their bodies."""
        return [
            Request(key, item, {}, repeat)
            for key, item, repeat in self.rows(
                "SELECT call_key, item_id, repeat FROM batch_call WHERE label = ?", [label]
            )
        ]

    def work_in_batches(self, rater: str) -> set[tuple[str, int]]:
        """Return item and repeat of the calls that a provider has in an open batch."""
        return {
            (item, repeat)
            for item, repeat in self.rows(
                "SELECT item_id, repeat FROM batch_call JOIN current_batch USING (label)"
                " WHERE rater = ? AND state IN ('intended', 'submitted')",
                [rater],
            )
        }

    def replace_estimates(self, rows: Sequence[dict[str, Any]]) -> None:
        """Store the estimates of a comparison in place of the earlier ones."""
        with self.transaction():
            self.connection.execute("DELETE FROM estimate")
            self.insert("estimate", rows)

    def log(self, event: str, **values: Any) -> None:
        """Append a line to log.jsonl."""
        line = json.dumps({"at": now().isoformat(), "event": event, **values}, default=str)
        try:
            with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise StorageError(
                f"cannot write {self.path / 'log.jsonl'} ({error.strerror})"
            ) from None

    # -------------------------------------------------------------------------- reading

    def frame(self, query: str, parameters: Sequence[Any] = ()) -> pandas.DataFrame:
        """Return the rows of a query as a data frame."""
        return self.connection.execute(query, list(parameters)).df()

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query as tuples."""
        return self.connection.execute(query, list(parameters)).fetchall()

    def units(self, source: str) -> list[StoredUnit]:
        """Return the harvested units of a source in its random order."""
        found = self.rows(
            "SELECT unit_id, source, idx, sign, density, tokens, peak, ord, outcome, "
            "interval_tokens, note FROM unit WHERE source = ? ORDER BY ord",
            [source],
        )
        return [
            StoredUnit(
                row[0],
                UnitSummary(
                    Unit(row[1], row[2], row[3]),
                    density=row[4],
                    tokens=row[5],
                    peak=row[6],
                    order=row[7],
                    outcome=row[8],
                    interval_tokens=tuple(row[9]),
                    note=row[10],
                ),
            )
            for row in found
        ]

    def contexts(self, unit_ids: Sequence[int]) -> dict[int, dict[int, Context]]:
        """Return the contexts of units, by unit and by the contexts' own numbers."""
        found: dict[int, dict[int, Context]] = {unit_id: {} for unit_id in unit_ids}
        for row in self.rows(
            "SELECT unit_id, context_id, tokens, activations, focus, draw, interval, split, silent,"
            " document, position FROM context WHERE unit_id IN (SELECT unnest(?::INTEGER[]))"
            " ORDER BY context_id",
            [list(unit_ids)],
        ):
            tokens, activations = tuple(row[2]), tuple(row[3])
            found[row[0]][row[1]] = Context(tokens, activations, *row[4:])
        return found

    def contexts_numbered(self, numbers: Sequence[int]) -> dict[int, Context]:
        """Return contexts by their own numbers, whatever units they were drawn for."""
        return {
            row[0]: Context(tuple(row[1]), tuple(row[2]), *row[3:])
            for row in self.rows(
                "SELECT context_id, tokens, activations, focus, draw, interval, split, silent,"
                " document, position FROM context"
                " WHERE context_id IN (SELECT unnest(?::BIGINT[]))",
                [list(numbers)],
            )
        }

    def rubric_contents(self) -> dict[str, str]:
        """Return the content of each rubric that items were made with, as JSON, by digest."""
        return dict(self._rows_if_there("rubric", "digest, content"))

    def llm_raters(self) -> dict[str, bool]:
        """Return whether each rater is a language model, as far as it was noted down."""
        return dict(self._rows_if_there("rater", "rater, is_llm"))

    def _rows_if_there(self, table: str, columns: str) -> list[tuple[Any, ...]]:
        """Return all rows of a table; none where the run is older than the table, and read-only."""
        there = "SELECT 1 FROM duckdb_tables() WHERE table_name = ?"
        return self.rows(f"SELECT {columns} FROM {table}") if self.rows(there, [table]) else []

    def next_id(self, table: str, column: str) -> int:
        """Return the first number that is free in a column."""
        return int(self.rows(f"SELECT coalesce(max({column}) + 1, 0) FROM {table}")[0][0])

    def _versions(self, items: Sequence[str]) -> dict[tuple[str, str, int], int]:
        found = self.rows(
            "SELECT item_id, rater, repeat, max(version) FROM rating"
            " WHERE item_id IN (SELECT unnest(?::VARCHAR[])) GROUP BY ALL",
            [list(items)],
        )
        return {(item, rater, repeat): version for item, rater, repeat, version in found}


def save_table(frame: pandas.DataFrame, path: Path) -> None:
    """Write a data frame to `path`.csv and `path`.parquet."""
    with duckdb.connect() as connection:
        connection.register("saved", frame)
        for suffix, options in (("csv", "FORMAT csv, HEADER"), ("parquet", "FORMAT parquet")):
            target = str(path.with_name(f"{path.name}.{suffix}")).replace("'", "''")
            connection.execute(f"COPY saved TO '{target}' ({options})")


def unit_row(unit_id: int, summary: UnitSummary) -> dict[str, Any]:
    """Return the row of `unit` that a unit is."""
    return {
        "unit_id": unit_id,
        "source": summary.unit.source,
        "idx": summary.unit.index,
        "sign": summary.unit.sign,
        "ord": summary.order,
        "outcome": summary.outcome,
        "density": summary.density,
        "tokens": summary.tokens,
        "peak": summary.peak,
        "interval_tokens": list(summary.interval_tokens),
        "note": summary.note,
    }


def context_row(context_id: int, unit_id: int, context: Context) -> dict[str, Any]:
    """Return the row of `context` that a context is."""
    return {
        "context_id": context_id,
        "unit_id": unit_id,
        "draw": context.draw,
        "interval": context.interval,
        "split": context.split,
        "silent": context.silent,
        "focus": context.focus,
        "document": context.document,
        "position": context.position,
        "tokens": list(context.tokens),
        "activations": list(context.activations),
    }


def open_run(
    name: str,
    settings: RunSettings | None = None,
    subject: Subject | None = None,
    folder: Path = RUNS,
    read_only: bool = False,
) -> Run:
    """Return the run `name`; with `settings` and `subject` it is made if it is not there.

    Raises UnknownName if there is no such run and no settings, RunMismatch if it was made with
    other settings or another subject, RunLocked if another process has it open, StorageError if
    it cannot be read or written.
    """
    if not NAME.fullmatch(name):
        raise UnknownName(
            "run", name, runs_in(folder), "a name is letters, digits, '.', '_' and '-'"
        )
    path = folder / name
    if not (path / "run.toml").exists():
        if settings is None:
            raise UnknownName(
                "run", name, runs_in(folder), f"`autointerp rate --run {name}` makes one"
            )
        _create(path, settings, subject)
    elif settings is not None:
        _check_same(path, settings, subject)
    return Run(path, read_about(path), _connect(path / "run.duckdb", read_only))


def open_checks(folder: Path = RUNS) -> Run:
    """Return the store of the raters' checks beside the runs in `folder`; made if not there."""
    checks = folder / ".checks"
    there = (checks / "store" / "run.toml").exists()
    return open_run("store", None if there else RunSettings(), folder=checks)


def _connect(file: Path, read_only: bool) -> duckdb.DuckDBPyConnection:
    try:
        if read_only and not file.exists():  # a kill came before it was made
            _connect(file, read_only=False).close()
        connection = duckdb.connect(str(file), read_only=read_only)
        if not read_only:
            connection.execute((Path(__file__).parent / "schema.sql").read_text("utf-8"))
        connection.execute("SET enable_progress_bar = false")
    except duckdb.IOException as error:
        if "lock" in str(error).lower():
            holder = re.search(r"\(PID (\d+)", str(error))
            who = f"process {holder[1]}" if holder else "another process"
            raise RunLocked(
                f"run '{file.parent.name}' is in use by {who}; wait for it, stop it, "
                "or give this work another --run"
            ) from None
        raise StorageError(
            f"cannot open {file} ({_first_line(error)}); free some space, or move the run to a "
            "folder that can be written"
        ) from None
    except duckdb.Error as error:
        raise StorageError(
            f"{file} is not a run of this version ({_first_line(error)}); move it away"
        ) from None
    return connection


def _create(path: Path, settings: RunSettings, subject: Subject | None) -> None:
    """Make the run's folder; run.toml is written last, so its existence means it is whole."""
    import tomli_w

    about = {
        "run": {
            "name": path.name,
            "made": now().isoformat(timespec="seconds"),
            "settings_digest": settings.digest,
            "git_commit": _git_commit(),
        },
        "versions": {
            "python": platform.python_version(),
            "autointerp": __version__,
            **{
                name: importlib.metadata.version(name)
                for name in (
                    "torch",
                    "numpy",
                    "scipy",
                    "duckdb",
                    "openai",
                    "anthropic",
                )
            },
        },
        "settings": dataclasses.asdict(settings),
        "digests": dict(subject.digests) if subject else {},
        "analysis": {
            "primary_test": "Brunner-Munzel, two-sided, features against neurons",
            "level": 0.95,
        },
    }
    try:
        path.mkdir(parents=True, exist_ok=True)
        partial = path / "run.toml.partial"
        with partial.open("wb") as file:
            tomli_w.dump(about, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path / "run.toml")
    except OSError as error:
        raise StorageError(
            f"cannot make the run's folder {path} ({error.strerror}); choose another place"
        ) from None


def _check_same(path: Path, settings: RunSettings, subject: Subject | None) -> None:
    about = read_about(path)
    made_with = from_mapping(RunSettings, about["settings"], str(path / "run.toml"))
    remedy = f"give this work another --run, or remove {path}"
    difference = first_difference(settings, made_with)
    if difference is not None:
        raise RunMismatch(f"run '{path.name}' was made with other settings: {difference}; {remedy}")
    for part, digest in (subject.digests if subject else {}).items():
        if about["digests"].get(part) != digest:
            raise RunMismatch(f"run '{path.name}' was made with another {part}; {remedy}")


def read_about(path: Path) -> dict[str, Any]:
    """Return what a run's run.toml holds."""
    try:
        return tomllib.loads((path / "run.toml").read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StorageError(f"{path / 'run.toml'} cannot be read ({error}); restore it") from None


def _git_commit() -> str:
    """Return the commit of the checkout that runs, or an empty string outside one."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


__all__ = ["AutointerpError", "KeyedItem", "Run", "StoredUnit", "open_run", "runs_in"]
