"""`/v1`: jobs, each a child process; one server rates for all of them."""

import html
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi.testclient import TestClient
from support.application import application_of, served
from support.closed import close_folder
from support.loopback.server import LoopbackServer

from autointerp.apps.client import Client, ServiceError
from autointerp.apps.service import _child, _snapshots
from autointerp.apps.service import jobs as jobs_router
from autointerp.apps.service._app import Address, Server, gated, service_at
from autointerp.apps.service._jobs import (
    Asked,
    Child,
    FileControl,
    Jobs,
    Tails,
    digest_of,
    event_of,
)
from autointerp.apps.service._tokens import Tokens
from autointerp.engine.work import RatingCounts
from autointerp.errors import StorageError, UnknownName
from autointerp.files import open_locked
from autointerp.pipeline import rate
from autointerp.pipeline.events import Asking
from autointerp.pipeline.guess import GuessResult
from autointerp.pipeline.rate_result import RateResult
from autointerp.questions.score import Design
from autointerp.raters._keys import own_variable
from autointerp.store.run import open_run
from autointerp.text import dollars

BASE = "http://127.0.0.1:8731"
KEY = "sk-test-0123456789abcdef"  # what must be nowhere


@pytest.fixture
def runs(own_runs: Path) -> Path:
    return own_runs


@pytest.fixture
def environment(process_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the children inherit: one thread."""
    for name, value in process_environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(latency_s=0.02) as serving:
        yield serving


@pytest.fixture
def client(runs: Path, environment: None, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(_snapshots, "REST", 0.0)
    return new_client(runs)


def new_client(runs: Path, role: str = "owner") -> TestClient:
    _, text = Tokens(runs).issue(role)
    return TestClient(served(runs), base_url=BASE, headers={"Authorization": f"Bearer {text}"})


def wanted(server: LoopbackServer, **options: object) -> dict[str, object]:
    return {
        "run": "tiny",
        "sources": ["features", "neurons"],
        "n": 8,
        "controls": 4,
        "rater": "openai:m",
        "base_url": server.openai_url,
        "structured": "json_schema",
        "concurrency": 1,
        **options,
    }


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.05)


def ended(client: TestClient, job: str) -> dict:
    wait_for(lambda: client.get(f"/v1/jobs/{job}").json()["ended_at"] != "")
    return client.get(f"/v1/jobs/{job}").json()


def events_in(text: str) -> list[tuple[str, dict]]:
    """Return id and content of each event of a stream."""
    blocks = [dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
              for block in text.split("\n\n") if "id: " in block]  # fmt: skip
    return [(block["id"], json.loads(block["data"])) for block in blocks]


def test_a_job_rates_survives_its_server_and_is_watched_paused_limited_and_stopped(
    client: TestClient, server: LoopbackServer, runs: Path, monkeypatch: pytest.MonkeyPatch
):
    """One story, for a child takes seconds to start."""
    monkeypatch.setenv(own_variable(server.openai_url), KEY)
    paused_at = 5

    def slow(call: object) -> None:  # the job cannot end before it is looked at
        if len(server.completions) > paused_at:
            time.sleep(0.3)

    server.fault_for = slow
    forecast = client.post("/v1/runs?dry_run=true", json=wanted(server, price_in=1, price_out=1))
    assert forecast.status_code == 200
    assert forecast.json()["cost_usd"] > 0
    assert forecast.json()["cost"] == dollars(forecast.json()["cost_usd"])
    assert "28 of 28 items" in forecast.json()["text"]  # 8 + 8 + 3 controls of 4
    assert server.completions == []

    started = client.post("/v1/runs", json=wanted(server), headers={"Idempotency-Key": "first"})
    assert started.status_code == 201
    job = started.json()["id"]
    assert started.headers["location"] == f"/v1/jobs/{job}"

    again = client.post("/v1/runs", json=wanted(server), headers={"Idempotency-Key": "first"})
    assert (again.status_code, again.json()["id"]) == (200, job)
    other = client.post("/v1/runs", json=wanted(server, n=4), headers={"Idempotency-Key": "first"})
    assert other.status_code == 422
    second = client.post("/v1/runs", json=wanted(server))
    assert second.status_code == 409
    assert job in second.json()["detail"]

    wait_for(lambda: len(server.completions) > 1)
    # The run is read while it is written.
    assert client.get("/v1/runs/tiny/units").status_code == 200
    paused = client.post("/v1/runs/tiny/pause").json()
    assert (paused["state"], paused["limits"]["paused"]) == ("paused", True)

    # Another server, as after a restart, knows the job and changes it.
    later = new_client(runs)
    assert later.get("/v1/jobs").json()["items"][0]["id"] == job
    limits = later.patch("/v1/runs/tiny/limits", json={"concurrency": 2}).json()["limits"]
    assert limits == {"paused": True, "concurrency": 2, "budget_usd": None}
    assert later.patch("/v1/runs/tiny/limits", json={"budget_usd": 1}).status_code == 422

    time.sleep(1.0)  # calls in flight land
    asked = len(server.completions)
    time.sleep(0.7)
    assert len(server.completions) == asked < 28
    later.post("/v1/runs/tiny/resume")
    wait_for(lambda: len(server.completions) > asked)
    assert later.post("/v1/runs/tiny/stop").status_code == 200
    done = ended(later, job)
    assert done["state"] == "stopped"
    assert later.post("/v1/runs/tiny/stop").status_code == 409

    with open_run("tiny", folder=runs, read_only=True) as run:
        ((rated,),) = run.rows("SELECT count(*) FROM unit_rating WHERE rater <> 'scripted:4'")
    assert rated == len(server.completions) < 28

    # The events: numbered, resumable, and at their end nothing is sent again.
    text = later.get("/v1/runs/tiny/events").text
    events = events_in(text)
    assert [event["number"] for _, event in events] == list(range(len(events)))
    kinds = [event["kind"] for _, event in events]
    assert (kinds[0], kinds[-1]) == ("RunOpened", "Ended")
    assert "Asking" in kinds
    assert text.endswith("event: end\ndata: {}\n\n")
    middle = len(events) // 2
    rest = later.get("/v1/runs/tiny/events", headers={"Last-Event-ID": events[middle][0]}).text
    assert events_in(rest) == events[middle + 1 :]
    last = later.get("/v1/runs/tiny/events", headers={"Last-Event-ID": events[-1][0]})
    assert last.status_code == 204

    # The same job goes on from there, and pays for nothing again.
    server.fault_for = lambda call: None
    more = later.post("/v1/runs", json=wanted(server)).json()["id"]
    assert ended(later, more)["state"] == "done"
    assert len(server.completions) == 28

    # The key is in no response, page, log or argument.
    pages = [later.get(path).text for path in ("/v1/jobs", "/v1/runs/tiny/events", "/")]
    files = [path.read_bytes() for path in (runs / ".service").rglob("*") if path.is_file()]
    assert not any(KEY in page for page in pages)
    assert not any(KEY.encode() in content for content in files)
    assert any(KEY in call.headers.get("authorization", "") for call in server.calls)


def test_a_job_that_cannot_be_done_fails_with_its_line(client: TestClient, runs: Path):
    job = client.post("/v1/runs", json={"run": "tiny", "sources": ["nothing"]}).json()["id"]
    failed = ended(client, job)
    assert failed["state"] == "failed"
    assert "unknown source 'nothing'" in failed["text"]
    dry = client.post("/v1/runs?dry_run=true", json={"run": "tiny", "sources": ["nothing"]})
    assert dry.status_code == 404
    assert "unknown source 'nothing'" in dry.json()["detail"]


def test_a_job_whose_process_was_killed_says_so(
    client: TestClient, server: LoopbackServer, runs: Path
):
    server.latency_s = 30.0
    started = client.post("/v1/runs", json=wanted(server)).json()["id"]
    wait_for(lambda: len(server.calls) > 0)
    os.kill(Jobs(runs).state(started).pid, signal.SIGKILL)
    wait_for(lambda: client.get(f"/v1/jobs/{started}").json()["state"] == "killed")
    assert "goes on from there" in client.get(f"/v1/jobs/{started}").json()["text"]
    assert "end" in client.get("/v1/runs/tiny/events").text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("job.json", "{", "cannot be read"),
        ("job.json", "[]", "holds no job"),
        ("job.json", '{"asked": {}}', "lacks 'made_at'"),
        ("job.json", '{"made_at": "2026-01-01T00:00:00+00:00"}', "not of this version"),
        (
            "job.json",
            '{"asked": {"colour": "red"}, "made_at": "2026-01-01T00:00:00+00:00"}',
            "not of this version",
        ),
        ("result.json", '{"state": "done"}', "lacks 'ended_at'"),
        ("result.json", "", "cannot be read"),
    ],
)
def test_a_job_whose_files_cannot_be_read_is_named_and_hides_no_other(
    runs: Path,
    client: TestClient,
    environment: None,
    command_line,
    monkeypatch,
    name: str,
    content: str,
    said: str,
):
    jobs = Jobs(runs)
    good, bad = (jobs.folder / f"20260101-00000{n}-abcdef" for n in (1, 2))
    for place in (good, bad):
        place.mkdir(parents=True)
        about = {"asked": {"run": "tiny"}, "made_at": "2026-01-01T00:00:00+00:00"}
        (place / "job.json").write_text(json.dumps(about))
        (place / "lock").touch()
    (bad / name).write_text(content)
    client = new_client(runs, "viewer")
    assert [one["id"] for one in client.get("/v1/jobs").json()["items"]] == [good.name]
    assert client.get("/v1/jobs?run=tiny").json()["total"] == 1
    assert client.get(f"/v1/jobs/{bad.name}").status_code == 503
    page = client.get("/jobs").text
    assert good.name in page
    assert f"job {bad.name}" in page
    assert said in html.unescape(page)
    assert client.get("/").status_code == client.get("/runs/tiny").status_code == 200
    assert jobs._started_by("never") is None
    monkeypatch.setattr("autointerp.store.run.RUNS", runs)
    listed = command_line("jobs", "list")
    assert good.name in listed.out
    assert said in listed.err
    assert bad.name not in listed.out
    page = client.get("/v1/jobs", params={"run": "tiny"}).json()
    assert [job["id"] for job in page["items"]] == [good.name]
    assert [bad.name in line and said in line for line in page["unreadable"]] == [True]


def test_a_job_whose_folder_must_not_be_entered_is_named_too(
    runs: Path, client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    place = Jobs(runs).folder / "20260101-000001-abcdef"
    place.mkdir(parents=True)
    close_folder(monkeypatch, place)
    said = f"job {place.name}: {place} cannot be read (Permission denied)"
    page = client.get("/v1/jobs").json()
    assert page["items"] == []
    assert page["unreadable"][0].startswith(said)
    text = client.get("/jobs").text
    assert said in text
    assert "No job was started yet" not in text


def test_a_key_whose_job_cannot_be_read_starts_no_second_one(runs: Path):
    jobs = Jobs(runs)
    place = jobs.folder / "20260101-000001-abcdef"
    place.mkdir(parents=True)
    about = {
        "asked": {"run": "tiny"}, "made_at": "2026-01-01T00:00:00+00:00", "key": digest_of("a")
    }  # fmt: skip
    (place / "job.json").write_text(json.dumps(about))
    (place / "lock").touch()
    (place / "result.json").write_text("{")
    with pytest.raises(StorageError, match=r"result\.json cannot be read"):
        jobs.start(Asked(run="tiny"), key="a")
    assert jobs.ids() == [place.name]


def test_a_job_that_is_stopped_before_it_has_begun_is_stopped_and_nobody_else(
    client: TestClient, runs: Path, monkeypatch: pytest.MonkeyPatch
):
    signalled: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: signalled.append(pid))
    job = client.post("/v1/runs", json={"run": "tiny"}).json()["id"]
    stopped = client.post("/v1/runs/tiny/stop")
    assert stopped.status_code == 200
    # Signal 0 would go to the server itself, as process 0 is its group.
    assert 0 not in signalled
    assert ended(client, job)["state"] == "stopped"
    assert "goes on from here" in client.get(f"/v1/jobs/{job}").json()["text"]


def test_a_job_that_a_signal_ended_before_it_could_say_so_was_stopped(runs: Path):
    jobs = Jobs(runs)
    place = jobs.folder / "20260101-000000-abcdef"
    place.mkdir(parents=True)
    (place / "job.json").write_text(json.dumps({"asked": {"run": "tiny"}, "made_at": "2026"}))
    assert jobs.state(place.name).state == "killed"
    (place / "stop").touch()
    state = jobs.state(place.name)
    assert (state.state, bool(state.ended_at)) == ("stopped", True)


@pytest.fixture
def going_on(runs: Path) -> Iterator[Path]:
    """The folder of a job of the run `tiny` that a child goes on with."""
    place = Jobs(runs).folder / "20260101-000000-abcdef"
    place.mkdir(parents=True)
    (place / "job.json").write_text(json.dumps({"asked": {"run": "tiny"}, "made_at": "2026"}))
    lock = open_locked(place / "lock")
    yield place
    os.close(lock)


@pytest.mark.usefixtures("going_on")
def test_a_watcher_whose_token_is_revoked_is_told_no_more(
    runs: Path, monkeypatch: pytest.MonkeyPatch
):
    tokens = Tokens(runs)
    token, text = tokens.issue("viewer")
    monkeypatch.setattr(jobs_router, "POLL_S", 0.01)
    monkeypatch.setattr(jobs_router, "BEAT_S", 0.01)
    client = TestClient(
        served(runs),
        base_url=BASE,
        headers={"Authorization": f"Bearer {text}"},
    )
    revoke = threading.Timer(0.2, tokens.revoke, [token.id])
    revoke.start()
    try:
        watched = client.get("/v1/runs/tiny/events").text  # it ends, though the job goes on
    finally:
        revoke.join()
    assert "event: end" not in watched
    assert client.get("/v1/runs/tiny/events").status_code == 401


def test_a_stream_ends_with_its_server_and_does_not_say_that_the_job_has_ended(
    runs: Path, going_on: Path, monkeypatch: pytest.MonkeyPatch
):
    event = {"number": 0, "at": "", "kind": "Note", "text": "so far", "fields": {}}
    (going_on / "events.jsonl").write_text(json.dumps(event) + "\n")
    monkeypatch.setattr(jobs_router, "POLL_S", 0.01)
    service = service_at(runs, Address())
    http = TestClient(gated(application_of(service)), base_url=BASE)
    server = Server(uvicorn.Config(http.app), service)
    stop = threading.Timer(0.2, server.handle_exit, [signal.SIGTERM, None])
    stop.start()
    watched = Client("", service.tokens.issue("viewer")[1], http).events("tiny")
    try:
        assert next(watched).text == "so far"
        with pytest.raises(ServiceError, match=r"go on from last='20260101-000000-abcdef\.\d+'"):
            next(watched)
    finally:
        stop.join()


def test_a_job_that_its_budget_ended_is_not_done(
    server: LoopbackServer, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(own_variable(server.openai_url), KEY)
    asked = Asked.of(wanted(server, price_in=1, price_out=1, budget_usd=0.005))
    text, is_done = _child.run(asked, runs, tmp_path, _child.EventLog(tmp_path / "events.jsonl"))
    assert "could exceed the budget of $0.005" in text
    assert not is_done
    assert 0 < len(server.completions) < 28


def test_nor_is_one_whose_blinding_check_the_budget_ended(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    all_rated, stopped = (
        RatingCounts(0, Counter(ok=2)),
        RatingCounts(0, Counter(), stopped="budget"),
    )
    for counts in (all_rated, stopped):
        guesses = GuessResult("tiny", "m", counts)
        result = RateResult("tiny", "m", "r", {"features": 2}, all_rated, guesses=guesses)
        monkeypatch.setattr(rate, "rate", lambda job, on, result=result: result)
        log = _child.EventLog(tmp_path / "events.jsonl")
        assert _child.run(Asked(run="tiny"), runs, tmp_path, log)[1] is (counts is all_rated)


def test_jobs_have_the_order_in_which_they_were_started_whatever_the_clock_does(
    runs: Path, monkeypatch: pytest.MonkeyPatch
):
    def spawn(jobs: Jobs, place: Path, about: dict[str, object]) -> None:
        (place / "job.json").write_text(json.dumps(about))
        (place / "result.json").write_text(
            json.dumps({"state": "done", "text": "", "ended_at": ""})
        )

    monkeypatch.setattr(Jobs, "_spawn", spawn)
    jobs = Jobs(runs)
    (jobs.folder / "copied by hand").mkdir(parents=True)
    (jobs.folder / "copied by hand" / "job.json").write_text("{}")
    started = [jobs.start(Asked(run="tiny"))[0].id for _ in range(3)]  # in one second
    ahead = jobs.folder / "20991231-235959-abcdef"  # by a clock that was put right since
    (jobs.folder / started[-1]).rename(ahead)
    last = jobs.start(Asked(run="tiny"))[0].id
    assert last.startswith("21000101-000000-")
    assert jobs.ids() == [last, ahead.name, *reversed(started[:2])]


@pytest.mark.parametrize("last", ["99999999999999999999999", "\xb2", "5", "0", "-1", "", "x"])
def test_a_place_that_no_log_has_is_its_beginning(tmp_path: Path, last: str):
    log = tmp_path / "events.jsonl"
    log.write_bytes(b'{"a":1}\n{"b":2}\n')
    assert jobs_router._resumed_at(f"j.{last}", "j", log) == 0
    assert jobs_router._resumed_at("j.8", "j", log) == 8
    assert jobs_router._resumed_at("k.8", "j", log) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"rater": "human:ann"},
        {"rater": "lexical", "effort": "high"},
        {"contexts": 9},
        {"verb": "explain", "rubric": "specificity-0-3"},
        {"verb": "harvest", "rater": "openai:m"},
        {"n": 0},
        {"budget_usd": -1},
        {"base_url": "http://user:secret@host/v1"},
        {"verb": "delete"},
        {"nonsense": 1},
        {"run": "../x"},
    ],
)
def test_what_no_job_can_be_starts_no_process(client: TestClient, runs: Path, wrong: dict):
    answer = client.post("/v1/runs", json=wrong)
    assert answer.status_code == 422
    assert answer.json()["remedy"]
    assert Jobs(runs).ids() == []


def test_contexts_are_of_each_kind_for_a_scorer_as_on_the_command_line(runs: Path):
    asked = Asked(verb="score", contexts=9)
    assert asked.job(runs).design == Design(count=9)
    assert asked.command == "autointerp score main --contexts 9"
    # 30 is what a rubric about descriptions takes unasked, and no scorer's own number.
    assert Asked(verb="score", contexts=30).job(runs).design == Design(count=30)
    assert Asked(verb="score").job(runs).design == Design()
    assert Asked(rubric="specificity-0-3").job(runs).contexts == 30
    assert Asked(rubric="specificity-0-3", contexts=9).job(runs).contexts == 9


def test_a_run_that_there_is_not_is_named(client: TestClient):
    for method, path in (("POST", "/v1/runs/nope/stop"), ("GET", "/v1/jobs?run=nope")):
        answer = client.request(method, path)
        assert answer.status_code == 404
        assert "unknown run 'nope' (known: tiny)" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["pause", "resume", "stop", "limits"])
def test_a_run_without_a_job_has_nothing_to_change(client: TestClient, path: str):
    method = "PATCH" if path == "limits" else "POST"
    answer = client.request(method, f"/v1/runs/tiny/{path}", json={})
    assert answer.status_code == 409
    assert "POST /v1/runs" in answer.json()["detail"]


def test_a_viewer_watches_and_changes_nothing(runs: Path, environment: None):
    viewer = new_client(runs, "viewer")
    assert viewer.get("/v1/jobs").status_code == 200
    for path in ("/v1/runs", "/v1/runs/tiny/stop", "/v1/runs/tiny/pause"):
        assert viewer.post(path, json={}).status_code == 403
    assert Jobs(runs).ids() == []


def test_a_jobs_limits_are_read_again_when_they_change(runs: Path):
    jobs = Jobs(runs)
    place = jobs.folder / "20260101-000000-abcdef"
    place.mkdir(parents=True)
    control = FileControl(place)
    assert not control.limits().paused
    (place / "control.json").write_text('{"paused": true}')
    assert control.limits().paused
    (place / "control.json").write_text("{")  # half written by hand: what was known stays
    assert control.limits().paused


def test_a_log_is_streamed_by_whole_lines_from_where_a_client_was(tmp_path: Path):
    log = tmp_path / "events.jsonl"
    tails = Tails()
    assert tails.stream("j", log, 0) == (b"", 0)
    log.write_bytes(b'{"a":1}\n{"b"')
    text, at = tails.stream("j", log, 0)
    assert (text, at) == (b'id: j.8\ndata: {"a":1}\n\n', 8)
    assert tails.stream("j", log, at) == (b"", 8)
    log.write_bytes(b'{"a":1}\n{"b":2}\n')
    assert tails.stream("j", log, at) == (b'id: j.16\ndata: {"b":2}\n\n', 16)
    assert tails.stream("j", log, 0)[1] == 16


def test_an_event_of_progress_becomes_the_terminals_bar_again():
    fields = {"label": "rate by x", "tally": {"total": 4, "done": 2, "statuses": {"ok": 2}}}
    event = event_of({"kind": "Asking", "text": "", "fields": fields})
    assert isinstance(event, Asking)
    assert str(event) == "rate by x: 2 of 4 items"
    fields["tally"].update(calls=2, spent_usd=0.0032)
    event = event_of({"kind": "Asking", "text": "", "fields": fields})
    assert str(event) == "rate by x: 2 of 4 items, $0.0032"
    assert event.tally.statuses["failed"] == 0


def test_a_job_that_outlives_its_server_is_not_warned_of(recwarn: pytest.WarningsRecorder):
    child = Child([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    pid, held = child.pid, child.stdin
    del child
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)  # it goes on, and nothing has waited for it
    assert held is not None
    held.close()
    os.waitpid(pid, 0)
    assert list(recwarn) == []


def test_a_job_that_is_not_there_is_named(runs: Path):
    for wrong in ("../tiny", "20260101-000000-abcdef"):
        with pytest.raises(UnknownName, match="unknown job"):
            Jobs(runs).state(wrong)
