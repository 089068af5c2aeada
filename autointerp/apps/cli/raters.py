"""List the raters."""

from __future__ import annotations

from autointerp.apps.cli import _options, extensions_text, say


def command(as_json: _options.AsJson = False) -> None:
    """List the raters; give one as --rater NAME or NAME:MODEL.

    Example: autointerp raters
    """
    from autointerp import raters

    say(extensions_text(raters, ("RATER", "WHAT IT IS"), as_json))
