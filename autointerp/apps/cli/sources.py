"""List the sources."""

from __future__ import annotations

import typer

from autointerp import extensions
from autointerp.apps.cli import columns_text


def command() -> None:
    """List the sources of units, controls among them, as --source NAME.

    Example: autointerp sources
    """
    from autointerp.units import sources

    typer.echo(columns_text(("SOURCE", "ITS UNITS"), extensions.described(sources)))
