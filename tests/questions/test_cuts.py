from collections import Counter
from dataclasses import replace

import numpy as np
from support.held_out import make_context

from autointerp.questions.cuts import (
    cut,
    focus_text,
    look_of,
    matched_decoys,
    offsets,
    shape_of,
    silent_tokens,
    token_counts,
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


def test_a_focus_at_the_end_of_a_piece_that_was_begun_earlier_has_its_look():
    # Of 9 tokens 6 are shown; from the third byte of the character they end at the focus, and the
    # piece begins two tokens before, with the character.
    late = replace(CUT, focus=8)
    for seed in range(20):
        piece = cut(0, late, np.random.default_rng(seed), True, "firing", mark=True)
        look = look_of(late, piece)
        assert (look.text, look.place) == ("f", 5)
        assert piece.first in (1, 3)


def test_a_token_is_silent_where_its_whole_character_is():
    assert silent_tokens(CUT) == [True, False, False, False, True, False, True, True, True]


def test_matched_decoys_stand_at_their_models_places_one_in_each_context():
    rng = np.random.default_rng(2)
    firing = {n: make_context(rng, True, document=n) for n in range(10)}
    silent = {100 + n: make_context(rng, False, "random", document=n) for n in range(30)}
    pieces = [cut(n, c, rng, True, "right", mark=True) for n, c in firing.items()]
    models = [look_of(firing[piece.context], piece) for piece in pieces]
    decoys = matched_decoys(models, silent, token_counts(silent.values()), rng, "wrong")
    assert [d.mark - d.first for d in decoys] == [model.place for model in models]
    assert len({d.context for d in decoys}) == len(decoys)
    tokens = [silent[d.context].tokens[d.mark] for d in decoys]
    # ` cat` has three letters, and words of three stand in nearly every context.
    assert {(shape_of(token), len(token.strip())) for token in tokens} == {("word", 3)}


def test_a_decoy_is_longest_in_its_text_as_often_as_its_model():
    rng = np.random.default_rng(3)

    def context(document, focus):
        tokens = [" of"] * 21
        tokens[10] = focus
        return replace(make_context(rng, True, document=document), tokens=tuple(tokens))

    firing = {n: context(n, " elephant") for n in range(4)}
    short = {10 + n: context(n, " or") for n in range(4)}
    long = {20 + n: context(n, " armadillo") for n in range(4)}
    pieces = [cut(n, c, rng, True, "right", mark=True) for n, c in firing.items()]
    models = [look_of(firing[p.context], p) for p in pieces]
    silent = {n: replace(c, activations=(0.0,) * 21) for n, c in (short | long).items()}
    decoys = matched_decoys(models, silent, Counter(), rng, "wrong")
    assert {silent[d.context].tokens[d.mark] for d in decoys} == {" armadillo"}


def test_where_no_token_is_silent_there_is_no_decoy():
    rng = np.random.default_rng(4)
    dense = replace(make_context(rng, True), activations=(1.0,) * 21)
    piece = cut(0, dense, rng, True, "right", mark=True)
    assert (
        matched_decoys([look_of(dense, piece)] * 2, {0: dense}, Counter(), rng, "w") == [None] * 2
    )


def test_decoys_in_windows_at_the_edge_of_a_document_are_cut_too():
    rng = np.random.default_rng(5)
    whole = make_context(rng, True)
    pieces = [cut(0, whole, rng, True, "right", mark=True) for _ in range(8)]
    for focus in (0, 1, 4):
        part = slice(10 - focus, 15)
        short = replace(
            whole, tokens=whole.tokens[part], activations=whole.activations[part], focus=focus
        )
        models = [look_of(whole, piece) for piece in pieces]
        (decoy,) = filter(None, matched_decoys(models, {7: short}, Counter(), rng, "wrong"))
        assert 0 <= decoy.first <= decoy.mark < decoy.last <= len(short.tokens)
        assert short.activations[decoy.mark] == 0
