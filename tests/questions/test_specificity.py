import json
from collections import Counter

import numpy as np
import pytest

from autointerp.errors import BadInput
from autointerp.findings.answers import context_ratings
from autointerp.findings.comparison import compare
from autointerp.pipeline.job import Job
from autointerp.pipeline.rate import rate
from autointerp.pipeline.rate_result import RateResult
from autointerp.questions.explain import Explanation, explanations
from autointerp.questions.items import load_items
from autointerp.questions.rubric_files import load_rubric
from autointerp.questions.specificity import specificity_trials
from autointerp.questions.trials import add_trials
from autointerp.store.run import open_run

RUBRIC = load_rubric("specificity-0-3")


def rated(runs, rater="scripted:truth", contexts=30, **more):
    job = Job(
        rubric="specificity-0-3", rater=rater, run="tiny", runs=runs, contexts=contexts, **more
    )
    return rate(job)


@pytest.fixture(scope="module")
def rated_run(tiny_run, tmp_path_factory):
    """A copy of the tiny run whose planted units were described and rated; read it only."""
    import shutil

    runs = shutil.copytree(tiny_run, tmp_path_factory.mktemp("rated") / "runs")
    rated(runs)
    return runs


def test_the_instructions_speak_of_one_context_and_do_not_say_whether_it_fires():
    text = RUBRIC.system()
    assert "You get one context." in text
    assert "First comes a description of the unit" in text
    assert "the token for which the context was drawn" in text
    assert "the marked token, on which the unit fires" not in text


def test_contexts_of_all_intervals_silent_ones_and_other_units_are_mixed_and_blind(rated_run):
    with open_run("tiny", folder=rated_run, read_only=True) as run:
        known = explanations(run, "scripted:truth")
        trials = specificity_trials(run, RUBRIC, known, 30)
        kinds = Counter(trial.pieces[0].kind for trial in trials)
        units = len({trial.unit_id for trial in trials})
        assert (kinds["silent"], kinds["other"]) == (5 * units, 5 * units)
        assert 15 * units < kinds["firing"] <= 20 * units
        contexts = run.contexts_numbered([trial.pieces[0].context for trial in trials])
        for unit in {trial.unit_id for trial in trials}:
            mine = [t.pieces[0] for t in trials if t.unit_id == unit]
            shown = {contexts[q.context].interval for q in mine if q.kind == "firing"}
            held = run.contexts([unit])[unit].values()
            there = {c.interval for c in held if c.split == "score" and c.draw == "interval"}
            assert shown == there
        ids = [row[0] for row in run.rows("SELECT item_id FROM probe WHERE task = ?", [RUBRIC.id])]
        for item in load_items(run, ids[:50], RUBRIC):
            (shown,) = item.contexts
            assert shown.activations is None
            assert shown.silent is False
            lines = RUBRIC.user(item).split("\n")[1:-1]
            fields = [json.loads(line) for line in lines]
            assert list(fields[0]) == ["description"]
            assert list(fields[1]) == ["before", "token", "after"]


def test_silent_contexts_are_verified_and_those_of_others_are_not_the_units_own(rated_run):
    with open_run("tiny", folder=rated_run, read_only=True) as run:
        rows = run.rows(
            "SELECT p.kinds[1], c.unit_id = p.unit_id, c.silent, c.split FROM probe p"
            " JOIN context c ON c.context_id = p.contexts[1] WHERE p.task = ?",
            [RUBRIC.id],
        )
    for kind, own, silent, split in rows:
        assert split == "score"
        assert own is (kind != "other")
        assert silent is (kind == "silent")


def all_described(run):
    return [
        Explanation(unit, source, "ann", "ok", f"word {unit}", ())
        for unit, source in run.rows(
            "SELECT unit_id, source FROM unit WHERE outcome = 'eligible' ORDER BY 1"
        )
    ]


def test_contexts_of_others_are_those_in_which_the_unit_was_found_silent(own_runs):
    with open_run("tiny", folder=own_runs) as run:
        described = all_described(run)
        trials = specificity_trials(run, RUBRIC, described, 30)
        others = {(t.unit_id, t.pieces[0].context) for t in trials if t.pieces[0].kind == "other"}
        silent = set(run.rows("SELECT unit_id, context_id FROM silence WHERE silent"))
        assert others
        assert others <= silent
        run.connection.execute("DELETE FROM silence")  # as in an imported run
        without = specificity_trials(run, RUBRIC, described, 30)
        assert {t.pieces[0].kind for t in without} == {"firing", "silent"}
        # The units fire in as many more contexts, where there are so many.
        assert len(without) > len(trials) - len(others)


def test_contexts_of_others_stay_when_the_run_learns_of_more_of_them(own_runs):
    with open_run("tiny", folder=own_runs) as run:
        described = all_described(run)
        known = run.rows("SELECT context_id, unit_id, silent FROM silence ORDER BY ALL")
        run.connection.execute("DELETE FROM silence WHERE context_id % 2 = 1")
        before = specificity_trials(run, RUBRIC, described, 30)
        stored = set(add_trials(run, before))
        asked_about = {t.unit_id for t in before if t.pieces[0].kind == "other"}
        columns = ("context_id", "unit_id", "silent")
        with run.transaction():
            run.insert(
                "silence", [dict(zip(columns, row, strict=True)) for row in known], ignore=True
            )
        after = specificity_trials(run, RUBRIC, described, 30)
        mine = [t for t in after if t.unit_id in asked_about]
        assert mine
        assert {t.item_id(run.settings.seed) for t in mine} <= stored


def test_true_descriptions_get_3_where_the_unit_fires_and_0_where_it_is_silent(rated_run):
    with open_run("tiny", folder=rated_run, read_only=True) as run:
        ratings = context_ratings(run)
    scores = {
        kind: [one.score for one in ratings if one.kind == kind]
        for kind in ("firing", "silent", "other")
    }
    assert set(scores["firing"]) == {3}
    assert set(scores["silent"]) == {0}
    assert np.mean(scores["other"]) < 0.5
    assert {one.interval for one in ratings if one.kind != "firing"} == {None}
    assert all(0 < one.activation <= 10 for one in ratings if one.kind == "firing")


def test_rating_twice_asks_nothing_the_second_time_and_more_contexts_go_on(rated_run, tmp_path):
    import shutil

    runs = shutil.copytree(rated_run, tmp_path / "runs")
    counts = rated(runs, explainer="scripted:truth").counts
    assert not counts.statuses
    assert 4 * 20 < counts.before <= 4 * 30
    rated(runs, contexts=40, explainer="scripted:truth")
    with open_run("tiny", folder=runs, read_only=True) as run:
        ratings = context_ratings(run)
        asked = run.rows("SELECT count(*) FROM probe WHERE task = ?", [RUBRIC.id])[0][0]
    assert len(ratings) < asked  # a context that both designs chose counts once


def test_such_ratings_are_no_ratings_of_units(rated_run):
    with open_run("tiny", folder=rated_run) as run:
        assert {one.rubric for one in compare(run).judgements} == {"interpretability-1-5"}


def test_failed_ratings_are_counted_beside_the_means(rated_run, tmp_path):
    import shutil

    runs = shutil.copytree(rated_run, tmp_path / "runs")
    script = tmp_path / "calls.jsonl"
    script.write_text('{"fail": "rejected"}\n{"text": "no", "stop": "refusal"}\n{"score": 2}\n')
    result = rated(runs, f"scripted:{script}", contexts=6, explainer="scripted:truth")
    assert isinstance(result, RateResult)  # as of units: what a caller reads of one is in both
    assert (result.units["planted"], result.units["neurons"]) == (4, 8)
    assert (result.descriptions, result.without) == (4, 24)
    assert result.failure == "the script says to fail"
    assert f"most failed with: {result.failure}" in str(result)
    with open_run("tiny", folder=runs, read_only=True) as run:
        mine = [one for one in context_ratings(run) if one.rater == "scripted:calls.jsonl"]
    statuses = Counter(one.status for one in mine)
    assert (statuses["failed"], statuses["refused"], statuses["ok"]) == (1, 1, 4 * 6 - 2)


def test_a_rubric_about_descriptions_refuses_to_ask_what_units_are(own_runs):
    job = Job(sources="planted", rubric="specificity-0-3", run="tiny", runs=own_runs, guess=True)
    with pytest.raises(BadInput, match="--guess asks what units are"):
        rate(job)


def test_a_run_that_is_not_there_is_harvested_first(tiny_settings, tmp_path):
    job = Job(
        sources=("planted",), n=2, controls=0, rubric="specificity-0-3", rater="scripted:truth",
        run="new", subject=str(tiny_settings), runs=tmp_path, contexts=6,
    )  # fmt: skip
    assert rate(job).counts.statuses == {"ok": 12}


def test_the_command_rates_the_descriptions_of_the_sources_and_units_that_it_names(
    command_line, own_runs
):
    def rated_units(*more):
        asked = ("--run", "tiny", "--rubric", "specificity-0-3", "--contexts", 3, *more)
        assert command_line("rate", "--rater", "scripted:2", *asked).code == 0
        with open_run("tiny", folder=own_runs, read_only=True) as run:
            return Counter(dict.fromkeys((o.unit_id, o.source) for o in context_ratings(run)))

    command_line("explain", "tiny", "--rater", "scripted:2")
    sources = Counter(source for _, source in rated_units("-s", "features", "-n", 2))
    # Two of each, controls among them; 8 neurons were neither asked about nor paid for.
    assert sources == {"features": 2, "planted": 2, "random": 2, "shuffled": 2}
    sources = Counter(source for _, source in rated_units("-s", "neurons", "--controls", 0))
    assert sources == {"features": 2, "neurons": 8, "planted": 2, "random": 2, "shuffled": 2}


def test_a_guess_about_descriptions_is_refused(command_line, own_runs):
    result = command_line("rate", "--run", "tiny", "--rubric", "specificity-0-3", "--guess")
    assert result.code == 2
    assert "--guess asks what units are" in result.err
