"""A run on disk: `run.toml`, `run.duckdb`, `log.jsonl`. The only module that opens them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import html
import importlib.metadata
import json
import platform
import re
import secrets
import subprocess
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from autointerp import __version__
from autointerp.errors import RunLocked, RunMismatch, StorageError, UnknownName
from autointerp.files import toml_table, write_text
from autointerp.settings import RunSettings, first_difference, from_mapping
from autointerp.store.batches import Batches
from autointerp.store.frames import Frames
from autointerp.store.labs import Labs
from autointerp.store.looks import Looks
from autointerp.store.ratings import Ratings
from autointerp.store.tables import first_line, now
from autointerp.store.units import Units
from autointerp.text import statuses_text

if TYPE_CHECKING:
    from autointerp.subjects import Subject

RUNS = Path("runs")
IMPORTED = "imported"  # the subject of runs whose units come from files
VIEW = re.compile(r"CREATE OR REPLACE (?P<kind>VIEW|MACRO) (?P<name>\w+)")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def runs_in(folder: Path = RUNS) -> list[str]:
    """Return the names of the runs in a folder, sorted."""
    return sorted(path.parent.name for path in folder.glob("*/run.toml"))


class Run(Units, Ratings, Batches, Labs, Looks, Frames):
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

    def fence(self, item_id: str) -> str:
        """Return the code round what a rater is quoted of an item: nobody can know it beforehand.

        Empty for a run made before it had a secret: prompts then keep the code that they had.
        """
        secret = self.about["run"].get("fence", "")
        if not secret:
            return ""
        return hashlib.blake2b(item_id.encode(), key=secret.encode(), digest_size=8).hexdigest()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write everything out and release the file."""
        self.connection.close()

    def __repr__(self) -> str:
        try:
            held, raters = self._contents()
        except duckdb.Error:  # closed
            return f"<run '{self.name}' in {self.path}, closed>"
        units = ", ".join(
            f"{n:,} {source}{' (control)' if is_control else ''}"
            for source, (n, is_control) in held.items()
        )
        ratings = "; ".join(f"{rater}: {statuses_text(n)}" for rater, n in raters.items())
        return (
            f"<run '{self.name}' in {self.path}: {units or 'no units'}; {ratings or 'no ratings'}>"
        )

    def _repr_html_(self) -> str:
        """Return the same as two small tables, for a notebook."""
        try:
            held, raters = self._contents()
        except duckdb.Error:
            return html.escape(repr(self))
        units = [
            (source, f"{n:,}", "control" if is_control else "studied")
            for source, (n, is_control) in held.items()
        ]
        ratings = [(rater, statuses_text(statuses)) for rater, statuses in raters.items()]
        return (
            f"<b>run {html.escape(self.name)}</b> in {html.escape(str(self.path))}"
            + _html_table(("source", "units", ""), units)
            + _html_table(("rater", "ratings"), ratings)
        )

    def _contents(self) -> tuple[dict[str, tuple[int, bool]], dict[str, dict[str, int]]]:
        """Return eligible units by source, and ratings by rater and status."""
        raters: dict[str, dict[str, int]] = {}
        for rater, status, n in self.rows(
            "SELECT rater, status, count(*) FROM unit_rating GROUP BY ALL ORDER BY ALL"
        ):
            raters.setdefault(rater, {})[status] = n
        return self.held_units(), raters

    def remember(self, name: str, value: str) -> None:
        """Keep a fact about the world outside, such as what a server can do."""
        with self.transaction():
            self.connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", [name, value])

    def recall(self, name: str) -> str | None:
        """Return what was remembered under `name`, or None."""
        rows = self.rows("SELECT value FROM about WHERE name = ?", [name])
        return str(rows[0][0]) if rows else None

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


def _html_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [
        "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
        for tag, row in [("th", heads), *(("td", row) for row in rows)]
    ]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>" if rows else ""


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
            "run", name, runs_in(folder), "a name is up to 100 letters, digits, '.', '_' and '-'"
        )
    path = folder / name
    if wrong := set("?\\") & set(str(path.resolve())):
        raise StorageError(
            f"runs in {folder.resolve()}: DuckDB takes no {' and no '.join(sorted(wrong))} in the "
            "path of a database; choose another folder"
        )
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
        connection = duckdb.connect(str(file.resolve()), read_only=read_only)
        _bring_up_to_date(connection, read_only)
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
            f"cannot open {file} ({first_line(error)}); free some space, or move the run to a "
            "folder that can be written"
        ) from None
    except duckdb.Error as error:
        raise StorageError(
            f"{file} is not a run of this version ({first_line(error)}); move it away"
        ) from None
    return connection


def _bring_up_to_date(connection: duckdb.DuckDBPyConnection, read_only: bool) -> None:
    """Make the tables and views that a run of an earlier version lacks.

    A file that cannot be written gets the views for this connection only. A view of a table that
    the file lacks is left out: the run is older than what the view is about.
    """
    folder = Path(__file__).parent
    views = (folder / "views.sql").read_text("utf-8")
    if not read_only:
        connection.execute((folder / "schema.sql").read_text("utf-8") + views)
        _widen(connection)
        return
    there = {
        name
        for (name,) in connection.execute(
            "SELECT view_name FROM duckdb_views() WHERE NOT internal UNION ALL"
            " SELECT function_name FROM duckdb_functions() WHERE NOT internal"
        ).fetchall()
    }
    for statement in duckdb.extract_statements(views):
        made = VIEW.search(statement.query)
        if made is not None and made["name"] not in there:
            with contextlib.suppress(duckdb.CatalogException, duckdb.BinderException):
                connection.execute(
                    VIEW.sub(r"CREATE OR REPLACE TEMP \g<kind> \g<name>", statement.query)
                )


def _widen(connection: duckdb.DuckDBPyConnection) -> None:
    """Let trials of a run of an earlier version point to tokens beyond the 32,767th."""
    for (column,) in connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = 'probe'"
        " AND data_type = 'SMALLINT[]'"
    ).fetchall():
        connection.execute(f"ALTER TABLE probe ALTER COLUMN {column} SET DATA TYPE INTEGER[]")


def _create(path: Path, settings: RunSettings, subject: Subject | None) -> None:
    """Make the run's folder; run.toml is written last, so its existence means all is there."""
    import tomli_w

    about = {
        "run": {
            "name": path.name,
            "made": now().isoformat(timespec="seconds"),
            "settings_digest": settings.digest,
            "git_commit": _git_commit(),
            "fence": secrets.token_hex(16),  # of the codes round quoted text, see `Run.fence`
        },
        "versions": {
            "python": platform.python_version(),
            "autointerp": __version__,
            **dict(_installed("torch", "numpy", "scipy", "duckdb", "openai", "anthropic")),
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
    except OSError as error:
        raise StorageError(
            f"cannot make the run's folder {path} ({error.strerror}); choose another place"
        ) from None
    write_text(path / "run.toml", tomli_w.dumps(about))


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
        return toml_table((path / "run.toml").read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StorageError(f"{path / 'run.toml'} cannot be read ({error}); restore it") from None


def _installed(*packages: str) -> Iterator[tuple[str, str]]:
    """Yield name and version of those packages that are installed."""
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)


def _git_commit() -> str:
    """Return the commit of the checkout that runs, or an empty string outside one."""
    try:
        git = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return git.stdout.strip() if git.returncode == 0 else ""
