"""The PNG and PDF of a report's picture: drawn where a test asks for them, which few look at.

Elsewhere a report has a picture's SVG, which its page shows, and a stand-in for the other two: they
take half the time of a report, and are the same drawing.
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
STAND_INS = {"write_png": PNG, "write_pdf": b"%PDF-1.4 a stand-in\n"}


def leave_out_pictures() -> None:
    """Have stand-ins written from now on; before reports were imported it does nothing."""
    style: Any = sys.modules.get(STYLE)
    if style is None or hasattr(style, "drawn"):
        return
    style.drawn = {name: getattr(style, name) for name in STAND_INS}
    for name, content in STAND_INS.items():
        setattr(style, name, _writes(content))


@contextmanager
def whole_pictures() -> Iterator[None]:
    """Have every picture drawn as PNG and PDF too."""
    from autointerp.reports import style

    leave_out_pictures()
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
