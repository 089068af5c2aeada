"""The application of the service over a folder of runs, asked in this process."""

from __future__ import annotations

import copy
import tempfile
from functools import cache
from pathlib import Path

from fastapi import FastAPI
from starlette.datastructures import State

from autointerp.apps.service._access import Service
from autointerp.apps.service._app import Address, build_app, gated, service_at
from autointerp.apps.service._gate import App

LOOPBACK = Address()


def application_of(service: Service) -> FastAPI:
    """Return an application that is to get no route of its own: all share what FastAPI makes of
    the routes and the specification, which takes longer than most tests."""
    app = copy.copy(_application())
    app.state = State({"service": service})
    return app


def served(runs: Path, address: Address = LOOPBACK) -> App:
    """Return the application behind its gate."""
    return gated(application_of(service_at(runs, address)))


@cache
def _application() -> FastAPI:
    with tempfile.TemporaryDirectory() as folder:  # each copy has a service of its own
        return build_app(service_at(Path(folder), LOOPBACK))
