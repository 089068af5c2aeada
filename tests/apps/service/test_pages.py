"""Pages of runs: what they show, and that nothing of a corpus becomes part of them."""

import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient
from support.closed import close_folder
from support.fabricate import SCRIPT, WORDS, add_all_scores, fabricate_run

from autointerp.apps.service import _snapshots
from autointerp.apps.service._tokens import Tokens
from autointerp.apps.service.pages import _fits
from autointerp.findings.answers import ContextRating
from autointerp.store.run import open_run


@pytest.fixture
def client(
    ask: Callable[..., TestClient], tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> TestClient:
    monkeypatch.setattr(_snapshots, "REST", 0.0)
    return ask(tokens.issue("owner")[1])


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose texts, descriptions and rationales are scripts."""
    folder = tmp_path_factory.mktemp("hostile")
    fabricate_run(folder, {"features": 120, "neurons": 20}, text=(*WORDS, SCRIPT))
    with open_run("main", folder=folder) as run:
        add_all_scores(
            run,
            "judge",
            {"features": [0, 10, 20, 40, 50], "neurons": [10, 5, 5, 0, 0]},
            rationale=SCRIPT,
            description=SCRIPT,
        )
    return folder


@pytest.fixture
def runs(hostile: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(hostile, tmp_path / "runs"))


class Page(HTMLParser):
    """What a page loads, links to and runs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[dict[str, str | None]] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fields = dict(attrs)
        if tag == "script":
            self.scripts.append(fields)
        if tag in ("script", "img", "iframe") and fields.get("src"):
            self.loads.append(str(fields["src"]))
        if tag == "link" and fields.get("href"):
            self.loads.append(str(fields["href"]))
        if tag == "a" and fields.get("href"):
            self.links.append(str(fields["href"]))
        self.handlers += [name for name in fields if name.startswith("on") or name == "style"]


PAGES = ("/", "/runs/main", "/runs/main/units", "/runs/main/units/0", "/runs/main/report")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_runs_files_of_the_service_alone_whatever_texts_hold(client: TestClient, path: str):
    answer = client.get(path)
    assert answer.status_code == 200
    page = Page(answer.text)
    assert page.scripts
    assert all(script.get("src") for script in page.scripts)
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    if not path.endswith("/report"):  # its pictures carry styles
        assert page.handlers == []
    for address in page.loads:
        if not address.startswith("data:"):
            assert address.startswith("/assets/")
            assert client.get(address).status_code == 200


def test_every_link_of_the_pages_leads_somewhere(client: TestClient):
    seen: set[str] = set()
    ahead = ["/"]
    while ahead and len(seen) < 25:
        path = ahead.pop(0)
        if path in seen or path.startswith("#") or path.endswith("/report"):
            continue
        seen.add(path)
        answer = client.get(path)
        assert answer.status_code == 200, path
        if answer.headers["content-type"].startswith("text/html"):
            ahead += Page(answer.text).links
    assert "/runs/main/units" in seen


def test_the_list_is_paged_sorted_and_filtered_by_its_links(client: TestClient):
    first = client.get("/runs/main/units").text
    assert "140 units" in first
    assert first.count("<tr><td>") == 100
    following = next(link for link in Page(first).links if "offset=100" in link)
    assert client.get(following).text.count("<tr><td>") == 40
    down = next(link for link in Page(first).links if "sort=score" in link)
    scores = re.findall(r'<td class="score">(\d)</td>', client.get(down).text)
    assert scores[:50] == ["5"] * 50
    some = client.get("/runs/main/units?source=neurons&high=1").text
    assert "10 units" in some
    assert "Clear filters" in some
    assert "No unit fits" in client.get("/runs/main/units?q=zzzz").text


def test_every_unit_is_in_one_band_of_how_often_it_fires_and_in_one_outcome(client: TestClient):
    page = client.get("/runs/main/units").text
    for name in ("fires", "outcome"):
        (choices,) = re.findall(rf'<select name="{name}">(.*?)</select>', page)
        totals = []
        for value in re.findall(r'<option value="([^"]+)"', choices):
            found = client.get(f"/runs/main/units?{name}={value}").text
            assert "Clear filters" in found
            totals.append(int(re.search(r">([\d,]+) units", found)[1]))
        assert sum(totals) == 140
        assert len(totals) > 2


def test_a_unit_shows_where_it_fires_and_marks_what_was_searched(client: TestClient):
    text = client.get("/runs/main/units/0?q=with").text
    assert 'data-level="10"' in text
    assert " focus" in text
    assert " hit" in text
    assert "judge on interpretability-1-5" in text


def test_ratings_of_contexts_are_counted_by_rubric_rater_and_kind():
    def rating(kind: str, score: int | None) -> ContextRating:
        return ContextRating(
            0, "features", False, "specificity-0-3", "digest", "writer", "judge", kind, False,
            None, None, "ok" if score is not None else "failed", score,
        )  # fmt: skip

    ratings = [
        rating("silent", 0),
        rating("firing", 3),
        rating("firing", None),
        rating("firing", 2),
    ]
    fits = _fits(SimpleNamespace(context_ratings=ratings))
    assert [(fit.kind, fit.rated, fit.asked, fit.mean) for fit in fits] == [
        ("firing", 2, 3, 2.5),
        ("silent", 1, 1, 0.0),
    ]


def test_the_report_is_that_of_the_command_and_leaves_a_look(client: TestClient, runs: Path):
    text = client.get("/runs/main/report").text
    assert "<svg" in text
    assert "Search, filter and sort all units" in text
    assert "packed-" not in text
    with open_run("main", folder=runs, read_only=True) as run:
        assert [look["verb"] for look in run.stored_looks()] == ["serve"]
    assert client.get("/runs/main/report").text == text


def test_a_viewer_gets_no_buttons(ask: Callable[..., TestClient], tokens: Tokens):
    assert ">Pause<" not in ask(tokens.issue("viewer")[1]).get("/runs/main").text


def test_a_run_that_cannot_be_read_is_on_the_first_page_with_its_problem(
    client: TestClient, runs: Path
):
    (runs / "broken").mkdir()
    (runs / "broken" / "run.toml").write_text("x")
    assert "cannot be read" in client.get("/").text


def test_a_folder_that_must_not_be_entered_is_listed_as_a_run_that_cannot_be_read(
    client: TestClient, runs: Path, monkeypatch: pytest.MonkeyPatch
):
    (runs / "locked").mkdir()
    close_folder(monkeypatch, runs / "locked")
    said = f"{runs / 'locked'} cannot be read (Permission denied); let yourself read it"
    assert said in client.get("/").text
    listed = {run["run"]: run["problem"] for run in client.get("/v1/runs").json()["items"]}
    assert listed.pop("locked").startswith(said)
    assert set(listed.values()) == {""}
