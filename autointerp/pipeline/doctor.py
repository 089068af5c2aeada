"""What must be in order: before money is spent, libraries, disk, keys, servers; later, a run."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from autointerp import __version__
from autointerp.engine.own_loop import run_to_end
from autointerp.errors import AutointerpError, BadInput, StorageError, UnknownName
from autointerp.people.ingest import ingest_journals, journals_folder
from autointerp.people.journal import damage_text, read_journal
from autointerp.questions.items import item_id
from autointerp.raters import (
    CheckedRater,
    Finding,
    Rater,
    RaterOptions,
    check_keys,
    libraries,
)
from autointerp.store.database import DATABASE, SETTINGS
from autointerp.store.repair import (
    Copies,
    beside,
    diagnose,
    open_unchanged,
    orphans,
    rebuild_database,
    repair_database,
    restore_settings,
)
from autointerp.store.replies import FILE as REPLIES
from autointerp.store.replies import read_replies
from autointerp.store.run import RUNS, Run, open_run, read_about, runs_in
from autointerp.text import count, dollars

REPAIR = "`autointerp doctor` without --dry-run repairs what can be"
LIBRARIES = ("torch", "duckdb")  # of the package itself; each rater's file says its own
LEAST_FREE = 2 * 2**30
SLOWEST_SYNC_S = 0.2


def examine(rater: Rater | None, options: RaterOptions, runs: Path = RUNS) -> Iterator[Finding]:
    """Yield what is in order and what is not; at most one call is paid, and only for `rater`."""
    yield Finding(True, "python", platform.python_version())
    yield from _libraries()
    yield from _disk(runs)
    yield from check_keys(options.base_url)
    if rater is not None:
        yield from _rater(rater)


def _libraries() -> Iterator[Finding]:
    for name in (*LIBRARIES, *libraries()):
        try:
            yield Finding(True, name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(True, name, "not installed (only some raters need it)")
    fast = importlib.util.find_spec("aiohttp") is not None
    yield Finding(
        True, "aiohttp", "installed" if fast else "not installed: calls take twice the CPU"
    )


def _disk(runs: Path) -> Iterator[Finding]:
    folder = runs if runs.is_dir() else runs.absolute().parent
    free = shutil.disk_usage(folder).free
    yield Finding(
        free >= LEAST_FREE,
        "free disk",
        f"{free / 2**30:.1f} GB at {folder.absolute()}",
        "free some space" if free < LEAST_FREE else "",
    )
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".doctor-") as scratch:
            began = time.perf_counter()
            with (Path(scratch) / "synced").open("wb") as file:
                file.write(b"x")
                os.fsync(file.fileno())
            took = time.perf_counter() - began
    except OSError as error:
        yield Finding(
            False, "writing", f"{folder} cannot be written ({error.strerror})", "choose another"
        )
        return
    slow = took > SLOWEST_SYNC_S
    yield Finding(True, "writing", f"a durable write took {took * 1000:.0f} ms{' (slow)' * slow}")


def _rater(rater: Rater) -> Iterator[Finding]:
    if not isinstance(rater, CheckedRater):
        yield Finding(True, rater.name, "needs no key and no server")
        return
    try:
        yield from run_to_end(rater.check())
    except AutointerpError as error:
        yield Finding(False, rater.name, str(error), "see above")


# ------------------------------------------------------------------------------------- a run


def examine_run(name: str, repair: bool = True, runs: Path = RUNS) -> Iterator[Finding]:
    """Yield what is in order with a run and what is not; with `repair`, what can be, is first.

    Before a file is changed a copy of it is put into a folder of the run. Raises UnknownName if
    there is no such run, RunLocked if another process has it open.
    """
    path = runs / name
    if name not in runs_in(runs):
        raise UnknownName("run", name, runs_in(runs))
    copies = Copies(path)
    settings = _settings(path, repair, copies)
    yield settings
    database = _database(path, repair, copies)
    yield database
    if settings.ok and database.ok:
        with open_run(name, folder=runs) if repair else open_unchanged(path) as run:
            for note in run.notes:
                yield Finding(False, "replies", note)
            yield _replies(run)
            yield from _tables(run)
            yield _digests(run)
            yield from _journals(run, repair)
            yield _unknown_cost(run)
    yield _leftovers(path, repair, copies)
    mode = path.stat().st_mode & 0o077
    words = f"others may read it: chmod -R go= {path}" if mode else "its owner's alone"
    yield Finding(True, "permissions", words)
    if copies.folder.exists():
        yield Finding(True, "copies", f"of what was changed are in {copies.folder}")


def _settings(path: Path, repair: bool, copies: Copies) -> Finding:
    try:
        read_about(path)
    except StorageError as error:
        is_private = isinstance(error.__context__, PermissionError)  # and perhaps whole
        if repair and not is_private and restore_settings(path, copies):
            return Finding(True, SETTINGS, "was restored from the database")
        return Finding(False, SETTINGS, str(error), "" if repair else REPAIR)
    return Finding(True, SETTINGS, "is whole")


def _database(path: Path, repair: bool, copies: Copies) -> Finding:
    done: list[str] = []
    while (diagnosis := diagnose(path)).trouble:
        words = "; ".join([*done, diagnosis.words])
        if len(done) == 3:
            return Finding(False, DATABASE, words, "restore it from a copy")
        if not repair:
            found = str(beside(path)) if diagnosis.trouble == "missing" else ""
            lies = f"; beside it are {found}" if found else ""
            return Finding(False, DATABASE, f"{words}{lies}", REPAIR)
        try:
            if diagnosis.trouble == "missing":
                done.append(rebuild_database(path, copies))
                continue
            done.append(f"{diagnosis.words}: {repair_database(path, diagnosis, copies)}")
        except StorageError as error:
            return Finding(False, DATABASE, str(error))
    return Finding(True, DATABASE, "; ".join(done) or "every table can be read")


def _replies(run: Run) -> Finding:
    file = run.path / REPLIES
    if file.exists():
        waiting = sum(record["kind"] == "came" for record in read_replies(file).records)
        words = f"{count(waiting, 'record')} of a stopped command; the next one takes them in"
        return Finding(True, "replies", words)
    damaged = sorted(path.name for path in run.path.glob("replies.damaged-*.jsonl"))
    words = f"all are in the database; {', '.join(damaged)} could not be read whole"
    return Finding(True, "replies", words if damaged else "all are in the database")


def _tables(run: Run) -> Iterator[Finding]:
    """Yield what rows lack that they belong to."""
    lacking = [one for one in orphans(run) if one.rows]
    for one in lacking:
        yield Finding(False, "keys", f"{one.rows:,} {one.what}", one.remedy)
    if not lacking:
        yield Finding(True, "keys", "every item has its key, every key its unit and contexts")


def _digests(run: Run) -> Finding:
    """Return whether what digests name is what they were made of."""
    seed = run.settings.seed
    wrong = [
        f"item {item}"
        for item, unit, digest, evidence in run.rows(
            "SELECT item_id, unit_id, rubric_digest, evidence FROM unit_item ORDER BY item_id"
        )
        if item_id(seed, unit, digest, evidence) != item
    ]
    wrong += [
        f"rubric {digest[:12]}"
        for digest, content in run.rubric_contents().items()
        if hashlib.sha256(content.encode()).hexdigest() != digest
    ]
    made_here = run.about.get("versions", {}).get("autointerp") == __version__
    if made_here and run.about["run"]["settings_digest"] != run.settings.digest:
        wrong.append(f"settings in {SETTINGS}")
    if not wrong:
        return Finding(True, "digests", "items, rubrics and settings are what they were")
    words = f"{count(len(wrong), 'digest does', 'digests do')} not fit: {', '.join(wrong[:5])}"
    return Finding(False, "digests", words, f"restore {DATABASE} and {SETTINGS} from a copy")


def _journals(run: Run, repair: bool) -> Iterator[Finding]:
    """Yield what can be read of each person's journal; with `repair` the run takes it in."""
    told: list[str] = []
    if repair:
        ingest_journals(run, told.append)
    known = [row[0] for row in run.rows("SELECT session_id FROM human_session")]
    for path in sorted(journals_folder(run.path).glob("*.jsonl")):
        about = f"journals/{path.name}"
        try:
            read = read_journal(path, known)
        except BadInput as error:
            yield Finding(False, about, str(error), "restore it from a copy, or move it away")
            continue
        answers = sum(len(entries) for entries in read.entries.values())
        words = damage_text(path, read) or "is whole"
        refused = [one for one in told if one.startswith("not read") and str(path) in one]
        whole = not (read.edited or read.session is None or refused)
        remedy = "" if whole else "put the journal back as it was, from a copy"
        yield Finding(
            whole,
            about,
            "; ".join([f"{count(answers, 'entry', 'entries')}", words, *refused]),
            remedy,
        )


def _unknown_cost(run: Run) -> Finding:
    ((calls, usd),) = run.rows("SELECT count(*), coalesce(sum(usd), 0) FROM charge")
    most = f"{count(calls, 'call')}, counted at {dollars(usd)}, the most that they can cost"
    return Finding(True, "unknown cost", most if calls else "none")


def _leftovers(path: Path, repair: bool, copies: Copies) -> Finding:
    """Return what killed processes left half written, and move it to the copies."""
    left = [one for one in sorted(path.glob(".*.partial")) if one.is_file()]
    if repair:
        copies.keep(*left)
        for one in left:
            one.unlink()
    names = ", ".join(one.name for one in left)
    return Finding(True, "leftovers", f"{'removed ' * repair}{names}" if left else "none")
