"""Who may call a route: dependencies of routers, cookies, and the text against forged requests."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import hmac
import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse, Response

from autointerp.apps.service._jobs import Jobs, Tails
from autointerp.apps.service._problems import Problem
from autointerp.apps.service._snapshots import Snapshots
from autointerp.apps.service._tokens import Role, Token, Tokens
from autointerp.files import json_value

SAFE = ("GET", "HEAD", "OPTIONS")
ROLES: tuple[Role, ...] = ("owner", "viewer", "rater")  # that of a browser's cookies, in this order
CSRF_HEADER = "X-CSRF-Token"
SECRET_HEADER = "x-secret-key"  # by which a Neuronpedia instance sends its token
COOKIE_DAYS = 30
NO_TOKEN = (
    "no valid token; open the address that `autointerp serve` printed, or send "
    "`Authorization: Bearer TOKEN`; `autointerp tokens new` makes one"
)
NO_LINK = "this link is not valid, or not any more; ask who invited you for another"
OTHER_LINK = "another link was opened in this browser since; open your own link again"
TO_RATER = "a link to rate opens the rating page alone: go to /rate/"


@dataclass(frozen=True)
class Service:
    """What all of one server's routes know.

    Attributes:
        runs: Folder of the runs.
        base_url: As people reach it, without a slash at the end.
        hosts: Values of the header Host that are answered.
        port: Cookies know no ports, so it is part of their names.
        numbers_port: The port at which any address in numbers is a Host that is answered, too; None
            for none. No name can be made to lead to one, so it takes no rebinding of names.
        snapshots: Runs as they are now, to read.
        jobs: Runs that go on by themselves.
        tails: Their logs, as far as somebody watches.
    """

    runs: Path
    tokens: Tokens
    base_url: str
    hosts: frozenset[str]
    port: int
    numbers_port: int | None
    snapshots: Snapshots = field(repr=False)
    jobs: Jobs = field(repr=False)
    tails: Tails = field(default_factory=Tails, repr=False)

    def is_own(self, host: str) -> bool:
        """Return whether a value of the header Host, in lower case, names this service."""
        if host in self.hosts:
            return True
        if self.numbers_port is None:
            return False
        name, _, port = host.rpartition(":")
        with contextlib.suppress(ValueError):
            number = ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
            in_full = f"[{number}]" if number.version == 6 else str(number)
            return (name, port) == (in_full, str(self.numbers_port))
        return False

    @property
    def is_secure(self) -> bool:
        """Whether people reach it by TLS."""
        return self.base_url.startswith("https:")

    def cookie(self, role: Role) -> str:
        """Return the name of the cookie of a role: a link of one takes no other's access."""
        return f"autointerp-{'' if role == 'owner' else f'{role}-'}{self.port}"


@dataclass(frozen=True)
class Access:
    """Who makes a request, and for what.

    Attributes:
        token_id: As in the audit log.
        run: Of a rater, the run's folder; else the folder of all runs.
        name: Of a rater, the name in the ratings; else empty.
        csrf: What a page's writing requests carry as the header X-CSRF-Token.
        details: What a rater's invitation says by name.
    """

    service: Service
    token_id: str
    role: Role
    run: Path
    name: str = ""
    csrf: str = field(default="", repr=False)
    details: Mapping[str, str] = field(default_factory=dict)


def service_of(request: Request) -> Service:
    """Return the service that answers a request."""
    service: Service = request.app.state.service
    return service


def csrf_of(token: str) -> str:
    """Return the text that proves that a page of ours, which was sent with the cookie, asks."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def _access(request: Request, roles: tuple[Role, ...]) -> Access:
    """Return who makes a request, by token or cookie. Raises Problem where they may not."""
    service = service_of(request)
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    by_cookie = False
    if scheme.lower() == "bearer":
        text = text.strip()
        token = service.tokens.find(text)
    elif SECRET_HEADER in request.headers:
        text = request.headers[SECRET_HEADER]
        token = service.tokens.find(text)
    else:
        token, text = _by_cookie(request, service, roles)
        by_cookie = True
    if token is None:
        raise _unknown(is_rater="rater" in roles)
    access = access_of(service, token, text)
    request.state.access = access
    if token.role not in roles:
        raise Problem(
            403, f"a token of role {token.role} may not do this; {_remedy(roles, token.role)}"
        )
    if by_cookie and request.method not in SAFE:
        given = request.headers.get(CSRF_HEADER, "")
        if not hmac.compare_digest(given.encode(), access.csrf.encode()):
            if token.role == "rater":  # loading again would show what the other link opens
                raise Problem(403, OTHER_LINK)
            raise Problem(403, f"{CSRF_HEADER} is missing or old; load the page again")
    return access


def _by_cookie(
    request: Request, service: Service, roles: tuple[Role, ...]
) -> tuple[Token | None, str]:
    """Return the token that a browser's cookies give, of several the one that may do most: who
    opens a viewer's link stays the owner. A rater at another page is told so by the caller."""
    for name in ("rater",) if "rater" in roles else ROLES:
        text = request.cookies.get(service.cookie(name), "")
        token = service.tokens.find(text)
        if token is not None and (token.role == "rater") == (name == "rater"):
            return token, text
    return None, ""


def _unknown(is_rater: bool) -> Problem:
    """Return the problem of whoever has no valid token, with the remedy that is theirs."""
    return Problem(401, NO_LINK if is_rater else NO_TOKEN, {"WWW-Authenticate": "Bearer"})


def access_of(service: Service, token: Token, text: str) -> Access:
    """Return the access that a valid token gives."""
    return Access(
        service,
        token.id,
        token.role,
        service.runs / token.run if token.run else service.runs,
        token.rater,
        csrf_of(text),
        token.details,
    )


def _remedy(roles: tuple[Role, ...], role: Role) -> str:
    if role == "rater":
        return TO_RATER
    if roles == ("rater",):
        return "open an invitation: `autointerp invite RUN --rater NAME`"
    return f"use one of role {' or '.join(roles)}: `autointerp tokens new --role {roles[0]}`"


async def _check_asked(request: Request) -> None:
    """Raise Problem for a parameter that the specification of an address does not name, and for a
    key that an object of the body has twice: each would be left out without a word."""
    if not request.url.path.startswith("/v1"):
        return
    if request.query_params:
        paths = request.app.openapi()["paths"]
        operation = paths.get(request.scope["route"].path, {}).get(request.method.lower(), {})
        known = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]
        for name in request.query_params:
            if name not in known:
                raise Problem(422, _unknown_parameter(name, known))
    body = await request.body() if request.method not in SAFE else b""
    if body:
        try:
            json_value(body, unique=True)
        except (json.JSONDecodeError, UnicodeDecodeError):
            return  # what reads the body says so
        except ValueError as error:
            raise Problem(422, f"the body: {error}; give each key once") from None


def _unknown_parameter(name: str, known: Sequence[str]) -> str:
    said = f"parameter '{name[:100]}': there is none here"
    if not known:
        return f"{said}; leave it out"
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"; did you mean '{close[0]}'?" if close else ""
    return f"{said}{meant} (known: {', '.join(sorted(known))})"


# Asynchronous, so that no thread is waited for: a look-up is a dictionary's and a stat.
async def owner(request: Request) -> Access:
    """Return the owner's access."""
    access = _access(request, ("owner",))
    await _check_asked(request)
    return access


async def viewer(request: Request) -> Access:
    """Return the access of whoever may read: a viewer or an owner."""
    access = _access(request, ("viewer", "owner"))
    await _check_asked(request)
    return access


async def rater(request: Request) -> Access:
    """Return a rater's access: of one run, under one name."""
    return _access(request, ("rater",))


Owner = Annotated[Access, Depends(owner)]
Viewer = Annotated[Access, Depends(viewer)]
Rater = Annotated[Access, Depends(rater)]


def enter(request: Request, service: Service) -> Response:
    """Return the answer to a link with a token: a cookie, and the same address without it."""
    text = request.query_params.get("token", "")
    token = service.tokens.find(text)
    if token is None:
        raise _unknown(is_rater=request.url.path.startswith("/rate"))
    request.state.access = access_of(service, token, text)
    address = request.url.remove_query_params("token")
    # From the path alone: never to another host, whatever the address says.
    path = "/" + address.path.lstrip("/") + (f"?{address.query}" if address.query else "")
    response = RedirectResponse(path, 303)
    response.set_cookie(
        service.cookie(token.role),
        text,
        max_age=COOKIE_DAYS * 24 * 3600,
        httponly=True,
        samesite="lax",
        secure=service.is_secure,
    )
    return response
