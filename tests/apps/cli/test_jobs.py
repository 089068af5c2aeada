"""`autointerp jobs`: what the folders of jobs say, without a server."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from autointerp.apps.service._jobs import Asked, Jobs
from autointerp.files import open_locked

ID = "20260101-000000-abcdef"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job that has ended, as its child leaves it."""
    place = Jobs(tmp_path / "runs").folder / ID
    place.mkdir(parents=True)
    fields = {"asked": asdict(Asked(run="main", rater="scripted:4")), "made_at": "2026-01-01"}
    (place / "job.json").write_text(json.dumps(fields))
    lines = [
        {"kind": "Note", "text": "note: slow", "fields": {"text": "slow"}},
        {"kind": "Ended", "text": "28 ok", "fields": {"state": "done"}},
    ]
    (place / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = {"state": "done", "text": "28 ok", "ended_at": "2026-01-01"}
    (place / "result.json").write_text(json.dumps(result))
    return place


def test_jobs_are_listed_with_their_state(command_line: Callable, job: Path):
    listed = command_line("jobs", "list").out
    assert ID in listed
    assert "done" in listed
    (shown,) = json.loads(command_line("jobs", "list", "--json").out)
    assert (shown["id"], shown["state"], shown["asked"]["rater"]) == (ID, "done", "scripted:4")


def test_watching_shows_events_and_how_it_ended(command_line: Callable, job: Path):
    watched = command_line("jobs", "watch")
    assert watched.code == 0
    assert "note: slow" in watched.err
    assert f"job {ID}: done: 28 ok" in watched.out


def test_ctrl_c_ends_the_watching_and_says_that_the_job_goes_on(
    command_line: Callable, job: Path, monkeypatch: pytest.MonkeyPatch
):
    def pressed(_: float) -> None:
        raise KeyboardInterrupt

    (job / "result.json").unlink()
    lock = open_locked(job / "lock")  # as its child has it
    monkeypatch.setattr("time.sleep", pressed)
    try:
        watched = command_line("jobs", "watch")
    finally:
        os.close(lock)
    assert watched.code == 0
    assert f"job {ID} goes on; `autointerp jobs stop {ID}` ends it" in watched.err
    assert "stopped" not in watched.err


@pytest.mark.parametrize("verb", ["pause", "resume", "stop"])
def test_a_job_that_has_ended_is_not_changed(command_line: Callable, job: Path, verb: str):
    refused = command_line("jobs", verb, ID)
    assert refused.code == 2
    assert "is done; start another one" in refused.err


def test_a_job_whose_process_is_gone_without_a_result_was_killed(command_line: Callable, job: Path):
    (job / "result.json").unlink()
    assert "killed" in command_line("jobs", "list").out


def test_without_a_job_there_is_one_line(command_line: Callable):
    assert "no jobs" in command_line("jobs", "list").out
    assert command_line("jobs", "watch").code == 2
