"""Rate: draw, blind and ask whatever the run lacks; running it twice asks nothing twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from autointerp.engine.batches import (
    BatchCounts,
    Forgotten,
    collect_batches,
    forget_batches,
    open_batches_text,
)
from autointerp.engine.forecast import Forecast, forecast_calls
from autointerp.errors import BadInput, UnknownName
from autointerp.pipeline.ask import ask_pending, common_reasons
from autointerp.pipeline.events import Note, On, Step, Waiting, ignore
from autointerp.pipeline.guess import GuessResult, ask_guesses, require_model, unguessed_of
from autointerp.pipeline.harvest import draw
from autointerp.pipeline.job import Job, Resolved, run_for
from autointerp.pipeline.rate_result import RateResult, reason_texts
from autointerp.pipeline.until import deviations, not_pending, rate_until, say_deviations
from autointerp.questions.guess import guess_rubric
from autointerp.questions.items import make_items
from autointerp.raters import load_rater
from autointerp.store.run import RUNS, open_run
from autointerp.store.snapshots import open_to_read
from autointerp.text import count, first_tokens, size_text, statuses_text
from autointerp.units.held import too_few

if TYPE_CHECKING:
    from autointerp.pipeline.sit import SitForecast
    from autointerp.pipeline.sit_pack import Ask, SitResult


@dataclass(frozen=True)
class RateForecast:
    """What `rate` would do.

    Attributes:
        missing: Units that would be harvested, by source.
        items: Items that would be rated, repeats counted; `left` of them have no rating
            yet and are in no batch.
        estimate: Calls, tokens and cost of those that are left.
        until: The stopping rule, by which fewer may be rated; empty for a fixed n.
        tokens: Tokens of the corpus that are read at most; 0 for all.
        cache_bytes: What the site's activations may take beside the run; 0 keeps none.
        guesses: The blinding check's calls; None where it is not asked for.
        new: What a run would be of that is not there yet, in words; empty of one that is.
        deviations: In what the rating would differ from the run's plan, a line each.
        in_batches: What a provider has of the rater's calls, in words; empty where it has nothing.
    """

    run: str
    subject: str
    rater: str
    rubric: str
    missing: Mapping[str, int]
    items: int
    left: int
    estimate: Forecast
    until: str = ""
    tokens: int = 0
    cache_bytes: int = 0
    guesses: Forecast | None = None
    new: str = ""
    deviations: tuple[str, ...] = ()
    in_batches: str = ""

    def __str__(self) -> str:
        missing = ", ".join(f"{n} {name}" for name, n in self.missing.items()) or "nothing"
        text = (
            (f"{self.new}: " if self.new else "")
            + f"would harvest {missing}"
            + (f" from {first_tokens(self.tokens)} at most" if self.tokens else "")
            + (
                f", keeping the site's activations in {size_text(self.cache_bytes)} at most"
                if self.cache_bytes and self.missing
                else ""
            )
            + f"; would ask {self.rater} about {self.left} of {self.items} "
            f"items on {self.rubric}: {self.estimate}"
        )
        if self.guesses is not None:
            text += f"; would then ask what they are: {self.guesses}"
        if self.until:
            text += f"; fewer where the rule stops before: {self.until}"
        return "\n".join([text, *([self.in_batches] if self.in_batches else []), *self.deviations])

    def as_json(self) -> dict[str, Any]:
        """Return the forecast as JSON values."""
        guesses = None if self.guesses is None else self.guesses.as_json()
        return {**asdict(self), "estimate": self.estimate.as_json(), "guesses": guesses}


@dataclass(frozen=True)
class CollectResult:
    """What the run's batches brought, and which of them were given up."""

    run: str
    counts: BatchCounts
    forgotten: tuple[Forgotten, ...] = ()

    def __str__(self) -> str:
        batches = count(self.counts.batches, "batch", "batches")
        text = statuses_text(self.counts.statuses) or "nothing new"
        text += f", {self.counts.spent_text}" if self.counts.spent_text else ""
        lines = [*map(str, self.forgotten), f"run '{self.run}': collected {batches}: {text}"]
        lines += [f"failed: {reason}" for reason in self.counts.failures]
        failure = self.counts.most_common_reason("failed")
        is_said = any(failure in said for said in self.counts.failures)
        unread = self.counts.most_common_reason("unparsed")
        lines += reason_texts("" if is_said else failure, unread)
        return "\n".join([*lines, *(f"still open: {batch}" for batch in self.counts.open)])


@overload
def rate(job: Job, on: On = ignore, ask: None = None) -> RateResult: ...


@overload
def rate(job: Job, on: On = ignore, ask: Ask | None = None) -> RateResult | SitResult: ...


def rate(job: Job, on: On = ignore, ask: Ask | None = None) -> RateResult | SitResult:
    """Rate what a job asks for; whatever is missing before it is made first.

    Units under a rubric about units; descriptions under one about descriptions, and then the
    result is a `DescriptionsResult`. Only a person's is a SitResult.

    Args:
        on: Is called with each event, such as `Harvesting` and `Asking`.
        ask: How a person is asked; needed where the rater is one. It is given the state machine of
            the session and returns when the person stops.

    Raises BadInput for what cannot be done as asked, RaterError if the rater cannot continue,
    RunLocked if another process has the run open, StorageError if the disk is full.
    """
    resolved = Resolved(job)
    resolved.refuse_options_of_descriptions()
    _refuse_rule(resolved)
    if job.by_person:
        from autointerp.pipeline.sit import rate_by_person

        if ask is None:
            raise BadInput(
                f"rater '{job.rater}' is a person: rate in a terminal with `autointerp rate "
                f"--rater {job.rater}`, or pass `ask=`, which shows each question"
            )
        return rate_by_person(resolved, ask, on)
    if resolved.question.about == "description":
        from autointerp.pipeline.describe import rate_descriptions

        _refuse_guesses(job)
        return rate_descriptions(resolved, on)
    return _rate_units(resolved, on)


def forecast(job: Job) -> RateForecast | Forecast | SitForecast:
    """Return what `rate` would do and what it would cost; nothing is made or asked."""
    resolved = Resolved(job)
    resolved.refuse_options_of_descriptions()
    _refuse_rule(resolved)
    if job.by_person:
        from autointerp.pipeline.sit import forecast_sitting

        return forecast_sitting(resolved)
    if resolved.question.about == "description":
        from autointerp.pipeline.describe import forecast_descriptions

        _refuse_guesses(job)
        return forecast_descriptions(resolved)
    return _forecast_units(resolved)


def _refuse_guesses(job: Job) -> None:
    if job.guess:
        raise BadInput(f"--guess asks what units are; rubric '{job.rubric}' is about descriptions")


def _refuse_rule(resolved: Resolved) -> None:
    """Raise BadInput for a stopping rule where nobody can look between batches."""
    job = resolved.job
    if job.until is None:
        return
    option = job.until_option
    if job.batch:
        raise BadInput(f"{option} looks after every few units; --batch answers within a day")
    if resolved.question.about == "description":
        raise BadInput(f"{option} compares units; rubric '{job.rubric}' is about descriptions")


# ---------------------------------------------------------------------------------- units


def _rate_units(resolved: Resolved, on: On) -> RateResult:
    job, rater, rubric = resolved.job, resolved.rater, resolved.question
    wanted = resolved.wanted
    if resolved.about is None:
        resolved.require_rater()
    if job.guess:
        require_model(rater)
    subject = resolved.subject() if resolved.about is None else None
    with run_for(resolved, subject, on) as run:
        if too_few(run, wanted):
            resolved.require_rater()  # before a harvest; perhaps nothing is left to ask else
        subject = subject or resolved.subject_for(run, wanted)
        drawn = draw(run, subject, wanted, on, cache=job.cache_bytes)
        until = None
        if resolved.stopping is not None:
            counts, until = rate_until(run, resolved, drawn, on)
            wanted = {**wanted, **dict.fromkeys(resolved.pair, until.n)}
        else:
            say_deviations(run, resolved, on)
            ids = [
                identifier
                for units in drawn.values()
                for identifier in make_items(run, units, rubric, rater.evidence)
            ]
            counts = ask_pending(run, sorted(ids), rubric, resolved, on)
        run.log("rated", rater=rater.name, rubric=rubric.id, statuses=dict(counts.statuses))
        failure, unread = common_reasons(run, rubric, rater, counts)
        guesses = ask_guesses(run, rubric, rater, job.policy, on) if job.guess else None
    return RateResult(
        run=job.run,
        rater=rater.name,
        rubric=rubric.id,
        units=wanted,
        counts=counts,
        failure=failure,
        unread=unread,
        budget_usd=counts.budget_usd,
        guesses=None if guesses is None else GuessResult(job.run, rater.name, guesses),
        until=until,
    )


def _forecast_units(resolved: Resolved) -> RateForecast:
    job, rater, rubric = resolved.job, resolved.rater, resolved.question
    wanted = resolved.wanted
    if job.guess:
        require_model(rater)
    resolved.prepare_rater(resolved.question)
    items = sum(wanted.values()) * job.repeats
    rated_once = unguessed = 0
    deviate: tuple[str, ...] = ()
    in_batches = ""
    try:
        with open_to_read(job.run, job.runs) as run:
            units = {name: run.sampled(name, n) for name, n in wanted.items()}
            drawn = {name: len(of) for name, of in units.items()}
            asked = [*chain.from_iterable(units.values())]
            rated = not_pending(run, resolved, asked, job.repeats)
            deviate = deviations(run, resolved)
            in_batches = open_batches_text(run, rater.name)
            if job.guess:
                rated_once = not_pending(run, resolved, asked, 1)
                unguessed = unguessed_of(run, rubric, rater)
            left = max(0, items - rated)
            estimate = forecast_calls(rater, rubric, left, run=run, batch=job.batch)
    except UnknownName:
        drawn, left = dict.fromkeys(wanted, 0), items
        estimate = forecast_calls(rater, rubric, left, batch=job.batch)
    guesses = None
    if job.guess:
        # Once about each item, and what a batch is to bring is asked about when it is there.
        new = 0 if job.batch else max(0, sum(wanted.values()) - rated_once)
        guesses = forecast_calls(rater, guess_rubric(rubric), unguessed + new)
    return RateForecast(
        run=job.run,
        subject=resolved.settings.subject.name,
        rater=rater.name,
        rubric=rubric.id,
        missing={name: n - drawn[name] for name, n in wanted.items() if n > drawn[name]},
        items=items,
        left=left,
        estimate=estimate,
        until="" if resolved.stopping is None else str(resolved.stopping),
        tokens=resolved.settings.harvest.tokens,
        cache_bytes=job.cache_bytes or 0,
        guesses=guesses,
        new=resolved.new,
        deviations=deviate,
        in_batches=in_batches,
    )


# ------------------------------------------------------------------------------- batches


def collect(
    run_name: str, runs: Path = RUNS, on: On = ignore, forget: Sequence[str] = ()
) -> CollectResult:
    """Store the replies of the run's batches that have ended.

    Args:
        forget: Names of batches that are given up first, as where the provider knows them no more:
            they count as spent at the most that they can cost, and `rate` asks again.

    Raises the first error of a batch that could not be collected, once the others are.
    """
    with open_run(run_name, folder=runs) as run:
        forgotten = forget_batches(run, forget)
        for one in forgotten:
            run.log("forgot batch", **asdict(one))
        on(Step(f"run '{run_name}': asking for its batches"))
        counts = collect_batches(run, load_rater, say=lambda words: on(Waiting(words)))
        run.log("collected", calls=counts.calls, statuses=dict(counts.statuses))
    result = CollectResult(run_name, counts, forgotten)
    if counts.errors:
        has_more = counts.batches or counts.open or forgotten
        for told in (*([result] if has_more else []), *counts.errors[1:]):
            on(Note(str(told)))
        raise counts.errors[0]
    return result
