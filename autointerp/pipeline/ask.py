"""Ask what a rater has not answered yet: at once, or through its provider's batch API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from autointerp.engine.batches import open_batches_text, submit_batches
from autointerp.engine.budget import require_price
from autointerp.engine.forecast import LOOKED_AT, forecast_calls
from autointerp.engine.work import RatingCounts, pending_work, rate_items, rated_before
from autointerp.pipeline.events import Forecasted, HandedOver, Note, On, Waiting, tell_asking
from autointerp.pipeline.job import Resolved
from autointerp.questions.items import load_items
from autointerp.questions.question import Question
from autointerp.raters import Rater, ServedRater, judges, version_of
from autointerp.store.run import Run


def ask_pending(
    run: Run,
    ids: Sequence[str],
    question: Question,
    resolved: Resolved,
    on: On,
    label: str = "rate",
    repeats: int | None = None,
    expected: int | None = None,
) -> RatingCounts:
    """Ask the rater what it has not answered yet, or submit it to the batch API.

    `expected`: calls to forecast, where these are not all; 0 to forecast nothing.
    """
    job, rater = resolved.job, resolved.rater
    resolved.prepare_rater(question)
    repeats = job.repeats if repeats is None else repeats
    work = pending_work(run, ids, rater, repeats)
    in_batches = open_batches_text(run, rater.name)
    if in_batches:
        on(Note(in_batches))
    require_price(rater, job.policy.budget_usd)
    calls = len(work) if expected is None else expected
    _say_other_versions(run, ids, rater, on)
    if work and calls and any(isinstance(judge, ServedRater) for judge in judges(rater)):
        examples = load_items(run, sorted({item for item, _ in work[:LOOKED_AT]}), question)
        on(Forecasted(forecast_calls(rater, question, calls, examples, run, job.batch)))
    if job.batch:
        return _submit(run, ids, question, resolved, repeats, on)
    return rate_items(
        run,
        ids,
        question,
        rater,
        repeats,
        tell_asking(f"{label} by {rater.name}", on),
        job.policy,
    )


def common_reasons(
    run: Run, question: Question, rater: Rater, counts: RatingCounts
) -> tuple[str, str]:
    """Return why most ratings failed, and why most replies could not be read; empty where none of
    `counts` did or was."""
    failed, unparsed = (
        _common_reason(run, question, rater, status) if counts.statuses[status] else ""
        for status in ("failed", "unparsed")
    )
    return failed, unparsed


def _common_reason(run: Run, question: Question, rater: Rater, status: str) -> str:
    """Return the reason that most of the rater's ratings of this status have."""
    rows = run.rows(
        "SELECT rationale FROM current_rating WHERE rater = ? AND rubric_digest = ?"
        " AND status = ? GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1",
        [rater.name, question.digest, status],
    )
    return str(rows[0][0] or "") if rows else ""


def _say_other_versions(run: Run, ids: Sequence[str], rater: Rater, on: On) -> None:
    """Say how many ratings of these items are by other versions of who is asked now."""
    for judge in dict.fromkeys((rater, *judges(rater))):
        rows = run.rows(
            "SELECT rater_version, count(*) FROM current_rating WHERE rater = ?"
            " AND rater_version <> ? AND item_id IN (SELECT unnest(?::VARCHAR[]))"
            " GROUP BY ALL ORDER BY ALL",
            [judge.name, version_of(judge), list(ids)],
        )
        if rows:
            of = ", ".join(f"{n:,} by version '{version}'" for version, n in rows)
            on(
                Note(
                    f"{judge.name} is version '{version_of(judge)}' now, and has ratings of others "
                    f"({of}); they are made anew"
                )
            )


def _submit(
    run: Run, ids: Sequence[str], question: Question, resolved: Resolved, repeats: int, on: On
) -> RatingCounts:
    job, rater = resolved.job, resolved.rater
    run.add_rater(rater.name, rater.is_llm)
    name = job.rubric if question.id == resolved.question.id else question.id
    is_file = name.endswith(".md") or "/" in name
    counts = submit_batches(
        run,
        ids,
        question,
        rater,
        asked=job.rater,
        rubric_name=str(Path(name).resolve()) if is_file else name,
        options=job.options,
        repeats=repeats,
        budget_usd=job.policy.budget_usd,
        say=lambda words: on(Waiting(words)),
    )
    if counts.calls:
        on(HandedOver(job.run, counts.calls, counts.batches))
    before = rated_before(run, ids, rater, repeats)
    budget_usd = job.policy.budget_usd if counts.stopped == "budget" else None
    return RatingCounts(before, Counter(), stopped=counts.stopped, budget_usd=budget_usd)
