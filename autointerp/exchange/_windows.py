"""Checks of windows of tokens and activations, their spelling, and the cut round their focus."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from autointerp.errors import ExchangeError
from autointerp.exchange import ForeignContext
from autointerp.subjects.token_texts import BYTE, byte_level_alphabet, joined_texts, vocabulary_text
from autointerp.text import count, is_control_token

LONGEST = 65_535
MOST_TOKENS = 2**21  # of a unit, which is in memory as a whole; a thousand texts have half of it
LARGEST = float(np.finfo(np.float32).max)


def checked(tokens: object, activations: object, where: str) -> tuple[list[str], list[float]]:
    """Return tokens and activations, negative ones included.

    Raises ExchangeError, naming `where`, unless they are as many texts as finite numbers.
    """
    if not isinstance(tokens, list) or not set(map(type, tokens)) <= {str}:
        raise ExchangeError(f"{where}: tokens must be a list of texts, none of them null")
    if not isinstance(activations, list) or not _are_finite(activations):
        raise ExchangeError(f"{where}: activations must be a list of finite numbers")
    if len(tokens) != len(activations):
        raise ExchangeError(
            f"{where}: {count(len(tokens), 'token')} and {count(len(activations), 'activation')}; "
            "each token needs its own"
        )
    if not 0 < len(tokens) <= LONGEST:
        raise ExchangeError(f"{where}: {len(tokens)} tokens; a window has 1 to {LONGEST:,}")
    return tokens, activations


def bounded(contexts: Iterable[ForeignContext], where: str) -> Iterator[ForeignContext]:
    """Yield the contexts of one unit.

    Raises ExchangeError, naming `where`, once they have more tokens than a unit may.
    """
    total = 0
    for context in contexts:
        total += len(context.tokens)
        check_size(total, where)
        yield context


def check_size(tokens: int, where: str) -> None:
    """Raise ExchangeError, naming `where`, if a unit has so many tokens that memory may not do."""
    if tokens > MOST_TOKENS:
        raise ExchangeError(
            f"{where}: its contexts have over {MOST_TOKENS:,} tokens; give fewer or shorter ones"
        )


def _are_finite(values: list[object]) -> bool:
    if not set(map(type, values)) <= {int, float}:
        return False
    return all(-LARGEST <= value <= LARGEST for value in values)  # type: ignore[operator]


def is_finite(value: object) -> bool:
    """Return whether a value is a number that a run can store, a float of 32 bits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= LARGEST  # False for NaN


def strongest(activations: Sequence[float]) -> int:
    """Return the index of the first strongest token; the middle one where all are silent."""
    most = max(activations)
    return list(activations).index(most) if most > 0 else len(activations) // 2


def window(
    tokens: Sequence[str],
    activations: Sequence[float],
    focus: int | None,
    each_side: int | None,
) -> ForeignContext | None:
    """Return the tokens round `focus`, all of them where `each_side` is None; None for no text.

    A control token neither fires nor is shown: a text ends there. Where `focus` is one, or None,
    the strongest other token takes its place.
    """
    is_text = [not is_control_token(token.strip()) for token in tokens]
    if not any(is_text):
        return None
    if not all(is_text):
        activations = [a if text else 0.0 for a, text in zip(activations, is_text, strict=True)]
    if focus is None or not is_text[focus]:
        focus = strongest(activations)
        if not is_text[focus]:
            middle = focus
            places = [place for place, text in enumerate(is_text) if text]
            focus = min(places, key=lambda place: abs(place - middle))
    reach = len(tokens) if each_side is None else each_side
    first = last = focus
    while first > max(0, focus - reach) and is_text[first - 1]:
        first -= 1
    while last < min(len(tokens) - 1, focus + reach) and is_text[last + 1]:
        last += 1
    shown = slice(first, last + 1)
    return ForeignContext(tuple(tokens[shown]), tuple(activations[shown]), focus - first)


def strongest_control(tokens: Sequence[str], activations: Sequence[float]) -> float:
    """Return the largest activation on control tokens; 0 where none fires."""
    firing = [a for token, a in zip(tokens, activations, strict=True)
              if a > 0 and is_control_token(token.strip())]  # fmt: skip
    return max(firing, default=0.0)


def spelling(rows: Sequence[Sequence[str]], strict: bool = False) -> str:
    """Return how tokens are written: as a vocabulary of a kind has them, or "" as texts.

    `byte-level` (Ġ, Ċ, âĢĻ) and `sentencepiece` (▁) are told by their marks for a space at the
    beginning of tokens, which texts have as a space; the first also by letters that stand for
    bytes, if all tokens are made of those and are UTF-8. With `strict`, no token begins with a
    space.
    """
    tokens = [token for row in rows for token in row if not is_control_token(token)]
    spaces = sum(token.startswith(" ") for token in tokens)
    if strict and spaces:
        return ""
    if sum(token.startswith("▁") for token in tokens) > spaces:
        return "sentencepiece"
    alphabet = byte_level_alphabet()
    spelt = [token for token in tokens if token and all(c in alphabet for c in token)]
    marked = [token for token in spelt if any("\u0100" <= c <= "\u0143" for c in token)]
    if not marked or sum(token[0] in "ĠĊ" for token in spelt) < spaces:
        return ""
    if len(spelt) < 0.9 * len(tokens):  # added tokens are written as they are
        return ""
    for row in rows:
        text = "".join(written(row, "byte-level", len(row) // 2))
        if any(c < " " and c not in "\t\n\r\f\x0b" for c in text) or ESCAPE.search(text):
            return ""
    return "byte-level"


ESCAPE = re.compile(r"(?<!\\)\\x[89a-f][0-9a-f]")


def written(tokens: Sequence[str], kind: str, focus: int) -> list[str]:
    """Return the texts of tokens that are written as a vocabulary of a kind has them."""
    pieces = [
        token
        if is_control_token(token)
        else vocabulary_text(token, "" if BYTE.fullmatch(token) else kind)
        for token in tokens
    ]
    return joined_texts(
        [piece if isinstance(piece, str) else readable(piece) for piece in pieces], focus
    )


def readable(raw: bytes) -> str | bytes:
    """Return bytes as text where they are one alone."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw
