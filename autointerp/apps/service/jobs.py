"""`/v1`: jobs. They are started, watched, paused, limited and stopped, and outlive the server."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from autointerp.apps.service import _models as models
from autointerp.apps.service._access import Owner, Service, Viewer
from autointerp.apps.service._calls import ask_child
from autointerp.apps.service._jobs import EVENTS, Asked, Jobs, JobState
from autointerp.apps.service._models import RunName
from autointerp.apps.service._problems import Problem
from autointerp.apps.service.runs import Limit, Offset, fresh, next_page
from autointerp.store.run import existing_run, run_exists

router = APIRouter(prefix="/v1", tags=["jobs"])

TOO_SLOW = "start the job without dry_run"
POLL_S = 0.4  # between two looks at a log that is watched
LOOKS_A_TOKEN = 5  # between two looks whether a watcher's token is still valid
BEAT_S = 15.0  # without an event, so that proxies keep the stream open
JobId = Annotated[str, models.Field(pattern=r"^\d{8}-\d{6}-[0-9a-f]{6}$")]


def jobs_of(service: Service) -> Jobs:
    """Return the jobs of a service's runs."""
    return service.jobs


def shown(state: JobState) -> models.Job:
    """Return a job as `/v1` gives it."""
    return models.Job(
        id=state.id,
        run=state.asked.run,
        state=state.state,
        made_at=state.made_at,
        ended_at=state.ended_at,
        text=state.text,
        asked=models.NewRun(**dataclasses.asdict(state.asked)),
        limits=models.LimitsNow(**dataclasses.asdict(state.limits)),
    )


@router.post(
    "/runs",
    status_code=201,
    responses={200: {"model": models.Job | models.Forecast,
                     "description": "The job that the same Idempotency-Key had started, or with "
                                    "`dry_run` the forecast."}},
)  # fmt: skip
async def create_run(
    new: models.NewRun,
    response: Response,
    owner: Owner,
    dry_run: Annotated[bool, Query(description="Only say what it would do and cost.")] = False,
    key: Annotated[
        str,
        Header(alias="Idempotency-Key", max_length=200, description="The same key starts once."),
    ] = "",
) -> models.Job | models.Forecast:
    """Start a job that makes or continues a run; or say what it would do and cost."""
    asked = Asked.of(new.model_dump())
    if dry_run:
        response.status_code = 200
        return await _forecast(owner.service, asked)
    state, is_new = await asyncio.to_thread(jobs_of(owner.service).start, asked, key)
    if not is_new:
        response.status_code = 200
    response.headers["Location"] = f"/v1/jobs/{state.id}"
    return shown(state)


async def _forecast(service: Service, asked: Asked) -> models.Forecast:
    """Return a job's forecast: made by a process of its own, for it may load a model."""
    asked.job(service.runs)
    return models.Forecast(
        **await ask_child(service, "forecast", dataclasses.asdict(asked), TOO_SLOW)
    )


@router.get("/jobs")
def list_jobs(
    request: Request,
    response: Response,
    viewer: Viewer,
    run: Annotated[str, Query(max_length=100, description="Of this run alone.")] = "",
    limit: Limit = 50,
    offset: Offset = 0,
) -> models.JobPage:
    """List the jobs, the newest first."""
    jobs = jobs_of(viewer.service)
    every, unreadable = jobs.readable()
    states = [state for state in every if run in ("", state.asked.run)]
    if run and not states:
        _require_known(jobs, run)
    total, part = len(states), states[offset : offset + limit]
    page = models.JobPage(
        items=[shown(state) for state in part],
        total=total,
        offset=offset,
        next=next_page(request, total, offset, len(part)),
        unreadable=unreadable,
    )
    return fresh(request, response, page)


@router.get("/jobs/{job}")
def show_job(job: JobId, request: Request, response: Response, viewer: Viewer) -> models.Job:
    """Show a job as it is now."""
    return fresh(request, response, shown(jobs_of(viewer.service).state(job)))


@router.post("/runs/{run}/pause")
def pause(run: RunName, owner: Owner) -> models.Job:
    """Have a run's job make no new call; those in flight are waited for."""
    jobs = jobs_of(owner.service)
    return shown(jobs.change(_active(jobs, run), paused=True))


@router.post("/runs/{run}/resume")
def resume(run: RunName, owner: Owner) -> models.Job:
    """Have a paused job go on."""
    jobs = jobs_of(owner.service)
    return shown(jobs.change(_active(jobs, run), paused=False))


@router.post("/runs/{run}/stop")
def stop(run: RunName, owner: Owner) -> models.Job:
    """Have a run's job end; what was rated is kept, and the same job goes on from there."""
    jobs = jobs_of(owner.service)
    return shown(jobs.stop(_active(jobs, run)))


@router.patch("/runs/{run}/limits")
def limit(run: RunName, limits: models.Limits, owner: Owner) -> models.Job:
    """Change what a run's job may do from now on."""
    jobs = jobs_of(owner.service)
    return shown(jobs.change(_active(jobs, run), **limits.model_dump(exclude_unset=True)))


def _require_known(jobs: Jobs, run: str) -> None:
    """Raise UnknownName for a run that is not there and has had no job."""
    if not run_exists(jobs.runs / run) and not jobs.all(run):
        existing_run(run, jobs.runs)


def _active(jobs: Jobs, run: str) -> str:
    """Return the id of the job that works on a run. Raises Problem if none does, UnknownName if
    there is no such run."""
    state = jobs.active(run)
    if state is None:
        _require_known(jobs, run)
        raise Problem(409, f"run '{run}' has no job that goes on; start one by POST /v1/runs")
    return state.id


# --------------------------------------------------------------------------------- events


@router.get(
    "/runs/{run}/events",
    response_class=StreamingResponse,
    responses={
        200: {"description": "Events, each a JSON object with number, at, kind, text and fields.",
              "content": {"text/event-stream": {"schema": {"type": "string"}}}},
        204: {"description": "The job has ended, and all of its events were sent."},
    },
)  # fmt: skip
async def events(
    run: RunName,
    request: Request,
    viewer: Viewer,
    last: Annotated[
        str, Header(alias="Last-Event-ID", max_length=100, description="Where to go on.")
    ] = "",
) -> Response:
    """Stream the events of a run's newest job, as server-sent events with ids."""
    jobs = jobs_of(viewer.service)
    states = await asyncio.to_thread(jobs.all, run)
    if not states:
        raise Problem(404, f"run '{run}' has had no job; start one by POST /v1/runs")
    job, path = states[0].id, jobs.place(states[0].id) / EVENTS
    begin = await asyncio.to_thread(_resumed_at, last, job, path)
    if not states[0].is_active and begin and begin >= path.stat().st_size:
        return Response(status_code=204)
    tails, tokens = viewer.service.tails, viewer.service.tokens

    async def stream() -> AsyncIterator[bytes]:
        at, silent_s = begin, 0.0
        looks = 0
        yield b"retry: 2000\n\n"
        while not tails.closing:
            looks += 1
            if not looks % LOOKS_A_TOKEN and not tokens.is_valid(viewer.token_id):
                return  # revoked meanwhile: whoever comes again is refused
            # Before the log is read, so that all that a job wrote before its end is sent.
            active = tails.is_active(jobs, job)
            text, at = tails.stream(job, path, at)
            if text:
                silent_s = 0.0
                yield text
            elif not active:
                yield b"event: end\ndata: {}\n\n"
                return
            await asyncio.sleep(POLL_S)
            silent_s += POLL_S
            if silent_s >= BEAT_S:
                silent_s = 0.0
                yield b": alive\n\n"

    return StreamingResponse(
        stream(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


def _resumed_at(last: str, job: str, path: Path) -> int:
    """Return the byte from which a client goes on: 0 unless it names the end of a line."""
    of, _, number = last.partition(".")
    if of != job or not re.fullmatch(r"[1-9][0-9]{0,17}", number):
        return 0
    begin = int(number)
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(begin - 1)
        if file.read(1) == b"\n":
            return begin
    return 0
