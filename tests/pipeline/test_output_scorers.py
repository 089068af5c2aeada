"""Scorers of what units do: the model is measured first, then a judge is asked, once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.fabricate import fabricate_run
from support.loopback.server import LoopbackServer

from autointerp.errors import AutointerpError, BadInput
from autointerp.findings.answers import unit_scores
from autointerp.pipeline.describe import explain, forecast_score, score
from autointerp.pipeline.job import Job
from autointerp.pipeline.rate import collect
from autointerp.raters import RaterOptions
from autointerp.store.run import open_run
from autointerp.units import reopen
from autointerp.units.subject_record import RECORD

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


@pytest.mark.parametrize("name", ["logits", "steering", "generation", "purity"])
def test_an_imported_run_has_no_model_to_measure_with_and_is_refused_before_a_call(tmp_path, name):
    fabricate_run(tmp_path, {"features": 4}, contexts=8, imported=True).close()
    imported = Job(rater="scripted:truth", runs=tmp_path, scorers=(name,))
    for ask in (score, forecast_score):
        with pytest.raises(BadInput, match=f"--scorer {name} needs the model, and run .* imported"):
            ask(imported)


def test_texts_are_written_to_each_description_once_and_units_measured_on_them(own_runs):
    asked = replace(job(own_runs, "generation"), sources=("planted",))
    first = score(asked)["generation"]
    assert first.units == 4
    assert first.counts.statuses == {"ok": 4}  # the control takes no call of its own
    own, control = first.means["planted"]
    assert own.value > 0.95
    assert control.value == pytest.approx(0.5, abs=0.1)
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        measured = run.rows("SELECT * FROM response ORDER BY ALL")
        texts = run.contexts_numbered([number for number, *_ in measured])
        scores = [one for one in unit_scores(run) if one.scorer == "generation"]
    units = {unit for _, unit, _ in measured}
    assert units == {one.unit_id for one in scores if not one.permuted}
    # Each of the four on its own texts and on those of the three others: all that were written.
    assert len(measured) == 4 * len(texts)
    for number, _, activations in measured:
        assert len(activations) == len(texts[number].tokens)
    again = score(asked)["generation"]
    assert not again.counts.statuses
    assert again.means == first.means
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        assert run.rows("SELECT * FROM response ORDER BY ALL") == measured


def test_texts_that_were_not_measured_are_missing_and_are_measured_the_next_time(own_runs):
    asked = replace(job(own_runs, "generation"), sources=("planted",))
    means = score(asked)["generation"].means
    with open_run("tiny", folder=own_runs) as run:
        (unit, *_), *_ = run.rows("SELECT DISTINCT unit_id FROM response ORDER BY ALL")
        run.execute("DELETE FROM response WHERE unit_id = ?", [unit])
        outcome = {one.unit_id: one for one in unit_scores(run) if not one.permuted}[unit].outcome
    assert outcome == "no answers: no text of own was measured"
    assert score(asked)["generation"].means == means


def test_responsiveness_and_purity_read_the_same_answers_and_measure_every_unit_on_every_text(
    own_runs, monkeypatch
):
    asked = replace(job(own_runs, "responsiveness"), sources=("planted",))
    first = score(asked)["responsiveness"]
    own, control = first.means["planted"]
    assert own.value > 0.95
    assert control.value == pytest.approx(0.5, abs=0.1)
    second = score(replace(asked, scorers=("purity",)))["purity"]
    assert not second.counts.statuses  # answered before, under the other name
    own, control = second.means["planted"]
    assert own.value > 0.95
    assert control.value == pytest.approx(0.5, abs=0.1)
    with monkeypatch.context() as patch:  # all is answered and measured: nothing is loaded
        patch.setattr(reopen, "load_subject", None)
        assert score(asked)["responsiveness"].means == {"planted": first.means["planted"]}
        with open_run("tiny", folder=own_runs) as run:
            run.remember(RECORD, "lost")
        with pytest.raises(TypeError):  # of another subject, perhaps
            score(asked)
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        rows = run.rows("SELECT unit_id, count(*) FROM response GROUP BY ALL")
        pieces = run.rows(
            "SELECT count(DISTINCT array_to_string(c.tokens[f + 1 : l], '')) FROM (SELECT"
            " unnest(contexts) AS n, unnest(firsts) AS f, unnest(lasts) AS l FROM probe"
            " WHERE task = 'responsiveness') p JOIN context c ON c.context_id = p.n"
        )
        scores = [one for one in unit_scores(run) if one.scorer == "purity"]
    assert {count for _, count in rows} == {pieces[0][0]}
    assert len(rows) == 4
    assert {one.permuted for one in scores} == {True, False}
    assert all(one.questions > 3 * 20 for one in scores if not one.permuted)  # of all in the calls


def test_features_and_random_directions_are_tried_by_what_they_fire_on_as_planted_units_are(
    described,
):
    scorers = ("generation", "responsiveness", "purity")
    asked = job(described, *scorers, explainer="scripted:truth+logits")
    results = score(asked)
    with open_run("tiny", folder=described, read_only=True) as run:
        measured = {unit for (unit,) in run.rows("SELECT DISTINCT unit_id FROM response")}
        source_of = dict(run.rows("SELECT unit_id, source FROM unit"))
        scores = [one for one in unit_scores(run) if one.score is not None]
    assert {source_of[unit] for unit in measured} == set(SOURCES)
    for name in scorers:
        assert set(results[name].means) == set(SOURCES)
        for own, control in results[name].means.values():
            assert own.n == control.n == (4,)
            assert 0 <= own.value <= 1
        own, permuted = (
            {one.unit_id for one in scores if one.scorer == name and one.permuted is permuted}
            for permuted in (False, True)
        )
        assert own == permuted == measured


@pytest.mark.parametrize(("provider", "batch"), [("openai", False), ("anthropic", True)])
def test_language_models_write_and_judge_at_once_or_in_a_batch(own_runs, provider, batch):
    truth = replace(job(own_runs), sources=("planted",))
    explain(truth)
    with LoopbackServer() as server:
        url = server.openai_url if provider == "openai" else server.anthropic_url
        options = RaterOptions(base_url=url, structured="json_schema")
        asked = replace(
            truth, rater=f"{provider}:m", options=options, batch=batch, explainer="scripted:truth",
            scorers=("generation", "responsiveness"),
        )  # fmt: skip
        results = score(asked)
        if batch:
            assert all(not result.means for result in results.values())
            collect("tiny", own_runs)
            results = score(asked)
    # It writes the same texts to every description: units fire on their own as on others'.
    own, control = results["generation"].means["planted"]
    assert (own.value, control.value, own.n) == (0.5, 0.5, (4,))
    assert results["responsiveness"].means["planted"][0].n == (4,)
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        written = run.rows("SELECT reply FROM call WHERE reply LIKE '%as told, 7%'")
        assert len(written) == 4  # as they came, and once
        assert {one.rater for one in unit_scores(run)} == {
            name for (name,) in run.rows("SELECT rater FROM rater WHERE rater LIKE '%:m%'")
        }


def test_a_rater_that_writes_no_text_is_refused_in_one_line(own_runs):
    explain(replace(job(own_runs), sources=("planted",)))
    for rater in ("panel:lexical+scripted:truth", "embed:some/model"):
        asked = replace(
            job(own_runs, "generation"), sources=("planted",), rater=rater,
            explainer="scripted:truth",
        )  # fmt: skip
        with pytest.raises(AutointerpError) as refused:
            score(asked)
        assert "\n" not in str(refused.value)
