"""The page in a real browser: headless Chromium, offline. Skipped where there is none."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fabricate import SCRIPT, WORDS, add_scores, fabricate_run

from autointerp.pipeline.report import report

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

ATTACK = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a run whose corpus, descriptions and rationales try to run scripts."""
    folder = tmp_path_factory.mktemp("browser")
    sources = {"features": 150, "neurons": 150, "planted": 6, "shuffled": 6}
    text = [*WORDS, SCRIPT, ATTACK, "\u202etxet", "\n"]
    hostile = {"description": ATTACK, "rationale": SCRIPT}
    with fabricate_run(folder / "runs", sources, contexts=3, text=text) as run:
        add_scores(
            run, "features", "model:a", [5, 10, 35, 40, 58], missing={"refused": 2}, **hostile
        )
        add_scores(run, "neurons", "model:a", [58, 40, 35, 12, 5], **hostile)
        add_scores(run, "planted", "model:a", [0, 0, 0, 0, 6], description="one word")
        add_scores(run, "shuffled", "model:a", [6, 0, 0, 0, 0], description="Unknown")
    return report(["main"], folder / "out", folder=folder / "runs").page.as_uri()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """An open page, with what it complained of and what it asked the outside for."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.context = browser.new_context(offline=True, **context)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)
        self.page.wait_for_selector("#browser[data-ready]")

    def found(self) -> str:
        return str(self.page.locator(".found[role=status]").inner_text())

    def choice(self, label: str) -> Any:
        return self.page.locator(".controls label", has_text=label).locator("select")

    def names(self) -> list[str]:
        return [text.strip() for text in self.page.locator("button.open").all_inner_texts()]


@pytest.fixture
def opened(chromium: Any, page_url: str) -> Iterator[Watched]:
    watched = Watched(chromium, page_url, viewport={"width": 1280, "height": 900})
    yield watched
    watched.context.close()


def test_the_page_loads_without_a_complaint_and_asks_nobody_for_anything(opened: Watched):
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:"))] == []
    assert opened.found() == "312 of 312 units"
    assert opened.page.locator("#verdict .good").count() == 1
    assert opened.page.locator("figure svg").count() >= 2


def test_no_script_of_corpus_or_rater_runs(opened: Watched):
    title = opened.page.title()
    opened.page.locator("button.open").first.click()
    opened.page.wait_for_selector(".contexts li")
    assert opened.page.locator("#browser img").count() == 0
    assert ATTACK in opened.page.locator(".rating").first.inner_text()
    assert SCRIPT in opened.page.locator(".rating").first.inner_text()
    assert opened.page.title() == title
    assert opened.complaints == []


def test_the_policy_stops_a_script_that_is_put_in_all_the_same(opened: Watched):
    opened.page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.owned = 1';"
        "document.body.append(s)"
    )
    assert opened.page.evaluate("window.owned") is None
    assert "Content Security Policy" in opened.complaints[0]


def test_search_takes_words_of_name_description_and_token(opened: Watched):
    opened.page.fill("input[type=search]", "one word")
    assert opened.found() == "6 of 312 units"
    assert all(name.startswith("planted/") for name in opened.names())
    opened.page.fill("input[type=search]", "nothing like it")
    assert opened.found() == "0 of 312 units"


def test_filters_for_source_score_and_status_work_together(opened: Watched):
    opened.choice("source").select_option("features")
    assert opened.found() == "150 of 312 units"
    opened.choice("score").select_option("5")
    assert opened.found() == "58 of 312 units"
    opened.choice("score").select_option("")
    opened.choice("status").select_option("refused")
    assert opened.found() == "2 of 312 units"


def test_the_list_sorts_by_score_and_shows_more_on_demand(opened: Watched):
    header = opened.page.locator(".list th button", has_text="score")
    header.click()
    scores = opened.page.locator(".list tbody td:nth-child(2)")
    first = [text for text in scores.all_inner_texts() if text.isdigit()]
    assert first == ["5"] * 69 + ["4"] * 31  # 58 + 5 + 6 of them, then the next; 100 rows a page
    header.click()
    assert scores.first.inner_text() == "1"
    opened.page.locator("button.more").click()
    assert len(opened.names()) == 200


def test_a_unit_shows_contexts_peak_strength_and_ratings(opened: Watched):
    opened.page.fill("input[type=search]", "features/7")
    opened.page.locator("button.open").first.click()
    opened.page.wait_for_selector(".contexts li")
    contexts = opened.page.locator(".contexts li")
    assert contexts.count() == 13  # three strongest, one of each of ten intervals
    peak = contexts.first.locator(".token.focus")
    assert peak.get_attribute("data-level") == "10"
    assert peak.get_attribute("title") == "10 of 10"
    assert opened.page.locator(".bars meter").count() == 10
    # Strength is told by the thickness of a line too, not by colour alone.
    width = "el => parseFloat(getComputedStyle(el).borderBottomWidth)"
    weak = opened.page.locator('.token.fires[data-level="1"]').first
    assert peak.evaluate(width) > weak.evaluate(width)


def test_a_unit_s_address_opens_it_and_the_keyboard_moves_on(chromium: Any, page_url: str):
    watched = Watched(chromium, page_url + "#unit=main%2Ffeatures%2F3")
    watched.page.wait_for_selector(".contexts li")
    assert watched.page.locator(".detail h3").inner_text() == "features/3"
    watched.page.keyboard.press("/")
    assert watched.page.evaluate("document.activeElement.type") == "search"
    watched.page.locator("button.open", has_text="features/3").first.focus()
    watched.page.keyboard.press("ArrowDown")
    assert watched.page.locator(".detail h3").inner_text() == "features/4"
    watched.context.close()


def test_on_a_phone_nothing_is_wider_than_the_screen(chromium: Any, page_url: str):
    watched = Watched(chromium, page_url, viewport={"width": 360, "height": 740})
    assert watched.page.evaluate("document.documentElement.scrollWidth") == 360
    watched.page.locator("button.open").first.click()
    watched.page.wait_for_selector(".contexts li")
    assert watched.page.evaluate("document.documentElement.scrollWidth") == 360
    watched.context.close()


def test_text_and_pictures_follow_the_dark_theme(chromium: Any, page_url: str):
    watched = Watched(chromium, page_url, color_scheme="dark")
    paper = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = watched.page.locator("figure svg text").first.evaluate("el => getComputedStyle(el).fill")
    assert paper == "rgb(20, 23, 28)"
    assert ink in ("rgb(230, 233, 238)", "rgb(160, 168, 180)")
    watched.context.close()


def test_it_prints(opened: Watched, tmp_path: Path):
    opened.page.pdf(path=tmp_path / "page.pdf", format="A4")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
