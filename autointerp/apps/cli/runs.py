"""List the runs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import typer

from autointerp.apps.cli import columns_text
from autointerp.text import statuses_text

if TYPE_CHECKING:
    from autointerp.store.run import Run

HEADER = ("RUN", "SUBJECT", "MADE", "UNITS", "RATINGS")


def command() -> None:
    """List the runs in the folder `runs`: subject, units of each source, ratings by rater.

    Example: autointerp runs
    """
    from autointerp.store.run import RUNS, runs_in

    names = runs_in()
    if not names:
        typer.echo(f"no runs in {RUNS.absolute()}; `autointerp rate` makes one")
        return
    typer.echo(columns_text(HEADER, [_row(name) for name in names]))


def _row(name: str) -> tuple[str, str, str, str, str]:
    """Return what there is to say of a run; one that cannot be read says why in its place."""
    from autointerp.errors import AutointerpError
    from autointerp.store.run import RUNS, open_run, read_about

    subject = made = ""
    try:
        about = read_about(RUNS / name)
        subject, made = about["settings"]["subject"]["model"], about["run"]["made"]
        with open_run(name, read_only=True) as run:
            return name, subject, made, _units(run), _ratings(run)
    except AutointerpError as error:
        return name, subject, made, "", f"({error})"


def _units(run: Run) -> str:
    found = run.rows(
        "SELECT source, count(DISTINCT unit_id) FROM unit_item GROUP BY source ORDER BY source"
    )
    return ", ".join(f"{n} {source}" for source, n in found) or "none"


def _ratings(run: Run) -> str:
    statuses: dict[str, Counter[str]] = {}
    for rater, status, n in run.rows(
        "SELECT rater, status, count(*) FROM current_rating GROUP BY ALL ORDER BY ALL"
    ):
        statuses.setdefault(rater, Counter())[status] = n
    return (
        "; ".join(f"{rater}: {statuses_text(counts)}" for rater, counts in statuses.items())
        or "none"
    )
