"""The map's page in a real browser: headless Chromium, offline. Skipped where there is none."""

import re
from typing import Any

import numpy as np
import pytest
from support.browser import Watched, expect

from autointerp.findings.browse import StrongContext
from autointerp.findings.map import DictionaryMap, Judged, SourceOnMap
from autointerp.records import Unit
from autointerp.reports.map import write_map
from autointerp.stats.layout import Layout, LayoutParameters

ATTACK = '<img src=x onerror="document.title=1">'
POINTS, SIDE = 6_400, 80  # a grid, so that what lies where is known


def grid() -> DictionaryMap:
    """Features on a grid of 80 by 80, those of the upper half neurons; feature 0 at lower left."""
    x, y = np.arange(POINTS) % SIDE, np.arange(POINTS) // SIDE
    is_neuron = y >= SIDE // 2
    units = tuple(
        Unit("neurons" if neuron else "features", number) for number, neuron in enumerate(is_neuron)
    )
    index = np.stack([np.where(x > 0, 1, -1) * -1, np.where(x > 1, -2, 2)], axis=1)
    near = (np.arange(POINTS)[:, None] + index) % POINTS
    layout = Layout(
        np.stack([x, y], axis=1).astype(np.float32),
        near,
        np.tile(np.float32([0.91, -0.25]), (POINTS, 1)),
        True,
    )
    score = np.full(POINTS, np.nan)
    score[[3, 5]] = 2.0, 4.5
    density = np.full(POINTS, np.nan)
    density[:100] = 10.0 ** -np.linspace(0.5, 4, 100)
    unit_id = np.full(POINTS, -1)
    unit_id[:10] = np.arange(10)
    context = StrongContext(3, ("the", " king", ATTACK), (0.0, 3.0, 1.5), 1)
    half = POINTS // 2
    sources = tuple(
        SourceOnMap(name, half, 0, 50, 0.91, 0.9, 0.5, 0.4) for name in ("features", "neurons")
    )
    return DictionaryMap(
        "main", "0" * 64, LayoutParameters(), layout, sources, is_neuron.astype(np.int64), units,
        unit_id, {n: str(units[n]) for n in range(10)}, density,
        (Judged("interpretability-1-5", "lexical", score),),
        {3: f"kings and queens {ATTACK}", 5: "a king", 9: "numbers"}, {3: (context,)}, {3: 3.0}, 0,
        (),
    )  # fmt: skip


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_map(grid(), tmp_path_factory.mktemp("map") / "page").as_uri()


def opened(browser: Any, url: str, **context: Any) -> tuple[Any, list[str], Watched]:
    watched = Watched(browser, url, "#atlas[data-ready]", offline=True, **context)
    return watched.page, watched.complaints, watched


def test_the_map_opens_units_by_search_click_and_keyboard_and_asks_nobody(chromium: Any, url: str):
    page, complaints, watched = opened(chromium, url, viewport={"width": 1280, "height": 900})
    heading = page.locator("#atlas h3")
    assert page.locator("#map .prose").count() >= 1  # what the map is, above it
    page.fill("#atlas input[type=search]", "king")
    assert page.locator("#atlas [role=status]").inner_text() == "2 units found"
    page.locator(".results button", has_text="features/3").click()
    expect(heading).to_have_text("features/3")
    expect(page.locator("#atlas .token.focus")).to_have_text(" king")
    assert page.locator("#atlas .token").all_inner_texts()[2] == ATTACK
    assert "0.91" in page.locator(".near li").first.inner_text()
    assert "−0.25" in page.locator(".near li").nth(1).inner_text()
    assert page.evaluate("document.title") != "1"
    # The unit is at the centre now: a click there opens it, and Enter after a step opens another.
    page.locator(".near button").first.click()
    expect(heading).to_have_text("features/2")
    assert "null" not in page.locator("#atlas").inner_text()  # of what it has no context
    box = page.locator("#atlas canvas").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(heading).to_have_text("features/2")
    page.locator("#atlas canvas").focus()
    for _ in range(4):
        page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(heading).not_to_have_text("features/2")
    assert page.evaluate("location.hash").startswith("#unit=main%2Ffeatures%2F")
    # features/12 by its name, which has no description.
    page.fill("#atlas input[type=search]", "features/12")
    assert page.locator("#atlas [role=status]").inner_text() == "1 unit found"
    assert complaints == []
    assert watched.asked_outside == []


def pixels(page: Any) -> list[int]:
    """How many pixels of the map are of each of its commonest colours, paper left out."""
    return page.evaluate("""() => {
      const c = document.querySelector('#atlas canvas');
      const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      const of = new Map();
      for (let i = 0; i < d.length; i += 4) if (d[i + 3] === 255) {
        const key = d[i] + ',' + d[i + 1] + ',' + d[i + 2];
        of.set(key, (of.get(key) || 0) + 1);
      }
      return [...of].sort((a, b) => b[1] - a[1]);
    }""")


def test_points_are_coloured_by_source_density_and_score_in_either_theme(chromium: Any, url: str):
    seen = {}
    for scheme in ("light", "dark"):
        page, complaints, _ = opened(
            chromium, url, viewport={"width": 1280, "height": 900}, color_scheme=scheme
        )
        page.wait_for_timeout(100)
        by_source = pixels(page)
        assert len(by_source) >= 2
        (_, one), (_, other) = by_source[:2]
        assert 0.7 < one / other < 1.4  # half of the grid each
        for choice in (1, 2):
            page.select_option("#atlas select", index=choice)
            page.wait_for_timeout(100)
            shown = pixels(page)
            assert shown[0][0] != by_source[0][0]  # most are not known
            assert len(shown) > choice
        seen[scheme] = [key for key, _ in by_source[:2]]
        # Without the neurons one of the two colours is gone.
        page.select_option("#atlas select", index=0)
        page.locator(".legend input").nth(1).uncheck()
        page.wait_for_timeout(100)
        left = dict(pixels(page))
        assert sum(key in left and left[key] > 500 for key in seen[scheme]) == 1
        # That pixels are read back slowly is said of the test.
        assert [one for one in complaints if "getImageData" not in one] == []
    assert seen["light"] != seen["dark"]


@pytest.mark.parametrize("width", [390, 768, 2200])
def test_the_page_fits_the_screen_and_follows_a_finger(chromium: Any, url: str, width: int):
    page, complaints, _ = opened(
        chromium, url, viewport={"width": width, "height": 900}, has_touch=True
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#atlas canvas").bounding_box()
    assert box["width"] > 0.5 * min(width, 1200) - 60
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    name = re.compile(r"^(features|neurons)/\d+$")
    expect(page.locator("#atlas h3")).to_have_text(name)
    small = page.evaluate("""[...document.querySelectorAll('#atlas .tools button')].filter(
      e => e.getBoundingClientRect().height < 24).length""")
    assert small == 0
    assert complaints == []


def test_an_address_opens_its_unit(chromium: Any, url: str):
    page, complaints, _ = opened(chromium, url + "#unit=main%2Ffeatures%2F5")
    expect(page.locator("#atlas h3")).to_have_text("features/5")
    assert "4.50" in page.locator("#atlas .facts").inner_text()
    assert complaints == []
