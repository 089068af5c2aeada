"""Where a run stands: never an empty row without a word."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from support.fabricate import add_scores, fabricate_run

from autointerp.apps.service import _snapshots
from autointerp.apps.service._app import Address, service_at
from autointerp.apps.service._jobs import Asked, JobState, State
from autointerp.apps.service._run_states import standing
from autointerp.apps.service._tokens import Tokens
from autointerp.apps.service.runs import summary_of
from autointerp.files import writer_of
from autointerp.settings import RunSettings, SubjectSettings
from autointerp.store.database import DATABASE
from autointerp.store.run import IMPORTED, open_run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`empty`, as a harvest that was stopped leaves it; `harvested`; and `rated`."""
    monkeypatch.setattr(_snapshots, "REST", 0.0)
    folder = tmp_path / "runs"
    settings = RunSettings(subject=SubjectSettings(model=IMPORTED))
    open_run("empty", settings=settings, folder=folder).close()
    fabricate_run(folder, {"features": 4}, name="harvested").close()
    fabricate_run(folder, {"features": 4}, name="rated").close()
    with open_run("rated", folder=folder) as run:
        add_scores(run, "features", "judge", [1, 1, 1, 1, 0])
    return folder


def stands(runs: Path, name: str, state: State | None = None, ended_at: str = ""):
    service = service_at(runs, Address())
    jobs = []
    if state is not None:
        text = "no key"
        asked = Asked("harvest", name)
        jobs = [JobState("20260101-000000-abcdef", asked, "", state, 0, ended_at, text)]
    return standing(service, summary_of(service, name), jobs)


def test_a_run_without_units_says_so_and_what_goes_on(runs: Path):
    found = stands(runs, "empty")
    assert found.state == "empty"
    assert "holds no units yet" in found.text
    assert found.command == "autointerp rate --run empty"


def test_a_run_that_is_not_rated_says_so_and_one_that_is_needs_no_words(runs: Path):
    assert stands(runs, "harvested").state == "harvested"
    assert "4 units that can be rated, none of them rated" in stands(runs, "harvested").text
    assert (stands(runs, "rated").state, stands(runs, "rated").text) == ("rated", "")


@pytest.mark.parametrize("state", ["stopped", "failed", "killed"])
def test_a_job_that_did_not_come_to_its_end_can_be_gone_on_with(runs: Path, state: State):
    found = stands(runs, "empty", state, "2100-01-01T00:00:00+00:00")
    assert found.state == state
    assert found.again == "20260101-000000-abcdef"
    assert found.command == "autointerp harvest --run empty"
    assert ("no key" in found.text) == (state != "killed")


def test_a_run_that_went_on_elsewhere_is_no_longer_stopped(runs: Path):
    assert stands(runs, "rated", "stopped", "2001-01-01T00:00:00+00:00").state == "rated"


def test_what_works_on_a_run_comes_first(runs: Path):
    found = stands(runs, "empty", "paused")
    assert (found.state, found.text, found.again) == ("paused", "no key", "")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say who has a lock")
def test_a_command_that_writes_a_run_is_named_by_its_process(runs: Path):
    assert writer_of(runs / "rated" / DATABASE) is None
    program = (
        "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True);"
        " sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(runs / "rated" / DATABASE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"held\n"
        assert writer_of(runs / "rated" / DATABASE) == writer.pid
        found = stands(runs, "rated")
        writer.communicate()
    assert found.state == "in use"
    assert f"process {writer.pid}" in found.text


def test_the_front_page_says_where_each_run_stands(
    runs: Path, ask: Callable[..., TestClient], tokens: Tokens
):
    page = ask(tokens.issue("owner")[1]).get("/").text
    for state in ("empty", "harvested", "rated"):
        assert f'data-state="{state}"' in page
    assert "autointerp rate --run empty" in page
    assert 'href="/new?run=empty"' in page
