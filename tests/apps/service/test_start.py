"""The page that starts a job, and the pages of jobs."""

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
import typer.main
from fastapi.testclient import TestClient
from support.fabricate import fabricate_run

from autointerp.apps.cli._app import build_app
from autointerp.apps.service._jobs import Asked, Jobs
from autointerp.apps.service._models import NewRun
from autointerp.apps.service._tokens import Tokens


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    fabricate_run(folder, {"features": 4}).close()
    return folder


@pytest.fixture
def client(ask: Callable[..., TestClient], tokens: Tokens) -> TestClient:
    return ask(tokens.issue("owner")[1])


def job_of(runs: Path, asked: Asked, **result: str) -> str:
    """A job that has ended, as a child leaves it."""
    identifier = "20260101-000000-abcdef"
    place = Jobs(runs).folder / identifier
    place.mkdir(parents=True)
    fields = {"asked": asked.__dict__, "made_at": "2026-01-01T00:00:00+00:00"}
    (place / "job.json").write_text(json.dumps(fields, default=list))
    if result:
        (place / "result.json").write_text(json.dumps(result))
    return identifier


def names(page: str) -> set[str]:
    return set(re.findall(r'<(?:input|select|textarea)[^>]* name="(\w+)"', page))


def test_the_form_has_every_option_that_a_job_takes(client: TestClient):
    assert names(client.get("/new").text) == set(NewRun.model_fields)


def test_the_form_begins_with_the_defaults_of_the_model(client: TestClient):
    page = client.get("/new?run=main").text
    assert 'name="controls" type="number" data-kind="number" inputmode="numeric" step="1" min="0"'
    for name, value in (("run", "main"), ("rater", "lexical"), ("controls", "50")):
        assert re.search(rf'name="{name}"[^>]* value="{value}"', page), name
    assert re.search(r'<option value="rate" selected', page)


def test_a_job_that_was_stopped_is_started_again_with_its_options(client: TestClient, runs: Path):
    asked = Asked(run="main", sources=("neurons",), n=7, rater='local:"x"', until_clear=True)
    ended = "2026-01-01T00:00:00+00:00"
    job = job_of(runs, asked, state="stopped", text="stopped", ended_at=ended)
    page = client.get(f"/new?again={job}").text
    assert re.search(r'value="neurons" checked', page)
    assert not re.search(r'value="features" checked', page)
    assert re.search(r'name="n"[^>]* value="7"', page)
    assert re.search(r'name="until_clear" data-kind="checkbox" checked', page)
    assert unescape(re.search(r'name="rater"[^>]* value="([^"]*)"', page)[1]) == asked.rater


def test_a_viewer_sees_jobs_and_starts_none(ask: Callable[..., TestClient], tokens: Tokens):
    viewer = ask(tokens.issue("viewer")[1])
    assert viewer.get("/jobs").status_code == 200
    assert viewer.get("/new").status_code == 403
    for path in ("/", "/jobs", "/runs/main"):
        text = viewer.get(path).text
        assert "/new" not in text
        assert "/invite" not in text
        assert "data-act=" not in text


def test_a_job_is_shown_with_the_command_that_does_the_same(client: TestClient, runs: Path):
    ended = "2026-01-01T00:00:00+00:00"
    job = job_of(runs, Asked(n=3), state="failed", text="no <key>", ended_at=ended)
    page = client.get(f"/jobs/{job}").text
    assert "autointerp rate --run main --n 3" in page
    assert "no &lt;key&gt;" in page
    assert f'href="/new?again={job}"' in page
    assert f'href="/jobs/{job}"' in client.get("/jobs").text


def test_a_run_whose_first_job_has_just_begun_has_a_page(
    client: TestClient, runs: Path, monkeypatch: pytest.MonkeyPatch
):
    from autointerp.files import open_locked

    job = job_of(runs, Asked(run="fresh"))
    lock = open_locked(Jobs(runs).folder / job / "lock")
    assert lock is not None
    for path in ("/", "/runs/fresh", f"/jobs/{job}"):
        page = client.get(path).text
        assert "fresh" in page
        assert 'data-state="running"' in page
        assert ('id="live" data-run="fresh"' in page) == (path != "/")  # moves by itself
        # What there is none of yet has no tab.
        assert "/runs/fresh/units" not in page
        assert "/runs/fresh/report" not in page
        assert "/runs/fresh/invite" not in page
    assert client.get("/runs/nothing").status_code == 404


@pytest.mark.parametrize(
    ("asked", "command"),
    [
        (
            Asked(sources=("a", "b"), n=5, rater="openai:m", budget_usd=0.5, until_clear=True),
            "autointerp rate --run main --source a --source b --n 5 --rater openai:m --until-clear"
            " --budget-usd 0.5",
        ),
        (Asked("harvest", "r", tokens=100), "autointerp harvest --run r --tokens 100"),
        (
            Asked("explain", "r", rater="local:a b", logit_effects=True),
            "autointerp explain r --rater 'local:a b' --logit-effects",
        ),
        (
            Asked("score", "r", scorers=("fuzzing",), concurrency=2),
            "autointerp score r --scorer fuzzing --concurrency 2",
        ),
    ],
)
def test_a_job_can_be_done_by_a_command_whose_options_there_are(asked: Asked, command: str):
    assert asked.command == command
    there_are = typer.main.get_command(build_app()).commands[asked.verb]
    known = {name for one in there_are.params for name in one.opts}
    assert set(re.findall(r"--[a-z-]+", command)) <= known
