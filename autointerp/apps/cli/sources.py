"""List the sources."""

from __future__ import annotations

import typer

from autointerp.apps.cli import columns_text
from autointerp.extensions import described


def command() -> None:
    """List the sources of units, controls among them, as --source NAME.

    Example: autointerp sources
    """
    typer.echo(columns_text(("SOURCE", "ITS UNITS"), described("units/sources")))
