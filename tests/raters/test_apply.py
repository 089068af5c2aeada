import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.errors import RaterError
from autointerp.questions.forms import answers_in, make_task
from autointerp.questions.rubric_files import load_rubric
from autointerp.questions.scorers import scorer
from autointerp.raters import RaterOptions, load_rater
from autointerp.raters._apply import odd_one_out, rule_from_words, where
from autointerp.raters._evidence import CLOSING, Condition
from autointerp.raters._rules import SHAPES, Alternative, rule_in_words
from autointerp.records import Item, ItemContext

# `white space` and the like are both a shape and a kind of token; kinds are what is read back.
SHAPE_VALUES = [
    v for v in SHAPES if v not in ("space", "letters", "spaces", "digits", "punctuation")
]
TEXTS = st.sampled_from(
    ["the", " of", "'t", "\n", " after", "it's", "'", "a'b", "\\x0a", "' with '"]
)
CONDITIONS = st.one_of(
    st.builds(Condition, st.just("text"), st.integers(-4, 1), TEXTS),
    st.builds(Condition, st.just("word"), st.integers(-4, 1), st.sampled_from(["cat", "naïve"])),
    st.builds(Condition, st.just("ending2"), st.integers(-1, 0), st.just("ed")),
    st.builds(Condition, st.just("beginning3"), st.integers(-1, 0), st.just("pre")),
    st.builds(Condition, st.just("shape"), st.integers(-2, 1), st.sampled_from(SHAPE_VALUES)),
    st.builds(
        Condition, st.just("kind"), st.integers(-1, 1),
        st.sampled_from(["space", "letters", "digits", "punctuation"]),
    ),
    st.builds(Condition, st.just("earlier"), st.just(0), st.just("dog")),
    st.builds(Condition, st.just("long4"), st.just(0), st.just("4")),
    st.builds(Condition, st.just("long8"), st.just(0), st.just("8")),
    st.builds(Condition, st.just("inside"), st.just(0), st.sampled_from(list(CLOSING))),
    st.builds(
        Condition, st.just("nearby"), st.integers(1, 5), st.sampled_from(["de", "de het naïve"])
    ),
)  # fmt: skip
RULES = st.lists(st.lists(CONDITIONS, min_size=1, max_size=3), min_size=1, max_size=3)


@given(RULES)
@settings(deadline=None)
def test_a_rule_is_read_back_from_its_words(rule):
    words = rule_in_words(tuple(Alternative(tuple(part), 0.5, 0.1) for part in rule))
    read = rule_from_words(words)
    assert read is not None
    assert [set(part) for part in read] == [set(part) for part in rule]


@pytest.mark.parametrize(
    "text", ["cats", "words about 'cats'", "'cat' in any case sometimes", "", "any token near 'a'"]
)
def test_what_is_no_rule_is_not_read_as_one(text):
    assert rule_from_words(text) is None


def test_a_rule_holds_where_all_conditions_of_one_alternative_do():
    rule = rule_from_words("'cat' in any case after ' the'; or ' dog'")
    holds = where(rule, [[" the", " Cat", " cat"], [" a", " dog", " the"], []])
    assert [list(map(bool, part)) for part in holds] == [
        [False, True, False], [False, True, False], [],
    ]  # fmt: skip


def item(*windows, description=None, focus=None, activations=None, descriptions=()) -> Item:
    contexts = tuple(
        ItemContext(tuple(tokens), activations, focus, "score", False) for tokens in windows
    )
    return Item("item", "task", contexts, description, descriptions=tuple(descriptions))


def asked(name, task, one):
    rater = load_rater(name, RaterOptions())
    return asyncio.run(rater.send(rater.request(one, task)))


@pytest.mark.parametrize("name", ["lexical", "scripted:truth"])
def test_both_answer_every_form_by_the_description(name):
    cats = item([" a", " cat"], [" a", " dog"], description="'cat' in any case")
    judged = make_task("any", 1, "?", "judge", "{shown} {reply}")
    assert answers_in(judged, asked(name, judged, cats)) == {1: True, 2: False}
    task = scorer("simulation").TASK
    assert answers_in(task, asked(name, task, cats)) == {1: {2: 10.0}, 2: {}}
    several = ["'cat' in any case", "Unknown", "' a'"]
    task = scorer("detection").TASK
    texts = item([" a", " cat"], [" b", " dog"], descriptions=several)
    assert answers_in(task, asked(name, task, texts)) == {1: {1}, 2: set(), 3: {1}}
    task = scorer("fuzzing").TASK
    marked = item([" a", " cat"], [" cat", " a"], focus=1, descriptions=several)
    assert answers_in(task, asked(name, task, marked)) == {1: {1}, 2: set(), 3: {2}}


@pytest.mark.parametrize("name", ["lexical", "scripted:truth"])
def test_a_description_in_other_words_among_rules_is_missing_and_the_rest_is_answered(name):
    task = scorer("detection").TASK
    texts = item([" a"], [" b"], descriptions=["all about cats", "' b'"])
    assert answers_in(task, asked(name, task, texts)) == {2: {2}}


@pytest.mark.parametrize("name", ["lexical", "scripted:truth"])
@pytest.mark.parametrize(
    ("tokens", "score"),
    [
        ([" a", " b", " cat"], 3), ([" a", " cat", " b"], 2), ([" cat", " a", " b"], 1),
        ([" a", " b", " c"], 0),
    ],
)  # fmt: skip
def test_specificity_is_3_on_the_mark_2_beside_it_1_in_the_context_and_0_else(name, tokens, score):
    rubric = load_rubric("specificity-0-3")
    one = item(tokens, description="'cat' in any case", focus=2)
    assert rubric.read(asked(name, rubric, one)).score == score
    unknown = item(tokens, description="Unknown", focus=2)
    assert rubric.read(asked(name, rubric, unknown)).score == 0


@pytest.mark.parametrize("name", ["lexical", "scripted:truth"])
def test_a_description_in_other_words_is_a_failure_that_says_so(name):
    reply = asked(name, scorer("simulation").TASK, item([" a"], description="all about cats"))
    assert (reply.stop, reply.error) == ("error", "the description is not in the words of a rule")
    one = item([" a"], descriptions=["all about cats", "dogs"])
    reply = asked(name, scorer("detection").TASK, one)
    assert (reply.stop, reply.error) == ("error", "the description is not in the words of a rule")


@pytest.mark.parametrize("name", ["lexical", "scripted:truth"])
def test_items_of_equal_content_have_calls_of_their_own(name):
    rater, task = load_rater(name, RaterOptions()), scorer("simulation").TASK
    one = item([" a"], description="' a'")
    other = Item("other", one.rubric, one.contexts, one.description)
    assert rater.request(one, task).key == rater.request(one, task).key
    assert rater.request(one, task).key != rater.request(other, task).key


def test_the_odd_one_out_is_marked_on_a_word_of_its_own():
    def marked(word):
        return {"tokens": [" a", word, " b"], "focus": 1}

    assert odd_one_out([marked(" cat"), marked("Cat"), marked(" dog"), marked(" cat")]) == 3


def test_scripted_truth_turns_down_rubrics_without_a_description():
    with pytest.raises(RaterError, match="judges descriptions"):
        asked("scripted:truth", load_rubric("interpretability-1-5"), item([" a"]))


def test_a_request_survives_storage_as_json():
    rater, task = load_rater("lexical", RaterOptions()), scorer("fuzzing").TASK
    body = rater.request(item([" a"], descriptions=["' a'", "' b'"], focus=0), task).body
    assert json.loads(json.dumps(body)) == body
