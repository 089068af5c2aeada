import json
from dataclasses import replace

import pytest

from autointerp.errors import BadInput
from autointerp.pipeline.describe import explain
from autointerp.pipeline.job import Job
from autointerp.questions.explain import (
    EXPLAIN,
    OF_INTERVALS,
    TOP,
    check_held_out,
    choose_explainer,
    eligible_units,
    explain_trials,
    explained_contexts,
    explainers,
    explanations,
)
from autointerp.questions.trials import Described, Trial, load_trials, whole_context
from autointerp.store.run import open_run


def explained(runs, rater, **more):
    explain(Job(rater=rater, run="tiny", runs=runs, **more))


def test_explainers_see_the_explain_split_alone_strongest_first_no_place_twice(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as run:
        for contexts in run.contexts(list(eligible_units(run))).values():
            shown = [contexts[number] for number in explained_contexts(contexts)]
            assert {context.split for context in shown} == {"explain"}
            assert len(shown) <= TOP + OF_INTERVALS
            strongest = max(c.activation for c in contexts.values() if c.split == "explain")
            assert shown[0].activation == strongest
            places = [(context.document, context.position) for context in shown]
            assert len(places) == len(set(places))
            everything = explained_contexts(contexts, "all")
            assert {contexts[n].split for n in everything} == {"explain"}
            assert any(contexts[n].draw == "random" for n in everything)


def test_the_prompt_of_an_explainer_tells_nothing_of_the_unit(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as run:
        unit = next(iter(eligible_units(run, ["neurons"])))
        (trial,) = explain_trials(run, [unit], "shown")
        (renamed,) = explain_trials(run, [unit], "shown")
        assert trial == renamed
        other = replace(trial, unit_id=trial.unit_id + 1)
        assert other.item_id(0) != trial.item_id(0)
    text = json.dumps(trial.item_id(0))
    for word in ("neuron", "feature", str(unit) + "-"):
        assert word not in text


def test_planted_units_are_explained_by_their_word_and_others_are_unknown(own_runs):
    explained(own_runs, "scripted:truth")
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        notes = dict(run.rows("SELECT unit_id, note FROM unit WHERE source = 'planted'"))
        for one in explanations(run, "scripted:truth"):
            assert one.status == "ok"
            if one.source == "planted":  # its note is `fires on 'word'`
                assert one.text == f"{notes[one.unit_id].removeprefix('fires on ')} in any case"
            assert one.says_something == (one.text != "Unknown")


def test_an_explanation_keeps_which_contexts_it_saw_and_its_call(own_runs):
    explained(own_runs, "scripted:truth", sources=("planted",))
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        for one in explanations(run, "scripted:truth"):
            contexts = run.contexts([one.unit_id])[one.unit_id]
            assert list(one.contexts) == explained_contexts(contexts)
        calls = run.rows("SELECT count(*) FROM explanation e JOIN call c USING (call_key)")
        assert calls == [(4,)]


def test_explaining_twice_asks_nothing_the_second_time(own_runs):
    def calls():
        with open_run("tiny", folder=own_runs, read_only=True) as run:
            return run.rows("SELECT call_key, attempt FROM call WHERE stop = 'end' ORDER BY ALL")

    explained(own_runs, "lexical")
    before = calls()
    explained(own_runs, "lexical")
    assert calls() == before


def test_a_unit_with_too_little_evidence_for_a_rule_says_so_and_is_not_dropped(own_runs):
    explained(own_runs, "lexical")
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        assert len(explanations(run, "lexical")) == len(eligible_units(run))
        reasons = run.rows("SELECT DISTINCT rationale FROM explanation WHERE status = 'failed'")
    assert reasons == [("too little evidence for a rule",)]


def test_what_failed_stays_visible_with_its_reason_and_is_asked_again(own_runs, tmp_path):
    script = tmp_path / "calls.jsonl"
    lines = [
        {"text": '{"rationale": "r", "description": "a thing"}'},
        {"text": "I would rather not", "stop": "refusal"},
        {"fail": "rejected"},
        {"text": '{"rationale": "r", "description": "another thing"}'},
    ]
    script.write_text("\n".join(map(json.dumps, lines)))
    explained(own_runs, f"scripted:{script}", sources=("planted",))
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        found = explanations(run, "scripted:calls.jsonl")
    assert sorted(one.status for one in found) == ["failed", "ok", "ok", "refused"]
    assert {one.text for one in found} == {"a thing", "another thing", None}


def test_rated_units_are_explained_and_not_those_that_the_harvest_drew_besides(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as run:
        units = eligible_units(run)
        rated = run.rows("SELECT count(DISTINCT unit_id) FROM key")
        assert len(units) == rated[0][0] == 8 + 8 + 3 * 4
        assert len(eligible_units(run, ["features"], 3)) == 3
        with pytest.raises(BadInput, match="no units of source 'ghosts'"):
            eligible_units(run, ["ghosts"])


def test_an_explainer_must_be_named_where_there_are_several(own_runs):
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        assert explainers(run) == []
        with pytest.raises(BadInput, match="`autointerp explain tiny` writes them"):
            choose_explainer(run, None)
    explained(own_runs, "scripted:truth", sources=("planted",))
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        assert choose_explainer(run, None) == "scripted:truth"
        with pytest.raises(BadInput, match="no explanations by lexical"):
            choose_explainer(run, "lexical")
    explained(own_runs, "lexical", sources=("planted",))
    with (
        open_run("tiny", folder=own_runs, read_only=True) as run,
        pytest.raises(BadInput, match="lexical, scripted:truth; choose one by --explainer"),
    ):
        choose_explainer(run, None)


def test_a_context_whose_document_the_explainer_saw_is_refused(own_runs):
    explained(own_runs, "scripted:truth", sources=("planted",))
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        one = explanations(run, "scripted:truth")[0]
        described = Described(one.explainer, one.unit_id, one.text or "")
        contexts = run.contexts([one.unit_id])[one.unit_id]

        def trial(number):
            piece = whole_context(number, contexts[number], True, "firing", mark=False)
            return Trial("detection", "d", "x", one.unit_id, 1.0, (piece,), described)

        held_out = [n for n, c in contexts.items() if c.split == "score"]
        check_held_out(run, [trial(number) for number in held_out])
        for number in one.contexts:
            with pytest.raises(ValueError, match="is not held out"):
                check_held_out(run, [trial(held_out[0]), trial(number)])


def test_an_item_shows_what_the_trial_says_and_never_the_key(own_runs):
    explained(own_runs, "scripted:truth", sources=("planted",))
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        ids = [row[0] for row in run.rows("SELECT item_id FROM probe ORDER BY item_id")]
        items = load_trials(run, ids, EXPLAIN)
        assert [item.id for item in items] == ids
        for item in items:
            text = EXPLAIN.user(item)
            assert "planted" not in text
            levels = [a for c in item.contexts for a in c.activations or ()]
            assert max(levels) <= 10
            assert not any(context.silent for context in item.contexts)
