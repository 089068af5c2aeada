"""List the labs."""

from __future__ import annotations

import typer

from autointerp.apps.cli import _options, extensions_text


def command(as_json: _options.AsJson = False) -> None:
    """List the labs, which measure units with the run's model: `autointerp lab NAME RUN`.

    Example: autointerp labs
    """
    from autointerp import labs

    typer.echo(extensions_text(labs, ("LAB", "WHAT IT MEASURES"), as_json))
