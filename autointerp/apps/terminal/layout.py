"""An item as lines of marked text, for a given width; what it looks like is the screen's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len

from autointerp.people.session import Around
from autointerp.records import Item, ItemContext
from autointerp.text import visible

Role = Literal[
    "text", "number", "focus", "around", "faint", "weak", "middling", "strong", "strongest"
]

OPEN, CLOSE = "▸", "◂"
DIGITS = "₀₁₂₃₄₅₆₇₈₉"
RESERVED = OPEN + CLOSE + DIGITS


@dataclass(frozen=True)
class Piece:
    """Text in one role. Strength is in the text as well, as a digit: never in the look alone."""

    text: str
    role: Role = "text"


Line = tuple[Piece, ...]


def strength(activation: float) -> Role:
    """Return the role of a token that fires with `activation`, 0 to 10: one of five grades."""
    if activation <= 0:
        return "text"
    grades: tuple[tuple[float, Role], ...] = (
        (2, "faint"), (4, "weak"), (6, "middling"), (8, "strong"),
    )  # fmt: skip
    return next((role for most, role in grades if activation <= most), "strongest")


def token_pieces(context: ItemContext) -> list[Piece]:
    """Return the tokens of a context: the focus between ▸ and ◂, firing ones with a digit.

    The unit's maximum is 10, written ₁₀; silent tokens have no digit.
    """
    pieces = []
    for place, token in enumerate(context.tokens):
        text = visible(token, reserved=RESERVED)
        level = 0 if context.activations is None else round(context.activations[place])
        role: Role = strength(level)
        if level:
            text += "".join(DIGITS[int(digit)] for digit in str(level))
        if place == context.focus:
            text = OPEN + text + CLOSE
            role = role if level else "focus"  # a grade says more, and the marks are in the text
        pieces.append(Piece(text, role))
    return pieces


def item_lines(
    item: Item, width: int, around: Sequence[Around] = (), height: int = 0
) -> list[Line]:
    """Return an item's contexts, numbered.

    Contexts with a marked token stand as a concordance: marked tokens one under the other, what
    does not fit beside them on lines of its own above and below. Others are filled lines. Blank
    lines part the contexts where all of them fit into `height` lines so.

    Args:
        around: The text before and after each context, where more of it is wanted.
    """
    gutter = len(str(len(item.contexts))) + 1
    head: list[Line] = []
    if item.description is not None:
        described = [Piece("Proposed: ", "number"), Piece(visible(item.description))]
        head += [*_fill(described, width), ()]
    blocks: list[list[Line]] = []
    for number, context in enumerate(item.contexts, 1):
        pieces, focus = token_pieces(context), context.focus
        if around:
            before, after = (visible(text, reserved=RESERVED) for text in around[number - 1])
            pieces = [Piece(before, "around"), *pieces, Piece(after, "around")]
            focus = None if focus is None else focus + 1
        if focus is None:
            block = _fill(pieces, width - gutter)
            main = 0
        else:
            block, main = _concordance(pieces, focus, width - gutter)
        labels = [f"{number:>{gutter - 1}} " if row == main else " " * gutter
                  for row in range(len(block))]  # fmt: skip
        blocks.append(
            [(Piece(label, "number"), *line) for label, line in zip(labels, block, strict=True)]
        )
    lines = sum(map(len, blocks)) + len(head)
    spaced = bool(around) or lines + len(blocks) - 1 <= height
    parted: list[Line] = []
    for place, block in enumerate(blocks):
        if spaced and place:
            parted.append(())
        parted += block
    return [*head, *parted]


def _concordance(pieces: Sequence[Piece], focus: int, width: int) -> tuple[list[Line], int]:
    """Return a context round its marked token, and which of the lines has it."""
    middle = max(8, width // 2 - 4)
    token = pieces[focus]
    room = width - middle - cell_len(token.text)
    if room < 0:  # a token too long to stand in its column
        return _fill(pieces, width), 0
    before = _cut_from_end(pieces[:focus], middle)
    after = _fill(pieces[focus + 1 :], width - middle, first=room)
    rows = [_right(line, middle) for line in before[:-1]]
    main = len(rows)
    start = _right(before[-1] if before else (), middle)
    rows.append((*start, token, *(after[0] if after else ())))
    rows += [(Piece(" " * middle), *line) for line in after[1:]]
    return rows, main


def _right(line: Line, width: int) -> Line:
    return (Piece(" " * max(0, width - _cells(line))), *line)


def _cells(line: Iterable[Piece]) -> int:
    return sum(cell_len(piece.text) for piece in line)


def _letters(pieces: Iterable[Piece]) -> list[Piece]:
    """Return the pieces letter by letter, marks with the letter that they sit on."""
    letters: list[Piece] = []
    for piece in pieces:
        for character in piece.text:
            if cell_len(character) == 0 and letters:
                letters[-1] = Piece(letters[-1].text + character, letters[-1].role)
            else:
                letters.append(Piece(character, piece.role))
    return letters


def _joined(letters: Iterable[Piece]) -> Line:
    """Return letters of the same role joined."""
    joined: list[Piece] = []
    for letter in letters:
        if joined and joined[-1].role == letter.role:
            joined[-1] = Piece(joined[-1].text + letter.text, letter.role)
        else:
            joined.append(letter)
    return tuple(joined)


def _fill(pieces: Iterable[Piece], width: int, first: int | None = None) -> list[Line]:
    """Return lines of at most `width` cells, the first of at most `first`, broken at spaces."""
    lines: list[Line] = []
    current: list[Piece] = []
    cells, room = 0, width if first is None else first
    for letter in _letters(pieces):
        size = cell_len(letter.text)
        if cells + size > room:
            cut = _last_space(current)
            rest = current[cut:]
            if lines or room == width or cut or not current:
                lines.append(_joined(current[:cut] if cut else current))
                current = rest if cut else []
            else:  # the first line is short: a whole word moves down
                lines.append(())
            cells, room = _cells(current), width
        current.append(letter)
        cells += size
    if current or not lines:
        lines.append(_joined(current))
    return lines


def _last_space(letters: Sequence[Piece]) -> int:
    """Return the place after the last space, 0 where there is none."""
    for place in range(len(letters), 0, -1):
        if letters[place - 1].text == " ":
            return place
    return 0


def _cut_from_end(pieces: Iterable[Piece], width: int) -> list[Line]:
    """Return lines of at most `width` cells, the last one full: it stands next to the token."""
    lines: list[Line] = []
    current: list[Piece] = []
    cells = 0
    for letter in reversed(_letters(pieces)):
        size = cell_len(letter.text)
        if cells + size > width:
            ordered = current[::-1]
            space = next((i for i, one in enumerate(ordered) if one.text == " "), -1)
            cut = space + 1 if 0 <= space < len(ordered) // 2 else 0
            lines.append(_joined(ordered[cut:]))
            current = ordered[:cut][::-1]
            cells = _cells(current)
        current.append(letter)
        cells += size
    lines.append(_joined(current[::-1]))
    return lines[::-1]
