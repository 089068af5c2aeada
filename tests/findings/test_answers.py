"""Replies about descriptions become a score a unit; nothing is dropped on the way."""

import json
import math
from collections import Counter

import pytest
from support.scored import ALL, job, scored

from autointerp.findings.answers import SILENT, _read, context_ratings, unit_scores
from autointerp.findings.comparison import compare
from autointerp.findings.descriptions import scorer_results
from autointerp.pipeline.describe import explain
from autointerp.questions.score import Design
from autointerp.questions.scorers import scorer
from autointerp.questions.trials import QUERY, trial_of
from autointerp.raters._logprobs import expected_activations, tokens_of
from autointerp.records import Context, HarvestedUnit, Reply, Unit, UnitSummary
from autointerp.settings import RunSettings
from autointerp.store.run import open_run
from autointerp.units.sources import kind_of


@pytest.fixture(scope="module")
def results(truth_run):
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        return unit_scores(run)


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


def test_a_unit_alone_has_the_scores_and_ratings_that_it_has_among_all(truth_run, results):
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        numbers = [number for (number,) in run.rows("SELECT unit_id FROM unit")]
        alone = [score for number in numbers for score in unit_scores(run, number)]
        fitting = [rating for number in numbers for rating in context_ratings(run, number)]
        everybody = context_ratings(run)

    def by_unit(scores):
        return Counter(map(repr, scores))

    assert by_unit(alone) == by_unit(results)
    assert {score.scorer for score in alone} == set(ALL)
    assert by_unit(fitting) == by_unit(everybody)


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


def test_a_short_last_call_loses_nothing(results):
    for one in results:
        if one.outcome == "ok":
            assert one.answered == one.questions
            assert set(one.statuses) <= {"ok"}


def test_every_lost_call_is_counted_and_takes_its_contexts_out_and_no_others(own_runs, tmp_path):
    explain(job(own_runs, sources=("planted",)))
    # The first two calls bring nothing; every other says that no text fits a description.
    none = {"text": json.dumps({str(number): "" for number in range(1, 9)})}
    script = tmp_path / "calls.jsonl"
    lines = [{"fail": "rejected"}, {"text": "no", "stop": "refusal"}, none]
    script.write_text("\n".join(map(json.dumps, lines)))
    choice = {"explainer": "scripted:truth"}
    counts = scored(own_runs, ["detection"], f"scripted:{script}", choice, Design(20, 0))
    statuses = counts["detection"].counts.statuses
    assert statuses["failed"] == statuses["refused"] == 1
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        found = [one for one in unit_scores(run) if one.rater == "scripted:calls.jsonl"]
        planted = [one for one in found if one.source == "planted"]
    lost = sum(one.questions - one.answered for one in planted)
    # Two calls are lost, of at most 52 texts; of others' descriptions there are as many.
    assert 60 < lost / 4 <= 104
    statuses = sum((Counter(one.statuses) for one in planted), Counter())
    assert (statuses["failed"], statuses["refused"]) == (1, 1)
    for one in planted:  # `none` is worth a half, whatever was lost
        assert one.score == 0.5 or one.outcome.startswith("no answers")
    (result,) = scorer_results(found)
    assert result.sources["planted"].statuses["failed"] == 1


def test_a_control_that_does_not_fall_to_chance_is_named(results):
    from dataclasses import replace

    leaky = [
        replace(one, unit_id=one.unit_id + copy, score=0.9 + 0.01 * (one.unit_id % 3))
        if one.permuted and one.scorer == "fuzzing"
        else one
        for one in results
        for copy in range(0, 5_000, 1_000)  # four units are too few to tell
    ]
    broken = {r.scorer: r.broken for r in scorer_results(leaky)}
    assert broken["fuzzing"] == ["planted"]


def test_scores_do_not_mix_with_the_ratings_of_units(truth_run):
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        comparison = compare(run)
    assert {one.rater for one in comparison.judgements} == {"scripted:4"}


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
    tokens = tokens_of({"content": spelled})
    expected = expected_activations(text, tokens)
    assert expected == pytest.approx([6, 10])
    assert expected_activations(text, tokens[1:]) is None
    empty = tokens_of({"content": [token('{"answers": []}')]})
    assert expected_activations('{"answers": []}', empty) is None
    task = scorer("simulation").TASK
    with open_run("tiny", folder=truth_run, read_only=True) as run:
        row = run.rows(f"{QUERY} WHERE task = 'simulation' AND len(contexts) > 1 LIMIT 1")[0]
        _, trial = trial_of(row)
        contexts = run.contexts_numbered([p.context for p in trial.pieces])
    reply = Reply(text, details={"expected_activations": expected})
    answers = [one.answer for one in _read(task, trial, 0, reply, contexts)]
    assert answers[:2] == [{4: pytest.approx(10)}, {1: pytest.approx(6)}]
    plain = [one.answer for one in _read(task, trial, 0, Reply(text), contexts)]
    assert plain[:2] == [{4: 10}, {1: 7}]


def test_answers_to_an_earlier_version_of_a_scorer_are_kept_and_not_read(truth_run, tmp_path):
    import shutil

    runs = shutil.copytree(truth_run, tmp_path / "runs")
    with open_run("tiny", folder=runs) as run:
        run.connection.execute(
            "UPDATE probe SET task_digest = 'version 1' WHERE task = 'simulation'"
        )
        assert {one.scorer for one in unit_scores(run)} == {*ALL} - {"simulation"}
        assert run.rows("SELECT count(*) > 0 FROM probe WHERE task = 'simulation'") == [(True,)]


def test_a_unit_is_known_to_be_silent_only_where_its_own_windows_cover_the_context(tmp_path):
    def window(document, position, fires):
        levels = [0.0] * 21
        levels[10] = 1.0 if fires else 0.0
        return Context(
            tokens=("a",) * 21, activations=tuple(levels), focus=10, draw="interval",
            interval=1 if fires else None, split="score", silent=not fires,
            document=document, position=position,
        )  # fmt: skip

    # Windows reach 10 tokens to either side of their position.
    own = [window(0, 10, False), window(0, 31, False), window(1, 10, True)]
    others = [window(0, 10, True), window(0, 15, True), window(1, 10, True), window(7, 10, True)]
    with open_run("main", RunSettings(), None, tmp_path) as run:
        units = [
            HarvestedUnit(
                UnitSummary(Unit("features", place), 0.01, 100, 1.0, place, "eligible", (1.0,)),
                held,
            )
            for place, held in enumerate((own, others))
        ]
        run.add_harvest({"features": (2, kind_of("features"))}, units)
        ids = dict(run.rows("SELECT idx, unit_id FROM unit"))
        silent = run.rows(
            f"SELECT document, position, {SILENT} FROM"
            " (SELECT ?::INTEGER AS unit_id) o, context c WHERE c.unit_id = ? ORDER BY ALL",
            [ids[0], ids[1]],
        )
    assert silent == [
        (0, 10, True),  # the same window
        (0, 15, False),  # two windows of its own, and neither covers all of it
        (1, 10, False),  # it fires there
        (7, 10, False),  # nothing of it is held
    ]


def test_contexts_of_a_unit_s_own_are_silent_by_their_kind(truth_run, tmp_path):
    import shutil

    from autointerp.pipeline.rate import rate

    runs = shutil.copytree(truth_run, tmp_path / "runs")
    rate(job(runs, "lexical", rubric="specificity-0-3", contexts=6, explainer="scripted:truth"))
    with open_run("tiny", folder=runs, read_only=True) as run:
        kinds = {(rating.kind, rating.is_silent) for rating in context_ratings(run)}
    assert {("firing", False), ("silent", True)} <= kinds
    assert not {("firing", True), ("silent", False)} & kinds
