"""The page in a real browser: headless Chromium, offline. Skipped where there is none."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.browser import Watched, expect
from support.fabricate import SCRIPT, WORDS, add_scores, fabricate_run

from autointerp.pipeline.report import report
from autointerp.reports.words import share

NAMELESS = """[...document.querySelectorAll('button, a, select, input')].filter(
  e => !(e.textContent.trim() || e.labels?.[0]?.textContent.trim())).length"""
SAID_OF_PICTURES = """[...document.querySelectorAll('figure svg')].map(
  e => e.getAttribute('aria-labelledby').split(' ').map(
    id => document.getElementById(id).textContent.trim().length))"""
# The contrast ratio of WCAG 2.2, of an element's letters on what lies behind them.
CONTRAST = """el => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d');
  const paint = (...colours) => {
    for (const c of colours) { canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const parts = [.2126, .7152, .0722];
  const light = rgb => rgb.reduce((sum, v, i) => sum + linear(v / 255) * parts[i], 0);
  const paper = getComputedStyle(document.body).backgroundColor;
  const style = getComputedStyle(el);
  const behind = light(paint(paper, style.backgroundColor));
  const [low, high] = [behind, light(paint(style.color))].sort((a, b) => a - b);
  return (high + .05) / (low + .05);
}"""

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


class Report(Watched):
    """A report's page, opened without a network."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        super().__init__(browser, url, "#browser[data-ready]", offline=True, **context)

    def found(self) -> str:
        status = self.page.locator(".found [role=status]")
        expect(status).not_to_contain_text("reading")
        return str(status.inner_text())

    def choice(self, label: str) -> Any:
        return self.page.locator(f".controls label:text-matches('^{label}')").locator("select")

    def names(self) -> list[str]:
        return [text.strip() for text in self.page.locator("button.open").all_inner_texts()]


@pytest.fixture
def opened(chromium: Any, page_url: str) -> Iterator[Report]:
    watched = Report(chromium, page_url, viewport={"width": 1280, "height": 900})
    yield watched
    watched.context.close()


def test_the_page_loads_without_a_complaint_and_asks_nobody_for_anything(opened: Report):
    assert opened.complaints == []
    assert opened.asked_outside == []
    assert opened.found() == "312 of 312 units"
    assert opened.page.locator("#verdict .good").count() == 1
    assert opened.page.locator("figure svg").count() >= 2


def test_no_script_of_corpus_or_rater_runs(opened: Report):
    title = opened.page.title()
    opened.page.locator("button.open").first.click()
    opened.page.wait_for_selector(".contexts li")
    assert opened.page.locator("#browser img").count() == 0
    assert ATTACK in opened.page.locator(".rating").first.inner_text()
    assert SCRIPT in opened.page.locator(".rating").first.inner_text()
    assert opened.page.title() == title
    assert opened.complaints == []


def test_the_policy_stops_a_script_that_is_put_in_all_the_same(opened: Report):
    opened.page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.owned = 1';"
        "document.body.append(s)"
    )
    assert opened.page.evaluate("window.owned") is None
    assert "Content Security Policy" in opened.complaints[0]


def test_search_takes_words_of_name_description_and_token(opened: Report):
    opened.page.fill("input[type=search]", "one word")
    assert opened.found() == "6 of 312 units"
    assert all(name.startswith("planted/") for name in opened.names())
    opened.page.fill("input[type=search]", "nothing like it")
    assert opened.found() == "0 of 312 units"


def test_filters_for_source_score_and_status_work_together(opened: Report):
    opened.choice("source").select_option("features")
    assert opened.found() == "150 of 312 units"
    opened.choice("score from").select_option("5")
    assert opened.found() == "58 of 312 units"
    opened.choice("score from").select_option("2")
    opened.choice("score to").select_option("3")
    assert opened.found() == "45 of 312 units"
    opened.page.get_by_role("button", name="Clear filters").click()
    assert opened.found() == "312 of 312 units"
    opened.choice("source").select_option("features")
    opened.choice("status").select_option("refused")
    assert opened.found() == "2 of 312 units"


def test_the_list_sorts_by_score_and_shows_more_on_demand(opened: Report):
    header = opened.page.locator(".list th button", has_text="score").first
    header.click()
    scores = opened.page.locator(".list tbody td:nth-child(2)")
    first = [text for text in scores.all_inner_texts() if text.isdigit()]
    assert first == ["5"] * 69 + ["4"] * 31  # 58 + 5 + 6 of them, then the next; 100 rows a page
    header.click()
    assert scores.first.inner_text() == "1"
    opened.page.locator("button.more").click()
    assert len(opened.names()) == 200


def test_a_unit_shows_contexts_peak_strength_and_ratings(opened: Report):
    opened.page.fill("input[type=search]", "features/7")
    opened.page.locator("button.open").first.click()
    opened.page.wait_for_selector(".contexts li")
    contexts = opened.page.locator(".contexts li")
    assert contexts.count() == 13  # three strongest, one of each of ten intervals
    peak = contexts.first.locator(".token.focus")
    assert peak.get_attribute("data-level") == "10"
    assert peak.get_attribute("title") == "10 of 10"
    assert opened.page.locator(".bars meter").count() == 10
    # Strength is told by the depth of the colour, and on demand by a number too.
    depth = "el => parseFloat(getComputedStyle(el).backgroundColor.match(/[\\d.]+(?=\\)$)/)[0])"
    weak = opened.page.locator('.token.fires[data-level="1"]').first
    assert peak.evaluate(depth) > 2 * weak.evaluate(depth)
    opened.page.get_by_role("button", name="Numbers").click()
    content = "el => getComputedStyle(el, '::after').content"
    assert peak.evaluate(content) == '"10"'


def test_a_unit_s_address_opens_it_and_the_keyboard_moves_on(chromium: Any, page_url: str):
    watched = Report(chromium, page_url + "#unit=main%2Ffeatures%2F3")
    watched.page.wait_for_selector(".contexts li")
    assert watched.page.locator(".detail h3").inner_text() == "features/3"
    watched.page.keyboard.press("/")
    assert watched.page.evaluate("document.activeElement.type") == "search"
    watched.page.locator("button.open", has_text="features/3").first.focus()
    watched.page.keyboard.press("ArrowDown")
    assert watched.page.locator(".detail h3").inner_text() == "features/4"
    watched.context.close()


def test_a_window_is_cut_to_the_peak_s_neighbours_until_it_is_opened(opened: Report):
    opened.page.locator("button.open").first.click()
    opened.page.wait_for_selector(".contexts li")
    context = opened.page.locator(".contexts li").first
    assert context.locator(".token").count() == 15  # of 21: seven on either side of the peak
    button = context.get_by_role("button")
    assert button.get_attribute("aria-expanded") == "false"
    button.click()
    expect(context.locator(".token")).to_have_count(21)
    assert button.get_attribute("aria-expanded") == "true"
    opened.page.get_by_role("button", name="Whole windows").click()
    last = opened.page.locator(".contexts li").last
    expect(last.locator(".token")).to_have_count(21)


def test_search_takes_words_of_contexts_and_marks_them(opened: Report):
    # Words of the made-up text come in any order: few units have these three in a row.
    opened.page.fill("input[type=search]", '"the of and"')
    found = int(opened.found().split()[0])
    assert 0 < found < 100
    opened.page.locator("button.open").first.click()
    opened.page.get_by_role("button", name="Whole windows").click()
    hits = opened.page.locator(".contexts .token.hit")
    expect(hits.first).to_be_visible()
    assert hits.count() % 3 == 0
    assert [text.strip() for text in hits.all_inner_texts()][:3] == ["the", "of", "and"]
    opened.page.fill("input[type=search]", '"no phrase of this kind"')
    assert opened.found() == "0 of 312 units"


def test_density_is_filtered_in_bands_that_hold_every_unit_once(opened: Report):
    bands = opened.choice("fires on").locator("option")
    counts = []
    for value in [bands.nth(k).get_attribute("value") for k in range(bands.count())]:
        opened.choice("fires on").select_option(value)
        counts.append(int(opened.found().split()[0]))
    assert counts[0] == 312
    assert sum(counts[1:]) == 312
    assert sum(count > 0 for count in counts[1:]) >= 3
    opened.choice("fires on").select_option("0")
    shares = opened.page.locator(".list tbody td:nth-child(3)").all_inner_texts()
    assert all(text.endswith(" %") and float(text[:-2]) >= 10 for text in shares)


def test_the_page_writes_shares_as_the_report_does(opened: Report):
    index = opened.page.evaluate(
        "(async () => { const b = Uint8Array.from(atob(document.getElementById('packed-index')"
        ".textContent), c => c.charCodeAt(0)); return (await new Response(new Blob([b]).stream()"
        ".pipeThrough(new DecompressionStream('gzip'))).json()).units.density })()"
    )
    shown = opened.page.locator(".list tbody td:nth-child(3)").all_inner_texts()
    assert shown == [share(density) for density in index[: len(shown)]]


def test_the_keyboard_goes_into_a_unit_and_back(opened: Report):
    page = opened.page
    page.locator("button.open").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    name = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    expect(page.locator(".detail h3")).to_be_focused()
    assert page.evaluate("document.activeElement.textContent") == name
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == name
    page.keyboard.press("Escape")
    expect(page.locator(".detail")).to_contain_text("Choose a unit")
    assert page.evaluate("location.hash") == "#units"
    # Tab passes the list by, and does not stop at each of its hundred rows.
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent").startswith("Show 100 more")


def test_the_unit_s_link_is_its_address(opened: Report):
    opened.page.locator("button.open").nth(4).click()
    link = opened.page.get_by_role("link", name="Link to this unit").get_attribute("href")
    assert link == opened.page.evaluate("location.hash")
    assert link.startswith("#unit=main%2Ffeatures%2F")


@pytest.mark.parametrize("width", [360, 400, 600, 800, 1200, 1400, 2200])
def test_at_no_width_the_page_moves_sideways_or_breaks_a_name(
    chromium: Any, page_url: str, width: int
):
    watched = Report(chromium, page_url, viewport={"width": width, "height": 900})
    page = watched.page
    whole = "document.documentElement.scrollWidth"
    heights = "[...document.querySelectorAll('button.open')].map(b => b.getClientRects().length)"
    assert set(page.evaluate(heights)) == {1}
    assert page.evaluate(whole) == width
    if width >= 1200:
        boxes = "[...document.querySelectorAll('.scroll')]"
        assert page.evaluate(f"{boxes}.every(box => box.scrollWidth <= box.clientWidth + 1)")
    page.locator("button.open").first.click()
    page.wait_for_selector(".contexts li")
    assert page.evaluate(whole) == width
    if width < 800:  # the unit takes the list's place, and gives it back
        assert not page.locator(".list").is_visible()
        page.get_by_role("button", name="Back to the list").click()
        assert page.locator(".list").is_visible()
    watched.context.close()


def test_the_answer_is_whole_on_the_first_screen(chromium: Any, page_url: str):
    watched = Report(chromium, page_url, viewport={"width": 1400, "height": 900})
    bottom = "el => el.getBoundingClientRect().bottom"
    for place in ("h1", ".made", ".claim", ".support", ".against", ".answer svg"):
        assert watched.page.locator(place).first.evaluate(bottom) <= 900
    assert watched.page.locator(".against li").count() == 3
    watched.context.close()


def test_the_theme_can_be_chosen_and_print_is_on_white(opened: Report):
    page = opened.page
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    button = page.get_by_role("button", name="Theme")
    button.click()
    button.click()
    assert button.inner_text() == "Theme: dark"
    assert page.evaluate(paper) == "rgb(20, 23, 28)"
    page.emulate_media(media="print")
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    assert not page.locator("#browser").is_visible()
    assert page.locator(".excerpt").is_visible()
    page.emulate_media(media="screen")
    assert not page.locator(".excerpt").is_visible()


def test_without_scripts_the_findings_and_a_few_units_are_there(chromium: Any, page_url: str):
    context = chromium.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(page_url)
    assert "score higher" in page.locator(".claim").inner_text()
    assert page.locator(".excerpt tbody tr").count() == 26  # 10 of each source, 3 of a control
    assert "needs JavaScript" in page.locator("#browser").inner_text()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_readers_of_screens_find_names_order_and_contrast(
    chromium: Any, page_url: str, scheme: str
):
    watched = Report(chromium, page_url, color_scheme=scheme)
    page = watched.page
    page.locator("button.open").first.click()
    page.wait_for_selector(".contexts li")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(e => +e.tagName[1])")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.evaluate(NAMELESS) == 0
    assert all(min(lengths) > 0 for lengths in page.evaluate(SAID_OF_PICTURES))
    # WCAG 1.4.3 asks for 4.5 between a token and the deepest colour behind it.
    peak = page.locator('.token.fires[data-level="10"]').first
    ratio = peak.evaluate(CONTRAST)
    assert ratio >= 4.5
    watched.context.close()


def test_text_and_pictures_follow_the_dark_theme(chromium: Any, page_url: str):
    watched = Report(chromium, page_url, color_scheme="dark")
    paper = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = watched.page.locator("figure svg text").first.evaluate("el => getComputedStyle(el).fill")
    assert paper == "rgb(20, 23, 28)"
    assert ink in ("rgb(230, 233, 238)", "rgb(160, 168, 180)")
    watched.context.close()


def test_it_prints(opened: Report, tmp_path: Path):
    opened.page.pdf(path=tmp_path / "page.pdf", format="A4")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_words_of_any_length_and_script_stand_in_their_order_within_the_page(
    chromium: Any, tmp_path: Path
):
    words = ["W" * 300, "שלום", "עולם"]
    with fabricate_run(tmp_path / "runs", {"features": 1}, text=words) as run:
        add_scores(run, "features", "model:a", [0, 0, 0, 0, 1])
    url = report(["main"], tmp_path / "out", folder=tmp_path / "runs").page.as_uri()
    watched = Report(chromium, url, viewport={"width": 360, "height": 900})
    page = watched.page
    assert watched.found() == "1 of 1 unit"
    page.locator("button.open").click()
    page.wait_for_selector(".contexts li")
    assert words[0] in page.locator(".tokens").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    # Of words from right to left on a line, that of the text's beginning is the last to the right.
    gaps = page.evaluate("""[...document.querySelectorAll('.contexts .token')].flatMap(token => {
      const before = token.previousElementSibling;
      const isWord = e => e && !e.textContent.includes('W') && e.getClientRects().length === 1;
      if (!isWord(before) || !isWord(token)) return [];
      const [one, other] = [before, token].map(e => e.getBoundingClientRect());
      return one.top === other.top ? [one.left - other.left] : [];
    })""")
    assert len(gaps) > 5
    assert min(gaps) > 0
    watched.context.close()
