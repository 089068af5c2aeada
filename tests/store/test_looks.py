"""Looks that wait beside a database which another process writes."""

import datetime
from pathlib import Path
from typing import Any

import pytest

from autointerp.settings import RunSettings
from autointerp.store.looks import NAMES, PENDING, add_pending_look, pending_looks
from autointerp.store.run import open_run


def look(digest: str, number: int = 1) -> dict[str, Any]:
    texts = dict.fromkeys(NAMES, "x")
    return {
        **texts,
        "made_at": "2026-01-02T03:04:05",
        "number": number,
        "n": [3, 4],
        "asked": [5, 6],
        "value": 0.5,
        "low": None,
        "high": None,
        "p": None,
        "level": 0.95,
        "stopped": False,
        "stopping": None,
        "digest": digest,
        "plan": None,
    }


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    with open_run("main", RunSettings(), folder=tmp_path) as run:
        run.add_look(look("stored"))
    return tmp_path / "main"


def digests(folder: Path, read_only: bool) -> list[tuple[int, str]]:
    with open_run("main", folder=folder.parent, read_only=read_only) as run:
        return [(row["look"], row["digest"]) for row in run.stored_looks()]


def test_a_look_that_waits_is_in_the_ledger_at_once_and_in_the_database_later(run_folder: Path):
    add_pending_look(run_folder, look("waiting"))
    both = [(0, "stored"), (1, "waiting")]
    assert digests(run_folder, read_only=True) == both
    assert (run_folder / PENDING).exists()
    assert digests(run_folder, read_only=False) == both
    assert not (run_folder / PENDING).exists()
    assert digests(run_folder, read_only=True) == both


def test_the_same_look_counts_once(run_folder: Path):
    for digest in ("waiting", "waiting", "stored"):
        add_pending_look(run_folder, look(digest))
    assert [digest for _, digest in digests(run_folder, read_only=True)] == ["stored", "waiting"]
    assert [digest for _, digest in digests(run_folder, read_only=False)] == ["stored", "waiting"]


def test_a_line_that_a_kill_cut_off_is_no_look(run_folder: Path):
    add_pending_look(run_folder, look("waiting"))
    whole = (run_folder / PENDING).read_bytes()
    (run_folder / PENDING).write_bytes(whole + whole[:40])
    assert [one["digest"] for one in pending_looks(run_folder)] == ["waiting"]
    assert len(digests(run_folder, read_only=False)) == 2


def test_a_look_keeps_what_it_was(run_folder: Path):
    add_pending_look(run_folder, look("waiting", number=7))
    with open_run("main", folder=run_folder.parent, read_only=True) as run:
        waiting = run.stored_looks()[1]
    with open_run("main", folder=run_folder.parent) as run:
        assert run.stored_looks()[1] == waiting
    assert waiting["made_at"] == datetime.datetime(2026, 1, 2, 3, 4, 5)
    assert (waiting["number"], waiting["n"]) == (7, [3, 4])
