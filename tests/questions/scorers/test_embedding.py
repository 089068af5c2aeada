from dataclasses import replace

import numpy as np
import pytest
from support.held_out import answered

from autointerp.questions.scorers import LEAST, Tried, in_pairs, scorer
from autointerp.questions.trials import Piece

BOTH = pytest.mark.parametrize("name", ["embedding", "surprisal"])


def pieces_of(chosen):
    return [piece for call in chosen.calls for piece in call]


@BOTH
def test_a_call_has_a_firing_and_a_silent_text_of_as_many_tokens(name, make_held_out):
    held_out = make_held_out()
    # Every other silent context ends four tokens behind its focus, as at the edge of a window.
    for number, context in list(held_out.contexts.items()):
        if context.silent and number % 2:
            short = slice(0, context.focus + 5)
            held_out.contexts[number] = replace(
                context, tokens=context.tokens[short], activations=context.activations[short]
            )
    chosen = scorer(name).choose(held_out, 20, False)
    lengths = set()
    for call in chosen.calls:
        assert sorted(piece.truth for piece in call) == [False, True]
        assert {piece.mark for piece in call} == {None}
        assert all(
            any(held_out.contexts[p.context].activations[p.first : p.last]) is p.truth for p in call
        )
    for truth in (True, False):
        lengths.add(tuple(sorted(p.last - p.first for p in pieces_of(chosen) if p.truth is truth)))
    assert len(lengths) == 1
    assert len(set(next(iter(lengths)))) > 1  # there were short ones


@BOTH
def test_hard_texts_stand_for_half_of_the_silent_ones_and_are_reported_apart(name, make_held_out):
    held_out = make_held_out()
    strange = {20_000 + n: (c, "same token") for n, c in enumerate(held_out.others.values())}
    object.__setattr__(held_out, "hard", strange)
    module = scorer(name)
    chosen = module.choose(held_out, 10, True)
    kinds = [piece.kind for piece in pieces_of(chosen) if not piece.truth]
    assert (kinds.count("same token"), kinds.count("silent")) == (5, 5)
    for piece in pieces_of(chosen):
        if piece.kind == "same token":  # what makes it hard is shown
            assert piece.first <= strange[piece.context][0].focus < piece.last
    held_out.contexts.update({number: context for number, (context, _) in strange.items()})
    answer = {"firing": 0.5, "silent": 0.1, "same token": 0.5}
    asked = answered(held_out, chosen.calls, lambda piece, _: answer[piece.kind])
    figures = module.measure(Tried(asked, 1.0))
    # Against the five silent texts 1, against the five hard ones a tie: (1 + 0.5) / 2.
    assert figures.score == 0.75
    assert figures.more["against same token"] == 0.5
    assert figures.more["against silent"] == 1.0


@BOTH
def test_the_score_is_the_share_of_pairs_in_which_the_firing_text_is_nearer(name, make_held_out):
    held_out = make_held_out()
    module = scorer(name)
    calls = module.choose(held_out, 3, False).calls
    firing, silent = iter((0.9, 0.2, 0.4)), iter((0.3, 0.2, 0.1))
    asked = answered(held_out, calls, lambda piece, _: next(firing if piece.truth else silent))
    figures = module.measure(Tried(asked, 1.0))
    # 0.9 and 0.4 over all three; 0.2 over 0.1, equal to 0.2: (3 + 3 + 1.5) / 9.
    assert figures.score == pytest.approx(7.5 / 9)
    assert figures.more["mean, firing"] == pytest.approx(0.5)
    assert figures.more["mean, silent"] == pytest.approx(0.2)


@BOTH
def test_lost_calls_are_missing_and_a_kind_without_answers_is_no_score(name, make_held_out):
    held_out = make_held_out()
    module = scorer(name)
    calls = module.choose(held_out, 10, False).calls
    asked = answered(held_out, calls, lambda p, _: None if p.context % 2 else float(p.truth))
    assert module.measure(Tried(asked, 1.0)).score == 1
    only = answered(held_out, calls, lambda piece, _: 0.1 if piece.truth else None)
    assert module.measure(Tried(only, 1.0)).outcome == "no answers where the truth is no"


def test_texts_without_a_silent_one_like_them_are_left_out(make_held_out):
    chosen = scorer("embedding").choose(make_held_out(silent=LEAST), 20, False)
    assert len(chosen.calls) == LEAST
    assert scorer("embedding").choose(make_held_out(silent=2), 20, False).outcome == (
        "too few silent contexts"
    )


@pytest.mark.parametrize("count", [1, 3, 4])
def test_each_kind_comes_first_in_half_of_the_calls_also_of_an_odd_number(count):
    """A rule that says yes to the first text of each call would gain or lose otherwise."""
    firing, silent = (
        [Piece(number, 0, 8, None, truth, "kind") for number in range(count)]
        for truth in (True, False)
    )
    first = [
        call[0].truth
        for seed in range(1000)
        for call in in_pairs(firing, silent, np.random.default_rng(seed))
    ]
    # Of 1,000 units; three standard errors of a fair coin for each of them are 0.05.
    assert np.mean(first) == pytest.approx(0.5, abs=0 if count % 2 == 0 else 0.05 / count)
