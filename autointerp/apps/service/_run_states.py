"""Where a run stands, in a line: what works on it, or what it lacks and what goes on from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from autointerp.apps.service._access import Service
from autointerp.apps.service._jobs import EVENTS, STOPPED, JobState
from autointerp.files import writer_of
from autointerp.store.database import DATABASE
from autointerp.text import count

if TYPE_CHECKING:
    from autointerp.pipeline.summary import RunSummary

ENDED = {
    "stopped": "was stopped, and goes on from there",
    "killed": "was killed, and goes on from there",
    "failed": "failed",
}
MARGIN_S = 5.0  # by which a run's file may be newer than the end of the job that wrote it

State = Literal[
    "running", "paused", "stopped", "failed", "killed", "in use", "empty", "harvested", "rated",
    "unreadable",
]  # fmt: skip


@dataclass(frozen=True)
class Standing:
    """Where a run stands.

    Attributes:
        job: That works on it, or that was the last and did not come to its end.
        command: Of the command line that goes on; empty where nothing needs to.
    """

    state: State
    text: str = ""
    job: JobState | None = None
    command: str = ""

    @property
    def is_active(self) -> bool:
        return self.state in ("running", "paused")

    @property
    def again(self) -> str:
        """Id of the job that is to be started again; empty if there is none."""
        return self.job.id if self.job is not None and not self.is_active else ""


def standing(service: Service, summary: RunSummary, jobs: list[JobState]) -> Standing:
    """Return where a run stands; `jobs` are its own, the newest first."""
    last = jobs[0] if jobs else None
    if last is not None and last.is_active:
        return Standing("paused" if last.state == "paused" else "running", last.text, last)
    if summary.problem:
        return Standing("unreadable", summary.problem)
    process = writer_of(service.runs / summary.run / DATABASE)
    if process is not None:
        return Standing("in use", f"a command on this machine writes it (process {process})")
    name = summary.run
    if last is not None and last.state != "done" and not _changed_since(service, last):
        is_told = last.state == "failed" or (last.state == "stopped" and last.text != STOPPED)
        why = f": {last.text}" if is_told else ""
        return Standing(
            last.state,
            f"Its last job ({last.asked.verb}) {ENDED[last.state]}{why}. {_held(summary)}",
            last,
            last.asked.command,
        )
    if not summary.units:
        return Standing("empty", _held(summary), None, f"autointerp rate --run {name}")
    if not summary.ratings and not summary.answers:
        return Standing("harvested", _held(summary), None, f"autointerp rate --run {name}")
    return Standing("rated")


def _held(summary: RunSummary) -> str:
    """Return what a run that is not done holds."""
    if not summary.units:
        return "It holds no units yet: a harvest is stored when it has read the corpus to its end."
    rated = sum(n for by in summary.ratings.values() for c in by.values() for n in c.values())
    eligible = sum(outcomes.get("eligible", 0) for outcomes in summary.units.values())
    if not rated:
        return f"It holds {count(eligible, 'unit')} that can be rated, none of them rated."
    return f"It holds {count(eligible, 'unit')} that can be rated and {count(rated, 'rating')}."


def _changed_since(service: Service, job: JobState) -> bool:
    """Return whether something has written a run since its job ended: then it went on elsewhere."""
    from datetime import datetime

    try:
        written = (service.runs / job.asked.run / DATABASE).stat().st_mtime
        if job.ended_at:
            ended = datetime.fromisoformat(job.ended_at).timestamp()
        else:
            ended = (service.jobs.place(job.id) / EVENTS).stat().st_mtime
    except OSError:
        return False
    return written > ended + MARGIN_S
