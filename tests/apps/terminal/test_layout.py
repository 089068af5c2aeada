from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from autointerp.apps.terminal.layout import _letters, item_lines, strength, token_pieces
from autointerp.records import Item, ItemContext


def context(before: str, token: str, after: str) -> ItemContext:
    return ItemContext((before, token, after), None, 1, "explain", False)


def texts(item: Item, width: int) -> list[str]:
    return ["".join(piece.text for piece in line) for line in item_lines(item, width)]


def test_marked_tokens_stand_one_under_the_other():
    item = Item("x", "r", (context("a short", " cat", " sat"), context("", " dog", " ran away")))
    first, second = texts(item, 80)
    assert first.index("▸") == second.index("▸") == 37  # "1 " and half of 78, less 4
    assert first.rstrip().endswith("a short▸ cat◂ sat")


@given(
    st.lists(
        st.tuples(st.text(max_size=120), st.text(min_size=1, max_size=12), st.text(max_size=120)),
        min_size=1,
        max_size=3,
    ),
    st.integers(40, 120),
)
def test_every_letter_is_shown_and_no_line_is_too_wide(parts, width):
    item = Item("x", "r", tuple(context(*part) for part in parts))
    lines = item_lines(item, width)
    shown = Counter(piece.text for one in item.contexts for piece in _letters(token_pieces(one)))
    laid = Counter(
        piece.text for line in lines for piece in _letters(p for p in line if p.role != "number")
    )
    del shown[" "], laid[" "]
    assert laid == shown
    assert all(sum(cell_len(piece.text) for piece in line) <= width for line in lines)


def test_strength_is_written_and_not_only_styled():
    shown = ItemContext((" a", " b", " c"), (0.0, 3.0, 10.0), 2, "explain", False)
    pieces = token_pieces(shown)
    assert [piece.text for piece in pieces] == [" a", " b₃", "▸ c₁₀◂"]
    assert [piece.role for piece in pieces] == ["text", "weak", "strongest"]


def test_strength_has_five_grades():
    roles = [strength(level) for level in range(11)]
    assert roles[0] == "text"
    assert [roles.index(role) for role in ("faint", "weak", "middling", "strong", "strongest")] == [
        1, 3, 5, 7, 9,
    ]  # fmt: skip


def test_more_of_a_context_stands_round_it_and_cannot_forge_marks():
    item = Item("x", "r", (context("it", " cat", " sat"),))
    lines = item_lines(item, 80, (("long ▸ago\n", " there₇"),))
    shown = "".join(piece.text for line in lines for piece in line)
    assert shown.split() == ["1", "long", "\\u{25b8}ago↵it▸", "cat◂", "sat", "there\\u{2087}"]
    assert {piece.role for line in lines for piece in line} == {"text", "number", "focus", "around"}


def test_blank_lines_part_contexts_where_there_is_room():
    item = Item("x", "r", (context("a", " cat", " sat"), context("b", " dog", " ran")))
    assert [bool(line) for line in item_lines(item, 80, height=3)] == [True, False, True]
    assert [bool(line) for line in item_lines(item, 80, height=2)] == [True, True]


def test_text_cannot_forge_strengths_or_marks():
    shown = ItemContext(("x₇", "▸y◂"), None, 0, "explain", False)
    assert [piece.text for piece in token_pieces(shown)] == ["▸x\\u{2087}◂", "\\u{25b8}y\\u{25c2}"]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_contexts_without_a_mark_fill_the_lines(width: int):
    words = tuple(f" word{i}" for i in range(40))
    item = Item("x", "r", (ItemContext(words, None, None, "explain", False),))
    lines = texts(item, width)
    assert "".join(line.strip() + " " for line in lines).split()[1:] == [w.strip() for w in words]
    assert max(map(cell_len, lines)) <= width


def test_a_proposed_description_stands_first():
    item = Item("x", "r", (context("a", "b", "c"),), description="fires\non cats")
    assert texts(item, 80)[0] == "Proposed: fires↵on cats"
