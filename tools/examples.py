"""Write the Python blocks of README.md and docs/python.md to build/examples, for mypy to read."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/python.md")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)


def blocks(page: str) -> list[tuple[int, str]]:
    """Return the Python blocks of a page's text, each with the number of its first line."""
    return [(page[: one.start(1)].count("\n") + 1, one[1]) for one in BLOCK.finditer(page)]


def main() -> None:
    """Write a file a page; a line has the number that it has on the page."""
    folder = ROOT / "build" / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    for name in PAGES:
        text = ""
        for line, block in blocks((ROOT / name).read_text("utf-8")):
            text += "\n" * (line - 1 - text.count("\n")) + block
        (folder / name.lower().replace("/", "_").replace(".md", ".py")).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
