"""The rating page's routes: a whole sitting over HTTP, and what a rater can reach."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from support.application import served

from autointerp.apps.service._app import router_modules
from autointerp.apps.service._tokens import Tokens
from autointerp.errors import BadInput
from autointerp.people.ingest import ingest_journals
from autointerp.people.journal import read_journal
from autointerp.people.session import Sitting
from autointerp.pipeline.invite import Invitation, invite
from autointerp.store.run import open_run

BASE = "http://127.0.0.1:8731"
FILES = Path(__file__).parents[3] / "autointerp" / "apps" / "service" / "assets" / "rating"


@pytest.fixture
def runs(own_runs: Path) -> Path:
    return own_runs


@pytest.fixture
def invited(runs: Path) -> Callable[..., str]:
    """Return a function that invites somebody to the tiny run and returns the token."""

    def call(name: str | None = "ann", items: int = 8, **details: str) -> str:
        rater = None if name is None else f"human:{name}"
        made: Invitation = invite("tiny", rater, items, corpus_text=False, runs=runs)
        key = "journal" if rater else "invitation"
        return Tokens(runs).issue(
            "rater",
            run="tiny",
            rater=rater or "human:anyone",
            details={key: made.session, **details},
        )[1]

    return call


@pytest.fixture
def server(runs: Path):
    """The service as it runs, started and stopped."""
    with TestClient(served(runs), base_url=BASE) as client:
        client.follow_redirects = False
        yield client


def as_rater(server: TestClient, token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def answer_all(
    server: TestClient, token: str, score: Callable[[int], int]
) -> list[tuple[str, int]]:
    """Rate until all is done; return the text of each rating and its score, in order."""
    headers = as_rater(server, token)
    given = []
    number = 0
    state = server.get("/rate/state", headers=headers).json()
    while state["steps"]:
        step = state["steps"][0]
        number += 1
        deed = {
            "id": f"{token[:6].replace('-', 'x')}-{number:06}",
            "step": step["key"],
            "seconds": 4,
        }
        if step["kind"] == "guess":
            deed |= {"verb": "guess", "text": "unknown"}
        else:
            deed |= {"verb": "score", "score": score(number)}
        answered = server.post("/rate/deeds", json={"deeds": [deed]}, headers=headers).json()
        assert answered["outcomes"][0]["refused"] == ""
        assert bool(answered["outcomes"][0]["feedback"]) == (step["kind"] == "training")
        if step["kind"] == "rating":
            text = "|".join("".join(context["tokens"]) for context in step["contexts"])
            given.append((text, score(number)))
        state = answered["state"]
    return given


def test_a_sitting_over_http_is_in_the_run_as_it_was_typed(server, invited, runs):
    typed = {name: answer_all(server, invited(name), lambda n, k=k: 1 + (n * k) % 5)
             for name, k in (("ann", 2), ("bob", 3))}  # fmt: skip
    with open_run("tiny", folder=runs) as run:
        ingest_journals(run)
        for name, given in typed.items():
            stored = Counter(
                row[0]
                for row in run.rows(
                    "SELECT score FROM current_rating WHERE rater = ?", [f"human:{name}"]
                )
            )
            assert stored == Counter(score for _, score in given)
            assert len(given) == 9  # 8 items, one of them twice
        guesses = run.rows("SELECT rater, count(*) FROM current_guess GROUP BY 1 ORDER BY 1")
    assert guesses == [("human:ann", 8), ("human:bob", 8)]
    first, second = (dict(given) for given in typed.values())
    assert first.keys() == second.keys()  # the same items, in another order
    assert list(first) != list(second)


def test_a_server_that_is_stopped_takes_up_where_it_was(invited, runs):
    token = invited()
    deeds = []
    for part in range(3):
        with TestClient(served(runs), base_url=BASE) as client:
            headers = as_rater(client, token)
            state = client.get("/rate/state", headers=headers).json()
            deeds.append({"id": f"answer-{part:04}", "step": state["steps"][0]["key"],
                          "verb": "score", "score": 2})  # fmt: skip
            # All that was sent before is sent again, as a page does whose answers were lost.
            answered = client.post("/rate/deeds", json={"deeds": deeds}, headers=headers).json()
            assert [one["refused"] for one in answered["outcomes"]] == [""] * (part + 1)
    (path,) = (runs / "tiny" / "journals").glob("human-ann.*.jsonl")
    assert len(read_journal(path).entries["human:ann"]) == 3


def everything(server: TestClient, token: str) -> dict[str, str]:
    """Return all that a rater gets: of each route, and each file, headers and body."""
    headers = as_rater(server, token)
    got = {}
    paths = [
        (method, re.sub(r"\{[^}]*\}", "tiny", route.path))
        for module in router_modules()
        for route in module.router.routes
        for method in route.methods
    ]
    assert len(paths) >= 40  # of every file that has a router
    paths += [("GET", f"/rate/files/{path.name}") for path in FILES.iterdir()]
    paths += [("GET", "/"), ("GET", "/openapi.json"), ("GET", "/v1/runs/tiny/units")]
    for method, path in paths:
        response = server.request(method, path, headers=headers)
        if not path.startswith("/rate"):
            assert response.status_code in (401, 403, 404, 405, 422), (method, path)
            assert len(response.content) < 1000  # an error, and no more
        got[f"{method} {path}"] = f"{dict(response.headers)} {response.text}"
    return got


def test_nothing_that_a_rater_can_reach_tells_what_is_rated(server, invited, runs):
    other, token = invited("zebediah"), invited("ann")
    answer_all(server, other, lambda n: 5)
    headers = as_rater(server, token)
    seen = {}
    state = server.get("/rate/state", headers=headers).json()
    number = 0
    while state["steps"]:
        step = state["steps"][0]
        if step["kind"] != seen.get("kind"):  # all of it, as each phase begins
            seen |= {f"{place} {number}": text for place, text in everything(server, token).items()}
        seen["kind"] = step["kind"]
        number += 1
        deed = {"id": f"crawl-{number:05}", "step": step["key"], "verb": "score", "score": 4}
        if step["kind"] == "guess":
            deed |= {"verb": "guess", "text": "unknown"}
        answered = server.post("/rate/deeds", json={"deeds": [deed]}, headers=headers)
        seen[f"deed {number}"] = answered.text
        state = answered.json()["state"]
    del seen["kind"]
    seen |= {f"{place} {number}": text for place, text in everything(server, token).items()}
    with open_run("tiny", folder=runs, read_only=True) as run:
        secrets = [row[0] for row in run.rows("SELECT item_id FROM item")]
        secrets += [
            f"{source}/{index}" for source, index in run.rows("SELECT source, idx FROM unit")
        ]
        secrets += [row[0] for row in run.rows("SELECT DISTINCT rater FROM rating")]
        notes = {row[0] for row in run.rows("SELECT note FROM unit WHERE note <> ''")}
        rationales = [row[0] for row in run.rows(
            "SELECT DISTINCT rationale FROM rating WHERE rationale IS NOT NULL")]  # fmt: skip
    secrets += ["zebediah", "scripted", "layers.0", "unit_id", "shuffled", "planted", '"source"',
                str(runs), *[one for one in rationales if len(one) > 8]]  # fmt: skip
    told = {
        (place.rpartition(" ")[0], secret)
        for place, text in seen.items()
        for secret in secrets
        if secret in text
    }
    assert told == set()
    # What a practice item was made of is said after it was answered, and of no other.
    explained = {place for place, text in seen.items() for note in notes if note in text}
    assert all(place.startswith("deed") for place in explained)
    guess = "a feature of an autoencoder"
    first = next(place for place, text in seen.items() if guess in text)
    assert first.startswith(("deed", "GET /rate/state"))  # not before all is rated
    states = [json.loads(text)["state"] for place, text in seen.items() if place[:4] == "deed"]
    assert all((one["guess"] is None) == (one["phase"] != "guess") for one in states)


def test_steps_carry_their_text_and_nothing_else(server, invited):
    state = server.get("/rate/state", headers=as_rater(server, invited())).json()
    (step,) = state["steps"]  # of practice, one at a time
    assert set(step) == {"key", "kind", "proposed", "description", "widened", "contexts"}
    assert {frozenset(context) for context in step["contexts"]} == {
        frozenset({"tokens", "levels", "focus", "before", "after"})
    }


def test_what_a_page_holds_is_not_sent_again(server, invited):
    headers = as_rater(server, invited())
    server.post("/rate/deeds", headers=headers, json={"deeds": [
        {"id": "answer-0001", "step": "practice", "verb": "decline"}]})  # fmt: skip
    state = server.get("/rate/state", headers=headers).json()
    assert [step["key"] for step in state["steps"]] == state["order"]
    deed = {"id": "answer-0002", "step": state["order"][0], "verb": "score", "score": 3}
    body = {"deeds": [deed], "held": state["order"][:4]}
    fresh = server.post("/rate/deeds", headers=headers, json=body).json()["state"]
    assert fresh["order"][:7] == state["order"][1:]
    assert [step["key"] for step in fresh["steps"]] == fresh["order"][3:]


def test_the_page_has_no_inline_script_or_style(server, invited):
    page = server.get("/rate/", headers=as_rater(server, invited()))
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", page.text) == []
    script = (FILES / "rating.js").read_text()
    assert (
        re.findall(r"innerHTML|insertAdjacentHTML|outerHTML|document\.write|\beval\b", script) == []
    )


def test_a_consent_comes_before_anything_is_shown_or_taken(server, invited, runs):
    token = invited(consent="I take part of my own will.")
    headers = as_rater(server, token)
    state = server.get("/rate/state", headers=headers).json()
    assert (state["consent"], state["steps"]) == ("I take part of my own will.", [])
    deed = {"id": "answer-0001", "step": "x", "verb": "score", "score": 3}
    assert server.post("/rate/deeds", json={"deeds": [deed]}, headers=headers).status_code == 403
    state = server.post("/rate/consent", headers=headers).json()
    assert state["consent"] == ""
    assert len(state["steps"]) == 1
    (path,) = (runs / "tiny" / "journals").glob("human-ann.*.jsonl")
    (entry,) = read_journal(path).entries["human:ann"]
    assert entry.verb == "consent"  # with the digest of the text


def test_whoever_comes_from_a_platform_gets_a_place_and_a_code_at_the_end(server, invited, runs):
    token = invited(
        None, items=6, parameter="PROLIFIC_PID", places="2", code="C0DE77",
        return_url="https://app.prolific.com/done",
    )  # fmt: skip
    cookies = []
    for person in ("5f1a2b3c", "another", "5f1a2b3c", "third"):
        server.cookies.clear()
        entered = server.get(f"/rate/?token={token}&PROLIFIC_PID={person}")
        assert entered.headers["location"] == f"/rate/?PROLIFIC_PID={person}"
        given = server.get(entered.headers["location"])
        if person == "third":
            assert given.status_code == 403
            assert "places are taken" in given.text
            break
        assert given.headers["location"] == "/rate/"
        cookies.append(dict(server.cookies))
    journals = sorted(path.name for path in (runs / "tiny" / "journals").glob("human-p-*.jsonl"))
    assert len(journals) == 2  # who comes again has the same place
    assert not [path for path in (runs / "tiny").rglob("*") if path.is_file()
                and b"5f1a2b3c" in path.read_bytes()]  # fmt: skip
    people = (runs / ".service" / "participants.jsonl").read_text().splitlines()
    assert [json.loads(line)["PROLIFIC_PID"] for line in people] == ["5f1a2b3c", "another"]
    server.cookies.clear()
    server.cookies.update(cookies[0])
    page = server.get("/rate/").text
    csrf = re.search(r'name="csrf" content="([^"]+)"', page)[1]
    state = server.get("/rate/state").json()
    assert (state["code"], state["return_url"]) == ("", "")
    number = 0
    while state["steps"]:
        number += 1
        step = state["steps"][0]
        deed = {"id": f"answer-{number:04}", "step": step["key"], "verb": "score", "score": 3}
        if step["kind"] == "guess":
            deed |= {"verb": "guess", "text": "unknown"}
        sent = server.post("/rate/deeds", json={"deeds": [deed]}, headers={"X-CSRF-Token": csrf})
        state = sent.json()["state"]
    assert state["finished"]
    assert (state["code"], state["return_url"]) == ("C0DE77", "https://app.prolific.com/done")
    with open_run("tiny", folder=runs) as run:
        assert ingest_journals(run) == number


def test_places_outlive_their_link_until_they_are_ended_too(server, invited, runs, command_line):
    text = invited(None, items=6, parameter="PROLIFIC_PID", places="9")
    tokens = Tokens(runs)
    link = tokens.find(text)
    for person in ("one", "two", "one"):
        server.cookies.clear()
        server.get("/rate/", params={"token": text})
        server.get("/rate/", params={"PROLIFIC_PID": person})
    place = dict(server.cookies)
    revoked = command_line("tokens", "revoke", link.id)
    assert "2 places that were taken by it stay valid" in revoked.err
    assert server.get("/rate/", params={"token": text}).status_code == 401  # nobody comes any more
    assert server.get("/rate/state").status_code == 200  # and who has begun can finish
    owner = {"Authorization": f"Bearer {tokens.issue('owner')[1]}"}
    server.cookies.clear()
    page = server.get("/runs/tiny/invite", headers=owner).text
    assert ">End 2 places<" in page
    (ended,) = re.findall(r'data-revoke="([^"]+)"', page)
    assert server.delete(f"/v1/tokens/{ended}", headers=owner).json()["state"] == "revoked"
    (listed,) = server.get("/v1/runs/tiny/invitations", headers=owner).json()
    assert (listed["state"], listed["places"]) == ("revoked", 0)
    server.cookies.update(place)
    assert server.get("/rate/state").status_code == 401


def test_only_a_link_for_whoever_comes_has_places(server, invited, runs):
    tokens = Tokens(runs)
    one = tokens.find(invited(name="ann"))
    with pytest.raises(BadInput, match=f"token '{one.id}' is no link for whoever comes"):
        tokens.revoke(one.id, places=True)
    assert tokens.is_valid(one.id)


def test_a_page_says_that_another_link_was_opened_in_its_browser(server, invited):
    """Both have one cookie: loading the page again would go on under the other's name."""
    server.get("/rate/", params={"token": invited(name="ann")})
    csrf = re.search(r'name="csrf" content="([^"]+)"', server.get("/rate/").text)[1]
    server.get("/rate/", params={"token": invited(name="bob")})
    sent = server.post("/rate/deeds", json={"deeds": []}, headers={"X-CSRF-Token": csrf})
    assert sent.status_code == 403
    assert sent.json()["detail"] == (
        "another link was opened in this browser since; open your own link again"
    )


def test_a_platforms_address_without_an_id_says_what_is_lacking(server, invited):
    token = invited(None, items=6, parameter="PROLIFIC_PID", places="2")
    page = server.get("/rate/", headers=as_rater(server, token))
    assert page.status_code == 400
    assert "PROLIFIC_PID" in page.text


@pytest.mark.parametrize("given", ["ID", "{{%PROLIFIC_PID%}}", "${workerId}", "[%PID%]", "<id>"])
def test_an_id_that_no_platform_has_filled_in_is_nobodys(server, invited, given):
    token = invited(None, items=6, parameter="PROLIFIC_PID", places="2")
    assert server.get("/rate/", params={"token": token}).status_code == 303
    page = server.get("/rate/", params={"PROLIFIC_PID": given})
    assert page.status_code == 400
    assert "nobody has put your id in place of what PROLIFIC_PID is" in page.text
    assert server.get("/rate/", params={"PROLIFIC_PID": "5f1a"}).status_code != 400


@pytest.mark.parametrize(
    "deed",
    [
        {"id": "short", "step": "x", "verb": "score", "score": 3},
        {"id": "answer-0001", "step": "x" * 100, "verb": "score", "score": 3},
        {"id": "answer-0001", "step": "x", "verb": "consent"},
        {"id": "answer-0001", "step": "x", "verb": "describe", "text": "x" * 3000},
        {"id": "answer-0001", "step": "x", "verb": "score", "score": "many"},
        {"id": "answer-0001", "step": "x", "verb": "score", "seconds": -1},
    ],
)
def test_what_no_page_of_ours_sends_is_refused_in_one_line(server, invited, runs, deed):
    headers = as_rater(server, invited())
    response = server.post("/rate/deeds", json={"deeds": [deed]}, headers=headers)
    assert response.status_code == 422
    assert "\n" not in response.json()["detail"]
    (path,) = (runs / "tiny" / "journals").glob("human-ann.*.jsonl")
    assert read_journal(path).entries == {}


def test_others_than_raters_and_a_journal_in_a_terminal_are_refused(server, invited, runs):
    _, owner = Tokens(runs).issue("owner")
    assert server.get("/rate/state", headers=as_rater(server, owner)).status_code == 403
    assert server.get("/rate/state").status_code == 401
    from autointerp.people.journal import open_journal

    token = invited()
    (path,) = (runs / "tiny" / "journals").glob("human-ann.*.jsonl")
    with open_journal(path, "human:ann"):
        taken = server.get("/rate/state", headers=as_rater(server, token))
    assert taken.status_code == 409
    assert "terminal" in taken.json()["detail"]
    assert server.get("/rate/state", headers=as_rater(server, token)).status_code == 200


def test_overlap_fills_evenly_over_http(server, runs):
    tokens = []
    for name in ("ann", "bob", "cy"):
        made = invite("tiny", f"human:{name}", 12, sitting=Sitting(overlap=2, repeat_share=0,
                      practice=False, guess=False), corpus_text=False, runs=runs)  # fmt: skip
        tokens.append(
            Tokens(runs).issue("rater", run="tiny", rater=f"human:{name}",
                               details={"journal": made.session})[1]
        )  # fmt: skip
    open_ones, number = list(tokens), 0
    while open_ones:
        for token in list(open_ones):
            headers = as_rater(server, token)
            steps = server.get("/rate/state", headers=headers).json()["steps"]
            if not steps:
                open_ones.remove(token)
                continue
            number += 1
            deed = {
                "id": f"answer-{number:04}",
                "step": steps[0]["key"],
                "verb": "score",
                "score": 3,
            }
            server.post("/rate/deeds", json={"deeds": [deed]}, headers=headers)
    with open_run("tiny", folder=runs) as run:
        ingest_journals(run)
        rated = run.rows(
            "SELECT is_control, count(*) FROM current_rating JOIN key USING (item_id)"
            " JOIN unit USING (unit_id) JOIN source USING (source)"
            " WHERE is_person(rater) GROUP BY item_id, is_control"
        )
    assert {n for control, n in rated if not control} == {2}
    assert {n for control, n in rated if control} == {3}  # gold is everybody's
