"""List the scorers."""

from __future__ import annotations

import typer

from autointerp.apps.cli import _options, extensions_text


def command(as_json: _options.AsJson = False) -> None:
    """List the scorers of descriptions; give one as --scorer NAME.

    Example: autointerp scorers
    """
    from autointerp.questions import scorers

    typer.echo(extensions_text(scorers, ("SCORER", "WHAT IT ASKS"), as_json))
