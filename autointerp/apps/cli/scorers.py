"""List the scorers."""

from __future__ import annotations

import typer

from autointerp.apps.cli import columns_text
from autointerp.extensions import described


def command() -> None:
    """List the scorers of descriptions, as --scorer NAME.

    Example: autointerp scorers
    """
    typer.echo(columns_text(("SCORER", "WHAT IT ASKS"), described("questions/scorers")))
