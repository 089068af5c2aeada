"""A service over a folder of runs, asked in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from fastapi.testclient import TestClient
from support.application import served

from autointerp.apps.service._tokens import Tokens

BASE = "http://127.0.0.1:8731"


@pytest.fixture(scope="module", autouse=True)
def one_event_loop() -> Iterator[None]:
    """Have all clients of a module send by one event loop: a new one for each request, with
    threads of its own, takes longer than most answers."""
    with start_blocking_portal() as portal, pytest.MonkeyPatch.context() as patched:
        patched.setattr(TestClient, "portal", portal)
        yield


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The folder that the service serves; empty unless a module has a fixture of its own."""
    return tmp_path / "runs"


@pytest.fixture
def tokens(runs: Path) -> Tokens:
    """The tokens of the folder."""
    return Tokens(runs)


@pytest.fixture
def ask(runs: Path) -> Callable[..., TestClient]:
    """Return a client of the service that sends a token, or none: `ask(token)`."""

    def client(token: str = "", **headers: str) -> TestClient:
        given = {"Authorization": f"Bearer {token}"} if token else {}
        return TestClient(
            served(runs), base_url=BASE, headers={**given, **headers}, follow_redirects=False
        )

    return client
