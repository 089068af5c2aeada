from collections import Counter

import numpy as np
from support.held_out import make_context

from autointerp.questions.cuts import (
    cut,
    decoys_like,
    focus_text,
    offsets,
    shape_of,
    shown_length,
    silent_tokens,
)
from autointerp.records import Context


def test_the_focus_stands_at_every_place_equally_often():
    # 21 tokens, the focus at 10, 14 shown: places 3 to 10, each 250 ± 15 of 2,000.
    rng = np.random.default_rng(0)
    context = make_context(rng, True)
    places = Counter()
    for _ in range(2_000):
        piece = cut(0, context, rng, True, "firing", mark=True)
        assert (piece.last - piece.first, piece.mark) == (14, context.focus)
        places[context.focus - piece.first] += 1
    assert set(places) == set(offsets(context)) == set(range(3, 11))
    assert all(180 < count < 320 for count in places.values())


def test_nothing_is_marked_unless_it_is_asked_for():
    rng = np.random.default_rng(0)
    assert cut(0, make_context(rng, False), rng, False, "silent", mark=False).mark is None


def test_decoys_are_of_the_kind_and_length_of_tokens_that_fire():
    rng = np.random.default_rng(1)
    firing = [make_context(rng, True, document=n) for n in range(5)]
    silent = [make_context(rng, False, "random", document=n) for n in range(200)]
    decoys = decoys_like(firing, silent)
    places, lengths = Counter(), []
    for context in silent:
        piece = decoys.mark(0, context, rng, True, "intruder")
        assert piece.last - piece.first == shown_length(context)
        assert shape_of(context.tokens[piece.mark]) == "word"
        places[piece.mark - piece.first] += 1
        lengths.append(len(context.tokens[piece.mark].strip()))
    assert set(places) == set(range(3, 11))
    assert abs(np.mean(lengths) - len("cat")) < 0.5


CUT = Context(
    (" a", "今", "", "", "b", "c", "d", "e", "f"), (0.0, 0.0, 3.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0), 2,
    "interval", 1, "score", False, 0, 2,
)  # fmt: skip


def test_a_piece_begins_with_a_whole_character():
    assert focus_text(CUT) == "今"
    for seed in range(20):
        piece = cut(0, CUT, np.random.default_rng(seed), True, "firing", mark=True)
        assert CUT.tokens[piece.first]
        assert piece.first <= 2 < piece.last


def test_a_token_is_silent_where_its_whole_character_is():
    assert silent_tokens(CUT) == [True, False, False, False, True, False, True, True, True]
