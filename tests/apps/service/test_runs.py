"""`/v1`: what runs hold, asked with a viewer's token."""

import csv
import io
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from support.application import served

from autointerp.apps.service import _snapshots
from autointerp.apps.service._tokens import Tokens
from autointerp.exchange.ratings import write_ratings
from autointerp.findings.comparison import compare
from autointerp.findings.descriptions import scorer_results_of
from autointerp.people.ingest import journals_folder
from autointerp.people.seats import Deed, Seating
from autointerp.pipeline.invite import invite
from autointerp.pipeline.summary import summarise
from autointerp.records import Rating
from autointerp.store.run import open_run
from autointerp.store.snapshots import Snapshot

BASE = "http://127.0.0.1:8731"


@pytest.fixture
def runs(truth_run: Path, tmp_path: Path) -> Path:
    """A copy of the scored tiny run."""
    import shutil

    return Path(shutil.copytree(truth_run, tmp_path / "runs"))


@pytest.fixture
def client(runs: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(_snapshots, "REST", 0.0)
    _, text = Tokens(runs).issue("viewer")
    return TestClient(served(runs), base_url=BASE, headers={"Authorization": f"Bearer {text}"})


def test_a_run_is_shown_in_the_counts_of_the_command_line(client: TestClient, runs: Path):
    with open_run("tiny", folder=runs, read_only=True) as run:
        expected = summarise(run).as_json()
    expected["made"] += "+00:00"  # stored in UTC
    shown = client.get("/v1/runs/tiny").json()
    assert {name: shown[name] for name in expected} == expected
    assert [one["run"] for one in client.get("/v1/runs").json()["items"]] == ["tiny"]


def test_a_run_that_cannot_be_read_is_listed_with_its_problem(client: TestClient, runs: Path):
    (runs / "broken").mkdir()
    (runs / "broken" / "run.toml").write_text("not a run")
    listed = client.get("/v1/runs").json()["items"]
    assert [(one["run"], bool(one["problem"])) for one in listed] == [
        ("broken", True),
        ("tiny", False),
    ]


@pytest.mark.parametrize(
    "path", ["", "/units", "/ratings", "/verdict", "/export", "/sessions", "/items/x", "/judges"]
)
def test_a_run_that_is_not_there_is_a_problem_that_names_those_that_are(
    client: TestClient, path: str
):
    answer = client.get(f"/v1/runs/other{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "known: tiny" in answer.json()["detail"]


def test_a_page_is_followed_by_its_next_until_all_units_were_there(client: TestClient):
    first = client.get("/v1/runs/tiny/units?limit=7&sort=unit&descending=true").json()
    pages, seen = [first], [unit["unit_id"] for unit in first["items"]]
    while pages[-1]["next"]:
        pages.append(client.get(pages[-1]["next"]).json())
        seen += [unit["unit_id"] for unit in pages[-1]["items"]]
    assert len(seen) == len(set(seen)) == first["total"]
    assert len(pages) == -(-first["total"] // 7)


def test_units_are_filtered_searched_and_sorted_by_the_database(client: TestClient, runs: Path):
    def units(query: str) -> list[dict]:
        return client.get(f"/v1/runs/tiny/units?limit=500&{query}").json()["items"]

    every = units("")
    features = units("source=features&outcome=eligible")
    assert {one["source"] for one in features} == {"features"}
    assert len(features) == sum(
        one["source"] == "features" and one["outcome"] == "eligible" for one in every
    )
    densities = [one["density"] for one in units("sort=density&descending=true")]
    known = [density for density in densities if density is not None]
    assert known == sorted(known, reverse=True)
    assert densities[len(known) :] == [None] * (len(densities) - len(known))
    named = features[0]["unit"]
    assert named in [one["unit"] for one in units(f"q={named}")]
    assert units("q=no+such+word+anywhere") == []
    scored = units("low=4&high=4&rater=scripted:4")
    assert scored
    assert {one["score"] for one in scored} == {4.0}
    assert {one["status"] for one in units("status=not+asked")} == {"not asked"}


def test_a_word_of_a_context_finds_its_units_where_contexts_are_searched(client: TestClient):
    unit = client.get("/v1/runs/tiny/units?source=features&outcome=eligible").json()["items"][0]
    detail = client.get(f"/v1/runs/tiny/units/{unit['unit_id']}").json()
    word = max("".join(detail["contexts"][0]["tokens"]).split(), key=len).strip('"')
    found = client.get(
        "/v1/runs/tiny/units", params={"q": word, "contexts": True, "limit": 500}
    ).json()["items"]
    assert unit["unit_id"] in [one["unit_id"] for one in found]


def test_a_unit_is_shown_with_its_contexts_ratings_and_descriptions(client: TestClient):
    unit = client.get("/v1/runs/tiny/units?source=features&outcome=eligible").json()["items"][0]
    detail = client.get(f"/v1/runs/tiny/units/{unit['unit_id']}").json()
    assert detail["unit"]["unit"] == unit["unit"]
    assert {one["rater"] for one in detail["ratings"]} == {"scripted:4"}
    assert [one["explainer"] for one in detail["descriptions"]] == ["scripted:truth"]
    stored = client.get(
        f"/v1/runs/tiny/contexts?unit_id={unit['unit_id']}&split=explain&draw=top&limit=500"
    ).json()
    strongest = max(context["activations"][context["focus"]] for context in stored["items"])
    first = detail["contexts"][0]
    assert (first["interval"], first["activations"][first["focus"]]) == (0, strongest)


def test_a_units_page_says_what_its_descriptions_are_worth_as_the_report_counts_it(
    client: TestClient, runs: Path
):
    with open_run("tiny", folder=runs, read_only=True) as run:
        results = {one.scorer: one.sources["planted"] for one in scorer_results_of(run)}
    units = client.get("/v1/runs/tiny/units?source=planted&outcome=eligible").json()["items"]
    shown: dict[str, list[list[str]]] = {}
    for unit in units:
        page = client.get(f"/runs/tiny/units/{unit['unit_id']}").text
        for row in page.split("<tr>"):
            cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
            if cells and cells[0] in results:
                shown.setdefault(cells[0], []).append(cells[3:5])
    assert shown.keys() == results.keys()
    for name, expected in results.items():
        own, permuted = zip(*shown[name], strict=True)
        scored = [float(one) for one in own if one.startswith(("0.", "1."))]
        controls = [float(one) for one in permuted if one != "–"]
        assert len(own) - len(scored) == expected.missing
        assert np.mean(scored) == pytest.approx(expected.scored.value, abs=0.005)  # as rounded
        assert np.mean(controls) == pytest.approx(expected.permuted.value, abs=0.005)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("rater=nobody", "unknown rater 'nobody'"),
        ("source=featurs", "did you mean 'features'?"),
        ("outcome=alive", "unknown outcome 'alive'"),
        ("status=great", "unknown status 'great'"),
        ("limit=0", "limit = '0'"),
        ("sort=colour", "sort = 'colour'"),
        ("q=" + "+".join("abcdefghijklm"), "13 words"),
    ],
)
def test_a_request_that_makes_no_sense_is_one_line_with_a_remedy(
    client: TestClient, query: str, said: str
):
    answer = client.get(f"/v1/runs/tiny/units?{query}")
    assert answer.status_code in (404, 422)
    assert said in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("ratings?source=featurs", "unknown source 'featurs'"),
        ("ratings?rater=nobody", "unknown rater 'nobody'"),
        ("ratings?status=great", "unknown status 'great'"),
        ("items?rubric=other", "unknown rubric 'other'"),
        ("contexts?unit_id=99999", "unknown unit '99999'"),
    ],
)
def test_a_name_that_a_run_does_not_hold_is_no_empty_list(client: TestClient, path: str, said: str):
    answer = client.get(f"/v1/runs/tiny/{path}")
    assert answer.status_code == 404
    assert said in answer.json()["detail"]
    assert answer.json()["remedy"]


def test_a_name_that_there_may_be_is_an_empty_list(client: TestClient):
    for path in ("ratings?status=refused", "units?status=refused", "units?outcome=dense"):
        assert client.get(f"/v1/runs/tiny/{path}").json()["total"] == 0, path


def test_an_export_is_sent_whole_whatever_part_is_asked_for(client: TestClient):
    whole = client.get("/v1/runs/tiny/export")
    part = client.get("/v1/runs/tiny/export", headers={"Range": "bytes=5-"})
    assert (part.status_code, part.content) == (200, whole.content)
    assert part.headers["accept-ranges"] == "none"


def test_what_is_unchanged_is_not_sent_again_and_what_changed_is(client: TestClient, runs: Path):
    for path in ("/v1/runs/tiny", "/v1/runs/tiny/units", "/v1/runs/tiny/ratings"):
        tag = client.get(path).headers["etag"]
        assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
        with open_run("tiny", folder=runs) as run:
            run.add_ratings([Rating(path, "rubric", "digest", "rater", 0, "ok", 1)])
        assert client.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_an_item_is_shown_as_its_rater_sees_it(client: TestClient):
    items = client.get("/v1/runs/tiny/items?rubric=interpretability-1-5").json()
    item = next(one for one in items["items"] if one["evidence"] == "shown")
    shown = client.get(f"/v1/runs/tiny/items/{item['item']}").json()
    first = shown["contexts"][0]
    assert first["tokens"][first["focus"]] in shown["user"]
    assert item["source"] not in shown["user"]


def test_ratings_are_those_of_the_export(client: TestClient, runs: Path, tmp_path: Path):
    with open_run("tiny", folder=runs, read_only=True) as run:
        write_ratings(run, "csv", tmp_path / "expected.csv")
    expected = (tmp_path / "expected.csv").read_text()
    assert client.get("/v1/runs/tiny/export").text == expected
    rows = list(csv.DictReader(io.StringIO(expected)))
    listed = client.get("/v1/runs/tiny/ratings?limit=500").json()
    assert listed["total"] == len(rows)
    assert [one["item"] for one in listed["items"]] == [row["item"] for row in rows]


@pytest.mark.parametrize(("to", "begins"), [("parquet", b"PAR1"), ("jsonl", b'{"run":"tiny"')])
@pytest.mark.parametrize("what", ["ratings", "scores", "specificity"])
def test_every_table_is_exported_in_every_form(
    client: TestClient, to: str, begins: bytes, what: str
):
    answer = client.get(f"/v1/runs/tiny/export?to={to}&what={what}")
    assert answer.status_code == 200
    if answer.content:  # no rubric about descriptions was asked: then there are no lines
        assert answer.content.startswith(begins)
    assert f"tiny-{what}.{to}" in answer.headers["content-disposition"]


def test_the_verdict_is_the_whole_comparison_and_one_look(client: TestClient, runs: Path):
    first, second = (client.get("/v1/runs/tiny/verdict").json() for _ in range(2))
    assert first == second
    with open_run("tiny", folder=runs) as run:
        own = json.loads(json.dumps(compare(run).as_json()))
        served = [look for look in run.stored_looks() if look["verb"] == "serve"]
    del first["notes"]
    assert served
    assert len(own["looks"]) == len(first["looks"])
    assert own["judgements"] == first["judgements"]
    assert own.keys() == first.keys()


def test_people_see_their_answers_without_a_command(client: TestClient, runs: Path):
    assert client.get("/v1/runs/tiny/sessions").json() == []


def test_who_was_invited_is_listed_beside_those_who_have_answered(client: TestClient, runs: Path):
    journals = journals_folder(runs / "tiny")
    for rater in ("human:ann", "human:bob-2"):  # the same session, of the same units
        made = invite("tiny", rater, 8, corpus_text=False, runs=runs)
    invite("tiny", None, 8, corpus_text=False, runs=runs)
    seating = Seating(journals)
    seat = seating.seat(journals / made.session, "human:bob-2")
    for part in ("practice", "guesses"):
        seat.do(Deed(f"left-out-{part}", part, "decline"))
    assert not seat.do(Deed("answer-1", seat.key(seat.ahead()[0]), "score", 3)).refused
    seating.close()
    listed = client.get("/v1/runs/tiny/sessions").json()
    people = {one["rater"]: (one["answered"], one["is_pack"]) for one in listed}
    assert people == {"human:ann": (0, False), "human:bob-2": (1, False), None: (0, False)}
    assert "whoever comes" in client.get("/runs/tiny").text


@pytest.mark.parametrize("name", ["raters", "rubrics", "sources"])
def test_what_can_be_named_in_a_job_is_listed(client: TestClient, name: str):
    listed = client.get(f"/v1/{name}").json()
    assert len(listed) > 2
    assert all(one.get("description", one.get("title")) for one in listed)


def test_a_rater_that_was_never_checked_has_no_check(client: TestClient):
    assert client.get("/v1/checks?rater=lexical").json() == []
    assert client.get("/v1/checks?rater=openai:m@127.0.0.1:80").json() == []
    wrong = client.get("/v1/checks?rater=lexicla")
    assert wrong.status_code == 404
    assert "did you mean 'lexical'?" in wrong.json()["detail"]


def test_a_copy_that_nobody_reads_is_dropped(runs: Path):
    snapshots = _snapshots.Snapshots(runs)
    with snapshots.read("tiny") as reading:
        snapshots.drop_idle(-1.0)  # as it is being read, it stays until then
        assert reading.rows("SELECT count(*) > 0 FROM unit") == [(True,)]
        assert list(snapshots.folder.iterdir())
    assert list(snapshots.folder.iterdir()) == []


def test_what_several_ask_at_once_is_answered_once(runs: Path):
    snapshots = _snapshots.Snapshots(runs)
    asked: list[str] = []

    def slow(snapshot: Snapshot) -> int:
        asked.append(snapshot.name)
        time.sleep(0.1)  # the others have come by then
        return len(asked)

    with ThreadPoolExecutor() as threads:
        answers = [threads.submit(snapshots.memo, "tiny", "report", slow) for _ in range(4)]
        assert [one.result() for one in answers] == [1, 1, 1, 1]
    assert asked == ["tiny"]
    snapshots.close()


def test_a_run_that_cannot_be_read_leaves_no_copy(client: TestClient, runs: Path):
    (runs / "broken").mkdir()
    (runs / "broken" / "run.toml").write_bytes((runs / "tiny" / "run.toml").read_bytes())
    (runs / "broken" / "run.duckdb").write_bytes(b"x" * 20_000)
    assert client.get("/v1/runs/broken/units").status_code == 503
    assert list((runs / ".service" / "snapshots").glob("broken.*")) == []


def test_reading_leaves_no_lock_that_a_command_would_meet(client: TestClient, runs: Path):
    client.get("/v1/runs/tiny/units")
    with open_run("tiny", folder=runs) as run:  # for writing, while the copy is open
        run.log("written")


def test_a_unit_says_what_match_map_concepts_cover_and_raters_hold_of_it(
    client: TestClient, runs: Path
):
    now = "2026-01-01 00:00:00"
    with open_run("tiny", folder=runs) as run:
        ((unit_id, index, label),) = run.rows(
            "SELECT unit_id, idx, 'features/' || idx FROM unit WHERE source = 'features'"
            " AND sign > 0 ORDER BY unit_id LIMIT 1"
        )
        ((item_id,),) = run.rows("SELECT item_id FROM key WHERE unit_id = ? LIMIT 1", [unit_id])
        other = index + 1
        for table, row in [
            ("match", {"other": "later", "other_sae": "x", "idx": index, "cosine": 0.91234,
                       "nearest": 7, "is_exact": True}),
            *(("map_point", {"digest": "d", "place": place, "source": "features", "idx": idx,
                             "sign": 1, "x": 0.0, "y": 0.0, "near": [1 - place],
                             "cosines": [0.5], "is_exact": True})
              for place, idx in enumerate((index, other))),
            ("concept", {"labels": "x", "concept": "months", "source": "features",
                         "picked": "auroc", "k": 1, "units": [label], "auroc": 0.75,
                         "tokens_with": 1, "tokens_labelled": 2}),
            ("cover", {"concept": "cats", "source": "features", "rater": "scripted:4",
                       "kind": "strongest", "place": 1, "idx": index, "sign": 1,
                       "activation": 2.0, "status": "ok", "is_main": True, "occurrences": 1,
                       "tokens": 2}),
            ("guess", {"item_id": item_id, "rater": "human:ann", "version": 0,
                       "guess": "neuron"}),
        ]:  # fmt: skip
            run.insert(table, [{**row, "made_at": now}])
    labs = client.get(f"/v1/runs/tiny/units/{unit_id}").json()["labs"]
    assert labs["match"] == [{"run": "later", "nearest": "features/7", "cosine": 0.9123}]
    assert labs["map"] == [{"near": f"features/{other}", "cosine": 0.5}]
    assert [(row["concept"], row["auroc"]) for row in labs["concepts"]] == [("months", 0.75)]
    assert [(row["concept"], row["is_main"]) for row in labs["cover"]] == [("cats", True)]
    assert [(row["rater"], row["guess"]) for row in labs["taken for"]] == [("human:ann", "neuron")]
    page = client.get(f"/runs/tiny/units/{unit_id}").text
    for said in ("features/7", f"features/{other}", "months", "cats", "human:ann"):
        assert said in page
    ((elsewhere,),) = [(one["unit_id"],) for one in client.get(
        "/v1/runs/tiny/units?source=neurons&limit=1").json()["items"]]  # fmt: skip
    assert set(client.get(f"/v1/runs/tiny/units/{elsewhere}").json()["labs"]) <= set(labs) - {
        "match", "map", "concepts", "cover", "taken for"}  # fmt: skip
