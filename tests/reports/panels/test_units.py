from pathlib import Path

from support.fabricate import add_all_scores, add_scores, fabricate_run

from autointerp.findings.comparison import compare
from autointerp.reports.panels import Material, Prose, UnitBrowser, units


def shown(folder: Path, contexts: int) -> tuple[str, UnitBrowser]:
    with fabricate_run(folder, {"features": 3, "neurons": 3}, contexts=contexts) as run:
        add_all_scores(
            run, "model:a", {source: [1, 1, 1, 0, 0] for source in ("features", "neurons")}
        )
        if contexts == 1:  # all that a rater might have been shown
            run.connection.execute("DELETE FROM context WHERE draw <> 'top'")
        blocks = units.show(Material((compare(run),), (run,)))
    (text,) = [block.text for block in blocks if isinstance(block, Prose)]
    (browser,) = [block for block in blocks if isinstance(block, UnitBrowser)]
    return text, browser


def test_contexts_that_no_rater_saw_are_counted_where_there_are_any(tmp_path: Path):
    text, browser = shown(tmp_path / "some", contexts=10)
    unseen = [c for page in browser.pages for unit in page for c in unit["contexts"] if not c[-1]]
    assert unseen
    assert f"{len(unseen)} were shown to no rater" in text
    text, browser = shown(tmp_path / "all", contexts=1)
    assert not [c for page in browser.pages for unit in page for c in unit["contexts"] if not c[-1]]
    assert "shown to no rater" not in text


def test_a_page_of_many_long_windows_carries_fewer_contexts_and_never_less_than_three():
    assert units.contexts_each(400, 21) == 10
    assert units.contexts_each(2_000, 21) == 10  # the default: 2 · 10 · 2,000 · 21 = 840,000
    assert units.contexts_each(400, 256) == 5  # 1,200,000 / (2 · 400 · 256) = 5.9
    assert units.contexts_each(10_000, 256) == 3
    assert units.contexts_each(0, 0) == 10


def test_of_the_intervals_a_few_are_carried_at_even_steps_the_strongest_among_them():
    kept = [k for k in range(1, 11) if units.is_carried(k, 10, 5)]
    assert kept == [2, 4, 6, 8, 10]
    assert [k for k in range(1, 8) if units.is_carried(k, 7, 3)] == [3, 5, 7]
    assert all(units.is_carried(k, 20, 10) for k in range(21))  # 10: the page has room
    assert all(units.is_carried(k, 2, 3) for k in range(3))
    assert units.is_carried(0, 10, 3)


def test_the_excerpt_shows_the_first_units_of_each_source_what_is_studied_first(tmp_path: Path):
    with fabricate_run(tmp_path, {"shuffled": 6, "features": 12}, contexts=0) as run:
        add_scores(run, "shuffled", "model:a", [6, 0, 0, 0, 0])
        add_scores(run, "features", "model:a", [0, 0, 0, 0, 11], missing={"refused": 1})
        blocks = units.show(Material((compare(run),), (run,)))
    (browser,) = [block for block in blocks if isinstance(block, UnitBrowser)]
    rows = browser.excerpt.rows
    assert list(browser.excerpt.headings) == ["unit", "model:a", "fires on", "description"]
    assert [row[0] for row in rows] == [
        *(f"features/{k}" for k in range(10)), *(f"shuffled/{k}" for k in range(3)),
    ]  # fmt: skip
    assert {row[1] for row in rows[:10]} <= {"5", "refused"}
    assert all(row[2].startswith("1 in ") or row[2].endswith(" %") for row in rows)


def test_every_source_of_the_list_has_a_colour_that_follows_the_theme(tmp_path: Path):
    _, browser = shown(tmp_path, contexts=1)
    colours = browser.index["colours"]
    assert set(colours) == {"features", "neurons"}
    assert all(colour.startswith("var(--c") for colour in colours.values())
