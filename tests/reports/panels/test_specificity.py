from types import SimpleNamespace

import numpy as np
import pytest
from support.unit_scores import OF_A_HARVEST

from autointerp.findings.answers import ContextRating
from autointerp.findings.descriptions import specificity_results, specificity_results_of
from autointerp.reports.panels import Figure, Table, specificity
from autointerp.stats.paired import paired_difference
from autointerp.store.run import open_run
from autointerp.store.tables import save_table


def material_of(run):
    comparison = SimpleNamespace(
        run="main", specificity=specificity_results_of(run), **OF_A_HARVEST
    )
    return SimpleNamespace(comparisons=(comparison,), several_runs=False)


def test_the_founding_figure_has_a_stack_for_every_source(tried_run):
    with open_run("tiny", folder=tried_run, read_only=True) as run:
        blocks = specificity.show(material_of(run))
        figures = [block for block in blocks if isinstance(block, Figure)]
        assert [figure.name for figure in figures] == ["specificity"]
        drawing = figures[0].draw()
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in drawing.axes]
    for source in ("features", "neurons", "planted", "random", "shuffled"):
        assert any(source in title for title in titles)
        assert source in figures[0].alt
    for axes in drawing.axes[:5]:  # stacks of 100 %, or nothing where nothing was rated
        tops = {}
        for bar in axes.patches:
            place = round(bar.get_x(), 3)
            tops[place] = max(tops.get(place, 0), bar.get_y() + bar.get_height())
        assert all(top == pytest.approx(1) or top == 0 for top in tops.values())
        assert any(tops.values())


def test_tables_hold_plain_and_weighted_means_and_the_shares(tried_run):
    with open_run("tiny", folder=tried_run, read_only=True) as run:
        tables = {b.name: b for b in specificity.show(material_of(run)) if isinstance(b, Table)}
    frame = tables["specificity"].frame.set_index("source")
    assert frame.loc["planted", "mean"] == 3
    assert {"mean_by_density", "silent", "other", "ratings_ok"} <= set(frame)
    shares = tables["specificity_shares"].frame
    total = shares[[f"share_{level}" for level in range(4)]].sum(axis=1)
    assert total.to_numpy() == pytest.approx(1)


def test_ratings_of_which_none_has_a_score_are_said_to_be_and_no_table_is_empty(tmp_path):
    """The table of their shares had no column, which DuckDB does not write: no report was made."""
    ratings = [
        ContextRating(n, "features", False, "r", "digest", "e", "a", "firing", False, 1, 9,
                      "failed", None)
        for n in range(2)
    ]  # fmt: skip
    found = specificity_results(ratings, {}, {"digest": (0, 1, 2, 3)})
    comparison = SimpleNamespace(run="main", specificity=found, **OF_A_HARVEST)
    material = SimpleNamespace(comparisons=(comparison,), several_runs=False)
    said, table = specificity.show(material)
    assert said.text == "r · described by e, rated by a: no context has a score."
    assert table.rows[0][-1] == "2 failed"
    save_table(table.frame, tmp_path / table.name)


def paired(own, control):
    gaps = paired_difference(own, control, np.random.default_rng(0), scale=(0, 3))
    return SimpleNamespace(
        source="features", is_control=False, over_silent=gaps, over_other=None, unverified=0
    )


@pytest.mark.parametrize(
    ("own", "control", "lead"),
    [
        ([2] * 20, [1.5] * 20, None),
        ([1] * 20, [2] * 20, "Worse than the control."),
        ([1, 2] * 10, [2, 1] * 10, "Not shown to be better than the control."),
        ([2] * 3, [1] * 3, "Too few to tell."),
    ],
)
def test_units_are_compared_with_their_own_controls(own, control, lead):
    leads = [first for first, *_ in specificity.cautions(paired(own, control))]
    assert leads == ([] if lead is None else [lead])


def test_contexts_of_others_that_nobody_verified_are_said_to_be_left_out():
    one = paired([2] * 20, [1] * 20)
    assert specificity.cautions(one) == []
    one.unverified = 7
    ((_, text, tone),) = specificity.cautions(one)
    assert "whether features are silent in the 7 contexts of other units is not known" in text
    assert tone == "plain"


def test_a_run_without_descriptions_has_no_such_panel(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as run:
        assert specificity.show(material_of(run)) == []
