"""Counts in words, text in which every unseen character is written out, and whole characters."""

from __future__ import annotations

import functools
import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Controls, formats, surrogates, private use, unassigned, line and paragraph separators.
SHAPELESS = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
LONGEST_NAME = 120  # of a file, before a digest
COMBINING = frozenset({"Mn", "Me", "Mc"})


# Tokens by which a model's input is given its parts. A server that finds one in a prompt takes it
# for its own, and a text that holds one says that here another text begins.
NAMED = (
    r"bos|eos|pad|unk|mask|cls|sep|s|image|audio|video|eot|eod|bot|eom|think|tool_call|"
    r"tool_response|tools|start_of_turn|end_of_turn|start_of_image|end_of_image|image_soft_token|"
    r"start_of_audio|end_of_audio|start_function_call|end_function_call|fim_prefix|fim_middle|"
    r"fim_suffix|fim_pad|file_sep|repo_name|file_separator|endoftext|end_of_text|begin_of_text|"
    r"im_start|im_end|end_of_utterance|start_of_role|end_of_role|fake_token_around_image|"
    r"unused\d+|extra_id_\d+|sentinel_\d+|reserved_\d+"
)
CONTROL = re.compile(
    r"<\|[^\s<>|]{1,60}\|>|<｜[^\s<>｜]{1,60}｜>|<\|[^\s<>|]{1,60}>"
    rf"|</?(?:{NAMED})>|<</?SYS>>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS|TOOL_CONTENT|CALL_ID|"
    r"ARGS|THINK|IMG|IMG_BREAK|IMG_END|PREFIX|SUFFIX|MIDDLE|CLS|SEP|PAD|MASK|UNK|BOS|EOS|gMASK|"
    r"sMASK|sop|unused\d+)\]",
    re.IGNORECASE,
)


def is_control_token(text: str) -> bool:
    """Return whether a token's text is a control token's: `<bos>`, `<|im_end|>`, `[INST]`, …"""
    return len(text) > 2 and text[0] in "<[" and CONTROL.fullmatch(text) is not None


def without_surrogates(text: str) -> str:
    """Return the text with U+FFFD for lone surrogates, which neither files nor tokenizers take."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def whole_characters(
    tokens: Sequence[str], activations: Sequence[float] | None, focus: int | None
) -> tuple[tuple[str, ...], tuple[float, ...] | None, int | None]:
    """Return tokens, activations and focus with the tokens of one character as one token.

    A character that is cut over tokens stands at the first of them, and the others are empty; its
    activation is the largest of theirs. What is left of one that began before the first token is
    left out.
    """
    if "" not in tokens:
        return tuple(tokens), None if activations is None else tuple(activations), focus
    begins = [place for place, token in enumerate(tokens) if token]
    if focus is not None and not any(tokens[: focus + 1]):
        begins.insert(0, 0)
    ends = [*begins[1:], len(tokens)]
    levels = None
    if activations is not None:
        levels = tuple(max(activations[a:b]) for a, b in zip(begins, ends, strict=True))
    if focus is not None:
        focus = sum(begin <= focus for begin in begins) - 1
    return tuple(tokens[begin] for begin in begins), levels, focus


def count(n: int, one: str, several: str | None = None) -> str:
    """Return `1 unit`, `2 units`, `1,000 units`."""
    return f"{n:,} {one if n == 1 else several or one + 's'}"


def capital(text: str) -> str:
    """Return the text as a sentence begins; unlike `str.capitalize` it leaves all names in it."""
    return text[:1].upper() + text[1:]


def dollars(amount: float) -> str:
    """Return `$5.00`; of less than a cent `$0.0032`, or as many digits as it takes to see one."""
    if not 0 < amount < 0.01:
        return f"${amount:,.2f}"
    return f"${amount:,.{max(4, -math.floor(math.log10(amount)))}f}"


def exact_dollars(amount: float) -> str:
    """Return an amount that somebody has given, with no digit less: `$5.00`, `$0.012`."""
    return f"${amount:,.2f}" if round(amount, 2) == amount else f"${amount:,.12g}"


def statuses_text(statuses: Mapping[str, int]) -> str:
    """Return `1 failed, 20 ok`, by status; empty for no statuses."""
    return ", ".join(f"{n} {status}" for status, n in sorted(statuses.items()))


@dataclass(frozen=True, eq=False)  # hashed by identity: `visible` looks up each token
class Surface:
    """What text is shown on, and so how unseen characters are written there.

    Attributes:
        newline: Stands for a line feed.
        code_point: Format of a character that is written by number.
        kept: Shapeless characters that are left as they are.
        spaces: Spaces that are left as they are; None for all.
        most_marks: Combining marks left on one letter, the first of a text on a circle; None for
            all, as they are.
    """

    newline: str
    code_point: str
    kept: str = ""
    spaces: str | None = None
    most_marks: int | None = None


# More marks than two would run into other lines.
ON_TERMINAL = Surface("↵", r"\u{{{:x}}}", spaces=" \u3000", most_marks=2)
ON_PAGE = Surface("⏎", "⟨U+{:04X}⟩", kept="\u200c\u200d")  # joiners belong to scripts and to emoji


@functools.lru_cache(maxsize=200_000)
def visible(text: str, surface: Surface = ON_TERMINAL, reserved: str = "") -> str:
    """Return `text` on one line, with nothing in it that a terminal or a page obeys or hides.

    A text can move the cursor, change the colours, reverse the direction of what follows or hide
    itself, so this is the only way for text of a corpus or a model to get to a reader. Line ends
    become ↵ or ⏎, tabs ⇥, other controls their pictures (␛), whatever else has no shape of its own
    `\\u{202e}` or `⟨U+202E⟩`. Characters in `reserved` are written so too: the caller uses them as
    its own marks, and text must not forge them.
    """
    if text.isascii() and text.isprintable() and not any(mark in text for mark in reserved):
        return text
    parts = []
    marks = 0
    for place, character in enumerate(text):
        is_mark = surface.most_marks is not None and unicodedata.category(character) in COMBINING
        marks = marks + 1 if is_mark else 0
        if not is_mark:
            parts.append(_shape(character, surface, reserved))
        elif surface.most_marks is not None and marks > surface.most_marks:
            parts.append(surface.code_point.format(ord(character)))
        else:  # what a first mark would sit on is in another token
            parts.append("◌" + character if place == 0 else character)
    return "".join(parts)


def visible_lines(text: str) -> list[str]:
    """Return the lines of a longer text, such as a rubric, each made visible for a terminal."""
    return [visible(line) for line in text.replace("\r\n", "\n").split("\n")]


@functools.lru_cache(maxsize=10_000)
def _shape(character: str, surface: Surface, reserved: str) -> str:
    if character == "\n":
        return surface.newline
    if character == "\t":
        return "⇥"
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if character in surface.kept:
        return character
    category = unicodedata.category(character)
    is_odd_space = (
        category == "Zs" and surface.spaces is not None and character not in surface.spaces
    )
    if category in SHAPELESS or is_odd_space or character in reserved:
        return surface.code_point.format(code)
    return character


def distinct_names(cleaned: Mapping[str, str]) -> dict[str, str]:
    """Return a file's name for each thing, given what its own name becomes without odd characters.

    No two are alike, even where only letters and digits count and case does not; where they would
    be, or a name would be long, a digest of the thing's own name is added.
    """

    def key(name: str) -> str:
        return "".join(c if c.isalnum() else "_" for c in name).casefold()

    alike = Counter(key(name) for name in cleaned.values())
    return {
        own: name
        if alike[key(name)] == 1 and len(name) <= LONGEST_NAME
        else f"{name[:LONGEST_NAME]}-{hashlib.sha256(own.encode()).hexdigest()[:8]}"
        for own, name in cleaned.items()
    }


def size_text(size: int) -> str:
    """Return a number of bytes as people say it: 640 kB, 1.5 GB; powers of 1,000."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size / 1000:.3g} kB"


def first_tokens(tokens: int) -> str:
    """Return `the first 100,000 tokens of the corpus`; all of it for 0."""
    return f"the first {tokens:,} tokens of the corpus" if tokens else "all of the corpus"
