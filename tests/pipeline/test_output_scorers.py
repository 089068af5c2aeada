"""Scorers of what units do: the model is measured first, then a judge is asked, once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.fabricate import fabricate_run

from autointerp.errors import BadInput
from autointerp.findings.answers import unit_scores
from autointerp.pipeline.describe import explain, forecast_score, score
from autointerp.pipeline.job import Job
from autointerp.store.run import open_run

SOURCES = ("features", "random", "planted")


def job(runs, *scorers, **more):
    return Job(
        sources=SOURCES, n=4, rater="scripted:truth", run="tiny", runs=runs, scorers=scorers, **more
    )


@pytest.fixture
def described(own_runs):
    """A folder of runs whose directions are described by the tokens that they promote."""
    explain(replace(job(own_runs), logit_effects=True))
    return own_runs


def test_units_are_measured_once_and_asked_about_once(described):
    asked = job(described, "logits", "steering", explainer="scripted:truth+logits")
    first = score(asked)
    with open_run("tiny", folder=described, read_only=True) as run:
        measured = [run.lab_rows(lab) for lab in ("promoted-tokens", "clamped-texts")]
        made = run.rows("SELECT lab, unit_id, made_at FROM lab_unit ORDER BY ALL")
        passages = run.rows("SELECT context_id, tokens FROM passage")
        shown = {
            n
            for (n,) in run.rows(
                "SELECT DISTINCT unnest(contexts) FROM probe WHERE task IN ('logits', 'steering')"
            )
        }
        scores = unit_scores(run)
    assert all(measured)
    assert {number for number, _ in passages} == shown
    assert all(number < 0 for number in shown)
    for result in first.values():
        assert result.units == 8
        assert set(result.counts.statuses) == {"ok"}
    for name in ("logits", "steering"):
        own = [one for one in scores if one.scorer == name and not one.permuted]
        assert {one.source for one in own if one.score is not None} == {"features", "random"}
        assert all(0 <= one.score <= 1 for one in own if one.score is not None)
        beside = [one for one in scores if one.scorer == name and one.permuted]
        assert {one.unit_id for one in beside} == {o.unit_id for o in own if o.score is not None}
    again = score(asked)
    assert all(not result.counts.statuses for result in again.values())
    with open_run("tiny", folder=described, read_only=True) as run:
        assert run.rows("SELECT lab, unit_id, made_at FROM lab_unit ORDER BY ALL") == made


def test_units_that_are_no_directions_have_a_reason_and_no_score_and_alone_are_an_error(own_runs):
    planted = replace(job(own_runs, "logits", explainer="scripted:truth"), sources=("planted",))
    explain(planted)
    with pytest.raises(BadInput, match=r"no unit has any \(planted: they are no directions"):
        score(planted)
    features = replace(job(own_runs, "logits"), sources=("features",), n=2)
    explain(replace(features, logit_effects=True))
    assert score(replace(features, explainer="scripted:truth+logits"))["logits"].without == {}
    # Now that some units have effects, those that have none are counted.
    result = score(planted)["logits"]
    reason = "no logit effects: they are no directions in the model"
    assert (result.units, result.without) == (0, {reason: 4})
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        outcomes = {one.outcome for one in unit_scores(run) if one.source == "planted"}
    assert outcomes <= {reason}


def test_a_forecast_counts_the_calls_that_are_made_later(described):
    asked = job(described, "logits", "steering", explainer="scripted:truth+logits")
    expected = forecast_score(asked)
    results = score(asked)
    for name, forecast in expected.items():
        assert forecast.calls == results[name].counts.statuses["ok"]
        assert forecast.units == results[name].units


@pytest.mark.parametrize("name", ["logits", "steering"])
def test_an_imported_run_has_no_model_to_measure_with_and_is_refused_before_a_call(tmp_path, name):
    fabricate_run(tmp_path, {"features": 4}, contexts=8, imported=True).close()
    imported = Job(rater="scripted:truth", runs=tmp_path, scorers=(name,))
    for ask in (score, forecast_score):
        with pytest.raises(BadInput, match=f"--scorer {name} needs the model, and run .* imported"):
            ask(imported)
