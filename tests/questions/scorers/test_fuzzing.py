from collections import Counter

import numpy as np
import pytest
from support.held_out import answered, make_context

from autointerp.questions.cuts import cut, shape_of
from autointerp.questions.scorers import Tried
from autointerp.questions.scorers.fuzzing import choose, false_mark, measure


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
    # 21 tokens, 14 shown, the focus at 10: right marks stand at 3 to 10 of what is shown.
    rng = np.random.default_rng(0)
    places = {True: Counter(), False: Counter()}
    for number in range(2_000):
        context = make_context(rng, True, document=number)
        for question in (
            cut(0, context, rng, True, "right", mark=True),
            false_mark(0, context, {"word"}, rng),
        ):
            assert question.last - question.first == 14
            places[question.truth][question.mark - question.first] += 1
    assert set(places[True]) == set(places[False]) == set(range(3, 11))
    for place in range(3, 11):  # each 250 ± 15
        assert abs(places[True][place] - places[False][place]) < 100


def test_wrong_marks_are_not_at_one_place_of_the_window():
    rng = np.random.default_rng(1)
    context = make_context(rng, True)
    marks = {false_mark(0, context, {"word"}, rng).mark for _ in range(500)}
    assert len(marks) > 8


def test_wrong_marks_stand_on_tokens_of_the_same_kind_where_there_are():
    rng = np.random.default_rng(2)
    for number in range(200):
        context = make_context(rng, True, document=number)
        mark = false_mark(0, context, {"word"}, rng).mark
        assert shape_of(context.tokens[mark]) == "word"


def test_hard_wrong_marks_stand_on_the_very_token_where_it_is_silent():
    rng = np.random.default_rng(3)
    context = make_context(rng, True)
    tokens = (*context.tokens[:6], " cat", *context.tokens[7:])
    again = type(context)(tokens, *(getattr(context, n) for n in context.__slots__[1:]))
    marks = Counter(false_mark(0, again, {" cat", "word"}, rng).mark for _ in range(300))
    plain = Counter(false_mark(0, again, {"word"}, rng).mark for _ in range(300))
    assert marks[6] > 2 * plain[6]


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
    assert measure(Tried(asked, 1.0)).score == 0.5


def test_windows_at_the_edge_of_a_document_are_cut_too():
    rng = np.random.default_rng(4)
    for focus in (0, 1, 4):
        whole = make_context(rng, True)
        short = type(whole)(
            whole.tokens[10 - focus : 15], whole.activations[10 - focus : 15], focus,
            *(getattr(whole, name) for name in whole.__slots__[3:]),
        )  # fmt: skip
        for question in (
            cut(0, short, rng, True, "right", mark=True),
            false_mark(0, short, {"word"}, rng),
        ):
            assert 0 <= question.first <= question.mark < question.last <= len(short.tokens)
