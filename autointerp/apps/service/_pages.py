"""Pages: templates, and the files that they load."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from autointerp import __version__
from autointerp.apps.service._access import Access
from autointerp.apps.service._problems import Problem, is_held
from autointerp.reports.words import LEFT_OUT
from autointerp.text import dollars

ASSETS = Path(__file__).parent / "assets"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@functools.cache
def templates(folder: Path = ASSETS) -> Environment:
    """Return the templates of a folder, which know `moment`; what they show is escaped."""
    made = Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined)
    made.globals["moment"] = moment
    made.globals["dollars"] = dollars
    return made


def moment(at: str) -> str:
    """Return an ISO 8601 time, UTC, to the minute, for a page."""
    return f"{at[:16].replace('T', ' ')} UTC" if at else "–"


def page(template: str, access: Access, folder: Path = ASSETS, **values: Any) -> HTMLResponse:
    """Return a page made from a template, which knows `csrf`, `role`, `version` and `left_out`."""
    text = (
        templates(folder)
        .get_template(template)
        .render(
            csrf=access.csrf, role=access.role, version=__version__, left_out=LEFT_OUT, **values
        )
    )
    return HTMLResponse(text)


def asset(request: Request, name: str, folder: Path = ASSETS) -> Response:
    """Return a script, a style or a picture of a folder, which browsers may keep until it changes.

    Raises Problem if there is none of that name.
    """
    path = folder / name
    if Path(name).name != name or path.suffix not in TYPES or not path.is_file():
        raise Problem(404, f"{name[:100]}: there is no such file; load the page again")
    return content(request, path.read_bytes(), TYPES[path.suffix])


def content(request: Request, body: bytes, media_type: str) -> Response:
    """Return bytes with their ETag, or 304 where the client has them."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if is_held(request, tag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)
