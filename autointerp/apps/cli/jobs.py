"""Jobs of `autointerp serve`: list them, watch one, pause, resume or stop it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from autointerp.apps.cli import _options, columns_text, say

HEADER = ("ID", "RUN", "VERB", "RATER", "STATE", "MADE", "LAST")
Identifier = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="Id of the job.", show_default="the newest")
]
app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_jobs(as_json: _options.AsJson = False) -> None:
    """List the jobs that were started by `/v1` or the pages, the newest first.

    Example: autointerp jobs list
    """
    from autointerp.apps.service._jobs import Jobs
    from autointerp.store.run import RUNS

    states, unreadable = Jobs(RUNS).readable()
    for line in unreadable:
        say(line, err=True)
    if as_json:
        typer.echo(json.dumps([asdict(state) for state in states], indent=2))
        return
    rows = [
        (s.id, s.asked.run, s.asked.verb, s.asked.rater, s.state, s.made_at, s.text[:80])
        for s in states
    ]
    say(columns_text(HEADER, rows) if rows else "no jobs; `autointerp serve` starts them")


@app.command("watch")
@_options.options
def watch(job: Identifier = None, output: _options.Output = _options.Output()) -> None:
    """Show a job as its own terminal would, until it ends; Ctrl-C ends the watching alone.

    Example: autointerp jobs watch
    """
    import time

    from autointerp.apps.cli._progress import Show
    from autointerp.apps.service._jobs import EVENTS, Jobs, event_of
    from autointerp.store.run import RUNS

    jobs = Jobs(RUNS)
    identifier = _chosen(job)
    at = 0
    try:
        with Show(output) as show:
            while True:
                active = jobs.state(identifier).is_active  # before the log is read
                lines, at = _new_lines(jobs.place(identifier) / EVENTS, at)
                for line in lines:
                    event = event_of(json.loads(line))
                    if event is not None:
                        show(event)
                if not active and not lines:
                    break
                time.sleep(0.3)
    except KeyboardInterrupt:
        say(f"job {identifier} goes on; `autointerp jobs stop {identifier}` ends it", err=True)
        return
    state = jobs.state(identifier)
    say(f"job {state.id}: {state.state}: {state.text}")


@app.command("pause")
def pause(job: Identifier = None) -> None:
    """Have a job make no new call; those in flight are waited for.

    Example: autointerp jobs pause
    """
    _change(job, paused=True)


@app.command("resume")
def resume(job: Identifier = None) -> None:
    """Have a paused job go on.

    Example: autointerp jobs resume
    """
    _change(job, paused=False)


@app.command("stop")
def stop(job: Identifier = None) -> None:
    """Have a job end; what was rated is kept, and the same job goes on from there.

    Example: autointerp jobs stop
    """
    from autointerp.apps.service._jobs import Jobs
    from autointerp.store.run import RUNS

    state = Jobs(RUNS).stop(_chosen(job))
    say(f"job {state.id} is asked to stop")


def _change(job: str | None, paused: bool) -> None:
    from autointerp.apps.service._jobs import Jobs
    from autointerp.store.run import RUNS

    state = Jobs(RUNS).change(_chosen(job), paused=paused)
    say(f"job {state.id} is {state.state}")


def _chosen(job: str | None) -> str:
    """Return the id of the job that is meant: the newest, unless it is named."""
    from autointerp.apps.service._jobs import Jobs
    from autointerp.errors import BadInput
    from autointerp.store.run import RUNS

    ids = [job] if job else Jobs(RUNS).ids()
    if not ids:
        raise BadInput("there is no job; `autointerp serve` starts them")
    return ids[0]


def _new_lines(path: object, at: int) -> tuple[list[bytes], int]:
    """Return the whole lines of a log after a byte, and where they end."""
    from pathlib import Path

    try:
        with Path(str(path)).open("rb") as file:
            file.seek(at)
            text = file.read()
    except FileNotFoundError:
        return [], at
    whole = text[: text.rfind(b"\n") + 1]
    return whole.splitlines(), at + len(whole)
