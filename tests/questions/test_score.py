import json
import math
from collections import Counter

import pytest
from support.loopback.server import LoopbackServer
from support.tiny_subject import tiny_run_units

from autointerp.engine.work import RatingPolicy
from autointerp.errors import UnknownName
from autointerp.findings.answers import _read, unit_scores
from autointerp.findings.comparison import compare
from autointerp.findings.descriptions import scorer_results
from autointerp.pipeline.describe import explain, score
from autointerp.pipeline.job import Job
from autointerp.pipeline.rate import collect
from autointerp.questions.explain import explanations
from autointerp.questions.score import Design, plan
from autointerp.questions.scorers import scorer, scorer_names
from autointerp.questions.trials import QUERY, trial_of
from autointerp.raters import RaterOptions
from autointerp.raters._logprobs import expected_activations
from autointerp.records import Reply
from autointerp.store.run import open_run

ALL = ("detection", "fuzzing", "simulation", "intruder")
DESIGN = Design(count=10, permuted=8)


def job(runs, rater="scripted:truth", **more):
    return Job(rater=rater, run="tiny", runs=runs, **more)


def scored(runs, names=ALL, rater="scripted:truth", choice=None, design=DESIGN):
    return score(job(runs, rater, scorers=tuple(names), design=design, **(choice or {})))


@pytest.fixture(scope="module")
def truth_run(tiny_run, tmp_path_factory):
    """A copy of the tiny run, explained and scored by `scripted:truth`; read it only."""
    import shutil

    runs = shutil.copytree(tiny_run, tmp_path_factory.mktemp("truth") / "runs")
    scored(runs)
    return runs


@pytest.fixture
def results(truth_run):
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        return unit_scores(run)


@pytest.mark.parametrize("name", ALL)
def test_the_truth_about_planted_units_scores_over_95_and_permuted_falls_to_chance(results, name):
    (result,) = [r for r in scorer_results(results) if r.scorer == name]
    planted = result.sources["planted"]
    assert planted.scored.value > 0.95
    # 4 units of a tiny grammar; `bench/scorers.py` has 60 of real text, and 0.5 ± 0.05.
    assert planted.permuted.value == pytest.approx(0.5, abs=0.13)
    assert planted.permuted.n == (4,)


def test_every_source_goes_the_same_way_and_every_unit_has_an_outcome(truth_run, results):
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        rated = Counter(
            dict(
                run.rows(
                    "SELECT source, count(DISTINCT unit_id)"
                    " FROM key JOIN unit USING (unit_id) GROUP BY 1"
                )
            )
        )
    for name in ALL:
        mine = [one for one in results if one.scorer == name and not one.permuted]
        assert Counter(one.source for one in mine) == rated
        for one in mine:
            assert (one.score is None) == (one.outcome != "ok")


def test_unknown_units_are_counted_and_not_asked_about(results):
    mine = [o for o in results if o.scorer == "detection" and o.source in ("features", "neurons")]
    assert {one.outcome for one in mine} == {"unknown"}
    assert not any(one.questions for one in mine)
    (result,) = [r for r in scorer_results(results) if r.scorer == "detection"]
    credit = result.sources["features"]
    assert credit.scored.value is None
    assert credit.with_unknown.value == 0.5
    assert credit.outcomes == {"unknown": 8}


def test_units_that_are_never_silent_are_an_outcome_of_their_own(results):
    outcomes = Counter(o.outcome for o in results if o.scorer == "intruder" and not o.permuted)
    assert outcomes["too few silent contexts"] > 0
    assert set(outcomes) <= {"ok", "too few silent contexts"}


def test_permuted_descriptions_are_another_units_of_the_same_source(truth_run):
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        rows = run.rows(
            "SELECT DISTINCT p.unit_id, p.described, u.source, v.source, p.permuted FROM probe p"
            " JOIN unit u ON u.unit_id = p.unit_id JOIN unit v ON v.unit_id = p.described"
        )
    assert {permuted for *_, permuted in rows} == {True, False}
    for unit, described, source, other, permuted in rows:
        assert source == other
        assert permuted is (unit != described)


def test_a_permuted_description_is_asked_about_the_very_same_contexts(truth_run):
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        rows = run.rows(
            "SELECT unit_id, permuted, list_sort(flatten(array_agg(contexts))) FROM probe"
            " WHERE task = 'detection' GROUP BY unit_id, permuted ORDER BY ALL"
        )
    by_unit = {}
    for unit, _, contexts in rows:
        by_unit.setdefault(unit, []).append(contexts)
    assert all(one == other for one, other in by_unit.values())


def test_all_that_is_asked_is_held_out_and_no_document_served_both(truth_run):
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        splits = run.rows(
            "SELECT p.task = 'explain', c.split, count(*) FROM"
            " (SELECT task, unnest(contexts) AS context_id FROM probe) p"
            " JOIN context c USING (context_id) GROUP BY 1, 2"
        )
        shared = run.rows(
            "SELECT count(*) FROM (SELECT document FROM context WHERE split = 'explain'"
            " INTERSECT SELECT document FROM context WHERE split = 'score')"
        )
    assert sorted((explain, split) for explain, split, _ in splits) == [
        (False, "score"),
        (True, "explain"),
    ]
    assert shared == [(0,)]


def test_a_short_last_call_loses_nothing(results):
    for one in results:
        if one.outcome == "ok":
            assert one.answered == one.questions
            assert one.statuses == {"ok": sum(one.statuses.values())}


def test_scoring_twice_asks_nothing_the_second_time(truth_run, tmp_path):
    import shutil

    runs = shutil.copytree(truth_run, tmp_path / "runs")
    counts = scored(runs)
    assert all(not one.counts.statuses for one in counts.values())
    assert all(one.counts.before for one in counts.values())


def test_a_run_without_descriptions_is_explained_first_by_the_same_rater(truth_run):
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        assert run.rows("SELECT DISTINCT explainer FROM explanation") == [("scripted:truth",)]


def test_answers_to_an_earlier_version_of_a_scorer_are_kept_and_not_read(truth_run, tmp_path):
    import shutil

    runs = shutil.copytree(truth_run, tmp_path / "runs")
    with open_run("tiny", folder=runs) as run:
        run.connection.execute(
            "UPDATE probe SET task_digest = 'version 1' WHERE task = 'simulation'"
        )
        assert {one.scorer for one in unit_scores(run)} == {*ALL} - {"simulation"}
        assert run.rows("SELECT count(*) > 0 FROM probe WHERE task = 'simulation'") == [(True,)]


def test_every_lost_call_is_counted_and_takes_its_contexts_out_and_no_others(own_runs, tmp_path):
    explain(job(own_runs, sources=("planted",)))
    # The first two calls bring nothing; every other says that no context fires.
    none = {"text": json.dumps({"answers": [{"context": n, "yes": False} for n in range(1, 11)]})}
    script = tmp_path / "calls.jsonl"
    lines = [{"fail": "rejected"}, {"text": "no", "stop": "refusal"}, none]
    script.write_text("\n".join(map(json.dumps, lines)))
    choice = {"explainer": "scripted:truth"}
    counts = scored(own_runs, ["detection"], f"scripted:{script}", choice, Design(10, 0))
    statuses = counts["detection"].counts.statuses
    assert statuses["failed"] == statuses["refused"] == 1
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        found = [one for one in unit_scores(run) if one.rater == "scripted:calls.jsonl"]
        planted = [one for one in found if one.source == "planted"]
    lost = sum(one.questions - one.answered for one in planted)
    assert 2 <= lost <= 20
    statuses = sum((Counter(one.statuses) for one in planted), Counter())
    assert (statuses["failed"], statuses["refused"]) == (1, 1)
    for one in planted:  # `none` is worth a half, whatever was lost
        assert one.score == 0.5 or one.outcome.startswith("no answers")
    (result,) = scorer_results(found)
    assert result.sources["planted"].statuses["failed"] == 1


def test_a_control_that_does_not_fall_to_chance_is_named(results):
    from dataclasses import replace

    leaky = [
        replace(one, score=0.9 + 0.01 * (one.unit_id % 3))
        if one.permuted and one.scorer == "fuzzing"
        else one
        for one in results
    ]
    broken = {r.scorer: r.broken for r in scorer_results(leaky)}
    assert broken["fuzzing"] == ["planted"]


def test_partners_stay_when_units_are_added(own_runs):
    explain(job(own_runs, sources=("planted",), n=2))
    scored(own_runs, ["detection"], choice={"sources": ("planted",), "n": 2})

    def partners():
        with open_run("tiny", folder=own_runs, read_only=True) as run:
            return dict(run.rows("SELECT DISTINCT unit_id, described FROM probe WHERE permuted"))

    before = partners()
    explain(job(own_runs, sources=("planted",)))
    scored(own_runs, ["detection"], choice={"explainer": "scripted:truth"})
    after = partners()
    assert len(before) == 2
    assert len(after) == 4
    assert {unit: after[unit] for unit in before} == before


def test_scores_do_not_mix_with_the_ratings_of_units(truth_run):
    with open_run("tiny", folder=truth_run, read_only=False) as run:
        comparison = compare(run)
    assert {one.rater for one in comparison.judgements} == {"scripted:4"}


def test_a_scorer_that_is_not_there_lists_those_that_are(own_runs):
    with pytest.raises(UnknownName, match=f"known: {', '.join(scorer_names())}"):
        scored(own_runs, ["detecting"])


def test_a_plan_of_the_same_run_is_the_same(truth_run):
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        known = explanations(run, "scripted:truth")
        assert (
            plan(run, "fuzzing", known, DESIGN).trials == plan(run, "fuzzing", known, DESIGN).trials
        )


def test_a_dry_run_says_what_1000_units_cost_and_stores_nothing(command_line, truth_run, tmp_path):
    import shutil

    shutil.copytree(truth_run, tmp_path / "runs")
    result = command_line(
        "score", "tiny", "--rater", "openai:gpt-x", "--price-in", 1, "--price-out", 4,
        "--explainer", "scripted:truth", "--contexts", 10, "--dry-run",
    )  # fmt: skip
    assert result.code == 0
    assert result.err.count("per 1,000 units about") == 3
    assert "$" in result.err
    assert "asked before" not in result.err
    unknown = command_line("score", "tiny", "--rater", "openai:gpt-x", "--dry-run")
    assert "price unknown (--price-in, --price-out)" in unknown.err
    again = ("score", "tiny", "--rater", "scripted:truth", "--contexts", 10, "--dry-run")
    result = command_line(*again, "--permuted", 8)  # as the run was scored
    assert result.err.count("of them were asked before") == 3
    with open_run("tiny", folder=tmp_path / "runs", read_only=True) as run:
        assert run.rows("SELECT count(*) FROM call WHERE rater LIKE 'openai%'") == [(0,)]


def test_explain_score_and_rate_on_the_command_line(command_line, own_runs):
    assert command_line("explain", "tiny").code == 0
    prices = ("--price-in", 1, "--price-out", 1, "--budget-usd", 0)
    result = command_line("explain", "tiny", "--rater", "openai:x", *prices)
    calls = sum(tiny_run_units().values())
    assert f"openai:x: {calls} calls" in result.err  # and no picture in place of `:x:`
    result = command_line("score", "tiny", "--scorer", "detection", "--contexts", 5)
    assert (result.code, "detection:" in result.err) == (0, True)
    result = command_line("rate", "--run", "tiny", "--rubric", "specificity-0-3", "--contexts", 6)
    assert result.code == 0
    assert "lexical on specificity-0-3" in result.err
    missing = command_line("explain", "nothing")
    assert (missing.code, "Traceback" in missing.err) == (2, False)


def test_activations_come_by_log_probabilities_where_the_rater_gives_them(truth_run):
    # Tokens `7` at 0.75 and `3` at 0.25 give 7·0.75 + 3·0.25 = 6; `10` alone stays 10.
    def token(text, **top):
        log = [{"token": t.strip("_"), "logprob": math.log(p)} for t, p in top.items()]
        return {"token": text, "logprob": 0.0, "top_logprobs": log}

    text = '{"contexts": [{"context": 2, "active": [{"token": 1, "activation": 7}]}, '
    text += '{"context": 1, "active": [{"token": 4, "activation": 10}]}]}'
    first, second = text.index("7}"), text.index("10}")
    spelled = [
        token(text[:first]), token("7", _7=0.75, _3=0.25), token(text[first + 1 : second]),
        token("10", _10=1.0), token(text[second + 2 :]),
    ]  # fmt: skip
    expected = expected_activations(text, spelled)
    assert expected == pytest.approx([6, 10])
    assert expected_activations(text, spelled[1:]) is None
    assert expected_activations('{"answers": []}', [token('{"answers": []}')]) is None
    task = scorer("simulation").TASK
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        row = run.rows(f"{QUERY} WHERE task = 'simulation' AND len(contexts) > 1 LIMIT 1")[0]
        _, trial = trial_of(row)
        contexts = run.contexts_numbered([p.context for p in trial.pieces])
    reply = Reply(text, details={"expected_activations": expected})
    answers = [one.answer for one in _read(task, trial, 0, "ok", reply, contexts)]
    assert answers[:2] == [{4: pytest.approx(10)}, {1: pytest.approx(6)}]
    plain = [one.answer for one in _read(task, trial, 0, "ok", Reply(text), contexts)]
    assert plain[:2] == [{4: 10}, {1: 7}]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("batch", [False, True])
def test_language_models_explain_and_score_at_once_or_by_batch(own_runs, provider, batch):
    with LoopbackServer() as server:
        url = server.openai_url if provider == "openai" else server.anthropic_url
        options = RaterOptions(base_url=url, structured="json_schema")
        asked = {"options": options, "batch": batch, "sources": ("planted",)}
        mine = job(own_runs, f"{provider}:m", scorers=ALL, design=Design(6, 0), **asked)

        def collected():
            if batch:
                collect("tiny", own_runs)

        explain(mine)
        collected()
        score(mine)
        collected()
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        (rater,) = {row[0] for row in run.rows("SELECT explainer FROM explanation")}
        assert {one.text for one in explanations(run, rater)} == {"as told"}
        scores = [one for one in unit_scores(run) if not one.permuted]
        replies = run.rows("SELECT reply, details FROM call WHERE reply LIKE '%activation%'")
    # Of the digit 1 at 0.7 and 2 at 0.2, the rest a word: (0.7·1 + 0.2·2) / 0.9 = 1.222. Only
    # this provider gives log probabilities.
    expected = {
        tuple(json.loads(details).get("expected_activations", ())) for _, details in replies
    }
    lists = {(1.222,) * reply.count('"activation"') for reply, _ in replies}
    assert expected == (lists if provider == "openai" else {()})
    for name in ALL:
        planted = [one for one in scores if one.scorer == name and one.source == "planted"]
        assert len(planted) == 4
        assert all(one.outcome == "ok" and one.answered == one.questions for one in planted)


def test_fewer_units_are_asked_nothing_new_of_what_was_asked_of_all(own_runs):
    explain(job(own_runs, sources=("planted",)))
    planted = {"sources": ("planted",)}
    scored(own_runs, ("detection",), choice=planted)
    fewer = scored(own_runs, ("detection",), choice={"sources": ("planted",), "n": 2})
    # The two keep the partners that they had among all four.
    assert not fewer["detection"].counts.statuses
    assert fewer["detection"].counts.before > 0


def test_a_budget_stops_scoring_before_it_is_passed_and_says_so(own_runs):
    explain(job(own_runs, sources=("planted",)))
    with LoopbackServer() as server:
        options = RaterOptions(base_url=server.openai_url, price_in=1000.0, price_out=1000.0)
        policy = RatingPolicy(budget_usd=3.0, concurrency=1)
        mine = job(
            own_runs,
            "openai:m",
            options=options,
            policy=policy,
            scorers=ALL,
            explainer="scripted:truth",
            design=Design(10, 0),
        )
        results = score(mine)
    assert results["detection"].counts.stopped == "budget"
    assert list(results) == ["detection"]
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        assert run.spent_usd() <= 3.0
        mine = [one for one in unit_scores(run) if one.rater.startswith("openai")]
        assert sum(one.statuses.get("pending", 0) for one in mine) > 0 or not mine
