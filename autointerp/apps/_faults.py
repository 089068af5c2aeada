"""What is wrong with a value that was given, in this project's words and not in pydantic's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autointerp.text import count


def _number(bound: float) -> str:
    """Return a bound: `1` of 1.0, `65,535`."""
    return f"{bound:,}".removesuffix(".0")


WORDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than": lambda given: f"must be over {_number(given['gt'])}",
    "greater_than_equal": lambda given: f"must be at least {_number(given['ge'])}",
    "less_than": lambda given: f"must be under {_number(given['lt'])}",
    "less_than_equal": lambda given: f"must be at most {_number(given['le'])}",
    "literal_error": lambda given: f"must be {given['expected']}",
    "enum": lambda given: f"must be {given['expected']}",
    "string_too_long": lambda given: f"must have at most {count(given['max_length'], 'character')}",
    "string_too_short": lambda given: (
        f"must have at least {count(given['min_length'], 'character')}"
    ),
    "string_pattern_mismatch": lambda given: f"must match {given['pattern']}",
    "too_long": lambda given: f"must have at most {count(given['max_length'], 'entry', 'entries')}",
    "too_short": lambda given: (
        f"must have at least {count(given['min_length'], 'entry', 'entries')}"
    ),
    "value_error": lambda given: str(given["error"]),
}
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "a text",
    "datetime": "a time such as 2026-01-31T12:00:00Z",
    "list": "a list",
    "dict": "an object",
    "mapping": "an object",
    "model": "an object",
}


def fault_text(error: Mapping[str, Any]) -> str:
    """Return what pydantic found wrong with a value, such as `must be at least 1`; of an error that
    a validator raised its own text.

    error: An entry of `ValidationError.errors()`.
    """
    kind = str(error["type"])
    if kind in WORDS:
        return WORDS[kind](error["ctx"])
    if kind == "extra_forbidden":
        return "is not known"
    expected = KINDS.get(kind.partition("_")[0])
    return "is not valid" if expected is None else f"must be {expected}"
