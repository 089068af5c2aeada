"""List the sources."""

from __future__ import annotations

import typer

from autointerp.additions import described
from autointerp.commands import columns_text


def command() -> None:
    """List the sources of units, controls among them, as --source NAME.

    Example: autointerp sources
    """
    typer.echo(columns_text(("SOURCE", "ITS UNITS"), described("sources")))
