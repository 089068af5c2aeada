"""List the raters."""

from __future__ import annotations

import typer

from autointerp import extensions
from autointerp.apps.cli import columns_text


def command() -> None:
    """List the raters: who judges, as --rater NAME or NAME:MODEL.

    Example: autointerp raters
    """
    from autointerp import raters

    typer.echo(columns_text(("RATER", "WHAT IT IS"), extensions.described(raters)))
