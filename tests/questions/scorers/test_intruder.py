from collections import Counter

import numpy as np
import pytest
from support.held_out import answered, make_context

from autointerp.questions.cuts import shown_length, token_counts
from autointerp.questions.scorers import Tried
from autointerp.questions.scorers.intruder import _like, choose, measure


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


def test_a_unit_that_is_never_silent_has_an_outcome_of_its_own(make_held_out):
    assert choose(make_held_out(silent=0), 10, False).outcome == "too few silent contexts"
    assert choose(make_held_out(firing=3), 10, False).outcome == "too few firing contexts"


def test_the_intruder_s_mark_stands_on_a_silent_token_at_every_place_of_a_focus():
    rng = np.random.default_rng(1)
    firing = [make_context(rng, True, document=n) for n in range(5)]
    silent = [make_context(rng, False, "random", document=n) for n in range(200)]
    counts, places = token_counts(silent), Counter()
    for number, context in enumerate(silent):
        piece = _like((0, firing[number % 5]), {7: context}, counts, rng)
        assert (piece.context, piece.truth, piece.kind) == (7, True, "intruder")
        assert piece.last - piece.first == shown_length(context)
        places[piece.mark - piece.first] += 1
    assert set(places) == set(range(3, 11))
