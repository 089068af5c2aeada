"""Check libraries, disk, keys and a rater's server, or a run."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from autointerp.apps.cli import _options, say


def command(
    run: Annotated[
        str | None,
        typer.Argument(help="Run to check and repair: runs/NAME.", show_default=False),
    ] = None,
    rater: Annotated[
        str | None,
        typer.Option(
            help="NAME or NAME:MODEL of a rater to call once, for a fraction of a cent.",
            show_default=False,
        ),
    ] = None,
    base_url: _options.BaseUrl = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds to wait for the server's reply.")
    ] = 30.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With RUN: check it and change nothing.")
    ] = False,
    as_json: _options.AsJson = False,
) -> None:
    """Check libraries, disk, keys and, with --rater, one call to its server; keys are not shown.

    With RUN, check that run: its run.toml, database, keys, digests, replies and journals. What can
    be repaired is, and a copy of each changed file is kept in a folder of the run. The exit code is
    1 if a check fails.

    Example: autointerp doctor --rater anthropic:claude-haiku-4-5
    """
    from autointerp.errors import BadInput
    from autointerp.pipeline.doctor import examine, examine_run
    from autointerp.raters import RaterOptions, load_rater, require_used

    if run is not None and (rater or base_url):
        raise BadInput("doctor checks a run or a rater; give RUN, or --rater")
    if run is None and dry_run:
        raise BadInput("--dry-run goes with a RUN; without one nothing is ever changed")
    if rater is not None:
        require_used(rater, RaterOptions(base_url=base_url))
    options = RaterOptions(base_url=base_url, timeout_s=timeout)
    judge = load_rater(rater, options) if rater else None
    findings = examine(judge, options) if run is None else examine_run(run, repair=not dry_run)
    checks = []
    for finding in findings:
        checks.append(
            {
                "check": finding.about,
                "ok": finding.ok,
                "result": finding.words,
                "remedy": finding.remedy or None,
            }
        )
        if not as_json:
            mark = "ok" if finding.ok else "!!"
            remedy = f"; {finding.remedy}" if finding.remedy else ""
            say(f"{mark}  {finding.about:24} {finding.words}{remedy}")
    if as_json:
        typer.echo(json.dumps(checks, indent=2))
    if not all(check["ok"] for check in checks):
        raise typer.Exit(1)
