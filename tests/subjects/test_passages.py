"""Texts that share ten tokens in a row, wherever these stand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.subjects.passages import PASSAGE, passages_of, share_passages

WORDS = [f" w{n}" for n in range(40)]


@pytest.mark.parametrize("shift", [0, 1, 7, 11])
def test_windows_of_one_text_share_a_passage_while_ten_of_their_tokens_are_the_same(shift):
    # 21 tokens each, of which 21 - shift are in both: 10 at a shift of 11.
    assert share_passages([WORDS[:21]], [WORDS[shift : shift + 21]]).tolist() == [True]
    assert share_passages([WORDS[:21]], [WORDS[12:33]]).tolist() == [False]


def test_case_and_white_space_make_no_difference():
    indented = [piece for word in WORDS[5:15] for piece in ("\n", word.strip().upper())]
    assert share_passages([indented], [WORDS[:21]]).tolist() == [True]


def test_a_passage_does_not_run_from_one_text_into_the_next():
    assert share_passages([WORDS[:5], WORDS[5:10]], [WORDS[:10]]).tolist() == [False, False]
    assert share_passages([], [WORDS]).tolist() == []
    assert share_passages([WORDS[:9]], [WORDS[:9]]).tolist() == [False]  # too short for any


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=15), max_size=4))
def test_passages_are_the_runs_of_ten_that_a_loop_finds(texts):
    expected = [
        (number, tuple(text[begin : begin + PASSAGE]))
        for number, text in enumerate(texts)
        for begin in range(len(text) - PASSAGE + 1)
    ]
    bits, row = passages_of(texts)
    assert row.tolist() == [number for number, _ in expected]
    runs = [run for _, run in expected]
    for one, other in ((0, 0), *((0, place) for place in range(len(runs)) if runs)):
        if runs:
            assert (bits[one] == bits[other]) == (runs[one] == runs[other])
    assert bits.dtype == np.uint64
