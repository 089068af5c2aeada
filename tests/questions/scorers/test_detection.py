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


def test_nothing_is_marked_and_no_text_comes_twice(make_held_out):
    asked = questions_of(choose(make_held_out(), 7, False))
    assert {q.mark for q in asked} == {None}
    assert len({q.context for q in asked}) == len(asked) == 14


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


def tried(held_out, own, *others, count=20):
    """Return a unit's answers with its own description and with those of others."""
    calls = choose(held_out, count, False).calls
    beside = {n: answered(held_out, calls, other) for n, other in enumerate(others, 1)}
    return Tried(answered(held_out, calls, own), 1.0, beside=beside)


@pytest.mark.parametrize("answer", [True, False, 0.3])
@pytest.mark.parametrize("silent", [40, 7])
def test_the_trivial_answers_score_exactly_a_half(make_held_out, answer, silent):
    same = [lambda q, c: answer] * 3
    assert measure(tried(make_held_out(silent=silent), *same)).score == 0.5


def test_they_do_so_even_if_calls_were_lost(make_held_out):
    some = [lambda q, c: True if q.context % 3 else None] * 3
    assert measure(tried(make_held_out(), *some)).score == 0.5


def test_what_other_descriptions_get_on_the_same_texts_is_subtracted(make_held_out):
    # Own 1. Beside one that gets 0.5 it is 0.5 + 1 - 0.5; beside two, of 1 and 0.5, it is
    # 0.5 + 1 - 0.75; own 0.5 beside 1 is 0.
    def truth(q, c):
        return q.truth

    def never(q, c):
        return False

    assert measure(tried(make_held_out(), truth, never)).score == 1
    assert measure(tried(make_held_out(), truth, truth, never)).score == pytest.approx(0.75)
    assert measure(tried(make_held_out(), never, truth)).score == 0
    figures = measure(tried(make_held_out(), truth, truth, never))
    assert (figures.more["uncorrected"], figures.more["with others"]) == (1, 0.75)


def test_plain_yes_and_no_give_the_balanced_accuracy_by_hand(make_held_out):
    # Rightly yes to all that fire; rightly no to none of those silent with even numbers.
    asked = tried(
        make_held_out(), lambda q, c: bool(q.truth or q.context % 2 == 0), lambda q, c: True
    )
    figures = measure(asked)
    odd = np.mean([one.piece.context % 2 for one in asked.asked if not one.piece.truth])
    assert figures.score == pytest.approx((1 + odd) / 2)
    assert (figures.more["sensitivity"], figures.more["specificity"]) == (1, pytest.approx(odd))


def test_probabilities_count_by_their_order(make_held_out):
    # All below one half, so each plain answer would be no; but those that fire are always higher.
    figures = measure(
        tried(make_held_out(), lambda q, c: 0.2 if q.truth else 0.1, lambda q, c: False)
    )
    assert figures.score == 1


def test_without_answers_of_one_kind_there_is_no_score_and_a_reason(make_held_out):
    held_out = make_held_out()
    figures = measure(tried(held_out, lambda q, c: q.truth or None, lambda q, c: True))
    assert figures.score is None
    assert figures.outcome == "no answers where the truth is no"
    assert measure(tried(held_out, lambda q, c: None, lambda q, c: True)).score is None
    lone = measure(tried(held_out, lambda q, c: q.truth, lambda q, c: None))
    assert (lone.score, lone.outcome) == (None, "no answers about other descriptions")


def test_hard_texts_take_half_of_the_silent_places_and_are_reported_apart(make_held_out):
    held_out = make_held_out()
    strange = {20_000 + n: (c, "same token") for n, c in enumerate(held_out.others.values())}
    object.__setattr__(held_out, "hard", strange)
    asked = questions_of(choose(held_out, 10, True))
    kinds = [q.kind for q in asked if not q.truth]
    assert (kinds.count("same token"), kinds.count("silent")) == (5, 5)
