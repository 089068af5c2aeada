import dataclasses
from pathlib import Path

import pytest
from support.fabricate import add_all_scores, add_scores, fabricate_run
from support.judges import made_check

from autointerp.findings.checks import Added, Auc, keep
from autointerp.findings.comparison import compare
from autointerp.reports.panels import Material, Prose, Table, rater_check


def said(folder: Path, gold: bool) -> str:
    units = {"features": 6, "neurons": 6, "planted": 4, "shuffled": 4}
    with fabricate_run(folder, units, contexts=0) as run:
        add_scores(run, "features", "human:ann", [1, 1, 1, 1, 2])
        if gold:
            add_all_scores(
                run, "human:ann", {"planted": [0, 0, 0, 0, 4], "shuffled": [4, 0, 0, 0, 0]}
            )
        blocks = rater_check.show(Material((compare(run),), (run,)))
    return " ".join(block.text for block in blocks if isinstance(block, Prose))


def test_a_person_who_rated_gold_items_was_tried_on_known_answers(tmp_path: Path):
    assert "human:ann: never tried" in said(tmp_path / "none", gold=False)
    assert "never tried" not in said(tmp_path / "gold", gold=True)


def test_a_panels_check_shows_what_each_member_adds(tmp_path: Path):
    auc = Auc(0.9, 0.8, 0.95)
    added = {"lexical": Added(0.6, auc, Auc(0.7, 0.6, 0.8), Auc(0.2, 0.1, 0.3))}
    (tmp_path / ".checks").mkdir()
    keep(dataclasses.replace(made_check("panel:lexical,b", 0.9), members=added), tmp_path)
    with fabricate_run(tmp_path, {"features": 6, "neurons": 6}, contexts=0) as run:
        add_scores(run, "features", "panel:lexical,b", [1, 1, 1, 1, 2])
        blocks = rater_check.show(Material((compare(run),), (run,)))
    tables = {block.name: block for block in blocks if isinstance(block, Table)}
    assert tables["panel_members"].rows == [
        ["panel:lexical,b", "lexical", "0.60", "0.90 [0.80, 0.95]", "0.70 [0.60, 0.80]",
         "0.20 [0.10, 0.30]"]
    ]  # fmt: skip
    assert list(tables["checks"].frame.against)[:2] == ["all others", "several concepts or none"]


@pytest.mark.parametrize(
    ("floor", "ceiling", "said"),
    [
        ([12, 0, 0, 0, 0], [0, 0, 0, 0, 12], "floor and ceiling hold"),
        ([5, 0, 0, 0, 0], [0, 0, 0, 0, 5], "floor and ceiling hold by their means, of too few"),
        ([12, 0, 0, 0, 0], [0, 0, 0, 0, 2], "no ceiling to tell by"),
        ([2, 0, 0, 0, 0], [0, 0, 0, 0, 12], "no floor to tell by"),
        ([2, 0, 0, 0, 0], [0, 0, 0, 0, 2], "no floor or ceiling to tell by"),
        ([12, 0, 0, 0, 0], [12, 0, 0, 0, 0], "cannot be trusted"),
    ],
)
def test_the_controls_are_said_to_hold_as_far_as_they_do(
    tmp_path: Path, floor: list[int], ceiling: list[int], said: str
):
    sources = {"features": 5, "planted": sum(ceiling), "shuffled": sum(floor)}
    with fabricate_run(tmp_path, sources, contexts=0) as run:
        add_all_scores(run, "model:a", {"features": [1] * 5, "planted": ceiling, "shuffled": floor})
        (judgement,) = compare(run).judgements
    assert rater_check.controls_text(judgement.trust).startswith(said)
