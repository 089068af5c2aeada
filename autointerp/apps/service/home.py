"""The first page, and the files that pages load."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from autointerp.apps.service._access import Viewer
from autointerp.apps.service._jobs import JobState
from autointerp.apps.service._models import NUMBER
from autointerp.apps.service._pages import asset, content, page
from autointerp.apps.service._run_states import standing
from autointerp.apps.service.runs import summary_of
from autointerp.store.run import runs_in

router = APIRouter(include_in_schema=False)

ROWS = 50


@router.get("/", response_class=HTMLResponse)
def home(viewer: Viewer, offset: Annotated[int, Query(ge=0, le=NUMBER)] = 0) -> HTMLResponse:
    """The runs of the folder, and what works on them."""
    service = viewer.service
    names = runs_in(service.runs)
    jobs: dict[str, list[JobState]] = {}
    for state in service.jobs.all():
        jobs.setdefault(state.asked.run, []).append(state)
    # A run whose first job has just started is not there yet, or one whose first job failed.
    names += sorted(name for name in jobs.keys() - set(names) if jobs[name][0].is_active)
    shown = names[offset : offset + ROWS]
    summaries = [summary_of(service, name) for name in shown]
    return page(
        "home.html",
        viewer,
        runs=[(one, standing(service, one, jobs.get(one.run, []))) for one in summaries],
        total=len(names),
        offset=offset,
        rows=ROWS,
    )


@router.get("/openapi.json")
async def openapi(request: Request, viewer: Viewer) -> Response:
    """The specification of `/v1`."""
    return content(request, json.dumps(request.app.openapi()).encode(), "application/json")


@router.get("/assets/{name}")
async def file(name: str, request: Request, viewer: Viewer) -> Response:
    """A script, style or picture of the pages."""
    return asset(request, name)
