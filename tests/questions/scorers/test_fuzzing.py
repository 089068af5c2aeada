from collections import Counter
from dataclasses import replace

import pytest
from support.held_out import answered

from autointerp.questions.cuts import shape_of
from autointerp.questions.scorers import Tried
from autointerp.questions.scorers.fuzzing import choose, measure


def questions_of(chosen):
    return [question for call in chosen.calls for question in call]


def test_right_marks_stand_where_the_unit_fires_and_wrong_ones_where_it_is_silent(make_held_out):
    held_out = make_held_out()
    asked = questions_of(choose(held_out, 20, False))
    assert Counter(q.truth for q in asked) == {True: 20, False: 20}
    for question in asked:
        activation = held_out.contexts[question.context].activations[question.mark]
        assert (activation > 0) is question.truth
        assert question.first <= question.mark < question.last
    assert len({q.context for q in asked}) == 40


def test_the_place_of_a_mark_tells_nothing(make_held_out):
    # 21 tokens, 14 shown, the focus at 10: right marks stand at 3 to 10 of what is shown, and each
    # wrong one at the place of the right one that it is made like.
    places = {True: Counter(), False: Counter()}
    for seed in range(20):
        for question in questions_of(choose(make_held_out(seed=seed), 20, False)):
            assert question.last - question.first == 14
            places[question.truth][question.mark - question.first] += 1
    assert places[True] == places[False]
    assert set(places[True]) == set(range(3, 11))


def test_wrong_marks_stand_on_tokens_of_the_same_kind_where_there_are(make_held_out):
    held_out = make_held_out()
    marked = [
        held_out.contexts[q.context].tokens[q.mark]
        for q in questions_of(choose(held_out, 20, False))
        if not q.truth
    ]
    assert {shape_of(token) for token in marked} == {"word"}
    assert " cat" not in marked  # where it stands the unit fires


def test_hard_wrong_marks_stand_on_the_very_token_where_it_is_silent(make_held_out):
    held_out = make_held_out()
    again = {
        n: replace(c, tokens=(*c.tokens[:6], " cat", *c.tokens[7:]))
        for n, c in held_out.contexts.items()
    }
    object.__setattr__(held_out, "contexts", again)
    kinds = {}
    for hard in (False, True):
        wrong = [q for q in questions_of(choose(held_out, 20, hard)) if not q.truth]
        kinds[hard] = sum(again[q.context].tokens[q.mark] == " cat" for q in wrong)
    assert kinds[True] == 20  # it can stand at each of the places 3 to 6, and near the others
    assert kinds[True] >= kinds[False]


def test_a_unit_that_fires_on_every_token_has_an_outcome_of_its_own(make_held_out):
    held_out = make_held_out()
    dense = {
        n: type(c)(c.tokens, (1.0,) * 21, *(getattr(c, name) for name in c.__slots__[2:]))
        for n, c in held_out.contexts.items()
    }
    object.__setattr__(held_out, "contexts", dense)
    assert choose(held_out, 20, False).outcome == "too few silent tokens"
    assert choose(make_held_out(firing=3), 20, False).outcome == "too few firing contexts"


@pytest.mark.parametrize("answer", [True, False])
def test_the_trivial_answers_score_exactly_a_half(make_held_out, answer):
    held_out = make_held_out(firing=13)
    asked = answered(held_out, choose(held_out, 20, False).calls, lambda q, c: answer)
    assert measure(Tried(asked, 1.0, beside={1: asked})).score == 0.5
