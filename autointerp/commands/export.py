"""Write a run's ratings as a table."""

from __future__ import annotations

import shutil
import sys
from enum import StrEnum
from pathlib import Path

import typer


class Form(StrEnum):
    """Formats of a table."""

    csv = "csv"
    parquet = "parquet"
    jsonl = "jsonl"


def command(
    run: str = typer.Argument(..., help="Name of the run: runs/NAME."),
    to: Form = typer.Option(..., "--to", help="Format of the table."),
    out: Path = typer.Option(
        None, "--out", "-o", help="File to write; stdout if none is given.", show_default=False
    ),
) -> None:
    """Write one row per rating: unit, rubric, rater, status, score, description and more.

    Example: autointerp export main --to csv -o ratings.csv
    """
    from tempfile import TemporaryDirectory

    from autointerp.errors import BadInput
    from autointerp.exchange.ratings import write_ratings
    from autointerp.store import open_run

    if out is None and to is Form.parquet:
        raise BadInput("--to parquet is not text; name a file with -o FILE")
    with open_run(run, read_only=True) as opened:
        if out is not None:
            rows = write_ratings(opened, to.value, out)
            typer.echo(f"{out}: {rows} rows", err=True)
            return
        with TemporaryDirectory() as folder:
            file = Path(folder) / "ratings"
            write_ratings(opened, to.value, file)
            with file.open(encoding="utf-8", newline="") as table:
                shutil.copyfileobj(table, sys.stdout)
