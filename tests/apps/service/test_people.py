"""Invitations and tokens, by `/v1` and by the owner's pages."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient

from autointerp.apps.service import _snapshots
from autointerp.apps.service._models import NewInvitation
from autointerp.apps.service._tokens import Tokens


@pytest.fixture
def runs(own_runs: Path) -> Path:
    return own_runs


@pytest.fixture
def client(
    ask: Callable[..., TestClient],
    tokens: Tokens,
    process_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> TestClient:
    for name, value in process_environment.items():  # for the child that makes a session
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(_snapshots, "REST", 0.0)
    return ask(tokens.issue("owner")[1])


def test_an_invitation_is_made_used_listed_and_ended(
    client: TestClient, ask: Callable[..., TestClient], tokens: Tokens
):
    """One story, for a child takes seconds to start."""
    made = client.post(
        "/v1/runs/tiny/invitations", json={"rater": "ann", "items": 12, "corpus_text": False}
    )
    assert made.status_code == 201, made.text
    said = made.json()
    assert said["rater"] == "human:ann"
    asked = re.search(r"\d+ items(?= to rate)", said["asked"])
    assert asked is not None
    assert said["label"] == f"interpretability-1-5, {asked[0]}"
    link = urlsplit(said["link"])
    assert (link.netloc, link.path) == ("127.0.0.1:8731", "/rate/")

    rater = ask()
    assert rater.get(f"/rate/?{link.query}").status_code == 303
    assert rater.get("/rate/state").json()["to_rate"] > 0

    listed = client.get("/v1/runs/tiny/invitations").json()
    assert [(one["id"], one["state"]) for one in listed] == [(said["id"], "valid")]
    page = client.get("/runs/tiny/invite").text
    assert f'data-revoke="{said["id"]}"' in page
    assert "human:ann" in client.get("/runs/tiny").text  # who was given items, and how many
    everything = client.get("/v1/tokens").text + page + client.get("/access").text
    assert link.query.removeprefix("token=") not in everything

    assert client.delete(f"/v1/tokens/{said['id']}").json()["state"] == "revoked"
    assert rater.get("/rate/state").status_code == 401
    assert client.delete("/v1/tokens/00000000").status_code == 404


def test_an_invitation_for_a_crowd_has_the_platforms_parameter(client: TestClient):
    wanted = {"crowd": "PROLIFIC_PID", "items": 10, "corpus_text": False, "places": 3}
    said = client.post("/v1/runs/tiny/invitations", json=wanted).json()
    assert said["link"].endswith("&PROLIFIC_PID=ID")
    assert said["rater"] == "whoever comes by PROLIFIC_PID"


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({}, 422),
        ({"rater": "ann", "crowd": "PID"}, 422),
        ({"crowd": "no parameter"}, 422),
        ({"rater": "a/b"}, 422),
        ({"rater": "ann", "return_url": "http://plain.example"}, 422),
        ({"rater": "ann", "items": 0}, 422),
        ({"rater": "ann", "nonsense": 1}, 422),
    ],
)
def test_what_is_no_invitation_is_refused_before_anything_is_made(
    client: TestClient, tokens: Tokens, wrong: dict, status: int
):
    before = len(tokens.all())
    answer = client.post("/v1/runs/tiny/invitations", json=wrong)
    assert answer.status_code == status
    assert answer.json()["remedy"]
    assert "Input should" not in answer.text  # the words of a library
    assert len(tokens.all()) == before


def test_nobody_is_invited_to_a_run_that_is_not_there(client: TestClient):
    for answer in (
        client.post("/v1/runs/nothing/invitations", json={"rater": "ann"}),
        client.get("/v1/runs/nothing/invitations"),
        client.get("/runs/nothing/invite"),
    ):
        assert answer.status_code == 404


def test_the_form_has_every_field_of_an_invitation(client: TestClient):
    page = client.get("/runs/tiny/invite").text
    names = set(re.findall(r'<(?:input|select|textarea)[^>]* name="(\w+)"', page))
    assert names == set(NewInvitation.model_fields)


def test_every_token_is_on_a_page_of_access(client: TestClient, tokens: Tokens):
    made = {tokens.issue("viewer", label=f"number {place}")[0].id for place in range(101)}
    seen, address = set(), "/access"
    while address:
        page = client.get(address).text
        seen |= set(re.findall(r'data-revoke="(\w+)"', page))
        following = re.search(r'<a rel="next" href="([^"]+)"', page)
        address = following[1] if following else ""
    assert made <= seen


def test_a_viewer_invites_nobody_and_sees_no_tokens(
    client: TestClient, ask: Callable[..., TestClient], tokens: Tokens
):
    viewer = ask(tokens.issue("viewer")[1])
    answers = [
        viewer.post("/v1/runs/tiny/invitations", json={"rater": "ann"}),
        viewer.get("/v1/runs/tiny/invitations"),
        viewer.get("/v1/tokens"),
        viewer.delete("/v1/tokens/00000000"),
        viewer.get("/runs/tiny/invite"),
        viewer.get("/access"),
    ]
    assert [answer.status_code for answer in answers] == [403] * 6
