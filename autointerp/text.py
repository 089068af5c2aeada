"""How a count is told."""

from __future__ import annotations


def count(n: int, one: str, several: str | None = None) -> str:
    """Return `1 unit`, `2 units`, `1,000 units`."""
    return f"{n:,} {one if n == 1 else several or one + 's'}"
