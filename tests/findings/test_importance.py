"""Means by use, on runs whose scores and importance are made up."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from support.fabricate import add_all_scores, add_scores, fabricate_run

from autointerp.findings.comparison import compare, estimate_rows
from autointerp.pipeline.report import report
from autointerp.reports.panels.importance import show
from autointerp.stats.means import mean


def run_with(folder, importance, metric="loss", tokens=1_000, counts=None):
    """Return an open run of features and neurons, 40 each, the first half of which scores 5 and
    the others 1, with the importance of each unit by its place."""
    counts = counts or [20, 0, 0, 0, 20]
    run = fabricate_run(folder, {"features": 40, "neurons": 40}, contexts=0)
    add_all_scores(run, "model:a", dict.fromkeys(("features", "neurons"), counts))
    scores = run.rows(
        "SELECT r.unit_id, r.source, r.score FROM unit_rating r JOIN unit USING (unit_id)"
        " ORDER BY r.source, ord"
    )
    rows = []
    for unit_id, source, score in scores:
        value = importance(source, score)
        rows.append(
            {"unit_id": unit_id, "importance": value, "net": None, "per_firing": None,
             "fires": None, "tokens": tokens, "metric": metric,
             "outcome": "ok" if value is not None else "no direction"}
        )  # fmt: skip
    run.replace_lab_rows("importance", [row["unit_id"] for row in rows], rows)
    return run


def changed(run, units, **values):
    """Replace the lab's rows of some units by the same with other values."""
    held = [row for row in run.lab_rows("importance") if row["unit_id"] in units]
    kept = [{k: v for k, v in row.items() if k not in ("unit", "source")} for row in held]
    run.replace_lab_rows("importance", units, [row | values for row in kept])


def by_source(use):
    return {one.source: one for one in use.sources}


def test_a_mean_by_use_weighs_each_unit_by_its_importance(tmp_path):
    # Features that score 5 are used three times as much as those that score 1, neurons alike.
    with run_with(
        tmp_path, lambda source, score: 3.0 if (source, score) == ("features", 5) else 1.0
    ) as run:
        found = compare(run)
    (use,) = found.use
    features, neurons = by_source(use)["features"], by_source(use)["neurons"]
    assert features.mean.value == neurons.mean.value == 3
    assert features.by_use.value == pytest.approx((3 * 5 + 1) / 4)
    assert neurons.by_use.value == pytest.approx(3)
    # (20 x 3 + 20)² / (20 x 9 + 20) = 32 units of one weight; of all alike, all 40.
    assert (features.effective, neurons.effective) == pytest.approx((32, 40))
    assert features.top_share == pytest.approx(4 * 3 / 80)
    assert features.total == 80
    assert features.rho.value == pytest.approx(1)
    assert neurons.rho.value is None
    # Of units of one weight it is the plain mean, with about its interval.
    plain = mean([1] * 20 + [5] * 20, scale=(1, 5))
    assert (neurons.by_use.low, neurons.by_use.high) == pytest.approx(
        (plain.low, plain.high), abs=0.05
    )
    assert (use.first, use.second) == ("features", "neurons")
    assert use.difference.value == pytest.approx(1)
    names = [row["name"] for row in estimate_rows(found)]
    assert names.count("mean_by_use") == 2
    assert names.count("mean_difference_by_use") == 1


def test_where_few_units_carry_the_use_there_is_a_mean_and_no_interval(tmp_path):
    with run_with(tmp_path, lambda source, score: score) as run:
        (unit,) = run.rows("SELECT min(unit_id) FROM unit WHERE source = 'features'")
        changed(run, unit, importance=1e6)
        found = compare(run)
    (use,) = found.use
    features = by_source(use)["features"]
    assert features.effective == pytest.approx(1, abs=0.01)
    assert features.by_use.low is None
    assert "a few units carry nearly all weight" in features.by_use.note
    assert features.top_share > 0.999
    assert use.difference.low is None
    prose = show(SimpleNamespace(comparisons=[found]))[1]
    assert "; no interval is known, for a few units carry nearly all weight" in prose.text


def test_units_without_importance_are_left_out_and_counted(tmp_path):
    with run_with(
        tmp_path, lambda source, score: None if source == "neurons" or score == 1 else 2.0
    ) as run:
        (use,) = compare(run).use
    assert list(by_source(use)) == ["features"]
    features = by_source(use)["features"]
    assert (features.n, features.without) == (20, 20)
    assert features.by_use.value == pytest.approx(features.mean.value) == 5
    assert use.difference is None


def test_units_that_do_not_matter_at_all_have_no_mean_by_use(tmp_path):
    with run_with(tmp_path, lambda source, score: 0.0) as run:
        (use,) = compare(run).use
    assert by_source(use)["features"].by_use.note == "no unit matters on the tokens that were read"


def test_units_measured_by_other_options_are_no_weights_beside_them(tmp_path):
    with run_with(tmp_path, lambda source, score: 1.0) as run:
        rows = run.rows("SELECT unit_id FROM unit WHERE source = 'features' AND ord < 10")
        changed(run, [unit_id for (unit_id,) in rows], metric="logit")
        (use,) = compare(run).use
    assert use.metric == "loss"
    assert {name: one.n for name, one in by_source(use).items()} == {"features": 30, "neurons": 40}


def test_without_the_lab_a_report_says_nothing_of_use_and_with_it_a_panel(tmp_path):
    with fabricate_run(tmp_path / "a", {"features": 5}, contexts=0) as run:
        add_scores(run, "features", "model:a", [1, 1, 1, 1, 1])
        assert compare(run).use == ()
    with run_with(tmp_path / "b", lambda source, score: score):
        pass
    report("main", tmp_path / "page", folder=tmp_path / "b")
    page = (tmp_path / "page" / "index.html").read_text()
    assert "Scores by use" in page
    assert "Mean scores by unit and by use" in (tmp_path / "page" / "summary.md").read_text()
    assert (tmp_path / "page" / "tables" / "by_use.csv").exists()
    with run_with(tmp_path / "c", lambda source, score: score) as run:
        fields = compare(run).as_json()
    assert json.loads(json.dumps(fields["use"]))[0]["sources"][0]["by_use"]["n"] == [40]
