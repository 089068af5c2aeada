from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autointerp.units.contents import spans, token_hashes, window_hashes

# Some are made up of others, one is empty, one is half a character.
TEXTS = ["", "a", "b", "ab", "ba", " a", "é", "今", "\\xe4"]

rows = st.lists(
    st.lists(st.integers(-1, len(TEXTS) - 1), min_size=9, max_size=9), min_size=1, max_size=6
)  # -1: not kept


def window(row: list[int], place: int, each_side: int) -> list[int]:
    first = last = place
    while first > max(0, place - each_side) and row[first - 1] >= 0:
        first -= 1
    while last < min(len(row) - 1, place + each_side) and row[last + 1] >= 0:
        last += 1
    return row[first : last + 1]


@given(table=rows, each_side=st.integers(0, 5), seed=st.integers(0, 3))
def test_windows_have_equal_bits_where_their_texts_are_equal_and_only_there(
    table: list[list[int]], each_side: int, seed: int
) -> None:
    ids = np.array(table)
    bits = window_hashes(token_hashes(TEXTS), ids, ids >= 0, each_side, seed)
    by_text: dict[str, set[int]] = {}
    by_bits: dict[int, set[str]] = {}
    for row, content in enumerate(table):
        for place, index in enumerate(content):
            if index < 0:
                continue
            # An id without a text is a text of its own.
            text = "".join(TEXTS[i] or "<none>" for i in window(content, place, each_side))
            by_text.setdefault(text, set()).add(int(bits[row, place]))
            by_bits.setdefault(int(bits[row, place]), set()).add(text)
    assert all(len(found) == 1 for found in by_text.values())
    assert all(len(found) == 1 for found in by_bits.values())


def test_another_seed_gives_other_bits() -> None:
    ids, kept = np.array([[1, 2, 3]]), np.ones((1, 3), dtype=bool)
    one, other = (window_hashes(token_hashes(TEXTS), ids, kept, 1, seed) for seed in (0, 1))
    assert not set(one.ravel().tolist()) & set(other.ravel().tolist())


def test_a_window_spans_what_is_kept_without_a_break() -> None:
    kept = np.array([[True, True, False, True, True, True]])
    first, last = spans(kept, 1)
    assert first[0, [0, 1, 3, 4, 5]].tolist() == [0, 0, 3, 3, 4]
    assert last[0, [0, 1, 3, 4, 5]].tolist() == [1, 1, 4, 5, 5]
