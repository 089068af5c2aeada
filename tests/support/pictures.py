"""The pictures of a report: drawn where a test asks for them, which few look at.

Elsewhere a report has a picture's SVG, which its page shows, and a stand-in for PNG and PDF: they
take half the time of a report, and are the same drawing. In the tests of `BESIDE`, which look at
words, tables and files, the SVG is a stand-in, too; those of them that look at pictures take
`whole_pictures`. What a picture shows is drawn in each case.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STYLE = "autointerp.reports.style"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJg"
    "gg=="
)
SVG = '<?xml version="1.0"?>\n<svg width="9pt" height="9pt" viewBox="0 0 9 9"><g id="a"/></svg>\n'
TESTS = Path(__file__).parents[1]
BESIDE = [
    TESTS / name
    for name in (
        "apps",
        "engine",
        "exchange",
        "findings",
        "labs",
        "pipeline",
        "project",
        "reports/panels/test_method.py",
        "reports/panels/test_without_ratings.py",
        "reports/test_write.py",
    )
]


def leave_out_pictures(test: Path) -> None:
    """Have stand-ins written from now on, as the test in the file `test` needs; before reports were
    imported it does nothing."""
    style: Any = sys.modules.get(STYLE)
    if style is None:
        return
    if not hasattr(style, "drawn"):
        style.drawn = {name: getattr(style, name) for name in STAND_INS}
    is_beside = any(test.is_relative_to(folder) for folder in BESIDE)
    for name, stand_in in STAND_INS.items():
        is_left_out = is_beside or name in ("write_png", "write_pdf")
        setattr(style, name, stand_in if is_left_out else style.drawn[name])


@contextmanager
def whole_pictures() -> Iterator[None]:
    """Have every picture drawn as PNG and PDF too."""
    from autointerp.reports import style

    if not hasattr(style, "drawn"):  # reports were not imported as the test began
        leave_out_pictures(TESTS)
    left_out = {name: getattr(style, name) for name in STAND_INS}
    for name, write in style.drawn.items():  # type: ignore[attr-defined]
        setattr(style, name, write)
    try:
        yield
    finally:
        for name, write in left_out.items():
            setattr(style, name, write)


def _writes(content: bytes) -> Any:
    def write(_: object, path: Path) -> None:
        path.write_bytes(content)

    return write


STAND_INS: dict[str, Any] = {
    "laid_out": lambda figure: None,
    "drawn_svg": lambda figure: SVG,
    "write_png": _writes(PNG),
    "write_pdf": _writes(b"%PDF-1.4 a stand-in\n"),
}
