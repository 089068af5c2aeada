from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from support.held_out import answered, make_context

from autointerp.questions.cuts import shape_of, shown_length
from autointerp.questions.scorers import Tried
from autointerp.questions.scorers.intruder import Pool, choose, measure
from autointerp.records import Context


def test_four_contexts_fire_and_one_is_silent_at_each_place_equally_often(make_held_out):
    held_out = make_held_out()
    chosen = choose(held_out, 10, False)
    assert len(chosen.calls) == 10
    places = Counter()
    for call in chosen.calls:
        fires = [any(held_out.contexts[q.context].activations) for q in call]
        assert fires == [not q.truth for q in call]
        assert sum(fires) == 4
        places[[q.truth for q in call].index(True)] += 1
    assert set(places.values()) == {2}


@pytest.mark.parametrize("place", [1, 2, 3, 4, 5])
def test_always_choosing_one_place_scores_exactly_a_half(make_held_out, place):
    held_out = make_held_out()
    calls = choose(held_out, 10, False).calls
    asked = answered(held_out, calls, lambda q, c: None)
    asked = [type(o)(o.piece, o.context, o.call, o.place, o.place == place) for o in asked]
    assert measure(Tried(asked, 1.0)).score == 0.5


def test_always_finding_it_scores_1(make_held_out):
    held_out = make_held_out()
    asked = answered(held_out, choose(held_out, 10, False).calls, lambda q, c: q.truth)
    figures = measure(Tried(asked, 1.0))
    assert (figures.score, figures.more["found"]) == (1, 1)


def test_the_control_takes_its_four_from_other_units(make_held_out):
    held_out = make_held_out()
    chosen = choose(held_out, 10, False)
    assert len(chosen.control) == 10
    for call in chosen.control:
        assert all((q.context >= 10_000) is not q.truth for q in call)


def test_the_control_has_the_same_five_in_all_calls_each_left_out_once_at_every_place(
    make_held_out,
):
    held_out = make_held_out(firing=120, silent=60)
    control = choose(held_out, 25, False).control
    assert len(control) == 25
    five = {q.context for call in control for q in call if q.kind == "other"}
    assert len(five) == 5
    left_out = Counter()
    for call in control:
        (missing,) = five - {q.context for q in call}
        left_out[missing, [q.truth for q in call].index(True)] += 1
    assert set(left_out.values()) == {1}
    assert len(left_out) == 25


def test_the_unit_s_own_calls_are_the_same_with_a_control_and_without(make_held_out):
    held_out = make_held_out()
    alone = choose(replace(make_held_out(), others={}), 10, False)
    assert alone.control == ()
    assert alone.calls == choose(held_out, 10, False).calls


def test_a_unit_that_is_never_silent_has_an_outcome_of_its_own(make_held_out):
    assert choose(make_held_out(silent=0), 10, False).outcome == "too few silent contexts"
    assert choose(make_held_out(firing=3), 10, False).outcome == "too few firing contexts"


def test_the_intruder_s_mark_stands_on_a_silent_token_at_every_place_of_a_focus():
    rng = np.random.default_rng(1)
    firing = [make_context(rng, True, document=n) for n in range(5)]
    silent = [make_context(rng, False, "random", document=n) for n in range(200)]
    places = Counter()
    for number, context in enumerate(silent):
        piece = Pool.of({7: context}, silent).like((0, firing[number % 5]), rng)
        assert (piece.context, piece.truth, piece.kind) == (7, True, "intruder")
        assert piece.last - piece.first == shown_length(context)
        places[piece.mark - piece.first] += 1
    assert set(places) == set(range(3, 11))


def of_words(words, place, draw="random"):
    """Return a context of these words, in which a unit fires on the one at `place` if any."""
    fires = tuple(float(number == place) for number in range(len(words)))
    return Context(tuple(words), fires, len(words) // 2, draw, None, "score", not any(fires), 0, 0)


def test_the_intruder_s_mark_is_of_the_same_kind_and_length_wherever_a_silent_context_has_such():
    # Of ten silent contexts of one size seven have signs alone, three words alone.
    rng = np.random.default_rng(2)
    words = [f" wor{letter}" for letter in "abcdefghijklmnopqrstu"]
    signs = [f" {a}{b}{c}-" for a, b, c in product(",.;", repeat=3)][:21]
    silent = {n: of_words(signs if n < 7 else words, None) for n in range(10)}
    pool = Pool.of(silent, silent.values())
    models = {
        "word": of_words([*signs[:10], " four", *signs[11:]], 10, "interval"),
        "sign": of_words([*words[:10], " ;;;;", *words[11:]], 10, "interval"),
    }
    for kind, model in models.items():
        for _ in range(20):
            piece = pool.like((99, model), rng)
            assert shape_of(silent[piece.context].tokens[piece.mark]) == kind


def test_contexts_that_no_silent_context_looks_like_are_not_shown_if_five_others_are():
    words = [f" wor{letter}" for letter in "abcdefghijklmnopqrstu"]
    silent = {n: of_words(words, None) for n in range(5)}
    pool = Pool.of(silent, silent.values())
    like = {n: of_words(words, 10, "interval") for n in range(10, 15)}
    strange = {
        20: of_words([*words[:10], " 1234", *words[11:]], 10, "interval"),  # of another kind
        21: of_words([*words[:10], " extraordinary", *words[11:]], 10, "interval"),  # longer
        22: of_words([word * 5 for word in words[:10]] + words[10:], 10, "interval"),  # more text
        23: replace(of_words(words[:14], 0, "interval"), focus=0),  # at the edge of its text
    }
    assert pool.matched([*like, *strange], like | strange) == list(like)
    few = [10, 11, 20, 21]
    assert pool.matched(few, like | strange) == few
