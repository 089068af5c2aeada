"""Merge the answers of a returned pack into its run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autointerp.apps.cli import _options, say


def command(
    run: _options.RunName,
    file: Annotated[Path, typer.Argument(help="Pack that was rated and returned.")],
) -> None:
    """Merge a pack's answers into the run that it was made from.

    Ingesting a pack again adds nothing. A pack of another run, or one whose items or answers were
    edited, is refused; a line that was cut off by a full disk is passed over.

    Example: autointerp ingest main for-ann.pack
    """
    from autointerp.people.ingest import ingest
    from autointerp.store.run import open_run

    with open_run(run) as opened:
        new = ingest(opened, file, lambda text: typer.echo(f"note: {text}", err=True))
        opened.log("ingested", file=str(file), new=new)
        subject = opened.settings.subject.name
    say(f"{file}: {new} new answers" if new else f"{file}: nothing new")
    say(f"run '{run}', subject {subject}", err=True)
