"""Checks of windows of tokens and activations, and the cut around their focus."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autointerp.errors import ExchangeError
from autointerp.exchange import ForeignContext

LONGEST = 65_535


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
            f"{where}: {len(tokens)} tokens and {len(activations)} activations; "
            "each token needs its own"
        )
    if not 0 < len(tokens) <= LONGEST:
        raise ExchangeError(f"{where}: {len(tokens)} tokens; a window has 1 to {LONGEST:,}")
    return tokens, activations


def _are_finite(values: list[object]) -> bool:
    if not set(map(type, values)) <= {int, float}:
        return False
    try:
        return all(map(math.isfinite, values))  # type: ignore[arg-type]
    except OverflowError:  # a whole number too large for a float
        return False


def strongest(activations: Sequence[float]) -> int:
    """Return the index of the first strongest token; the middle one where all are silent."""
    most = max(activations)
    return list(activations).index(most) if most > 0 else len(activations) // 2


def window(
    tokens: Sequence[str], activations: Sequence[float], focus: int, each_side: int | None
) -> ForeignContext:
    """Return the tokens round `focus`, all of them where `each_side` is None."""
    first = 0 if each_side is None else max(0, focus - each_side)
    last = len(tokens) if each_side is None else focus + each_side + 1
    return ForeignContext(tuple(tokens[first:last]), tuple(activations[first:last]), focus - first)
