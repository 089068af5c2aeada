"""The first page, and the files that pages load."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from autointerp.apps.service._access import Viewer
from autointerp.apps.service._models import NUMBER
from autointerp.apps.service._pages import asset, page
from autointerp.apps.service.runs import summary_of
from autointerp.store.run import runs_in

router = APIRouter(include_in_schema=False)

ROWS = 50


@router.get("/", response_class=HTMLResponse)
def home(viewer: Viewer, offset: Annotated[int, Query(ge=0, le=NUMBER)] = 0) -> HTMLResponse:
    """The runs of the folder, and what works on them."""
    service = viewer.service
    names = runs_in(service.runs)
    shown = names[offset : offset + ROWS]
    active = {state.asked.run: state for state in service.jobs.all() if state.is_active}
    return page(
        "home.html",
        viewer,
        runs=[(summary_of(service, name), active.get(name)) for name in shown],
        more=offset + ROWS if offset + ROWS < len(names) else 0,
    )


@router.get("/openapi.json")
async def openapi(request: Request, viewer: Viewer) -> JSONResponse:
    """The specification of `/v1`."""
    return JSONResponse(request.app.openapi())


@router.get("/assets/{name}")
async def file(name: str, request: Request, viewer: Viewer) -> Response:
    """A script, style or picture of the pages."""
    return asset(request, name)
