"""Every scorer: what it asks about is held out and blind, and knowing nothing scores one half."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from support.conformance import modules_in
from support.held_out import answered, contexts_of, make_held_out

from autointerp.questions import scorers
from autointerp.questions.scorers import Answered, Tried, scorer
from autointerp.questions.trials import Piece

__all__ = ["make_held_out"]

NAMES = [name.replace("_", "-") for name in modules_in(scorers)]
# Answers of one who knows nothing, by form of reply: `n` is the piece's number in its call.
BLIND = {
    "judge": [lambda piece, n: True, lambda piece, n: False],
    "match": [lambda piece, n: True, lambda piece, n: False, lambda piece, n: 0.5],
    "predict": [lambda piece, n: {}, lambda piece, n: dict.fromkeys(range(1, 100), 5.0)],
    "choose": [lambda piece, n, k=k: n == k for k in range(1, 6)],
    "write": [lambda piece, n: 1.0, lambda piece, n: 0.0],
    "embed": [lambda piece, n: 0.25, lambda piece, n: -1.0],
    "expect": [lambda piece, n: 0.0, lambda piece, n: -0.5],
}


def right_answer(form, held_out, piece, context):
    """Return the answer of one who knows where the unit fires."""
    if form in ("embed", "expect", "write"):
        return 0.5 if piece.truth else 0.1
    if form != "predict":
        return piece.truth
    shown = context.activations[piece.first : piece.last]
    return {place: 10 * level for place, level in enumerate(shown, 1) if level > 0}


def tried(held_out, asked, beside=()):
    """`beside`: what was answered about the same pieces with another description."""
    others = {1: beside} if beside else {}
    return Tried(asked, held_out.scale, held_out.density, held_out.interval_tokens, others)


def together(module):
    return bool(getattr(module, "TOGETHER", False))


def answers(held_out, chosen, answer):
    """Return the pieces with what `answer` says to each piece and its number in its call.

    Where texts are written, `answer` is how strongly the unit fires on them.
    """
    if chosen.calls == ((),):
        pieces = [Piece(-1 - n, 0, 1, None, n < 4, "own") for n in range(8)]
        levels = [answer(piece, place) for place, piece in enumerate(pieces, 1)]
        return [Answered(p, None, 0, 0, one, one) for p, one in zip(pieces, levels, strict=True)]
    asked = answered(held_out, chosen.calls, lambda piece, context: None, chosen.passages)
    return [replace(one, answer=answer(one.piece, one.place)) for one in asked]


@pytest.mark.parametrize("name", NAMES)
def test_a_scorer_has_a_task_of_its_own_or_another_s_and_says_what_it_needs(name):
    module = scorer(name)
    assert module.TASK.id in NAMES  # its own, or that of another whose answers it reads
    assert module.TASK is scorer(module.TASK.id).TASK
    assert module.TASK.form in BLIND
    assert module.TASK.shows.split == "score"
    assert min(module.PER_CALL, module.COUNT) >= 1
    assert together(module) == (module.TASK.form == "match")
    assert getattr(module, "NEEDS_OTHERS", False) in (True, False)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_it_chooses_the_same_of_the_same_and_no_more_than_fits_a_call(name, hard, make_held_out):
    module = scorer(name)
    held_out = make_held_out(scorer=module)
    chosen = module.choose(held_out, 10, hard)
    assert chosen.outcome == ""
    assert chosen == module.choose(make_held_out(scorer=module), 10, hard)
    known = {**held_out.contexts, **contexts_of(chosen.passages)}
    for call in chosen.calls:
        assert (len(call) >= 1) == (module.TASK.form != "write")  # else texts are still to come
        assert len(call) <= module.PER_CALL or together(module)  # else they are dealt later
        for piece in call:
            context = known[piece.context]
            assert 0 <= piece.first < piece.last <= len(context.tokens)
            assert (piece.mark is not None) == module.TASK.shows.mark
            assert piece.mark is None or piece.first <= piece.mark < piece.last


@pytest.mark.parametrize("name", NAMES)
def test_it_shows_a_description_or_brings_a_control_of_its_own(name, make_held_out):
    module = scorer(name)
    chosen = module.choose(make_held_out(scorer=module), 10, False)
    assert (module.TASK.about == "unit") == bool(chosen.control)


@pytest.mark.parametrize("name", NAMES)
def test_others_contexts_are_asked_about_only_where_it_says_so(name, make_held_out):
    module = scorer(name)
    held_out = make_held_out(scorer=module)
    chosen = module.choose(held_out, 10, False)
    numbers = {p.context for call in (*chosen.calls, *chosen.control) for p in call}
    assert bool(numbers & set(held_out.others)) == getattr(module, "NEEDS_OTHERS", False)


@pytest.mark.parametrize("name", NAMES)
def test_too_little_to_try_it_on_is_an_outcome_and_no_question(name, make_held_out):
    for few in ({"firing": 2}, {"silent": 0}, {"firing": 0, "silent": 0}):
        chosen = scorer(name).choose(make_held_out(**few, scorer=scorer(name)), 10, False)
        if not chosen.calls:
            assert chosen.outcome.startswith("too few")
        elif scorer(name).TASK.form != "write":
            assert few == {"silent": 0}  # a scorer that marks needs no silent text


@pytest.mark.parametrize("name", NAMES)
def test_knowing_nothing_scores_one_half_whatever_is_always_answered(name, make_held_out):
    module = scorer(name)
    held_out = make_held_out(scorer=module)
    chosen = module.choose(held_out, 10, False)
    for blind in BLIND[module.TASK.form]:
        asked = answers(held_out, chosen, blind)
        figures = module.measure(tried(held_out, asked, asked if together(module) else ()))
        assert figures.outcome == "ok"
        assert figures.score == pytest.approx(0.5)


@pytest.mark.parametrize("name", NAMES)
def test_knowing_everything_scores_one_and_no_answers_score_nothing(name, make_held_out):
    module = scorer(name)
    held_out = make_held_out(scorer=module)
    chosen = module.choose(held_out, 10, False)
    form = module.TASK.form
    asked = answered(
        held_out, chosen.calls, lambda p, c: right_answer(form, held_out, p, c), chosen.passages
    ) or answers(held_out, chosen, lambda p, n: right_answer(form, held_out, p, None))
    never = answers(held_out, chosen, lambda piece, n: False) if together(module) else ()
    assert module.measure(tried(held_out, asked, never)).score == pytest.approx(1)
    lost = module.measure(tried(held_out, answers(held_out, chosen, lambda piece, n: None), never))
    assert lost.score is None
    assert lost.outcome.startswith("no answers")


@pytest.mark.parametrize("name", NAMES)
def test_the_place_in_a_call_tells_nothing(name, make_held_out):
    """Over many units, right answers stand at every place."""
    module = scorer(name)
    if module.TASK.form == "predict":
        pytest.skip("a prediction is right or wrong by token")
    if module.TASK.form == "write":
        pytest.skip("no text is shown")
    if together(module):
        pytest.skip("the pieces of several units are shuffled together later")
    at: Counter[int] = Counter()
    for seed in range(60):
        for call in module.choose(make_held_out(seed=seed, scorer=module), 10, False).calls:
            at.update(place for place, piece in enumerate(call) if piece.truth)
    assert len(at) == module.PER_CALL
    assert max(at.values()) < 2 * min(at.values())
