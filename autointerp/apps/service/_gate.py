"""Before any route: hosts and origins, sizes and rates; after it: headers and the audit log.

Plain ASGI, so that a stream is passed on as it comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi import Request
from fastapi.responses import Response

from autointerp.apps.service._access import ROLES, SAFE, Service, enter
from autointerp.apps.service._problems import Problem, answer
from autointerp.errors import AutointerpError
from autointerp.files import PRIVATE_FILE

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BODY = 2**20  # bytes
LONGEST_TARGET = 8_000  # characters of a path and its query
RATE, BURST = 50.0, 400.0  # requests a second of one token, and as many at once
FAILURE_RATE, FAILURE_BURST = 0.2, 20.0  # of an address that has no valid token
MOST_CLIENTS = 10_000
MOST_AUDIT = 16 * 2**20  # bytes of the log before it is set aside
READING = ("GET", "HEAD")
NO_TOKENS = "tokens cannot be read now; tell who runs the service: its terminal says why"
STOPPING = "the service stops; try again when it is back"
LOG = logging.getLogger("autointerp")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


class Allowance:
    """So many requests a second of each client, and a burst; the oldest clients are forgotten."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str, take: bool = True) -> float:
        """Return 0 where a request is allowed, and count it; else the seconds to wait."""
        now = time.monotonic()
        left, at = self._left.pop(client, (self.burst, now))
        left = min(self.burst, left + (now - at) * self.rate)
        allowed = left >= 1
        self._left[client] = (left - 1 if allowed and take else left, now)
        if len(self._left) > MOST_CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self.rate


class Audit:
    """Who changed what, and who was refused: JSON lines, without queries, bodies or tokens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def write(self, **fields: Any) -> None:
        """Append a line; a disk that does not take it is said by the server's terminal alone."""
        line = json.dumps({"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **fields})
        try:
            with self._lock:
                self._append(line.encode() + b"\n")
        except OSError as error:  # the answer was given: it can be said here alone
            LOG.error("%s cannot be written (%s): %s", self.path, error.strerror, line)

    def _append(self, line: bytes) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE_FILE)
        try:
            os.write(handle, line)
            is_full = os.fstat(handle).st_size > MOST_AUDIT
        finally:
            os.close(handle)
        if is_full:
            self.path.replace(self.path.with_suffix(".1.jsonl"))


class TooLarge(Exception):
    """A body is larger than any that is taken; what reads it may make another error of this."""


class Gate:
    """The outermost layer of the application."""

    def __init__(self, app: App, service: Service, audit: Audit) -> None:
        self.app = app
        self.service = service
        self.audit = audit
        self.requests = Allowance(RATE, BURST)
        self.failures = Allowance(FAILURE_RATE, FAILURE_BURST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":  # there are none
                await send({"type": "websocket.close", "code": 1008})
                return
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        request = Request(scope, receive)
        is_head = request.method == "HEAD"
        client = request.client.host if request.client else "?"
        status = 0
        size = 0
        too_large = False

        async def bounded() -> MutableMapping[str, Any]:
            nonlocal size, too_large
            message = await receive()
            size += len(message.get("body", b""))
            if size > MOST_BODY:
                too_large = True
                raise TooLarge
            return message

        async def sent(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if too_large and not status:
                return  # the answer to an error that the reader made of it
            if is_head and message["type"] != "http.response.start":
                return  # it has ended with its headers, a stream too
            if message["type"] == "http.response.start":
                status = int(message["status"])
                names = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *_own_place(message["headers"], request),
                    *(
                        (name.encode(), value.encode())
                        for name, value in HEADERS.items()
                        if name.encode() not in names
                    ),
                ]
            await send(message)
            if is_head:
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        try:
            early = self._refusal(request, client)
            if early is not None:
                await early(scope, receive, sent)
                return
            with contextlib.suppress(TooLarge):
                routed = {**scope, "method": "GET"} if is_head else scope
                await self.app(routed, bounded, sent)
            if too_large and not status:
                too_large = False
                await answer(request, 413, _too_large())(scope, receive, sent)
        except asyncio.CancelledError:  # by the server, which stops and has waited long enough
            if not status:
                await answer(request, 503, STOPPING)(scope, receive, sent)
        finally:
            self._note(request, client, status)

    def _refusal(self, request: Request, client: str) -> Response | None:
        """Return the answer to a request that goes no further: refused, or a link with a token."""
        try:
            self._check(request, client)
            is_link = request.method in READING and not request.url.path.startswith("/v1")
            if is_link and "token" in request.query_params:
                return enter(request, self.service)
        except Problem as problem:
            return answer(request, problem.status, problem.detail, problem.headers)
        except AutointerpError as error:  # the file of tokens; who asks is not known
            LOG.error("%s", error)
            return answer(request, 503, NO_TOKENS)
        return None

    def _check(self, request: Request, client: str) -> None:
        """Raise Problem for what no route shall see."""
        host = request.headers.get("host", "").lower()
        if not self.service.is_own(host):
            raise Problem(
                421,
                f"Host '{host[:100]}' is none of this service's, which is {self.service.base_url}; "
                "open that, or start it with --public-url and the address that people open",
            )
        target = len(request.url.path) + len(request.url.query)
        if target > LONGEST_TARGET:
            raise Problem(414, f"an address of {target:,} characters; give a shorter one")
        _check_target(request)
        origin = request.headers.get("origin")
        if origin is not None and not self._is_own_origin(origin.lower(), host):
            raise Problem(403, f"Origin '{origin[:100]}' is another site; use the service's own")
        site = request.headers.get("sec-fetch-site", "same-origin")
        if request.method not in SAFE and site not in ("same-origin", "none"):
            raise Problem(403, f"a page of another site ({site[:20]}) asks; use the service's own")
        length = request.headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length) > MOST_BODY:
            raise Problem(413, _too_large())
        wait_s = self.failures.wait_s(client, take=False)
        if wait_s and not self._has_token(request):
            raise Problem(429, "too many requests without a valid token; wait", _after(wait_s))
        wait_s = self.requests.wait_s(self._who(request) or client)
        if wait_s:
            raise Problem(429, "too many requests; wait", _after(wait_s))

    def _is_own_origin(self, origin: str, host: str) -> bool:
        """Return whether an origin is a page of this service, as it was asked for or by its name.

        An address in numbers is its own only where the request went to it: another one is another
        machine's.
        """
        scheme, _, name = origin.partition("://")
        own_scheme = "https" if self.service.is_secure else "http"
        return scheme == own_scheme and (name == host or name in self.service.hosts)

    def _who(self, request: Request) -> str:
        """Return the id of the valid token that a request carries; empty if it has none."""
        texts = [request.headers.get("authorization", "").partition(" ")[2].strip()]
        texts += [request.cookies.get(self.service.cookie(role), "") for role in ROLES]
        texts += [request.headers.get("x-secret-key", "")]
        if request.method in READING:  # a link
            texts += [request.query_params.get("token", "")]
        for text in texts:
            token = self.service.tokens.find(text)
            if token is not None:
                return token.id
        return ""

    def _has_token(self, request: Request) -> bool:
        return bool(self._who(request))

    def _note(self, request: Request, client: str, status: int) -> None:
        """Count a refusal of whoever has no token; log what was changed or refused."""
        if status == 401:
            self.failures.wait_s(client)
        if request.method in SAFE and status not in (401, 403, 421):
            return
        access = getattr(request.state, "access", None)
        self.audit.write(
            client=client,
            token=access.token_id if access else "",
            role=access.role if access else "",
            rater=access.name if access else "",
            method=request.method,
            path=request.url.path[:300],
            status=status,
        )


def _own_place(headers: list[tuple[bytes, bytes]], request: Request) -> list[tuple[bytes, bytes]]:
    """Return an answer's headers; a redirect to this service names a path alone, for its scheme
    and host are as a proxy told them, or did not."""
    own = f"{request.url.scheme}://{request.url.netloc}/".encode()
    return [
        (name, b"/" + value.removeprefix(own).lstrip(b"/"))
        if name.lower() == b"location" and value.startswith(own)
        else (name, value)
        for name, value in headers
    ]


def _check_target(request: Request) -> None:
    """Raise Problem for a path or query that is no text, or gives a parameter twice, of which a
    parser takes the last."""
    try:
        for part in (request.scope.get("raw_path") or b"", request.scope["query_string"]):
            if "\0" in unquote_to_bytes(part).decode("utf-8"):
                raise Problem(400, "a NUL byte in the address; leave it out")
    except UnicodeDecodeError:
        raise Problem(400, "the address is no UTF-8; percent-encode the bytes of UTF-8") from None
    names = Counter(name for name, _ in request.query_params.multi_items())
    for name, times in names.items():
        if times > 1:
            raise Problem(400, f"parameter '{name[:100]}' is there {times} times; give it once")


def _after(wait_s: float) -> dict[str, str]:
    return {"Retry-After": str(math.ceil(wait_s))}


def _too_large() -> str:
    return f"a body of more than {MOST_BODY:,} bytes; send less at once"
