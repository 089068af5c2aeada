"""Write the report of a run: a page, pictures, tables and a summary."""

from __future__ import annotations

import json
from pathlib import Path

import typer


def command(
    runs: list[str] = typer.Argument(None, metavar="[RUN…]", help="Runs, side by side; main."),
    out: Path = typer.Option(
        None, "--out", "-o", help="Folder to write.", show_default="reports/RUN"
    ),
    units: int = typer.Option(
        2_000, min=0, help="Units at most whose contexts the page carries; the list has all."
    ),
    as_json: bool = typer.Option(
        False,
        "--json",
        help="Print all figures as JSON and, without -o, write no page: `comparisons`, one a run, "
        "each with schema, run, about, sources, judgements (groups, contrasts, trust, verdict, "
        "check), pooled, agreement, people, attention, calibration, blinding, scorers, "
        "specificity, explained, cost, imported, units, scores, plans.",
    ),
) -> None:
    """Write the report of one run, or of several side by side, and print its summary.

    Example: autointerp report main
    """
    from autointerp.pipeline import report as verb

    if out == Path("-"):
        from autointerp.errors import BadInput

        raise BadInput("a report is a folder: name it with -o FOLDER")
    names = runs or ["main"]
    if as_json and out is None:
        typer.echo(json.dumps(verb.findings(names), allow_nan=False))
        return
    made = verb.report(names, out, units)
    if as_json:
        typer.echo(json.dumps(verb.as_json(made.material), allow_nan=False))
        return
    from rich.console import Console

    from autointerp.apps.cli._summary import print_summary

    print_summary(made, Console(highlight=False))
