"""A run on disk: `run.toml`, `run.duckdb` (see `database`) and `log.jsonl`.

Beside them, while a process has the run open or after it was killed, `replies.jsonl`: see
`replies`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import html
import importlib.metadata
import json
import os
import platform
import re
import secrets
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import duckdb

from autointerp import __version__
from autointerp.errors import BadInput, RunMismatch, StorageError, UnknownName
from autointerp.files import (
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    is_there,
    toml_table,
    unread,
    write_text,
)
from autointerp.settings import (
    SUBJECT_PLACES,
    RunSettings,
    first_difference,
    from_mapping,
)
from autointerp.store.batches import Batches
from autointerp.store.concepts import Concepts
from autointerp.store.covers import Covers
from autointerp.store.database import (
    DATABASE,
    LOG,
    SETTINGS,
    WAL,
    connect,
    require_unused,
    unopened,
)
from autointerp.store.firings import Firings
from autointerp.store.frames import Frames
from autointerp.store.labs import Labs
from autointerp.store.looks import PENDING, Looks
from autointerp.store.maps import Maps
from autointerp.store.matches import Matches
from autointerp.store.ratings import Ratings
from autointerp.store.replies import FILE as REPLIES
from autointerp.store.replies import Record, ReplyJournal, is_left, read_replies
from autointerp.store.tables import (
    COMMITS,
    first_line,
    now,
    read_commits,
    turn_of,
)
from autointerp.store.units import Units
from autointerp.subjects.provenance import changed_part
from autointerp.text import count, statuses_text

if TYPE_CHECKING:
    from autointerp.subjects import Subject

RUNS = Path("runs")
CHECKS = ".checks"  # beside the runs: what is known of raters
STORE = "store"  # in it, what they answered
TOKENS = ".tokens"  # beside the runs: token ids of their corpora, which can be deleted
IMPORTED = "imported"  # the subject of runs whose units come from files
IN_MEMORY = "in memory"  # and of those whose model a program had in memory
WITHOUT_SUBJECT = (IMPORTED, IN_MEMORY)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
OWN = (SETTINGS, DATABASE, WAL, COMMITS, LOG, REPLIES, PENDING, "harvest", "site_cache", "journals")

# What run.toml must hold, by table.
ABOUT: dict[str, dict[str, type | tuple[type, ...]]] = {
    "run": {"name": str, "made": (str, datetime.date), "settings_digest": str},
    "settings": {"subject": dict, "seed": int},
    "digests": {},
}

R = TypeVar("R", bound="Run")


def runs_in(folder: Path = RUNS) -> list[str]:
    """Return the names of the runs in a folder, sorted; of those, too, that lack their run.toml,
    and of folders that must not be entered, for they may be runs.

    Raises StorageError where the folder itself must not be read.
    """
    try:
        names = os.listdir(folder)
    except PermissionError as error:
        raise unread(folder, error) from None
    except OSError:  # there is none
        return []
    return sorted(name for name in names if _may_be_run(folder / name))


def _may_be_run(path: Path) -> bool:
    try:
        return any(is_there(path / name) for name in (SETTINGS, DATABASE))
    except PermissionError:
        return NAME.fullmatch(path.name) is not None


def run_exists(path: Path) -> bool:
    """Return whether a folder holds a run.

    Raises StorageError where it holds what is left of one: a new one would take its place; and
    where it must not be entered.
    """
    try:
        if is_there(path / SETTINGS):
            return True
    except PermissionError as error:
        raise unread(path, error) from None
    left = [name for name in (DATABASE, WAL, COMMITS, REPLIES, LOG) if (path / name).exists()]
    if left:
        raise StorageError(
            f"{path / SETTINGS} is missing, but {left[0]} is there; restore it from a copy, or by "
            f"`autointerp doctor {path.name}`, or move the folder away"
        )
    return False


class Run(Units, Ratings, Batches, Labs, Matches, Concepts, Firings, Maps, Covers, Looks, Frames):
    """An open run. Made by `open_run`; close it, or use it in a `with` statement.

    Attributes:
        notes: What opening it brought to light, a sentence each: replies that a kill left, lines
            that cannot be read.
        new: Paths that this opening made, the folder last.
    """

    def __init__(
        self, path: Path, about: dict[str, Any], connection: duckdb.DuckDBPyConnection
    ) -> None:
        self.path = path
        self.name = path.name
        self.connection = connection
        self.turn = turn_of(path)
        self.about = about
        self.notes: tuple[str, ...] = ()
        self.new: tuple[Path, ...] = ()
        self._replies: ReplyJournal | None = None
        self._untaken: list[Record] = []  # written to it, and not in the tables yet
        self._lock = threading.Lock()

    @cached_property
    def settings(self) -> RunSettings:
        """The settings that the run was made with."""
        return from_mapping(RunSettings, self.about["settings"], str(self.path / "run.toml"))

    @property
    def checks(self) -> Path:
        """The folder of raters' checks beside the run; the run of the checks itself lies in it."""
        runs = self.path.parent
        return runs if runs.name == CHECKS else runs / CHECKS

    @property
    def is_imported(self) -> bool:
        """Whether there is no subject to harvest more from: its units come from files, or from a
        model in memory."""
        return self.about["settings"]["subject"]["model"] in WITHOUT_SUBJECT

    @property
    def is_from_memory(self) -> bool:
        """Whether its units were harvested from a model in memory."""
        return bool(self.about["settings"]["subject"]["model"] == IN_MEMORY)

    @property
    def without_model(self) -> str:
        """How a run without a subject came by its units, in words."""
        return "harvested from a model in memory" if self.is_from_memory else "imported without one"

    def fence(self, item_id: str) -> str:
        """Return the code round what a rater is quoted of an item: nobody can know it beforehand.

        Empty for a run made before it had a secret: prompts then keep the code that they had.
        """
        secret = self.about["run"].get("fence", "")
        if not secret:
            return ""
        return hashlib.blake2b(item_id.encode(), key=secret.encode(), digest_size=8).hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write_reply(self, record: Record) -> int:
        """Write the record of a call where no kill loses it; return its number.

        The tables get it by `take_in_replies`, which another thread may call meanwhile. Raises
        StorageError where it cannot be written.
        """
        if self._replies is None:
            self._replies = ReplyJournal(self.path / REPLIES)
        self._replies.write(record)
        with self._lock:
            self._untaken.append(record)
        return int(record["seq"])

    def sync_replies(self) -> None:
        """Have all records on the disk that were written; another thread may write meanwhile."""
        if self._replies is not None:
            self._replies.sync()

    def take_in_replies(self, lost: Sequence[Record] = ()) -> None:
        """Store what was written since the last time, and charges of calls that are `lost`.

        Raises StorageError where the database cannot be written; the records are kept.
        """
        with self._lock:
            records, self._untaken = self._untaken, []
        if self._replies is None or not (records or lost):
            return
        try:
            self.take_in(self._replies.identity, records, lost)
        except BaseException:
            with self._lock:
                self._untaken = records + self._untaken
            raise

    def close(self) -> None:
        """Write everything out and release the file."""
        self.connection.close()
        if self._replies is not None:
            # Without a write-ahead log beside it, all that was committed is in the database.
            whole = not self._untaken and not (self.path / WAL).exists()
            (self._replies.remove if whole else self._replies.close)()
            self._replies = None

    def discard(self) -> None:
        """Close the run and remove what this opening made, and nothing else."""
        self.close()
        for path in self.new:
            with contextlib.suppress(OSError):
                if not path.is_dir():
                    path.unlink(missing_ok=True)
                elif path.name in ("harvest", "site_cache"):
                    shutil.rmtree(path)
                else:
                    path.rmdir()  # only if nothing else is in it

    def __repr__(self) -> str:
        try:
            held, raters = self._contents()
        except (duckdb.Error, BadInput):  # closed
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
        except (duckdb.Error, BadInput):
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

    def committed_usd(self) -> float:
        """Return what the run has cost, with the most that calls in open batches can cost."""
        return self.spent_usd() + sum(batch["most_usd"] or 0.0 for batch in self.open_batches())

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
        handle = -1
        try:
            handle = os.open(self.path / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE_FILE)
            os.write(handle, line.encode() + b"\n")
        except OSError as error:
            raise StorageError(f"cannot write {self.path / LOG} ({error.strerror})") from None
        finally:
            if handle >= 0:
                os.close(handle)


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

    What a killed process had received is taken in first.

    Raises UnknownName if there is no such run and no settings, RunMismatch if it was made with
    other settings or another subject, RunLocked if another process has it open, StorageError if
    it is damaged or cannot be read or written.
    """
    return open_as(Run, name, settings, subject, folder, read_only)


def open_as(
    kind: type[R],
    name: str,
    settings: RunSettings | None = None,
    subject: Subject | None = None,
    folder: Path = RUNS,
    read_only: bool = False,
) -> R:
    """Return a run as `open_run` does, as an object of a class of its own."""
    path = checked_path(name, folder)
    if wrong := set("?\\") & set(str(path.resolve())):
        raise StorageError(
            f"runs in {folder.resolve()}: DuckDB takes no {' and no '.join(sorted(wrong))} in the "
            "path of a database; choose another folder"
        )
    new = _lacking(path)
    if not run_exists(path):
        if settings is None:
            raise _no_such_run(name, folder)
        _create(path, settings, subject)
    elif settings is not None:
        _check_same(path, settings, subject)
    about = read_about(path)
    notes: tuple[str, ...] = ()
    was_killed = is_left(path / REPLIES)
    if read_only and was_killed:
        notes = _take_in_first(path)
    run = kind(path, about, connect(path, read_only))
    run.new, run.notes = new, notes
    try:
        with run.turn.lock:
            run.turn.commits = checked_commits(run, read_commits(path))
        if not read_only and was_killed:
            run.notes = _recover(run)
        if not read_only:
            run.take_in_looks()
    except BaseException:
        run.connection.close()
        raise
    return run


def existing_run(name: str, folder: Path = RUNS) -> Path:
    """Return the folder of the run `name`. Raises UnknownName if there is none."""
    path = checked_path(name, folder)
    if not run_exists(path):
        raise _no_such_run(name, folder)
    return path


def checked_path(name: str, folder: Path) -> Path:
    """Return the folder of a run, which need not exist. Raises UnknownName for what is no name,
    BadInput where a folder with a run is called so.
    """
    if not isinstance(name, str):
        raise BadInput(f"run {name!r}: give its name, a text, and the folder of the runs beside it")
    if NAME.fullmatch(name):
        return folder / name
    known = runs_in(folder)
    names = "a name is up to 100 ASCII letters, digits, '.', '_' and '-', a letter or digit first"
    if name in known:
        raise BadInput(f"run '{name}': {names}; rename its folder {folder / name}")
    raise UnknownName("run", name, known, names)


def _no_such_run(name: str, folder: Path) -> UnknownName:
    return UnknownName("run", name, runs_in(folder), f"`autointerp rate --run {name}` makes one")


def _lacking(path: Path) -> tuple[Path, ...]:
    """Return what a run has and is not there yet, folders after what is in them."""
    folders = [folder for folder in (path, *path.parents) if not folder.exists()]
    return (*(path / name for name in OWN if not (path / name).exists()), *folders)


def _take_in_first(path: Path) -> tuple[str, ...]:
    """Take in the replies of a killed process, before a run is opened for reading alone."""
    if not (path / DATABASE).exists():
        require_unused(path)
    if not os.access(path, os.W_OK) or not os.access(path / DATABASE, os.W_OK):
        raise StorageError(
            f"{path / REPLIES} holds replies that a stopped command left, and the run cannot be "
            "written to take them in; copy the run to a folder that can be written"
        )
    with open_run(path.name, folder=path.parent) as run:
        return run.notes


def checked_commits(run: Run, expected: int) -> int:
    """Return the number of the run's transactions, of which there should be `expected` at least.

    Raises StorageError where the database lacks the last ones: its log was lost, or an older copy
    stands in its place.
    """
    rows = run.rows("SELECT value FROM state WHERE name = ?", [COMMITS])
    commits = int(rows[0][0]) if rows else 0
    if commits < expected:
        raise StorageError(
            f"{run.path / DATABASE} lacks the last {expected - commits} of {expected} "
            f"transactions: {WAL} is missing or cut, or the file is an older copy; restore it, or "
            f"accept what is there with `autointerp doctor {run.name}`"
        )
    return commits


def _recover(run: Run) -> tuple[str, ...]:
    """Take in what a killed process had received; return what there is to say of it."""
    file = run.path / REPLIES
    recovered = read_replies(file)
    run.recover(recovered)
    try:
        run.execute("CHECKPOINT")  # so that the database alone has all of it
    except duckdb.Error as error:
        raise unopened(run.path, error) from None
    if not recovered.damaged:
        file.unlink()
        return ()
    kept = set_aside(file)
    lines = ", ".join(str(number) for number in recovered.damaged[:5])
    return (
        f"run '{run.name}': {count(len(recovered.damaged), 'line')} of {REPLIES} cannot be "
        f"read (line {lines}), and the replies there are lost; the rest was taken in, and the file "
        f"is kept as {kept.name}",
    )


def set_aside(file: Path) -> Path:
    """Rename a damaged file so that it does no more harm; return its new path."""
    number = 1
    while (kept := file.with_name(f"{file.stem}.damaged-{number}{file.suffix}")).exists():
        number += 1
    return file.replace(kept)


def open_checks(folder: Path = RUNS) -> Run:
    """Return the store of the raters' checks beside the runs in `folder`; made if not there."""
    checks = folder / CHECKS
    with contextlib.suppress(OSError):  # said when the run is made
        checks.parent.mkdir(parents=True, exist_ok=True)
        checks.mkdir(PRIVATE_FOLDER, exist_ok=True)
    there = run_exists(checks / STORE)
    return open_run(STORE, None if there else RunSettings(), folder=checks)


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
            **_installed(("torch", "numpy", "scipy", "duckdb", "openai", "anthropic")),
        },
        "settings": dataclasses.asdict(settings),
        "digests": dict(subject.digests) if subject else {},
        "analysis": {
            "primary_test": "Brunner-Munzel, two-sided, features against neurons",
            "level": 0.95,
        },
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(PRIVATE_FOLDER, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot make the run's folder {path} ({error.strerror}); choose another place"
        ) from None
    write_text(path / SETTINGS, tomli_w.dumps(about), mode=PRIVATE_FILE)


def _check_same(path: Path, settings: RunSettings, subject: Subject | None) -> None:
    about = read_about(path)
    made_with = from_mapping(RunSettings, about["settings"], str(path / "run.toml"))
    remedy = f"give this work another --run, or remove {path}"
    difference = first_difference(settings, made_with)
    if difference is not None:
        for part in SUBJECT_PLACES:
            made_of = getattr(made_with.subject, part)
            if made_of == getattr(settings.subject, part) or not Path(made_of).is_absolute():
                continue
            if not Path(made_of).exists():  # so the settings' own name was not found either
                raise RunMismatch(
                    f"run '{path.name}' was made of {made_of} (subject.{part}), which is not there "
                    f"any more; put it back, or {remedy}"
                )
        raise RunMismatch(f"run '{path.name}' was made with other settings: {difference}; {remedy}")
    if subject is not None:
        require_same_subject(path, about, subject)


def require_same_subject(path: Path, about: Mapping[str, Any], subject: Subject) -> None:
    """Raise RunMismatch where a part of a subject is not what the run was made of."""
    part = changed_part(about["digests"], subject.digests)
    if part is not None:
        raise RunMismatch(
            f"run '{path.name}' was made with another {part}; give this work another --run, or "
            f"remove {path}"
        )


def read_about(path: Path) -> dict[str, Any]:
    """Return what a run's run.toml holds. Raises StorageError if it is not that of a run."""
    file = path / SETTINGS
    try:
        about = toml_table(file.read_text("utf-8"))
    except PermissionError as error:
        raise unread(path, error) from None
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{file} cannot be read ({first_line(error)}); {_restore(path)}"
        ) from None
    for table, names in ABOUT.items():
        if not isinstance(about.get(table), dict):
            raise StorageError(f"{file} has no table [{table}]; {_restore(path)}")
        for name, kind in names.items():
            if not isinstance(about[table].get(name), kind):
                raise StorageError(f"{file}: [{table}] lacks {name}; {_restore(path)}")
    if not isinstance(about["settings"]["subject"].get("model"), str):
        raise StorageError(f"{file}: [settings.subject] lacks model; {_restore(path)}")
    return about


def _restore(path: Path) -> str:
    return f"restore it from a copy, or by `autointerp doctor {path.name}`"


@cache  # a process runs what it has imported
def _installed(packages: tuple[str, ...]) -> Mapping[str, str]:
    """Return the versions of those packages that are installed."""
    versions = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


@cache
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
