"""The page of a unit: what comes from a corpus or a model is text, whatever it holds."""

from __future__ import annotations

import pytest

from autointerp.findings.examined import Examined, ExaminedUnit, Shown
from autointerp.findings.subject import SubjectFacts
from autointerp.reports.examined import panels_of, write_examined
from autointerp.reports.examined.words import coloured
from autointerp.reports.panels import Table, Texts

HOSTILE = "<script>alert(1)</script>"


def unit(name: str, **changed) -> ExaminedUnit:
    shown = Shown((HOSTILE, " 今", "\x07"), (0.0, 2.0, 0.5), 1, 0)
    fields = {
        "unit_id": 0, "unit": name, "source": name.partition("/")[0], "is_control": False,
        "outcome": "eligible", "density": 0.01, "tokens": 1_000, "peak": 2.0, "note": HOSTILE,
        "description": HOSTILE, "interval_tokens": (5.0, 3.0, 2.0), "strongest": (shown,),
        "uniform": (), "labs": {},
    }  # fmt: skip
    return ExaminedUnit(**{**fields, **changed})


def found(*units: ExaminedUnit) -> Examined:
    return Examined("main", SubjectFacts(), units[0], units[1:], {})


def test_texts_of_a_corpus_are_text_on_the_page(tmp_path):
    page = write_examined(found(unit("features/1")), tmp_path / "page").read_text()
    assert HOSTILE not in page
    assert page.count("&lt;script&gt;alert(1)") >= 3
    assert "\x07" not in page


def test_a_unit_that_never_fires_has_a_page_beside_one_that_does_and_alone(tmp_path):
    silent = {"outcome": "dead", "density": 0.0, "peak": 0.0, "strongest": (), "uniform": ()}
    dead = unit("features/1", interval_tokens=(0.0, 0.0, 0.0), **silent)
    # Matplotlib warns where an axis of logarithms holds nothing above 0.
    assert write_examined(found(dead, unit("features/2")), tmp_path / "both").is_file()
    assert write_examined(found(dead), tmp_path / "alone").is_file()


def test_colours_go_from_minus_ten_to_ten_by_the_largest_and_small_values_have_none():
    values = [2.0, -2.0, 1.0, 0.03, -0.05, 5.0]
    # 0.03 is under a fiftieth of 2; 0.05 is a fortieth, and has the palest colour.
    levels = [level for _, level, _ in coloured(["a"] * 6, values, 2.0)]
    assert levels == [10, -10, 5, 0, -1, 10]
    assert coloured(["a"], [1.0], 0.0) == [("a", 0, "")]


def test_a_unit_without_measurements_has_its_contexts_and_says_what_is_lacking():
    panels = {panel.name: panel for panel in panels_of(found(unit("features/1", uniform=())))}
    assert any(isinstance(block, Texts) for block in panels["contexts"].blocks)
    for name in ("ablation", "vocabulary", "sentences", "neurons", "logits"):
        (block,) = panels[name].blocks
        assert block.text


@pytest.mark.parametrize("source", ["features", "neurons", "random", "mine"])
def test_a_probe_that_was_stopped_is_called_not_whole(source):
    row = {
        "placing": "alone", "text": "", "activation": 0.0, "side": None, "rank": None,
        "token": None, "token_id": None, "change": None, "risen": 0, "fallen": 0, "probed": 5,
        "vocabulary": 9, "outcome": "no token changes it",
    }  # fmt: skip
    one = unit(f"{source}/1", labs={"vocabulary-probe": [row]})
    (panel,) = [panel for panel in panels_of(found(one)) if panel.name == "vocabulary"]
    (warning,) = [block for block in panel.blocks if getattr(block, "tone", "") == "warning"]
    assert warning.text == f"The probe of {source}/1 was stopped: alone 5 of 9 tokens."
    (counts,) = [b for b in panel.blocks if isinstance(b, Table) and b.name == "vocabulary_counts"]
    assert counts.rows == [[f"{source}/1", "alone", "0", "0", "none", "none"]]
