"""What a page says of plan and looks, and does not say in the opposite case."""

import dataclasses
from pathlib import Path

import pytest
from support.fabricate import add_all_scores, fabricate_run

from autointerp.findings.comparison import compare
from autointerp.findings.plan import Plan, Stopping, declare
from autointerp.questions.rubric_files import load_rubric
from autointerp.reports.page import Panel, title
from autointerp.reports.panels import Material, Prose, Table, looks, verdict
from autointerp.reports.write import markdown
from autointerp.stats.sequential import STOPPED_EARLY

RUBRIC = load_rubric("interpretability-1-5")
HIGH, LOW = [0, 1, 4, 6, 9], [9, 6, 4, 1, 0]  # twenty units each
FIXED = Plan(("model:a",), RUBRIC.id, RUBRIC.digest, "features", "neurons", Stopping("fixed", 20))


def looked(folder: Path, plan: Plan | None, looks_at: int = 1, name: str = "main") -> Material:
    """Return a run that was looked at after each 20 units a source, with controls in place."""
    units = {"features": 60, "neurons": 60, "planted": 6, "shuffled": 6}
    with fabricate_run(folder, units, name, contexts=0) as run:
        if plan is not None:
            declare(run, plan)
        add_all_scores(run, "model:a", {"planted": [0, 0, 0, 0, 6], "shuffled": [6, 0, 0, 0, 0]})
        for look in range(looks_at):
            add_all_scores(
                run, "model:a", {"features": HIGH, "neurons": LOW}, start=20 * look, seed=look
            )
            comparison = compare(run)
        return Material((comparison,), (run,))


def said(material: Material) -> str:
    return " ".join(f"{b.lead} {b.text}" for b in verdict.show(material) if isinstance(b, Prose))


def test_a_run_without_a_plan_is_called_undeclared_and_one_look_needs_no_more(tmp_path: Path):
    text = said(looked(tmp_path, None))
    assert "Undeclared. No plan of raters, units and stopping" in text
    assert "undeclared: no plan was written before the first rating" in text
    assert "this is the first look" in text
    assert "confidence sequence" not in text
    assert "declared in plan" not in text
    assert "Permutation of Brunner-Munzel's statistic: p " in text


def test_from_the_second_undeclared_look_on_it_says_why_its_interval_is_wider(tmp_path: Path):
    material = looked(tmp_path, None, looks_at=2)
    text = said(material)
    assert "this is look 2" in text
    assert "shown is the last look, with the interval of an asymptotic confidence sequence" in text
    assert "in place of 1.96" in text
    # p is the sequence's, and no longer that of the test of one look.
    assert "By the interval, which holds at all looks: p " in text
    assert "Brunner-Munzel's statistic: p" not in text
    warnings = [b for b in verdict.show(material) if isinstance(b, Prose) and b.tone == "warning"]
    assert [block.lead for block in warnings] == ["Undeclared.", "The rater was never checked."]


def test_a_plan_that_was_followed_is_called_declared_with_its_digest(tmp_path: Path):
    material = looked(tmp_path, FIXED)
    plan = material.comparisons[0].plan
    text = said(material)
    assert f"the primary test, declared in plan {plan.digest[:12]} before the first rating" in text
    assert "The rule has stopped: the declared 20 units of each source were asked about." in text
    assert "ndeclared" not in text
    assert "deviates" not in text
    assert title(material).endswith("They score higher.")


def test_before_the_declared_n_nothing_is_decided_and_the_headline_says_so(tmp_path: Path):
    material = looked(tmp_path, dataclasses.replace(FIXED, stopping=Stopping("fixed", 40)))
    text = said(material)
    headline = "Features and neurons, not at its declared n yet (20 of 40 units of each source): "
    assert headline in text
    assert "Nothing is decided" in text
    assert "score higher than" not in text
    assert title(material) == "Are the features more interpretable than the neurons?"
    assert not [b for b in verdict.show(material) if isinstance(b, Prose) and b.tone == "good"]


def test_what_differs_from_the_plan_is_said_first(tmp_path: Path):
    text = said(looked(tmp_path, FIXED, looks_at=2))
    assert "Deviates from the plan: 40 units of a source are asked about, not 20." in text
    assert "So it is read as undeclared." in text
    assert "which deviates from plan" in text
    assert "declared in plan" not in text


def test_an_estimate_at_a_sign_that_became_clear_is_called_biased_and_no_other(tmp_path: Path):
    clear = dataclasses.replace(FIXED, stopping=Stopping("clear", 60))
    text = said(looked(tmp_path / "clear", clear))
    assert STOPPED_EARLY in text
    assert "The interval is a repeated one" in text
    width = dataclasses.replace(FIXED, stopping=Stopping("width", 60, 0.2))
    text = said(looked(tmp_path / "width", width))
    assert STOPPED_EARLY not in text
    assert "which allows for stopping by its width" in text


@pytest.mark.parametrize("plan", [None, FIXED])
def test_plan_and_ledger_are_tables_of_the_page_and_of_the_summary(tmp_path: Path, plan):
    material = looked(tmp_path, plan, looks_at=2)
    blocks = looks.show(material)
    tables = {block.name: block for block in blocks if isinstance(block, Table)}
    assert set(tables) == ({"plan", "looks"} if plan else {"looks"})
    ledger = tables["looks"]
    assert [row[0] for row in ledger.rows] == ["1", "2"]
    assert [row[ledger.headings.index("n")] for row in ledger.rows] == ["20 + 20", "40 + 40"]
    read_as = [row[-1] for row in ledger.rows]
    assert read_as == (["fixed n, stopped", "undeclared"] if plan else ["undeclared"] * 2)
    assert list(ledger.frame.n) == ["20+20", "40+40"]
    summary = markdown("a title", "", [Panel("looks", looks.TITLE, tuple(blocks))])
    assert ledger.caption in summary
    assert ledger.caption.endswith("(model:a, interpretability-1-5, features – neurons)")
    assert not {"rater", "rubric", "sources"} & set(ledger.headings)
    if plan:
        assert material.comparisons[0].plan.digest in summary


def test_several_runs_have_a_plan_each_and_one_ledger(tmp_path: Path):
    one, two = looked(tmp_path, FIXED, name="one"), looked(tmp_path, FIXED, name="two")
    both = Material((*one.comparisons, *two.comparisons), (*one.runs, *two.runs))
    tables = [block for block in looks.show(both) if isinstance(block, Table)]
    assert [table.name for table in tables] == ["plan-one", "plan-two", "looks"]
    assert [row[0] for row in tables[-1].rows] == ["one", "two"]


def test_the_level_of_a_plan_is_the_level_that_the_page_names(tmp_path: Path):
    from autointerp.reports.panels import method, sources

    material = looked(tmp_path, dataclasses.replace(FIXED, alpha=0.01))
    assert "its interval is at 99 %" in said(material)
    assert "adjusted p is 0.01 or less and the 99 % interval" in method.rule_text(material)
    (text,) = [block.text for block in sources.show(material) if isinstance(block, Prose)]
    assert "are at 99 %" in text


def test_what_a_look_replaces_is_the_multiplier_of_one_look_at_the_level_of_the_plan(
    tmp_path: Path,
):
    text = said(looked(tmp_path, dataclasses.replace(FIXED, alpha=0.01), looks_at=2))
    assert "in place of 2.58)" in text  # the normal quantile of 0.995
    assert "errs in more than 1 %" in text
