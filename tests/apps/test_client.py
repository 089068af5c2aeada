"""The client of the service, over the application in this process."""

import inspect
import json
import re
import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from support.application import served

from autointerp.apps import client as client_module
from autointerp.apps.client import Client, ServiceError
from autointerp.apps.service import _snapshots
from autointerp.apps.service._models import Limits, NewInvitation, NewRun
from autointerp.apps.service._tokens import Tokens


@pytest.fixture
def client(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(_snapshots, "REST", 0.0)
    runs = Path(shutil.copytree(tiny_run, tmp_path / "runs"))
    http = TestClient(served(runs), base_url="http://127.0.0.1:8731")
    return Client("", Tokens(runs).issue("owner")[1], http)


def test_what_a_run_holds_is_typed(client: Client, tmp_path: Path):
    with client:
        (run,) = client.runs()
        assert client.run("tiny") == run
        units = list(client.units("tiny", limit=7))
        assert len(units) == sum(sum(one.values()) for one in run.units.values())
        assert client.unit("tiny", units[0].unit_id).unit.unit == units[0].unit
        ratings = list(client.ratings("tiny", source="features"))
        assert {one.rater for one in ratings} == {"scripted:4"}
        assert client.verdict("tiny").run == "tiny"
        assert client.verdict("tiny", level=0.9).level == 0.9
        assert [one.rater for one in client.judges("tiny")] == ["scripted:4"]
        contexts = list(client.contexts("tiny", unit_id=units[0].unit_id))
        assert {one.unit_id for one in contexts} == {units[0].unit_id}
        item = next(one for one in client.items("tiny") if one.evidence == "shown")
        assert client.item("tiny", item.item).rubric == item.rubric
        assert "lexical" in [one.name for one in client.raters()]
        assert "features" in [one.name for one in client.sources()]
        assert "interpretability-1-5" in [one.id for one in client.rubrics()]
        assert client.checks("lexical") == []
        client.export("tiny", tmp_path / "ratings.csv")
        assert (tmp_path / "ratings.csv").read_text().startswith("run,unit,")


def test_every_address_of_v1_has_a_method():
    source = inspect.getsource(client_module)
    paths = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())["paths"]
    tried = 0
    for path, operations in paths.items():
        tags = {tag for operation in operations.values() for tag in operation.get("tags", ())}
        if path.startswith("/v1") and "neuronpedia" not in tags:
            pattern = re.sub(r"{\w+}", r"{\\w+}", path)
            assert re.search(rf'"{pattern}["?]', source), path
            tried += 1
    assert tried >= 20


def test_a_job_is_started_watched_and_done(
    client: Client, process_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    for name, value in process_environment.items():
        monkeypatch.setenv(name, value)
    new = NewRun(run="tiny", sources=["features"], n=4, controls=0, rater="lexical")
    job = client.start(new, key="once")
    assert client.start(new, key="once").id == job.id
    events = list(client.events("tiny"))
    assert events[-1].kind == "Ended"
    assert list(client.events("tiny", last=events[-1].id)) == []
    assert client.job(job.id).state == "done"
    assert [one.id for one in client.jobs("tiny")] == [job.id]


def test_somebody_is_invited_and_uninvited(
    client: Client, process_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    for name, value in process_environment.items():
        monkeypatch.setenv(name, value)
    new = NewInvitation(rater="ann", items=8, corpus_text=False)
    made = client.invite("tiny", new, key="once")
    assert "/rate/?token=" in made.link
    with pytest.raises(ServiceError, match=f"it made invitation {made.id}") as refused:
        client.invite("tiny", new, key="once")
    assert refused.value.status == 409
    assert [one.id for one in client.invitations("tiny")] == [made.id]
    assert [one.rater for one in client.sessions("tiny")] == ["human:ann"]
    assert made.id in {token.id for token in client.tokens() if token.role == "rater"}
    assert client.revoke(made.id).state == "revoked"


@pytest.mark.parametrize("verb", ["pause", "resume", "stop", "limit"])
def test_what_is_refused_is_an_error_with_the_services_line(client: Client, verb: str):
    more = [Limits(concurrency=2)] if verb == "limit" else []
    with pytest.raises(ServiceError, match="has no job that goes on") as refused:
        getattr(client, verb)("tiny", *more)
    assert refused.value.status == 409


def test_a_wrong_name_is_an_error_for_streams_too(client: Client, tmp_path: Path):
    with pytest.raises(ServiceError, match="unknown run 'other'"):
        client.export("other", tmp_path / "x.csv")
    with pytest.raises(ServiceError, match="has had no job"):
        list(client.events("other"))


def test_a_job_that_is_not_there_has_no_state(client: Client):
    with pytest.raises(ServiceError, match="unknown job"):
        client.job("20260101-000000-abcdef")
