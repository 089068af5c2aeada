"""List the raters."""

from __future__ import annotations

import typer

from autointerp.apps.cli import columns_text
from autointerp.extensions import described


def command() -> None:
    """List the raters: who judges, as --rater NAME or NAME:MODEL.

    Example: autointerp raters
    """
    typer.echo(columns_text(("RATER", "WHAT IT IS"), described("raters")))
