"""Errors as `application/problem+json` (RFC 9457): one line and a remedy."""

from __future__ import annotations

import hashlib
import html
import logging
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from autointerp.apps._faults import fault_text
from autointerp.errors import (
    AutointerpError,
    BadInput,
    RaterError,
    RunLocked,
    RunMismatch,
    StorageError,
    TooFewRatings,
    TooFewUnits,
    UnknownName,
)
from autointerp.text import visible

MEDIA_TYPE = "application/problem+json"
STATUS: tuple[tuple[type[AutointerpError], int], ...] = (
    (UnknownName, 404),
    (TooFewRatings, 409),
    (TooFewUnits, 409),
    (RunMismatch, 409),
    (RunLocked, 409),
    (BadInput, 422),
    (StorageError, 503),
    (RaterError, 502),
    (AutointerpError, 500),
)
# Python has these from 3.13 on.
RENAMED = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}
JSON = "send JSON in UTF-8 with `Content-Type: application/json`"
KNOWN = re.compile(r"\(known: ([^()]+)\)$")  # the end of the line of an unknown name
RATING_PAGE = '<p><a href="/rate/">Go on rating</a></p>'
FIRST_PAGE = '<p><a href="/">Go to the first page</a></p>'
TO_RATERS = "this cannot be done now; try again later, or tell who invited you"


class ProblemDetails(BaseModel):
    """What went wrong, in one line, and what helps."""

    type: str = "about:blank"
    title: str = Field(description="The HTTP status in words.")
    status: int
    detail: str = Field(description="One line: the value, then the remedy.")
    remedy: str = Field("", description="What helps: the end of `detail`.")


class Problem(Exception):
    """A problem of the service's own; `detail` is one line that ends in `; ` and the remedy."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


class NotModified(Exception):
    """The client has what it asks for, by its ETag."""

    def __init__(self, tag: str) -> None:
        super().__init__(tag)
        self.tag = tag


def phrase_of(status: int) -> str:
    """Return an HTTP status in the words of RFC 9110, whichever Python's `http` has."""
    return RENAMED.get(status) or HTTPStatus(status).phrase


def status_of(error: AutointerpError) -> int:
    """Return the HTTP status of an error from below."""
    return next(status for kind, status in STATUS if isinstance(error, kind))


def answer(
    request: Request, status: int, detail: str, headers: dict[str, str] | None = None
) -> Response:
    """Return a problem: as a page where a browser asks for one, else as JSON."""
    line = visible(" ".join(detail.split()))
    title = phrase_of(status)
    wants_page = "text/html" in request.headers.get("accept", "")
    if wants_page and not request.url.path.startswith("/v1"):
        is_rating = line.endswith("/rate/")
        if headers and "Retry-After" in headers and request.method in ("GET", "HEAD"):
            headers = {**headers, "Refresh": headers["Retry-After"]}  # the page opens by itself
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            '<meta name="color-scheme" content="light dark">'
            '<link rel="icon" href="data:,">'
            f"<title>{title}</title><main><h1>{title}</h1><p>{html.escape(line)}</p>"
            f"{RATING_PAGE if is_rating else FIRST_PAGE if status in (404, 405) else ''}"
            "</main></html>"
        )
        return HTMLResponse(page, status, headers)
    fields = ProblemDetails(
        title=title,
        status=status,
        detail=line,
        remedy=_remedy(line),
    )
    return JSONResponse(fields.model_dump(), status, headers, media_type=MEDIA_TYPE)


def _remedy(line: str) -> str:
    """Return the end of an error's line, which says what helps; empty where it has but one part."""
    known = KNOWN.search(line)
    if known is not None:
        return f"use one of these: {known[1]}"
    for mark in ("; ", ": "):
        if mark in line:
            return line.rpartition(mark)[2]
    return ""


def tagged(tag: str) -> dict[str, str]:
    """Return the headers of an answer that its client may keep, and has to ask for again."""
    return {"ETag": tag, "Cache-Control": "private, no-cache"}


def check_fresh(request: Request, response: Response, *state: object) -> None:
    """Give an answer the ETag of what it is made of; raise NotModified if the client has it."""
    told = f"{request.url.path}?{request.url.query} {state}"
    tag = f'W/"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'
    if is_held(request, tag):
        raise NotModified(tag)
    response.headers.update(tagged(tag))


def is_held(request: Request, tag: str) -> bool:
    """Return whether the client has what a tag names. Tags are compared without the mark of a
    weak one (RFC 9110, 13.1.2), which a proxy that compresses puts before a strong one."""
    held = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
    return "*" in held or tag.removeprefix("W/") in [one.removeprefix("W/") for one in held]


def _methods(routes: Sequence[object], request: Request, allowed: str) -> str:
    """Return the value of Allow: the methods of all routes of an address, not of the first."""
    methods = {one.strip() for one in allowed.split(",")} - {""}
    for route in routes:
        if isinstance(route, APIRoute) and route.path_regex.match(request.url.path):
            methods |= set(route.methods or ())
    if "GET" in methods:
        methods.add("HEAD")
    return ", ".join(sorted({*methods, "OPTIONS"}))


def install(app: FastAPI, routes: Sequence[object]) -> None:
    """Have the application, which has these routes, answer every error as a problem."""

    async def of_below(request: Request, error: Exception) -> Response:
        assert isinstance(error, AutointerpError)
        access = getattr(request.state, "access", None)
        to_rater = access is not None and access.role == "rater"
        return answer(request, status_of(error), TO_RATERS if to_rater else str(error))

    async def of_service(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return answer(request, error.status, error.detail, error.headers)

    async def of_http(request: Request, error: Exception) -> Response:
        raised = cast("HTTPException", error)  # or its parent, which routing raises
        detail = str(raised.detail)
        headers = dict(raised.headers or {})
        if raised.status_code == 405:
            headers["Allow"] = _methods(routes, request, headers.get("Allow", ""))
            if request.method == "OPTIONS":  # its question was answered
                return Response(status_code=204, headers=headers)
        if raised.status_code == 404:
            detail = f"{request.url.path[:200]}: there is no such address; see /openapi.json"
        elif raised.status_code == 405:
            detail = (
                f"{request.method} {request.url.path[:200]}: not allowed; use {headers['Allow']}"
            )
        elif raised.status_code == 400:
            detail = f"{detail.lower()} (no UTF-8, nested too deep, or a number too long); {JSON}"
        return answer(request, raised.status_code, detail, headers)

    async def of_request(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(request, 422, _first_fault(error.errors()))

    async def of_nobody(request: Request, error: Exception) -> Response:
        logging.getLogger("autointerp").exception("%s %s", request.method, request.url.path)
        return answer(
            request, 500, "a fault of the service; its terminal has the traceback, please report it"
        )

    async def unchanged(request: Request, error: Exception) -> Response:
        assert isinstance(error, NotModified)
        return Response(status_code=304, headers=tagged(error.tag))

    app.add_exception_handler(NotModified, unchanged)
    app.add_exception_handler(AutointerpError, of_below)
    app.add_exception_handler(Problem, of_service)
    # By status, too: what is raised outside of routes is of the parent of FastAPI's class.
    app.add_exception_handler(400, of_http)
    app.add_exception_handler(404, of_http)
    app.add_exception_handler(405, of_http)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_request)
    app.add_exception_handler(Exception, of_nobody)


def _first_fault(errors: Any) -> str:
    """Return the first fault of a request's parameters in one line."""
    for error in errors:
        if error["type"] == "json_invalid":
            why = error.get("ctx", {}).get("error", "")
            return f"the body is no JSON ({why}); {JSON}"
        place = ".".join(str(part) for part in error["loc"][1:]) or str(error["loc"][0])
        if error["type"] == "missing":  # its input is all that was sent, a provider's key among it
            return f"{place} is missing; /openapi.json says what is taken"
        if place == "body":
            return f"the body is no JSON object, or not said to be one; {JSON}"
        value = "…" if place.lower().endswith("key") else repr(error.get("input"))
        short = value if len(value) <= 80 else f"{value[:79]}…"
        return f"{place} = {short}: {fault_text(error)}; /openapi.json says what is taken"
    return "the request cannot be read; /openapi.json says what is taken"
