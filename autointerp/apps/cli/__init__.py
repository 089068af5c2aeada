"""The command line. A file here is a command: `autointerp NAME`."""

from __future__ import annotations

from collections.abc import Sequence


def columns_text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the rows under the header as aligned columns; nothing is cut, whatever the width."""
    table = [list(header), *map(list, rows)]
    widths = [max(len(row[place]) for row in table) for place in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in table]
    return "\n".join(lines)
