"""Declare what will be rated, by whom and when one stops, before anything is rated."""

from __future__ import annotations

from collections.abc import Sequence

from autointerp.errors import BadInput
from autointerp.findings.plan import Plan, Stopping, declare
from autointerp.people.ingest import ingest_journals
from autointerp.pipeline.events import On, ignore
from autointerp.pipeline.job import Job, Resolved, open_job
from autointerp.raters import load_rater, require_used
from autointerp.stats.decision import EQUIVALENT
from autointerp.text import count


def write_plan(
    job: Job,
    raters: Sequence[str] = (),
    alpha: float = 0.05,
    equivalence: tuple[float, float] = EQUIVALENT,
    on: On = ignore,
) -> Plan:
    """Write the plan of a job into its run, which is made if it is not there, and return it.

    The job says sources (two, else features and neurons), n or a stopping rule, rubric, repeats,
    run and subject. The same plan is not written twice; another one supersedes it while nothing
    was rated.

    Args:
        raters: Names as for `rate`; none for the job's own.

    Raises BadInput once something was rated, or for what is no plan.
    """
    resolved = Resolved(job, planned=False)
    question = resolved.question
    if question.about != "unit":
        raise BadInput(f"rubric '{job.rubric}' is about descriptions; a plan compares units")
    assert isinstance(job.sources, tuple)
    if len(job.sources) not in (0, 2):
        raise BadInput(
            f"{count(len(job.sources), 'source')}: a plan compares two; give --source twice"
        )
    first, second = resolved.pair
    _ = resolved.wanted  # sources that exist
    asked = raters or (job.rater,)
    for name in asked:
        require_used(name, job.options)
    plan = Plan(
        raters=tuple(dict.fromkeys(load_rater(name, job.options).name for name in asked)),
        rubric=question.id,
        rubric_digest=question.digest,
        first=first,
        second=second,
        stopping=resolved.stopping or Stopping("fixed", resolved.n),
        alpha=alpha,
        equivalence=equivalence,
        repeats=job.repeats,
        tokens=0 if resolved.is_imported else resolved.settings.harvest.tokens,
    )
    subject = resolved.subject() if resolved.about is None else None
    with open_job(resolved, subject, on) as run:
        ingest_journals(run)
        return declare(run, plan)
