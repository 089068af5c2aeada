"""List the sources."""

from __future__ import annotations

import typer

from autointerp.apps.cli import _options, extensions_text


def command(as_json: _options.AsJson = False) -> None:
    """List the sources of units, including the controls; give one as --source NAME.

    Example: autointerp sources
    """
    from autointerp.units import sources

    typer.echo(extensions_text(sources, ("SOURCE", "ITS UNITS"), as_json))
