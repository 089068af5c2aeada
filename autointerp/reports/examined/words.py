"""Words, colours and numbers that the parts of the page of one unit have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from autointerp.findings.examined import Examined, ExaminedUnit
from autointerp.reports.colours import colour
from autointerp.reports.panels import Block, Prose
from autointerp.reports.style import drawable
from autointerp.reports.words import number
from autointerp.text import ON_PAGE, visible

SHOWN = 10  # rows of a side of a table


def refusals(found: Examined, lab: str) -> Iterator[Block]:
    """Say of each unit that a lab did not measure why."""
    for one in found.units:
        if reason := one.reason(lab):
            yield Prose(f"{one.unit} was not measured here: {reason}.")


def named(one: ExaminedUnit) -> str:
    """Return a unit's name, whether it is a control, and its description."""
    role = " (control)" if one.is_control else ""
    said = f": {one.description}" if one.description else ""
    return visible(f"{one.unit}{role}{said}", ON_PAGE)


def colour_of(one: ExaminedUnit) -> str:
    return colour(one.source, [one.source])


def quoted(token: str | None) -> str:
    return "–" if token is None else f"‘{visible(token, ON_PAGE)}’"


def drawn(token: str) -> str:
    """Return a token in quotation marks, of characters that a picture can show."""
    return f"‘{drawable(token)}’"


def brief(text: str) -> str:
    shown = drawable(text)
    return shown if len(shown) <= 48 else f"{shown[:47]}…"


def signed(value: float | None, digits: int = 2) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"+{number(value, digits)}" if value > 0 else number(value, digits)


def signed_percent(value: float | None) -> str:
    return "–" if value is None else f"{signed(100 * value, 0)} %"


def coloured(
    tokens: Sequence[str], values: Sequence[float], largest: float
) -> list[tuple[str, int, str]]:
    """Return tokens with the level of their value, -10 to 10 at `largest`, and the value."""
    spans = []
    for token, value in zip(tokens, values, strict=True):
        level = 0
        if largest > 0 and abs(value) > 0.02 * largest:
            level = max(1, min(10, round(10 * abs(value) / largest))) * (1 if value > 0 else -1)
        spans.append((visible(token, ON_PAGE), level, number(value, 3) if level else ""))
    return spans
