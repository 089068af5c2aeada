"""Serve the runs in a browser and by an API."""

from __future__ import annotations

from typing import Annotated

import typer

from autointerp.apps.cli import say


def command(
    host: Annotated[
        str, typer.Option(help="Address to listen at; another than this machine's own is open.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 8731,
    public_url: Annotated[
        str,
        typer.Option(help="Behind a proxy: the address that people open, such as https://NAME."),
    ] = "",
) -> None:
    """Serve the folder `runs`: pages, people who rate, and the API /v1. Prints one address.

    Others reach it only with --host or through a proxy (docs/service.md). Runs that are started
    there go on when the server stops.

    Example: autointerp serve
    """
    from autointerp.errors import BadInput, install_hint
    from autointerp.store.run import RUNS

    try:
        from autointerp.apps.service._app import Address, serve
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "uvicorn", "starlette", "pydantic"):
            raise
        raise BadInput(f"serve: {error.name} is not installed; {install_hint('serve')}") from None

    try:
        serve(RUNS, Address(host, port, public_url), say)
    except KeyboardInterrupt:  # how a server ends; nothing was cut short
        say("stopped; jobs go on, and `autointerp serve` finds them again", err=True)
