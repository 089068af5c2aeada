from pathlib import Path

from support.fabricate import add_scores, fabricate_run

from autointerp.findings.comparison import compare
from autointerp.reports.panels import Material, Prose, rater_check


def said(folder: Path, gold: bool) -> str:
    units = {"features": 6, "neurons": 6, "planted": 4, "shuffled": 4}
    with fabricate_run(folder, units, contexts=0) as run:
        add_scores(run, "features", "human:ann", [1, 1, 1, 1, 2])
        if gold:
            add_scores(run, "planted", "human:ann", [0, 0, 0, 0, 4])
            add_scores(run, "shuffled", "human:ann", [4, 0, 0, 0, 0])
        blocks = rater_check.show(Material((compare(run),), (run,)))
    return " ".join(block.text for block in blocks if isinstance(block, Prose))


def test_a_person_who_rated_gold_items_was_tried_on_known_answers(tmp_path: Path):
    assert "human:ann: never tried" in said(tmp_path / "none", gold=False)
    assert "never tried" not in said(tmp_path / "gold", gold=True)
