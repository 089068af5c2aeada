"""The application: every router of this folder behind the gate; and the server that runs it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI

from autointerp import __version__, extensions
from autointerp.apps import service as routers
from autointerp.apps.service import _problems
from autointerp.apps.service._access import Service
from autointerp.apps.service._gate import App, Audit, Gate
from autointerp.apps.service._jobs import Jobs
from autointerp.apps.service._openapi import specification
from autointerp.apps.service._snapshots import Snapshots
from autointerp.apps.service._tokens import (
    DEFAULT_PORTS,
    SERVICE,
    Tokens,
    in_ascii,
    is_whole_host,
    service_folder,
    write_address,
)
from autointerp.errors import BadInput, RunLocked
from autointerp.files import open_locked

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
GRACE_S = 3  # for answers under way when the server stops
OWNER_DAYS = 30
DESCRIPTION = (
    "Runs of autointerp: their units, ratings and verdicts; jobs; and people who rate. "
    "Send a token as `Authorization: Bearer TOKEN`."
)


@dataclass(frozen=True)
class Address:
    """Where the service listens, and how people reach it.

    Attributes:
        public_url: Behind a proxy, the address that people open; empty without one.
    """

    host: str = "127.0.0.1"
    port: int = 8731
    public_url: str = ""

    def __post_init__(self) -> None:
        if self.public_url and not is_whole_host(self.public_url):
            raise BadInput(
                f"--public-url {self.public_url}: give https://NAME, without a path; the service "
                "takes the whole of its host"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host in ("127.0.0.1", "localhost", "::1")

    @property
    def is_every_address(self) -> bool:
        """Whether it listens at all addresses of this machine, under no name that was given."""
        return self.host in ("0.0.0.0", "::") and not self.public_url

    @property
    def base_url(self) -> str:
        """The address that people open."""
        if self.public_url:
            return self.public_url.rstrip("/")
        name = socket.gethostname().lower() if self.is_every_address else self.host
        return f"http://{f'[{name}]' if ':' in name else name}:{self.port}"

    @property
    def hosts(self) -> frozenset[str]:
        """The values of the header Host that are answered."""
        names = LOOPBACK if self.is_loopback or self.is_every_address else ()
        local = {host for name in names for host in _hosts("http", name, self.port)}
        parts = urlsplit(self.base_url)
        name = in_ascii(parts.hostname or "")
        public = _hosts(parts.scheme, f"[{name}]" if ":" in name else name, parts.port)
        return frozenset({*local, *public})

    @property
    def warning(self) -> str:
        """What is to be said of an address that others reach without TLS; empty if nothing is."""
        if self.base_url.startswith("https:") or (self.is_loopback and not self.public_url):
            return ""
        return (
            f"{self.base_url} is no https: tokens and answers can be read on the way; put a proxy "
            "with TLS before it and give its address as --public-url (docs/service.md)"
        )


def _hosts(scheme: str, name: str, port: int | None) -> set[str]:
    """Return the values of Host of whoever asks for a name and a port by a scheme."""
    usual = DEFAULT_PORTS[scheme]
    hosts = {f"{name}:{port or usual}"}
    return {*hosts, name} if port in (None, usual) else hosts


def service_at(runs: Path, address: Address) -> Service:
    """Return what the routes of a server at an address know."""
    return Service(
        runs,
        Tokens(runs),
        address.base_url,
        address.hosts,
        address.port,
        address.port if address.is_every_address else None,
        Snapshots(runs),
        Jobs(runs),
    )


def router_modules() -> list[ModuleType]:
    """Return the files of this folder that have a router."""
    return [extensions.load(routers, "router", name) for name in extensions.names(routers)]


def build_app(service: Service) -> FastAPI:
    """Return the application, with the routers of all files of this folder; not behind the gate."""
    modules = router_modules()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for module in modules:  # what a router keeps while the server runs
                if hasattr(module, "opened"):
                    await stack.enter_async_context(module.opened(app.state.service))
            yield

    app = FastAPI(
        title="autointerp",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # its pages load scripts of another site
        redoc_url=None,
        openapi_url=None,  # served with a token
        generate_unique_id_function=lambda route: route.name,
        lifespan=lifespan,
    )
    app.state.service = service
    app.openapi = lambda: specification(app)  # type: ignore[method-assign]
    _problems.install(app, [route for module in modules for route in module.router.routes])
    for module in modules:
        app.include_router(module.router)
    return app


def gated(app: FastAPI) -> App:
    """Return the application behind the gate: what a server serves."""
    service: Service = app.state.service
    return Gate(app, service, Audit(service_folder(service.runs) / "audit.jsonl"))


class Server(uvicorn.Server):
    """A server that ends streams of events at the first signal: it would wait for them in vain."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.service.tails.closing = True
        super().handle_exit(sig, frame)


def serve(runs: Path, address: Address, say: Callable[[str], None]) -> None:
    """Serve until a signal comes; `say` gets the lines for the terminal, the address first.

    Raises RunLocked if another server serves the folder, BadInput if the address is taken, before
    anything is made.
    """
    try:
        listening = _listen(address)
    except BadInput:
        if (runs / SERVICE).is_dir():
            os.close(_lock(runs))
        raise
    with contextlib.closing(listening):
        lock = _lock(runs)
        try:
            _serve(runs, address, listening, say)
        finally:
            os.close(lock)


def _lock(runs: Path) -> int:
    """Return the handle of the lock of who serves a folder. Raises RunLocked if another does."""
    lock = open_locked(service_folder(runs) / "server.lock")
    if lock is None:
        raise RunLocked(
            f"another server serves {runs.absolute()}; stop it, or serve another folder: a run "
            "has one server"
        )
    return lock


def _serve(
    runs: Path, address: Address, listening: socket.socket, say: Callable[[str], None]
) -> None:
    write_address(runs, address.base_url)
    service = service_at(runs, address)
    _, token = service.tokens.issue("owner", label="serve", days=OWNER_DAYS)
    config: dict[str, Any] = {
        "log_level": "error",  # what strangers send amiss would fill the owner's terminal
        "access_log": False,  # it would show tokens
        "server_header": False,
        "timeout_graceful_shutdown": GRACE_S,
        "proxy_headers": bool(address.public_url),
        # of a proxy on this machine; another's address is in the variable that uvicorn knows
        "forwarded_allow_ips": os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1"),
    }
    app = build_app(service)
    app.openapi()  # kept: made at the first request that needs it, it would hold up all others
    server = Server(uvicorn.Config(gated(app), **config), service)
    if address.warning:
        say(f"warning: {address.warning}")
    say(f"{address.base_url}/?token={token}")
    say("this address is for you alone; Ctrl-C stops the server, and runs go on without it")
    server.run(sockets=[listening])


def _listen(address: Address) -> socket.socket:
    """Return the socket that listens at an address. Raises BadInput if it cannot."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address.host, address.port))
    except OSError as error:
        listening.close()
        raise BadInput(
            f"cannot listen at {address.host}:{address.port} ({error.strerror}); "
            "give another --port or --host"
        ) from None
    listening.listen(512)
    return listening
