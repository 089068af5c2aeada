import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.held_out import answered

from autointerp.questions.scorers import Tried
from autointerp.questions.scorers.simulation import (
    choose,
    explained_variance,
    measure,
)


def tried(held_out, answer, **more) -> Tried:
    asked = answered(held_out, choose(held_out, 20, False).calls, answer)
    return Tried(asked, 1.0, held_out.density, held_out.interval_tokens, **more)


def truth(question, context):
    shown = context.activations[question.first : question.last]
    return {n: 10 * a for n, a in enumerate(shown, 1) if a}


def test_a_call_has_one_context_of_an_interval_and_a_random_one(make_held_out):
    chosen = choose(make_held_out(), 5, False)
    assert [sorted(q.kind for q in call) for call in chosen.calls] == [["interval", "random"]] * 5
    assert len({q.context for call in chosen.calls for q in call}) == 10


def test_contexts_without_a_partner_are_asked_about_alone(make_held_out):
    chosen = choose(make_held_out(silent=4), 6, False)
    assert sorted(len(call) for call in chosen.calls) == [1, 1, 2, 2, 2, 2]
    assert [call[0].kind for call in chosen.calls if len(call) == 1] == ["interval"] * 2


def test_the_truth_scores_1_and_explains_everything(make_held_out):
    figures = measure(tried(make_held_out(), truth))
    assert figures.score == pytest.approx(1)
    assert figures.more["explained variance"] == pytest.approx(1)
    assert figures.more["explained variance, weighted"] == pytest.approx(1)


@pytest.mark.parametrize("level", [0, 1, 10])
def test_the_same_prediction_everywhere_scores_exactly_a_half(make_held_out, level):
    levels = dict.fromkeys(range(1, 22), level) if level else {}
    assert measure(tried(make_held_out(), lambda q, c: levels)).score == 0.5


def test_the_reverse_of_the_truth_is_under_a_half(make_held_out):
    def reverse(question, context):
        shown = context.activations[question.first : question.last]
        return {n: 10 * (1 - a) for n, a in enumerate(shown, 1)}

    assert measure(tried(make_held_out(), reverse)).score == pytest.approx(0)


def test_where_the_unit_is_silent_throughout_what_came_there_is_no_score(make_held_out):
    def half(question, context):
        return truth(question, context) if question.kind == "random" else None

    figures = measure(tried(make_held_out(), half))
    assert (figures.score, figures.outcome) == (None, "no answers on interval contexts")


def test_tokens_that_do_not_exist_change_nothing(make_held_out):
    held_out = make_held_out()
    odd = measure(tried(make_held_out(), lambda q, c: {**truth(q, c), 99: 10, 0: 10}))
    assert odd == measure(tried(held_out, truth))


def test_bricken_weights_count_random_contexts_1_and_intervals_by_their_tokens(make_held_out):
    # Predicted well on intervals and 10 everywhere on random contexts: the weighted figures,
    # where random contexts weigh 1 and interval contexts 0.01 × 1/10, must be far lower.
    def answer(question, context):
        if question.kind == "interval":
            return truth(question, context)
        return dict.fromkeys(range(1, 22), 10)

    more = measure(tried(make_held_out(), answer)).more
    assert more["explained variance, weighted"] < 10 * min(-1, more["explained variance"])


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 3)), min_size=3, max_size=12
    )
)
@settings(deadline=None)
def test_a_weight_of_k_is_k_copies(rows):
    x, y, w = np.array(rows, dtype=float).T
    copies = np.repeat(np.arange(len(x)), w.astype(int))
    ones = np.ones(len(copies))
    if np.ptp(x):
        assert explained_variance(x, y, w) == pytest.approx(
            explained_variance(x[copies], y[copies], ones)
        )
