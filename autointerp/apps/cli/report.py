"""Write the report of a run: a page, pictures, tables and a summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from autointerp.apps.cli._options import Output, options, require_runs


@options
def command(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN…]",
            help="Runs. Of several, every source of one is compared with every source of the "
            "others.",
            show_default="main",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder to write.", show_default="reports/RUN"),
    ] = None,
    units: Annotated[
        int,
        typer.Option(
            min=0,
            help="Maximum number of units that the page itself carries. Where there are more, "
            "all are in its folder `units`; 0 for none.",
        ),
    ] = 2_000,
    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=RUN,RUN",
            help="Runs that are seeds of one recipe; their units are nested in runs. Repeatable.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print every finding as JSON and, without -o, write no page: `comparisons`, one "
            "for each run, with schema, run, about, subject, plan, level, looks, sources, "
            "judgements (groups, contrasts, trust, verdict, check, reading), pooled, agreement, "
            "people, attention, text_asked_for, contexts_shown, rater_effects, calibration, "
            "blinding, scorers, specificity, explained, labs, attributions, known, use, maps, "
            "matches, covers, cost, imported, units, scores, plans; and `across`, the contrasts "
            "across runs (judged, left_out), null for one.",
        ),
    ] = False,
    output: Output = Output(),
) -> None:
    """Write the report of one run, or of several and their contrasts, and print its summary.

    Example: autointerp report main
    """
    if out == Path("-"):
        from autointerp.errors import BadInput

        raise BadInput("a report is a folder: name it with -o FOLDER")
    names = runs or ["main"]
    groups = _groups(group or [])
    require_runs(*names)

    from autointerp.apps.cli._progress import Show
    from autointerp.pipeline import report as verb

    with Show(output) as show:
        if as_json and out is None:
            typer.echo(json.dumps(verb.findings(names, on=show, groups=groups), allow_nan=False))
            return
        made = verb.report(names, out, units, on=show, groups=groups)
    if as_json:
        typer.echo(json.dumps(verb.as_json(made.material), allow_nan=False))
        return
    from rich.console import Console

    from autointerp.apps.cli._summary import print_summary

    print_summary(made, Console(highlight=False))


def _groups(texts: list[str]) -> dict[str, list[str]]:
    """Return the runs of each group from texts such as `topk=a,b,c`."""
    from autointerp.errors import BadInput

    groups: dict[str, list[str]] = {}
    for text in texts:
        name, is_there, members = text.partition("=")
        runs = [run.strip() for run in members.split(",") if run.strip()]
        if not (name.strip() and is_there and runs):
            raise BadInput(f"--group {text}: write NAME=RUN,RUN")
        if name.strip() in groups:
            raise BadInput(f"--group {name.strip()} is given twice; list all its runs in one")
        groups[name.strip()] = runs
    return groups
