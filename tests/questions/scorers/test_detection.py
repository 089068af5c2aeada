from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from support.held_out import answered

from autointerp.questions.scorers import Tried
from autointerp.questions.scorers.detection import choose, measure


def questions_of(chosen):
    return [question for call in chosen.calls for question in call]


def test_as_many_texts_fire_as_are_silent_over_all_intervals(make_held_out):
    held_out = make_held_out()
    asked = questions_of(choose(held_out, 20, False))
    firing = [q for q in asked if q.truth]
    assert len(firing) == len(asked) - len(firing) == 20
    intervals = sorted(held_out.contexts[q.context].interval for q in firing)
    assert intervals == sorted(list(range(1, 11)) * 2)


def test_silent_texts_are_verified_and_no_place_is_asked_twice(make_held_out):
    held_out = make_held_out()
    asked = questions_of(choose(held_out, 20, False))
    for question in asked:
        fires = any(held_out.contexts[question.context].activations)
        assert fires is question.truth
    assert len({q.context for q in asked}) == len(asked)


def test_nothing_is_marked_and_a_call_has_one_text_of_each_kind(make_held_out):
    # Among several in which the unit fires, what they share would give it away.
    chosen = choose(make_held_out(), 7, False)
    assert {q.mark for q in questions_of(chosen)} == {None}
    assert [sorted(q.truth for q in call) for call in chosen.calls] == [[False, True]] * 7
    assert len({q.context for q in questions_of(chosen)}) == 14
    assert {call[0].truth for call in choose(make_held_out(), 20, False).calls} == {False, True}


def test_silent_texts_are_cut_round_tokens_like_those_on_which_the_unit_fires(make_held_out):
    held_out = make_held_out()
    pairs = Counter()
    for number, context in list(held_out.contexts.items()):
        if context.silent:  # one ` sun` in each, at the focus or four places from it
            tokens = list(context.tokens)
            tokens[10 - 4 * (number % 2)] = " sun"
            held_out.contexts[number] = replace(context, tokens=tuple(tokens))
    for q in questions_of(choose(held_out, 20, False)):
        if not q.truth:
            tokens = held_out.contexts[q.context].tokens
            pairs[" sun" in tokens[q.first + 3 : q.first + 11]] += 1
    assert pairs[True] >= 18


def test_fewer_of_one_kind_shrink_the_other(make_held_out):
    asked = questions_of(choose(make_held_out(silent=5), 20, False))
    assert [sum(q.truth is truth for q in asked) for truth in (True, False)] == [5, 5]


def test_a_unit_that_is_never_silent_has_an_outcome_of_its_own(make_held_out):
    assert choose(make_held_out(silent=0), 20, False).outcome == "too few silent contexts"
    assert choose(make_held_out(firing=2), 20, False).outcome == "too few firing contexts"


@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.parametrize("silent", [40, 7])
def test_the_trivial_answers_score_exactly_a_half(make_held_out, answer, silent):
    held_out = make_held_out(silent=silent)
    asked = answered(held_out, choose(held_out, 20, False).calls, lambda q, c: answer)
    assert measure(Tried(asked, 1.0)).score == 0.5


@pytest.mark.parametrize("answer", [True, False])
def test_they_do_so_even_if_calls_were_lost(make_held_out, answer):
    held_out = make_held_out()
    calls = choose(held_out, 20, False).calls
    asked = answered(held_out, calls, lambda q, c: answer if q.context % 3 else None)
    assert measure(Tried(asked, 1.0)).score == 0.5


def test_the_truth_scores_1_and_its_opposite_0(make_held_out):
    held_out = make_held_out()
    calls = choose(held_out, 20, False).calls
    assert measure(Tried(answered(held_out, calls, lambda q, c: q.truth), 1.0)).score == 1
    assert measure(Tried(answered(held_out, calls, lambda q, c: not q.truth), 1.0)).score == 0


def test_shares_are_balanced_by_hand(make_held_out):
    # Rightly yes to all that fire; rightly no to none of those silent with even numbers.
    held_out = make_held_out()
    calls = choose(held_out, 20, False).calls
    asked = answered(held_out, calls, lambda q, c: bool(q.truth or q.context % 2 == 0))
    odd = np.mean([q.context % 2 for call in calls for q in call if not q.truth])
    assert measure(Tried(asked, 1.0)).score == pytest.approx((1 + odd) / 2)


def test_without_answers_of_one_kind_there_is_no_score_and_a_reason(make_held_out):
    held_out = make_held_out()
    calls = choose(held_out, 20, False).calls
    figures = measure(Tried(answered(held_out, calls, lambda q, c: q.truth or None), 1.0))
    assert figures.score is None
    assert figures.outcome == "no answers where the truth is no"
    assert measure(Tried(answered(held_out, calls, lambda q, c: None), 1.0)).score is None


def test_hard_texts_take_half_of_the_silent_places_and_are_reported_apart(make_held_out):
    held_out = make_held_out()
    strange = {20_000 + n: (c, "same token") for n, c in enumerate(held_out.others.values())}
    object.__setattr__(held_out, "hard", strange)
    asked = questions_of(choose(held_out, 10, True))
    kinds = [q.kind for q in asked if not q.truth]
    assert (kinds.count("same token"), kinds.count("silent")) == (5, 5)
