"""Who is let in: tokens, cookies, roles, hosts, origins, sizes and rates."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from autointerp.apps.service import _gate
from autointerp.apps.service._access import Owner, Rater, Viewer, owner, rater, viewer
from autointerp.apps.service._app import Address, build_app, gated, router_modules, service_at
from autointerp.apps.service._tokens import Tokens
from autointerp.errors import BadInput, UnknownName

Ask = Callable[..., TestClient]
BASE = "http://127.0.0.1:8731"


@pytest.fixture
def made(runs: Path) -> Ask:
    """Clients of an application with one route of each kind."""
    app: FastAPI = build_app(service_at(runs, Address()))

    @app.get("/v1/read")
    async def read(access: Viewer) -> str:
        return access.role

    @app.post("/v1/write")
    async def write(access: Owner, body: dict[str, str]) -> str:
        return access.role

    @app.post("/rate/answer")
    async def rate(access: Rater) -> list[str]:
        return [access.name, access.run.name]

    @app.get("/rate/fail")
    async def fail(access: Rater) -> str:
        raise UnknownName("source", "secret", ["features"])

    @app.get("/v1/fail")
    async def fail_reading(access: Viewer) -> str:
        raise BadInput("--n 0: ask for at least 1 unit")

    @app.get("/v1/long")
    async def long(access: Viewer) -> str:
        raise asyncio.CancelledError  # as the server does when it stops

    @app.get("/v1/bug")
    async def bug(access: Viewer) -> str:
        raise RuntimeError("the traceback's own text")

    served = gated(app)

    def client(token: str = "", **headers: str) -> TestClient:
        given = {"Authorization": f"Bearer {token}"} if token else {}
        return TestClient(
            served,
            base_url=BASE,
            headers={**given, **headers},
            follow_redirects=False,
            raise_server_exceptions=False,
        )

    return client


def test_every_route_has_one_dependency_that_says_who_may_call_it():
    guards = {owner, viewer, rater}
    routes = [route for module in router_modules() for route in module.router.routes]
    open_to_all = [
        route.path
        for route in routes
        if len(guards & {one.call for one in route.dependant.dependencies}) != 1
    ]
    assert open_to_all == []
    assert len(routes) >= 2


@pytest.mark.parametrize("path", ["/", "/v1/read", "/assets/service.css"])
@pytest.mark.parametrize("token", ["", "wrong", "x" * 500])
def test_without_a_valid_token_nothing_is_read(made: Ask, path: str, token: str):
    answer = made(token).get(path)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    problem = answer.json()
    assert problem["remedy"] == "`autointerp tokens new` makes one"
    assert problem["detail"].endswith(problem["remedy"])


def test_a_role_opens_its_own_routes_and_no_others(made: Ask, tokens: Tokens):
    texts = {
        "owner": tokens.issue("owner")[1],
        "viewer": tokens.issue("viewer")[1],
        "rater": tokens.issue("rater", run="main", rater="human:ann")[1],
    }
    statuses = {
        role: (
            made(text).get("/v1/read").status_code,
            made(text).post("/v1/write", json={}).status_code,
            made(text).post("/rate/answer").status_code,
        )
        for role, text in texts.items()
    }
    assert statuses == {
        "owner": (200, 200, 403),
        "viewer": (200, 403, 403),
        "rater": (403, 403, 200),
    }
    assert made(texts["rater"]).post("/rate/answer").json() == ["human:ann", "main"]


def test_a_revoked_token_is_refused_from_then_on(made: Ask, tokens: Tokens):
    token, text = tokens.issue("viewer")
    client = made(text)
    assert client.get("/v1/read").status_code == 200
    tokens.revoke(token.id)
    assert client.get("/v1/read").status_code == 401


def test_a_link_becomes_a_cookie_and_the_token_leaves_the_address(made: Ask, tokens: Tokens):
    _, text = tokens.issue("owner")
    client = made()
    answer = client.get(f"/?token={text}&page=2")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?page=2")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert client.get("/").status_code == 200


def test_a_link_leads_to_no_other_site(made: Ask, tokens: Tokens):
    _, text = tokens.issue("owner")
    answer = made().get(f"//evil.example/x?token={text}")
    assert answer.headers.get("location", "/").startswith("/")
    assert not answer.headers.get("location", "/").startswith("//")


def test_a_wrong_link_is_told_in_a_page_to_a_browser(made: Ask):
    answer = made(Accept="text/html").get("/?token=wrong")
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("text/html")
    assert "autointerp serve" in answer.text


def test_a_rater_at_an_owners_page_is_shown_the_way_to_the_rating_page(made: Ask, tokens: Tokens):
    client = made(Accept="text/html")
    client.get(f"/rate/?token={tokens.issue('rater', run='main', rater='human:ann')[1]}")
    for path in ("/", "/runs/main", "/jobs"):
        answer = client.get(path)
        assert answer.status_code == 403
        assert 'href="/rate/"' in answer.text
        assert "autointerp" not in answer.text  # no command of an owner's


def test_a_link_that_has_ended_tells_a_rater_whom_to_ask(made: Ask, tokens: Tokens):
    token, text = tokens.issue("rater", run="main", rater="human:ann")
    client = made(Accept="text/html")
    client.get(f"/rate/?token={text}")
    tokens.revoke(token.id)
    for answer in (client.get("/rate/state"), client.get(f"/rate/?token={text}")):
        assert answer.status_code == 401
        assert "ask who invited you for another" in answer.text
        assert "autointerp" not in answer.text


def test_no_link_takes_the_access_of_another_role(made: Ask, tokens: Tokens):
    client = made()
    owner, text = tokens.issue("owner")
    client.get(f"/?token={text}")
    client.get(f"/rate?token={tokens.issue('rater', run='main', rater='human:ann')[1]}")
    assert client.get(f"/?token={tokens.issue('viewer')[1]}").status_code == 303
    assert client.get("/v1/read").json() == "owner"
    tokens.revoke(owner.id)
    assert client.get("/v1/read").json() == "viewer"


def csrf(page: str) -> str:
    return page.split('name="csrf" content="')[1].split('"')[0]


def test_a_writing_request_by_cookie_needs_the_pages_text(made: Ask, tokens: Tokens):
    client = made()
    client.get(f"/?token={tokens.issue('owner')[1]}")
    text = csrf(client.get("/").text)
    assert client.post("/v1/write", json={}).status_code == 403
    assert client.post("/v1/write", json={}, headers={"X-CSRF-Token": "0"}).status_code == 403
    assert client.post("/v1/write", json={}, headers={"X-CSRF-Token": text}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:8732", "127.0.0.1", ""])
def test_another_name_of_this_machine_is_not_answered(made: Ask, tokens: Tokens, host: str):
    _, text = tokens.issue("owner")
    assert made(text, Host=host).get("/v1/read").status_code == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:8731"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_of_another_site_is_refused(made: Ask, tokens: Tokens, origin: str, method: str):
    _, text = tokens.issue("owner")
    path = "/v1/read" if method == "GET" else "/v1/write"
    assert made(text, Origin=origin).request(method, path, json={}).status_code == 403


def test_a_browser_that_sends_no_origin_says_by_its_metadata_where_a_request_comes_from(
    made: Ask, tokens: Tokens
):
    _, text = tokens.issue("owner")
    sent = {site: made(text, **{"Sec-Fetch-Site": site}).post("/v1/write", json={}).status_code
            for site in ("cross-site", "same-site", "same-origin")}  # fmt: skip
    assert sent == {"cross-site": 403, "same-site": 403, "same-origin": 200}


def test_a_body_is_bounded_whether_its_length_is_said_or_not(made: Ask, tokens: Tokens):
    _, text = tokens.issue("owner")
    large = b'{"a": "' + b"x" * 2**20 + b'"}'
    assert made(text).post("/v1/write", content=large).status_code == 413

    def pieces() -> Iterator[bytes]:
        yield from (large[at : at + 65_536] for at in range(0, len(large), 65_536))

    answer = made(text).post("/v1/write", content=pieces())
    assert answer.status_code == 413
    assert "send less at once" in answer.json()["detail"]


def test_who_asks_too_often_is_asked_to_wait(
    made: Ask, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_gate.time, "monotonic", lambda: 0.0)
    client = made(tokens.issue("viewer")[1])
    statuses = [client.get("/v1/read").status_code for _ in range(int(_gate.BURST) + 1)]
    assert statuses == [200] * int(_gate.BURST) + [429]
    page = client.get("/", headers={"Accept": "text/html"})  # opens again by itself
    assert (page.status_code, page.headers["refresh"]) == (429, page.headers["retry-after"])
    other = made(tokens.issue("viewer")[1])
    assert other.get("/v1/read").status_code == 200


def test_guesses_at_tokens_are_slowed_and_those_who_have_one_are_not(
    made: Ask, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_gate.time, "monotonic", lambda: 0.0)
    guesses = [made(f"guess{n}").get("/v1/read") for n in range(int(_gate.FAILURE_BURST) + 1)]
    assert [answer.status_code for answer in guesses[-2:]] == [401, 429]
    assert guesses[-1].headers["Retry-After"] == "5"  # 1 request at 0.2 a second
    assert made(tokens.issue("viewer")[1]).get("/v1/read").status_code == 200


def test_a_valid_link_opens_though_others_of_its_address_guessed(
    made: Ask, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_gate.time, "monotonic", lambda: 0.0)
    for n in range(int(_gate.FAILURE_BURST)):  # a class behind one address, with an old link
        made().get(f"/rate/?token=old{n}")
    assert made().get("/rate/?token=old").status_code == 429
    text = tokens.issue("rater", run="main", rater="human:ann")[1]
    assert made().get(f"/rate/?token={text}").status_code == 303


def test_an_allowance_fills_again(monkeypatch: pytest.MonkeyPatch):
    clock = [0.0]
    monkeypatch.setattr(_gate.time, "monotonic", lambda: clock[0])
    allowance = _gate.Allowance(rate=2, burst=3)
    assert [allowance.wait_s("a") for _ in range(4)] == [0, 0, 0, 0.5]
    clock[0] = 0.5  # one more, at 2 a second
    assert [allowance.wait_s("a") for _ in range(2)] == [0, 0.5]


def test_every_answer_forbids_inline_scripts_and_frames(made: Ask, tokens: Tokens):
    for answer in (made().get("/v1/read"), made(tokens.issue("owner")[1]).get("/")):
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/v1/read", "/v1/runs", "/v1/fail", "/v1/none"])
@pytest.mark.parametrize("is_known", [True, False])
def test_head_answers_as_get_does_without_a_body(
    made: Ask, tokens: Tokens, path: str, is_known: bool
):
    client = made(tokens.issue("owner")[1] if is_known else "")
    whole, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    drawn = {"set-cookie", "date"}
    assert {k: v for k, v in head.headers.items() if k not in drawn} == {
        k: v for k, v in whole.headers.items() if k not in drawn
    }
    assert head.headers["content-length"] == str(len(whole.content))


def test_a_wrong_method_is_told_all_that_its_address_takes(made: Ask, tokens: Tokens):
    client = made(tokens.issue("owner")[1])
    # GET and POST of /v1/runs are two routes, in two files.
    for method, path, allowed in [
        ("DELETE", "/v1/runs", "GET, HEAD, OPTIONS, POST"),
        ("PATCH", "/", "GET, HEAD, OPTIONS"),
        ("GET", "/rate/deeds", "OPTIONS, POST"),
        ("GET", "/v1/tokens/00000000", "DELETE, OPTIONS"),
    ]:
        answer = client.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["allow"] == allowed
        assert answer.json()["remedy"] == f"use {allowed}"
        asked = client.options(path)
        assert (asked.status_code, asked.content) == (204, b"")
        assert asked.headers["allow"] == allowed


def test_a_slash_too_many_leads_to_the_same_host_whatever_a_proxy_said(made: Ask, tokens: Tokens):
    client = made(tokens.issue("owner")[1])
    for given, place in [("/v1/runs/?limit=2", "/v1/runs?limit=2"), ("/rate", "/rate/")]:
        answer = client.get(given)
        assert (answer.status_code, answer.headers["location"]) == (307, place)


def test_an_address_that_is_not_there_is_a_page_with_a_way_out_or_a_problem(made: Ask):
    page = made(Accept="text/html").get("/nowhere")
    assert page.status_code == 404
    assert 'href="/"' in page.text
    for path in ("/nowhere", "/v1/nowhere"):
        answer = made(Accept="*/*").get(path)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 404


def test_an_error_from_below_is_a_problem_with_its_line_and_remedy(made: Ask, tokens: Tokens):
    answer = made(tokens.issue("viewer")[1]).get("/v1/fail")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "--n 0: ask for at least 1 unit"


def test_a_rater_is_not_told_what_an_error_names(made: Ask, tokens: Tokens):
    text = tokens.issue("rater", run="main", rater="human:ann")[1]
    answer = made(text).get("/rate/fail")
    assert answer.status_code == 404
    assert "features" not in answer.text
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/v1/jobs?limt=5", "did you mean 'limit'?"),
        ("/v1/jobs?limit=5&limit=6", "give it once"),
        ("/v1/jobs?run=a%00b", "NUL"),
        ("/v1/jobs?run=%ff", "UTF-8"),
        ("/v1/runs/%ff/units", "UTF-8"),
        ("/v1/runs/a%00b/units", "NUL"),
        ("/rate/?token=a&token=b", "give it once"),
    ],
)
def test_nothing_of_an_address_is_left_out_without_a_word(
    made: Ask, tokens: Tokens, address: str, words: str
):
    answer = made(tokens.issue("viewer")[1]).get(address)
    assert answer.status_code in (400, 422)
    assert words in answer.json()["detail"]
    assert answer.json()["remedy"]


def test_a_key_that_a_body_has_twice_is_refused(made: Ask, tokens: Tokens):
    client = made(tokens.issue("owner")[1], **{"Content-Type": "application/json"})
    answer = client.post("/v1/write", content=b'{"a": "1", "a": "2"}')
    assert (answer.status_code, answer.json()["remedy"]) == (422, "give each key once")
    assert client.post("/v1/write", content=b'{"a": "1", "b": "2"}').status_code == 200


@pytest.mark.parametrize("tag", ['"{0}"', 'W/"{0}"', '"x", W/"{0}"', "*"])
def test_a_page_s_file_is_not_sent_again_however_a_proxy_writes_its_tag(
    made: Ask, tokens: Tokens, tag: str
):
    client = made(tokens.issue("viewer")[1])
    held = client.get("/assets/service.js").headers["etag"].strip('"')
    again = client.get("/assets/service.js", headers={"If-None-Match": tag.format(held)})
    assert again.status_code == 304


def test_a_bug_is_told_without_its_traceback(
    made: Ask, tokens: Tokens, caplog: pytest.LogCaptureFixture
):
    answer = made(tokens.issue("viewer")[1]).get("/v1/bug")
    assert answer.status_code == 500
    assert "own text" not in answer.text
    assert "own text" in caplog.text


def test_what_a_server_that_stops_cannot_wait_for_is_told_to_come_again(made: Ask, tokens: Tokens):
    answer = made(tokens.issue("viewer")[1]).get("/v1/long")
    assert answer.status_code == 503
    assert answer.json()["remedy"] == "try again when it is back"


def test_the_audit_log_says_who_changed_what_and_no_token(made: Ask, tokens: Tokens, runs: Path):
    token, text = tokens.issue("owner")
    made(text).post("/v1/write", json={"secret": "1"})
    made("guess").get("/v1/read")
    made(text).get("/v1/read")  # reading leaves no line
    log = (runs / ".service" / "audit.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [(line["token"], line["path"], line["status"]) for line in lines] == [
        (token.id, "/v1/write", 200),
        ("", "/v1/read", 401),
    ]
    assert text not in log


def test_a_change_whose_line_no_disk_takes_is_answered_and_said_in_the_terminal(
    made: Ask, tokens: Tokens, runs: Path, caplog: pytest.LogCaptureFixture
):
    (runs / ".service" / "audit.jsonl").mkdir()
    answer = made(tokens.issue("owner")[1]).post("/v1/write", json={})
    assert answer.status_code == 200
    assert "audit.jsonl cannot be written" in caplog.text
    assert '"path": "/v1/write"' in caplog.text


def test_tokens_that_cannot_be_read_let_nobody_in(
    made: Ask, tokens: Tokens, runs: Path, caplog: pytest.LogCaptureFixture
):
    client = made(tokens.issue("owner")[1])
    (runs / ".service" / "tokens.json").write_text("{")
    answer = client.get("/v1/read")
    assert answer.status_code == 503
    assert answer.json()["remedy"].startswith("tell who runs the service")
    assert "tokens.json" not in answer.text
    assert "tokens.json" in caplog.text


@pytest.mark.parametrize(
    ("host", "public", "warned"),
    [
        ("127.0.0.1", "", False),
        ("0.0.0.0", "", True),
        ("127.0.0.1", "https://rate.example.org", False),
        ("127.0.0.1", "http://rate.example.org", True),
    ],
)
def test_an_open_address_without_tls_is_warned_of(host: str, public: str, warned: bool):
    assert bool(Address(host, 8731, public).warning) == warned


def test_behind_a_proxy_cookies_go_by_tls_alone_and_its_origin_is_ours(runs: Path, tokens: Tokens):
    address = Address(public_url="https://rate.example.org")
    client = TestClient(
        gated(build_app(service_at(runs, address))),
        base_url="https://rate.example.org",
        headers={"Origin": "https://rate.example.org"},
        follow_redirects=False,
    )
    answer = client.get(f"/?token={tokens.issue('owner')[1]}")
    assert "Secure" in answer.headers["set-cookie"]
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    ("address", "answered"),
    [
        (Address(port=80), ["127.0.0.1", "127.0.0.1:80", "[::1]", "localhost"]),
        (Address("::1"), ["[::1]:8731", "localhost:8731"]),
        (Address(public_url="https://a.example"), ["a.example", "a.example:443"]),
        (Address(public_url="https://a.example:443"), ["a.example", "a.example:443"]),
        (Address(public_url="https://A.example:8443"), ["a.example:8443"]),
        (Address(public_url="https://bücher.example"), ["xn--bcher-kva.example"]),
        (Address(public_url="https://[2001:db8::1]"), ["[2001:db8::1]", "[2001:db8::1]:443"]),
    ],
)
def test_a_host_is_answered_as_browsers_send_it(address: Address, answered: list[str]):
    assert address.hosts >= set(answered)


@pytest.mark.parametrize("address", [Address(port=8080), Address(public_url="http://a.example:81")])
def test_a_host_without_a_port_that_is_not_the_usual_one_is_none(address: Address):
    assert address.hosts.isdisjoint({"127.0.0.1", "a.example", "a.example:80"})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("192.168.1.5:8731", 200),
        ("[fe80::1]:8731", 200),
        ("192.168.1.5", 421),
        ("192.168.1.5:80", 421),
        ("evil.example:8731", 421),
        ("192.168.1.5.evil.example:8731", 421),
        ("[192.168.1.5]:8731", 421),
        ("", 421),
    ],
)
def test_a_service_at_every_address_is_reached_by_number_and_not_by_any_name(
    runs: Path, tokens: Tokens, host: str, status: int
):
    client = TestClient(gated(build_app(service_at(runs, Address("0.0.0.0")))))
    token = {"Authorization": f"Bearer {tokens.issue('owner')[1]}", "Host": host}
    assert client.get("/v1/jobs", headers=token).status_code == status
    own = client.get("/v1/jobs", headers={**token, "Origin": f"http://{host}"})
    assert own.status_code == status
    other = client.get("/v1/jobs", headers={**token, "Origin": "http://192.168.1.6:8731"})
    assert other.status_code == (403 if status == 200 else 421)


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example:99999",
        "https://a.example#x",
        "https://:1",
        "https://@a.example",
        "rate.example.org",
        "https://a.example/x",
        "ftp://a.example",
    ],
)
def test_a_public_address_is_a_whole_host(url: str):
    with pytest.raises(BadInput, match="--public-url"):
        Address(public_url=url)
