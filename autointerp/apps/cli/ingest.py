"""Read the answers in a pack that came back."""

from __future__ import annotations

from pathlib import Path

import typer


def command(
    run: str = typer.Argument(..., help="Name of the run: runs/NAME."),
    file: Path = typer.Argument(..., help="The pack, with answers in it."),
) -> None:
    """Merge a pack's answers into the run that it was made from; twice is as good as once.

    A pack of another run, or one whose items or answers were edited, is refused.

    Example: autointerp ingest main for-ann.pack
    """
    from autointerp.people.ingest import ingest
    from autointerp.store.run import open_run

    with open_run(run) as opened:
        new = ingest(opened, file)
        opened.log("ingested", file=str(file), new=new)
    typer.echo(f"{file}: {new} new answers" if new else f"{file}: nothing new")
