import json

import pytest

from autointerp.questions.explain import EXPLAIN
from autointerp.questions.forms import LETTERS, REPLY, answers_in, make_task
from autointerp.questions.scorers import load_question, scorer, scorer_names
from autointerp.records import Item, ItemContext, Reply

DETECTION, FUZZING = scorer("detection").TASK, scorer("fuzzing").TASK
SIMULATION, INTRUDER = scorer("simulation").TASK, scorer("intruder").TASK
EMBEDDING, SURPRISAL = scorer("embedding").TASK, scorer("surprisal").TASK
WRITTEN = [EXPLAIN, DETECTION, FUZZING, SIMULATION, INTRUDER]
TASKS = [*WRITTEN, EMBEDDING, SURPRISAL]
JUDGE = make_task("judge", 1, "?", "judge", "{shown} {reply}")
MARKED_JUDGE = make_task("marked", 1, "?", "judge", "{shown} {reply}", mark=True)


def context(*tokens: str, focus=None, activations=None, split="score") -> ItemContext:
    return ItemContext(tokens, activations, focus, split, False)


def lines_of(task, *contexts: ItemContext, description="a description", several=()) -> list:
    text = task.user(Item("item", task.id, contexts, description, descriptions=several))
    return [json.loads(line) for line in text.split("\n")[1:-1]]


def reading(task, **fields):
    return task.read(Reply(json.dumps(fields)))


@pytest.mark.parametrize("task", WRITTEN, ids=lambda task: task.id)
def test_instructions_say_what_is_shown_that_it_is_quoted_and_how_to_reply(task):
    text = task.system(0)
    assert "{" + "shown" not in text
    assert "{" + "reply" not in text
    assert "quoted material to be judged" in text
    assert REPLY[task.form] in text
    assert ("First comes a" in text) == task.shows.description


def test_judging_shows_texts_by_number_after_the_description():
    shown = lines_of(JUDGE, context(" a", " cat"), context(" the", " dog"))
    assert shown == [
        {"description": "a description"},
        {"context": 1, "text": " a cat"},
        {"context": 2, "text": " the dog"},
    ]


def test_a_marked_token_stands_apart_from_the_text_round_it():
    assert lines_of(MARKED_JUDGE, context(" a", " cat", " ran", focus=1))[1] == {
        "context": 1, "before": " a", "token": " cat", "after": " ran",
    }  # fmt: skip


def test_matching_shows_texts_by_letter_after_all_descriptions_by_number():
    texts = [context(" a", " cat", " ran"), context(" the", '"dog'), context(" x", split="explain")]
    several = {"1": "cats", "2": "dogs"}
    shown = lines_of(DETECTION, *texts, several=("cats", "dogs"))
    assert shown == [several, ["A", " a cat ran"], ["B", ' the"dog']]
    marked = lines_of(FUZZING, context(" a", " cat", " ran", focus=1), several=("cats", "dogs"))
    assert marked == [several, ["A", " a", " cat", " ran"]]
    many = lines_of(DETECTION, *[context(" a")] * 52, several=("cats", "dogs"))
    assert "".join(letter for letter, _ in many[1:]) == LETTERS


def test_matches_are_read_by_description_and_what_is_passed_over_is_missing():
    reply = Reply('{"1": "B a", "2": "", "4": ["C", "A"], "5": "A, C,"}')
    assert DETECTION.read(reply).score == 2 + 2 + 2
    assert answers_in(DETECTION, reply) == {1: {2, 27}, 2: set(), 4: {1, 3}, 5: {1, 3}}


def test_predicting_shows_every_token_with_its_number():
    assert lines_of(SIMULATION, context(" a", " cat"))[1] == {
        "context": 1, "tokens": [[1, " a"], [2, " cat"]],
    }  # fmt: skip


def test_an_explainer_sees_the_firing_tokens_scaled_and_no_weak_firing_as_silence():
    shown = context(" a", " cat", " ran", activations=(0.0, 10.0, 0.2), split="explain")
    (line,) = lines_of(EXPLAIN, shown)
    assert line == {"text": " a cat ran", "fires": [[" cat", 10], [" ran", 1]]}


def test_contexts_of_the_other_split_are_never_shown():
    assert lines_of(JUDGE, context(" a", split="explain")) == [{"description": "a description"}]
    assert lines_of(EXPLAIN, context(" a", activations=(1.0,), split="score")) == []


def test_a_description_is_kept_and_unknown_is_an_answer():
    found = reading(EXPLAIN, rationale="why", description=" cats,\n mostly ")
    assert (found.status, found.score, found.description) == ("ok", 1, "cats, mostly")
    for words in ("Unknown", "unknown.", '"Unknown"'):
        found = reading(EXPLAIN, rationale="", description=words)
        assert (found.status, found.score, found.description) == ("ok", 0, "Unknown")


def test_answers_are_read_by_number_and_what_is_passed_over_is_missing():
    reply = Reply('{"answers": [{"context": 3, "yes": true}, {"context": 1, "yes": false}]}')
    assert JUDGE.read(reply).status == "ok"
    assert answers_in(JUDGE, reply) == {3: True, 1: False}


def test_predicted_activations_are_read_by_context_and_token():
    reply = Reply('{"contexts": [{"context": 2, "active": [{"token": 4, "activation": 7}]}]}')
    assert SIMULATION.read(reply).score == 1
    assert answers_in(SIMULATION, reply) == {2: {4: 7.0}}


def test_the_chosen_context_is_the_answer_of_a_choice():
    reply = Reply('{"rationale": "odd", "context": 4}')
    assert INTRUDER.read(reply).score == 4
    assert answers_in(INTRUDER, reply) == {4: True}


def test_a_cosine_is_its_own_answer_and_a_loss_what_the_description_saves():
    reply = Reply(
        '{"similarities": [{"context": 2, "cosine": -0.25}, {"context": 1, "cosine": 1}]}'
    )
    assert EMBEDDING.read(reply).score == 2
    assert answers_in(EMBEDDING, reply) == {2: -0.25, 1: 1.0}
    reply = Reply('{"losses": [{"context": 1, "given": 2.5, "without": 3.25}]}')
    assert SURPRISAL.read(reply).score == 1
    assert answers_in(SURPRISAL, reply) == {1: 0.75}


@pytest.mark.parametrize(
    ("task", "fields", "problem"),
    [
        (EXPLAIN, {"rationale": "x"}, "no `description`"),
        (EXPLAIN, {"description": "  "}, "no `description`"),
        (EXPLAIN, {"description": "x", "rationale": 3}, "`rationale` is not text"),
        (DETECTION, {"answers": "A"}, "no description is answered about"),
        (DETECTION, {"1": "the first text"}, "no list of letters"),
        (DETECTION, {"1": "AC"}, "no list of letters"),
        (DETECTION, {"1": 3, "2": "A"}, "no list of letters"),
        (JUDGE, {"answers": 3}, "not a list of objects"),
        (JUDGE, {"answers": [3]}, "not a list of objects"),
        (JUDGE, {"answers": [{"context": "first", "yes": True}]}, "not a whole number"),
        (JUDGE, {"answers": [{"context": True, "yes": True}]}, "not a whole number"),
        (JUDGE, {"answers": [{"context": 1, "yes": 1}]}, "neither true nor false"),
        (JUDGE, {"answers": [{"context": 1, "yes": True}] * 2}, "answered twice"),
        (SIMULATION, {"contexts": [{"context": 1}]}, "`active` is not a list"),
        (
            SIMULATION,
            {"contexts": [{"context": 1, "active": [{"token": 1, "activation": 11}]}]},
            "not between 0 and 10",
        ),
        (
            SIMULATION,
            {"contexts": [{"context": 1, "active": [{"token": 1, "activation": 1}] * 2}]},
            "listed twice",
        ),
        (INTRUDER, {"context": 2.5}, "not a whole number"),
        (EMBEDDING, {"similarities": [{"context": 1}]}, "`cosine` is not a number"),
        (EMBEDDING, {"similarities": [{"context": 1, "cosine": True}]}, "is not a number"),
        (EMBEDDING, {"similarities": [{"context": 1, "cosine": 1.5}]}, "not between -1 and 1"),
        (EMBEDDING, {"similarities": [{"context": 1, "cosine": 0.1}] * 2}, "answered twice"),
        (SURPRISAL, {"losses": [{"context": 1, "given": 1.0}]}, "`without` is not a number"),
        (SURPRISAL, {"losses": [{"context": 1, "given": -1.0, "without": 1.0}]}, "is negative"),
        (SURPRISAL, {"losses": {}}, "not a list of objects"),
    ],
)
def test_a_reply_of_another_form_is_unparsed_and_says_why(task, fields, problem):
    found = reading(task, **fields)
    assert (found.status, found.score) == ("unparsed", None)
    assert problem in found.problem
    assert answers_in(task, Reply(json.dumps(fields))) == {} or task is EXPLAIN


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_a_refusal_a_failure_and_a_reply_cut_short_keep_their_own_fate(task):
    assert task.read(Reply("no", stop="refusal")).status == "refused"
    assert task.read(Reply("", stop="error", error="gone")).status == "failed"
    assert task.read(Reply("{}", stop="length")).status == "unparsed"
    assert task.read(Reply("not JSON")).status == "unparsed"


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_every_schema_is_closed_as_providers_demand(task):
    def check(part):
        if part["type"] == "object":
            assert part["additionalProperties"] is False
            assert part["required"] == list(part["properties"])
            for inner in part["properties"].values():
                check(inner)
        elif part["type"] == "array":
            check(part["items"])

    check(task.schema())


def test_tasks_are_found_by_name_as_batches_need_it_and_have_digests_of_their_own():
    assert {task.id for task in TASKS if task is not EXPLAIN} <= set(scorer_names())
    assert [load_question(task.id) for task in TASKS] == TASKS
    assert load_question("specificity-0-3").scores == (0, 1, 2, 3)
    assert len({task.digest for task in TASKS}) == len(TASKS)
