"""The specification is kept to, with and without tokens; and nobody gets past the gate."""

import json
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi import checks

from autointerp.apps.service import _app, _gate, neuronpedia, people
from autointerp.apps.service import jobs as jobs_router
from autointerp.apps.service._access import owner, rater, viewer
from autointerp.apps.service._app import (
    Address,
    build_app,
    gated,
    router_modules,
    serve,
    service_at,
)
from autointerp.apps.service._jobs import Asked, Jobs
from autointerp.apps.service._models import Forecast
from autointerp.apps.service._problems import phrase_of
from autointerp.apps.service._tokens import Tokens
from autointerp.engine.retry import RetryPolicy

BASE = "http://127.0.0.1:8731"
FEW = settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
)


@pytest.fixture(scope="module")
def served(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """The application over a copy of the tiny run; it starts no process and asks no model."""
    runs = Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("served") / "runs"))

    def spawn(self: Jobs, place: Path, fields: dict[str, Any]) -> None:
        (place / "job.json").write_text(json.dumps(fields))

    async def forecast(service: object, asked: Asked) -> Forecast:
        asked.job(runs)
        return Forecast(text="nothing", cost_usd=None, forecast={})

    async def invitation(*_: object) -> dict[str, Any]:
        return {"session": "s.jsonl", "asked": {"ratings": 1}, "gold": 0, "notes": []}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(people, "ask_child", invitation)
        patch.setattr(Jobs, "_spawn", spawn)
        patch.setattr(jobs_router, "_forecast", forecast)
        patch.setattr(neuronpedia, "RETRY", RetryPolicy(retries=0))
        patch.setenv("AUTOINTERP_OPENROUTER_URL", "http://127.0.0.1:9/v1")  # nobody listens
        patch.setattr(_gate, "BURST", 1e9)
        patch.setattr(_gate, "FAILURE_BURST", 1e9)
        yield build_app(service_at(runs, Address()))


@pytest.fixture(scope="module")
def tokens(served: FastAPI) -> Tokens:
    return served.state.service.tokens


def specified(app: FastAPI) -> Any:
    """The specification as schemathesis reads it, over the application behind its gate."""
    schema = schemathesis.openapi.from_dict(app.openapi())
    schema.app = gated(app)
    schema.config.update(base_url=BASE)
    return schema


def operations(app: FastAPI) -> list[Any]:
    return [result.ok() for result in specified(app).get_all_operations()]


def is_no_fault(context: Any, response: Any, case: Any) -> None:
    """502 and 503 say that another server or the disk is at fault; 500 is ours."""
    assert response.status_code != 500, response.text


def test_random_requests_get_answers_that_are_specified(served: FastAPI, tokens: Tokens):
    headers = {"Authorization": f"Bearer {tokens.issue('owner')[1]}", "Host": "127.0.0.1:8731"}
    tried = 0
    for operation in operations(served):

        @FEW
        @given(case=operation.as_strategy())
        def keeps_to_it(case: Any) -> None:
            if "run" in case.path_parameters:  # a random name leads nowhere
                case.path_parameters["run"] = "tiny"
            case.call_and_validate(
                headers=headers,
                checks=[
                    checks.status_code_conformance,
                    checks.content_type_conformance,
                    checks.response_schema_conformance,
                    is_no_fault,
                ],
            )

        keeps_to_it()
        tried += 1
    assert tried >= 25


def test_random_requests_without_a_token_get_no_further(served: FastAPI):
    for operation in operations(served):

        @settings(FEW, max_examples=2)
        @given(case=operation.as_strategy())
        def is_refused(case: Any) -> None:
            answer = case.call(headers={"Host": "127.0.0.1:8731"})
            # A path that is longer than any, or a body that is no JSON, is told before.
            assert answer.status_code in (401, 404, 405, 414, 422)
            assert "detail" in answer.json()

        is_refused()


# ------------------------------------------------------------------------------- the matrix

ROUTES = [
    pytest.param(method, route, id=f"{method} {route.path}")
    for module in router_modules()
    for route in module.router.routes
    for method in sorted(route.methods - {"HEAD"})
]
VALUES = {
    "run": "tiny",
    "unit_id": "0",
    "item": "x",
    "job": "20260101-000000-abcdef",
    "token": "00000000",
    "name": "service.js",
}


def address(route: Any) -> str:
    """An address that leads to a route, whatever it finds."""
    return re.sub(r"{(\w+)(:\w+)?}", lambda part: VALUES.get(part[1], "x"), route.path)


def needed(route: Any) -> str:
    """The role that a route is for."""
    calls = {one.call for one in route.dependant.dependencies}
    return {owner: "owner", viewer: "viewer", rater: "rater"}[
        next(guard for guard in (owner, viewer, rater) if guard in calls)
    ]


@pytest.fixture(scope="module")
def texts(tokens: Tokens) -> dict[str, str]:
    return {
        "owner": tokens.issue("owner")[1],
        "viewer": tokens.issue("viewer")[1],
        "rater": tokens.issue("rater", run="tiny", rater="human:ann")[1],
    }


@pytest.fixture(scope="module")
def asked(served: FastAPI) -> Callable[..., Any]:
    client = TestClient(gated(served), base_url=BASE, follow_redirects=False)

    def ask(method: str, path: str, token: str = "", **headers: str) -> Any:
        given = {"Authorization": f"Bearer {token}"} if token else {}
        return client.request(method, path, headers={**given, **headers})

    return ask


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_nobody_reaches_a_route_without_its_token_by_another_name_or_from_another_site(
    asked: Callable[..., Any], texts: dict[str, str], method: str, route: Any
):
    path, role = address(route), needed(route)
    right = texts[role]
    wrong = {"owner": ("viewer", "rater"), "viewer": ("rater",), "rater": ("owner", "viewer")}
    assert asked(method, path).status_code == 401
    assert asked(method, path, "x" * 43).status_code == 401
    for other in wrong[role]:
        assert asked(method, path, texts[other]).status_code == 403, other
    assert asked(method, path, right, Host="evil.example").status_code == 421
    assert asked(method, path, right, Origin="http://evil.example").status_code == 403


def test_the_matrix_has_every_route_of_the_service():
    assert len(ROUTES) >= 35
    assert {needed(route.values[1]) for route in ROUTES} >= {"owner", "viewer"}


READ = [
    route
    for module in router_modules()
    for route in module.router.routes
    if route.path.startswith("/v1") and "GET" in route.methods and "events" not in route.path
]


def test_what_is_read_by_v1_is_sent_once_while_it_stays_the_same(
    asked: Callable[..., Any], texts: dict[str, str]
):
    tried = 0
    for route in READ:
        path = address(route) + ("?rater=scripted:4" if route.path.endswith("/checks") else "")
        first = asked("GET", path, texts["owner"])
        if first.status_code != 200:  # a job or an item that is not there
            assert first.status_code == 404, (path, first.text)
            continue
        again = asked("GET", path, texts["owner"], **{"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b""), path
        tried += 1
    assert tried >= 15


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("{", 422, "no JSON"),
        ("[" * 50_000, 400, "parsing the body"),
        ("x=1", 422, "no JSON"),
        ("", 422, "body is missing"),
        ("[1]", 422, "no JSON object"),
        ('{"run": "\udcff"}', 400, "no UTF-8"),
        ('{"n": 1, "n": 2}', 422, "key 'n' is there twice"),
    ],
)
def test_a_body_that_cannot_be_read_is_a_problem_with_a_remedy(
    served: FastAPI, texts: dict[str, str], body: str, status: int, words: str
):
    headers = {"Authorization": f"Bearer {texts['owner']}", "Content-Type": "application/json"}
    answer = TestClient(gated(served), base_url=BASE).post(
        "/v1/runs", content=body.encode("utf-8", "surrogateescape"), headers=headers
    )
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]
    assert answer.json()["remedy"]


def test_a_form_in_place_of_json_is_told_what_to_send(served: FastAPI, texts: dict[str, str]):
    answer = TestClient(gated(served), base_url=BASE).post(
        "/v1/runs", data={"run": "main"}, headers={"Authorization": f"Bearer {texts['owner']}"}
    )
    assert answer.status_code == 422
    assert answer.json()["remedy"].startswith("send JSON in UTF-8")


def test_a_status_has_the_words_of_rfc_9110_whichever_python_serves():
    assert [phrase_of(status) for status in (404, 413, 414, 422)] == [
        "Not Found", "Content Too Large", "URI Too Long", "Unprocessable Content"
    ]  # fmt: skip


def test_a_server_has_its_specification_before_the_first_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Made on the event loop, 0.2 s of CPU, it would hold up whoever rates meanwhile.
    made = []

    def run(self: _app.Server, sockets: list[socket.socket]) -> None:
        made.append(self.config.app.app.openapi_schema)
        sockets[0].close()

    monkeypatch.setattr(_app.Server, "run", run)
    serve(tmp_path, Address(port=0), lambda line: None)
    assert made[0]["paths"]
