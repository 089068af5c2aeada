"""Write a run's ratings as a table, or its units and contexts for others to read."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from autointerp.apps.cli import _options, say
from autointerp.text import count

if TYPE_CHECKING:
    from autointerp.store.run import Run

CONTEXTS = ("contexts", "neuronpedia")


def command(
    run: _options.RunName,
    to: Annotated[
        Literal["csv", "parquet", "jsonl", "contexts", "neuronpedia"],
        typer.Option("--to", help="Ratings as csv, parquet or jsonl; or contexts, or neuronpedia."),
    ],
    what: Annotated[
        Literal["ratings", "scores", "specificity"],
        typer.Option(
            help="Rows of a table: ratings of units, their scores under scorers, or ratings of "
            "contexts against descriptions."
        ),
    ] = "ratings",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File to write, or folder for neuronpedia; - means standard output.",
            show_default="-",
        ),
    ] = None,
) -> None:
    """Write one row per rating: unit, rubric, rater, status, score, description and more.

    `--what scores` writes one row per unit, scorer, explainer and rater, controls among them, and
    `--what specificity` one per context and description.

    `--to contexts` writes the units' contexts as Parquet that `autointerp import` reads back, and
    `--to neuronpedia` a folder for each source in the layout of Neuronpedia's exports.

    Example: autointerp export main --to csv -o ratings.csv
    """
    from autointerp.errors import BadInput
    from autointerp.store.snapshots import open_to_read

    to_stdout = out is None or out == Path("-")
    if what != "ratings" and to in CONTEXTS:
        raise BadInput(f"--what {what} is a table; give --to csv, parquet or jsonl")
    if to_stdout and to == "neuronpedia":
        raise BadInput("--to neuronpedia writes a folder; name it with -o FOLDER")
    if out is None and to in ("parquet", "contexts"):
        raise BadInput(f"--to {to} is not text; name a file with -o FILE, or pipe it with -o -")
    if to_stdout:
        out = None
    with open_to_read(run) as opened:
        for note in opened.notes:
            say(f"note: {note}", err=True)
        subject = opened.settings.subject.name
        rows = _write_to_stdout(opened, to, what) if out is None else _write(opened, to, what, out)
    place = "standard output" if out is None else out
    amount = count(rows, "context" if to in CONTEXTS else "row")
    say(f"{place}: {amount} of run '{run}', subject {subject}", err=True)


def _write(run: Run, to: str, what: str, out: Path) -> int:
    """Write the export to a file or folder; return the number of its rows."""
    if to not in CONTEXTS:
        from autointerp.exchange.ratings import write_ratings, write_table

        if what == "ratings":
            return write_ratings(run, cast(Any, to), out)
        from autointerp.findings.answers import scores_table, specificity_table

        rows = (scores_table if what == "scores" else specificity_table)(run)
        return write_table(run, rows, cast(Any, to), out)
    from autointerp.exchange import contexts, neuronpedia

    return (contexts.write if to == "contexts" else neuronpedia.write)(run, out)


def _write_to_stdout(run: Run, to: str, what: str) -> int:
    """Write the export to standard output; return the number of its rows."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        file = Path(folder) / "export"
        rows = _write(run, to, what, file)
        if to in ("parquet", "contexts"):
            with file.open("rb") as table:
                shutil.copyfileobj(table, sys.stdout.buffer)
        else:
            with file.open(encoding="utf-8", newline="") as text:
                shutil.copyfileobj(text, sys.stdout)
    return rows
