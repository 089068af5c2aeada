"""Merge the answers of a returned pack into its run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autointerp.apps.cli import _options, say
from autointerp.text import count


def command(
    run: _options.RunName,
    file: Annotated[Path, typer.Argument(help="Pack that was rated and returned.")],
) -> None:
    """Merge a pack's answers into the run that it was made from.

    Ingesting a pack again adds nothing. A pack of another run, or one whose items or answers were
    edited, is refused; a line that was cut off by a full disk is passed over. While another process
    writes the run, the answers are put by, and the next command takes them in.

    Example: autointerp ingest main for-ann.pack
    """
    from autointerp.pipeline.returned import take_back

    taken = take_back(run, file, on=lambda event: say(str(event), err=True))
    say(f"{file}: {count(taken.new, 'new answer')}" if taken.new else f"{file}: nothing new")
    if taken.waits:
        say("the next command that takes in answers has them, such as `report`", err=True)
    say(f"run '{run}', subject {taken.subject}", err=True)
