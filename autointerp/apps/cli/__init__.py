"""The command line. A file here is a command: `autointerp NAME`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import ModuleType

from autointerp import extensions


def columns_text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the rows under the header as aligned columns; nothing is cut, whatever the width."""
    table = [list(header), *map(list, rows)]
    widths = [max(len(row[place]) for row in table) for place in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in table]
    return "\n".join(lines)


def extensions_text(package: ModuleType, header: tuple[str, str], as_json: bool) -> str:
    """Return the extensions in `package` with their descriptions, as columns or as JSON."""
    described = extensions.described(package)
    if as_json:
        return json.dumps([{"name": n, "description": text} for n, text in described], indent=2)
    return columns_text(header, described)
