"""List the scorers."""

from __future__ import annotations

import typer

from autointerp import extensions
from autointerp.apps.cli import columns_text


def command() -> None:
    """List the scorers of descriptions, as --scorer NAME.

    Example: autointerp scorers
    """
    from autointerp.questions import scorers

    typer.echo(columns_text(("SCORER", "WHAT IT ASKS"), extensions.described(scorers)))
