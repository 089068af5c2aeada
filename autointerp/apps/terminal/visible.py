"""Corpus text made harmless: whatever a terminal would obey is written out instead.

A text can move the cursor, change the colours, reverse the direction of what follows or hide
itself. None of that may reach a rater's terminal, so this is the only way for text to get there.
"""

from __future__ import annotations

import unicodedata

NEWLINE, TAB = "↵", "⇥"
MOST_MARKS = 2  # combining marks on one letter; more would run into other lines


def visible(text: str, reserved: str = "") -> str:
    """Return `text` on one line, with nothing in it that a terminal obeys or hides.

    Line ends become ↵, tabs ⇥, control characters their pictures (␛), all else that has no
    shape of its own `\\u{202e}`: marks of direction, zero-width characters, private use, lone
    surrogates, odd spaces. Characters in `reserved` are written so too: the caller uses them as
    its own marks, and text must not forge them.
    """
    parts = []
    marks = 0
    for place, character in enumerate(text):
        category = unicodedata.category(character)
        if category in ("Mn", "Me", "Mc"):
            marks += 1
            if marks > MOST_MARKS:
                parts.append(_named(character))
            elif place == 0:
                parts.append("◌" + character)  # what it would sit on is in another token
            else:
                parts.append(character)
            continue
        marks = 0
        parts.append(_shape(character, category, reserved))
    return "".join(parts)


def _shape(character: str, category: str, reserved: str) -> str:
    if character == "\n":
        return NEWLINE
    if character == "\t":
        return TAB
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if character in reserved or category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return _named(character)
    if category == "Zs" and character not in " \u3000":
        return _named(character)
    return character


def _named(character: str) -> str:
    return f"\\u{{{ord(character):x}}}"


def visible_lines(text: str) -> list[str]:
    """Return the lines of a longer text, such as a rubric, each made visible."""
    return [visible(line) for line in text.replace("\r\n", "\n").split("\n")]
