"""The command line. A file here is a command: `autointerp NAME`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from autointerp import extensions
from autointerp.text import visible_lines

# Controls, marks of direction and line ends that JSON leaves as they are.
UNSEEN = re.compile("[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def say(text: str, err: bool = False) -> None:
    """Print text for people, with nothing in it that a terminal obeys.

    What servers, rubrics, files and names hold may carry escape sequences; JSON escapes its own.
    """
    import typer

    typer.echo("\n".join(visible_lines(text)), err=err)


def readable_json(fields: Any) -> str:
    """Return JSON with letters of every script as themselves, and what is unseen escaped."""
    text = json.dumps(fields, ensure_ascii=False, indent=2)
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def columns_text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the rows under the header as aligned columns; nothing is cut, whatever the width."""
    # The command `map` is a module of this package, which hides the function of that name here.
    table = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[place]) for row in table) for place in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in table]
    return "\n".join(lines)


def extensions_text(package: ModuleType, header: tuple[str, str], as_json: bool) -> str:
    """Return the extensions in `package` with their descriptions, as columns or as JSON."""
    described = extensions.described(package)
    if as_json:
        return json.dumps([{"name": n, "description": text} for n, text in described], indent=2)
    return columns_text(header, described)
