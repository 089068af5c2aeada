"""Write the report of a run: a page, pictures, tables and a summary."""

from __future__ import annotations

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
) -> None:
    """Write the report of one run, or of several side by side, and print its summary.

    Example: autointerp report main
    """
    if out == Path("-"):
        from autointerp.errors import BadInput

        raise BadInput("a report is a folder: name it with -o FOLDER")
    from rich.console import Console

    from autointerp.apps.cli._summary import print_summary
    from autointerp.reports.write import report

    print_summary(report(runs or ["main"], out, units), Console(highlight=False))
