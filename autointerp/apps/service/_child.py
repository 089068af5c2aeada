"""The child process of a job: `python -m autointerp.apps.service._child FOLDER RUNS`.

Calls the verb that `job.json` names and writes its events; provider keys come by the environment.
With `--call NAME RUNS` it answers one question of a server, what a job would cost or a new
invitation, which may load a model: fields by standard input, JSON by standard output.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autointerp.apps.service._jobs import (
    EVENTS,
    PID,
    RESULT,
    STOP,
    STOPPED,
    Asked,
    FileControl,
    read_asked,
)
from autointerp.errors import AutointerpError
from autointerp.files import PRIVATE_FILE, write_text
from autointerp.findings.json_values import plain
from autointerp.pipeline.events import Asking, Event, Harvesting, Measuring
from autointerp.text import visible

PROGRESS = (Asking, Harvesting, Measuring)
EVERY_S = 0.5  # between two events of progress; the last one of a stage is always written


class EventLog:
    """Writes the events of a verb, one a line: number, time, kind, text and fields."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
        self._number = 0
        self._written_at = float("-inf")
        self._held: Event | None = None

    def __call__(self, event: Event) -> None:
        """Write an event; of those of progress only some, and the last."""
        if isinstance(event, PROGRESS):
            if time.monotonic() - self._written_at < EVERY_S:
                self._held = event
                return
            self._written_at = time.monotonic()
            self._held = None
        else:
            self.flush()
        self.write(type(event).__name__, str(event), plain(event))

    def flush(self) -> None:
        """Write the event of progress that was held back."""
        held, self._held = self._held, None
        if held is not None:
            self.write(type(held).__name__, str(held), plain(held))

    def write(self, kind: str, text: str, fields: Any) -> None:
        """Append a line."""
        line = {
            "number": self._number,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "kind": kind,
            "text": visible(" ".join(text.split())),
            "fields": fields,
        }
        self._number += 1
        os.write(self._handle, json.dumps(line).encode() + b"\n")


def run(asked: Asked, runs: Path, place: Path, on: EventLog) -> tuple[str, bool]:
    """Do what a job asks for; return its result in words, and whether all was done: a budget may
    have ended it."""
    job = asked.job(runs, FileControl(place))
    if asked.verb == "harvest":
        from autointerp.pipeline.harvest import harvest

        return str(harvest(job, on=on)), True
    from autointerp.pipeline import describe, rate

    results: list[Any]
    if asked.verb == "rate":
        results = [rate.rate(job, on)]
    elif asked.verb == "explain":
        results = [describe.explain(job, on)]
    else:
        results = list(describe.score(job, on).values())
    # The blinding check of a rating asks, too.
    asked_twice = [one.guesses for one in results if getattr(one, "guesses", None) is not None]
    is_done = not any(one.counts.stopped for one in (*results, *asked_twice))
    return "\n".join(map(str, results)), is_done


def forecast(asked: Asked, runs: Path) -> dict[str, Any]:
    """Return what a job would do and cost, as JSON values: `text`, and `calls` by what is asked.

    The run is read through a copy, so that no command is hindered.
    """
    from autointerp.pipeline import describe, rate
    from autointerp.store.run import CHECKS, run_exists
    from autointerp.store.snapshots import open_snapshot
    from autointerp.text import dollars

    with tempfile.TemporaryDirectory() as folder:
        copies = Path(folder)
        if run_exists(runs / asked.run):
            open_snapshot(asked.run, copies / asked.run, runs).close()  # whose errors name the run
        if (runs / CHECKS).exists():
            (copies / CHECKS).symlink_to((runs / CHECKS).absolute())
        job = asked.job(copies)
        if asked.verb == "rate":
            expected: Any = rate.forecast(job)
        elif asked.verb == "explain":
            expected = describe.forecast_explain(job)
        elif asked.verb == "score":
            expected = describe.forecast_score(job)
        else:
            return {
                "text": "a harvest asks nobody",
                "forecast": {},
                "cost_usd": 0.0,
                "cost": dollars(0),
            }
    many = expected.values() if isinstance(expected, dict) else [expected]
    estimates: list[Any] = [one.estimate for one in many]
    estimates += [one.guesses for one in many if getattr(one, "guesses", None) is not None]
    costs = [0.0 if one.tokens_in is None else one.cost_usd for one in estimates]
    cost = None if None in costs else sum(costs)
    return {
        "text": "; ".join(map(str, many)),
        "forecast": {name: plain(one) for name, one in expected.items()}
        if isinstance(expected, dict)
        else plain(expected),
        "cost_usd": cost,
        "cost": "" if cost is None else dollars(cost),
    }


def invitation(wanted: Mapping[str, Any], runs: Path) -> dict[str, Any]:
    """Make the session of an invitation; return what it asks, as JSON values.

    The run is written, which a server never does itself.
    """
    from autointerp.apps.service._invitations import Wanted, prepare

    notes: list[str] = []
    made = prepare(runs, Wanted(**wanted), lambda event: notes.append(str(event)))
    return {
        "session": made.session,
        "asked": dict(made.asked),
        "gold": made.gold,
        "notes": notes,
    }


CALLS: Mapping[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    "forecast": lambda fields, runs: forecast(Asked.of(fields), runs),
    "invitation": invitation,
}


def answer(call: str, runs: str) -> int:
    """Answer a call whose fields come by standard input; return the exit code."""
    try:
        said = CALLS[call](json.loads(sys.stdin.read()), Path(runs))
    except AutointerpError as error:
        said = {"error": str(error), "kind": type(error).__name__}
    sys.stdout.write(json.dumps(said))
    return 0


def main(folder: str, runs: str) -> int:
    """Run the job of a folder; return the exit code."""
    place = Path(folder)
    asked, _ = read_asked(place)
    on = EventLog(place / EVENTS)
    received: list[int] = []

    def stop(number: int, frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    write_text(place / PID, str(os.getpid()), mode=PRIVATE_FILE)
    state, text, code = "done", "", 0
    try:
        if (place / STOP).exists():  # it was asked to stop before it could be signalled
            raise KeyboardInterrupt
        text, is_done = run(asked, Path(runs), place, on)
        state = "done" if is_done else "stopped"
    except AutointerpError as error:
        state, text, code = "failed", str(error), error.exit_code
    except KeyboardInterrupt:
        state, text, code = "stopped", STOPPED, 130
    except Exception as error:
        state, text, code = "failed", f"a fault ({type(error).__name__}); see output.log", 70
        raise
    finally:
        on.flush()
        on.write("Ended", text, {"state": state})
        result = {
            "state": state,
            "text": text,
            "code": code,
            "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_text(place / RESULT, json.dumps(result), mode=PRIVATE_FILE)
    return code


if __name__ == "__main__":
    sys.exit(answer(*sys.argv[2:]) if sys.argv[1] == "--call" else main(*sys.argv[1:]))
