"""List the runs."""

from __future__ import annotations

import json

import typer

from autointerp.apps.cli import _options, columns_text, say

HEADER = ("RUN", "SUBJECT", "MADE", "UNITS", "RATINGS")


def command(as_json: _options.AsJson = False) -> None:
    """List the runs in the folder `runs`: subject, units of each source, ratings by rater.

    Example: autointerp runs
    """
    from autointerp.pipeline.summary import RunSummary, summarise_runs
    from autointerp.store.run import RUNS

    summaries = summarise_runs()
    if as_json:
        typer.echo(json.dumps([summary.as_json() for summary in summaries], indent=2))
        return
    if not summaries:
        say(f"no runs in {RUNS.absolute()}; `autointerp rate` makes one")
        return

    def row(summary: RunSummary) -> tuple[str, str, str, str, str]:
        if summary.problem:
            return summary.run, summary.subject, summary.made, "", f"({summary.problem})"
        asked = ", ".join(f"{n} {source}" for source, n in summary.asked.items())
        eligible = {name: of["eligible"] for name, of in summary.units.items() if "eligible" in of}
        held = [f"{n} {source}" for source, n in eligible.items()]
        units = asked or (f"none asked of {', '.join(held)}" if held else "none")
        ratings = "; ".join(
            f"{rater}: " + ", ".join(f"{n} {status}" for status, n in sorted(statuses.items()))
            for rater, statuses in summary.by_rater.items()
        )
        return summary.run, summary.subject, summary.made, units, ratings or "none"

    say(columns_text(HEADER, [row(summary) for summary in summaries]))
