from pathlib import Path

from support.fabricate import add_scores, fabricate_run

from autointerp.findings.comparison import compare
from autointerp.reports.panels import Material, Prose, UnitBrowser, units


def shown(folder: Path, contexts: int) -> tuple[str, UnitBrowser]:
    with fabricate_run(folder, {"features": 3, "neurons": 3}, contexts=contexts) as run:
        for source in ("features", "neurons"):
            add_scores(run, source, "model:a", [1, 1, 1, 0, 0])
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


def test_every_source_of_the_list_has_a_colour_that_follows_the_theme(tmp_path: Path):
    _, browser = shown(tmp_path, contexts=1)
    colours = browser.index["colours"]
    assert set(colours) == {"features", "neurons"}
    assert all(colour.startswith("var(--c") for colour in colours.values())
