"""The first page, and the files that pages load."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from autointerp.apps.service._access import Viewer
from autointerp.apps.service._pages import asset, page
from autointerp.store.run import runs_in

router = APIRouter(include_in_schema=False)


@router.get("/", response_class=HTMLResponse)
async def home(viewer: Viewer) -> HTMLResponse:
    """The runs of the folder."""
    return page("home.html", viewer, runs=runs_in(viewer.run))


@router.get("/openapi.json")
async def openapi(request: Request, viewer: Viewer) -> JSONResponse:
    """The specification of `/v1`."""
    return JSONResponse(request.app.openapi())


@router.get("/assets/{name}")
async def file(name: str, request: Request, viewer: Viewer) -> Response:
    """A script, style or picture of the pages."""
    return asset(request, name)
