"""Write a run's ratings as a table, or its units and contexts for others to read."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Literal

import typer


def command(
    run: str = typer.Argument(..., help="Name of the run: runs/NAME."),
    to: Literal["csv", "parquet", "jsonl", "contexts", "neuronpedia"] = typer.Option(
        ..., "--to", help="Ratings as csv, parquet or jsonl; or contexts, or neuronpedia."
    ),
    out: Path = typer.Option(
        None,
        "--out",
        "-o",
        help="File to write, or folder for neuronpedia; stdout if none is given.",
        show_default=False,
    ),
) -> None:
    """Write one row per rating: unit, rubric, rater, status, score, description and more.

    `--to contexts` writes the units' contexts as Parquet that `autointerp import` reads back, and
    `--to neuronpedia` a folder for each source in the layout of Neuronpedia's exports.

    Example: autointerp export main --to csv -o ratings.csv
    """
    from tempfile import TemporaryDirectory

    from autointerp.errors import BadInput
    from autointerp.exchange.ratings import write_ratings
    from autointerp.store.run import open_run

    if to == "contexts" or to == "neuronpedia":
        from autointerp.exchange import contexts, neuronpedia

        if out is None:
            raise BadInput(f"--to {to} is not text; name where it goes with -o PATH")
        write = contexts.write if to == "contexts" else neuronpedia.write
        with open_run(run, read_only=True) as opened:
            rows = write(opened, out)
        typer.echo(f"{out}: {rows} contexts", err=True)
        return
    if out is None and to == "parquet":
        raise BadInput("--to parquet is not text; name a file with -o FILE")
    with open_run(run, read_only=True) as opened:
        if out is not None:
            rows = write_ratings(opened, to, out)
            typer.echo(f"{out}: {rows} rows", err=True)
            return
        with TemporaryDirectory() as folder:
            file = Path(folder) / "ratings"
            write_ratings(opened, to, file)
            with file.open(encoding="utf-8", newline="") as table:
                shutil.copyfileobj(table, sys.stdout)
