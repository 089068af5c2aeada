"""A run's plan, and the ledger of looks at its ratings: both only ever grow.

A look at a run that another process is writing goes into a file beside the database; the next
process that opens the run for writing takes it in.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autointerp.files import json_value, open_locked, sync_folder, unwritten, write_all
from autointerp.store.tables import Tables

PENDING = "looks.jsonl"  # beside the database: looks that are not in it yet
LOOK_COLUMNS = (
    "made_at, verb, rubric, rubric_digest, rater, first, second, number, n, asked, value, low,"
    " high, p, level, method, rule, stopped, stopping, digest, plan"
)
NAMES = LOOK_COLUMNS.replace(" ", "").split(",")
WHAT = ("rubric_digest", "rater", "first", "second", "digest")  # the same: the same look


class Looks(Tables):
    """What a run holds of plans and looks."""

    def add_plan(self, digest: str, made_at: str, content: Mapping[str, Any]) -> None:
        """Store a plan; it supersedes the earlier ones, which stay."""
        row = {
            "digest": digest,
            "made_at": made_at,
            "content": json.dumps(content, sort_keys=True),
        }
        with self.transaction():
            self.insert("plan", [{"plan": self.next_id("plan", "plan"), **row}])

    def stored_plans(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return digest, time and content of each plan, the last one last."""
        rows = sorted(self.rows("SELECT plan, digest, made_at, content FROM plan"))
        return [(digest, made_at, json.loads(content)) for _, digest, made_at, content in rows]

    def add_look(self, row: Mapping[str, Any]) -> None:
        """Store a look: the columns `LOOK_COLUMNS` by name."""
        with self.transaction():
            self.insert("look", [{"look": self.next_id("look", "look"), **row}])

    def stored_looks(self) -> list[dict[str, Any]]:
        """Return the looks in their order, columns by name, those that are not in the database yet
        at the end; none of a run older than the ledger."""
        rows = self.rows(f"SELECT look, {', '.join(NAMES)} FROM look ORDER BY look")
        looks = [dict(zip(["look", *NAMES], row, strict=True)) for row in rows]
        following = looks[-1]["look"] + 1 if looks else 0
        new = lacking_looks(looks, pending_looks(self.path))
        return looks + [{"look": number, **look} for number, look in enumerate(new, following)]

    def take_in_looks(self) -> None:
        """Store the looks that wait beside the database."""
        if not (self.path / PENDING).exists():
            return
        with _locked(self.path) as handle:
            waiting = pending_looks(self.path)
            stored = [
                dict(zip(WHAT, row, strict=True))
                for row in self.rows(f"SELECT {', '.join(WHAT)} FROM look")
            ]
            for look in lacking_looks(stored, waiting):
                self.add_look(look)
            os.ftruncate(handle, 0)
            (self.path / PENDING).unlink(missing_ok=True)

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be written to the run through this connection."""
        return bool(
            self.rows(
                "SELECT readonly FROM duckdb_databases() WHERE database_name = current_database()"
            )[0][0]
        )


def add_pending_look(path: Path, row: Mapping[str, Any]) -> None:
    """Append a look to the file beside the database of the run in `path`; it is on the disk then.

    Raises StorageError where it cannot be written.
    """
    line = json.dumps({name: row[name] for name in NAMES}, default=str).encode() + b"\n"
    with _locked(path) as handle:
        end = os.lseek(handle, 0, os.SEEK_END)
        try:
            write_all(handle, line)
        except OSError as error:
            os.ftruncate(handle, end)
            raise unwritten(path / PENDING, error) from None


def pending_looks(path: Path) -> list[dict[str, Any]]:
    """Return the looks that wait beside a database; a last line that was cut off is none."""
    try:
        content = (path / PENDING).read_bytes()
    except OSError:
        return []
    looks = []
    for line in content[: content.rfind(b"\n") + 1].splitlines():
        try:
            look = json_value(line)
            look["made_at"] = datetime.datetime.fromisoformat(look["made_at"])
        except (ValueError, TypeError, KeyError):
            continue  # damaged: nothing can be learned from it
        if isinstance(look, dict) and look.keys() == set(NAMES):
            looks.append(look)
    return looks


def lacking_looks(
    stored: list[dict[str, Any]], waiting: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the looks that wait and are not stored, each once."""
    seen = {tuple(look[name] for name in WHAT) for look in stored}
    new = []
    for look in waiting:
        key = tuple(look[name] for name in WHAT)
        if key not in seen:
            seen.add(key)
            new.append(look)
    return new


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Hold the lock of the file of looks, which is made if it is not there."""
    file = path / PENDING
    while True:
        handle = open_locked(file, wait=True)
        assert handle is not None
        try:
            # Who had the lock before may have removed the file that this one waited for.
            if file.exists() and os.fstat(handle).st_ino == file.stat().st_ino:
                sync_folder(path)
                yield handle
                return
        finally:
            os.close(handle)
