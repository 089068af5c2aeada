"""Explain units, rate descriptions, score descriptions: each makes what is missing before it.

A run without descriptions is explained first, by the same rater; a run that does not exist is
harvested first.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from autointerp.engine.forecast import Forecast, forecast_trials
from autointerp.engine.work import RatingCounts, pending_work
from autointerp.errors import BadInput
from autointerp.findings.answers import texts_of
from autointerp.findings.descriptions import scorer_results_of
from autointerp.labs import options_of
from autointerp.pipeline.ask import ask_pending, common_reasons
from autointerp.pipeline.events import Note, On, Step, ignore
from autointerp.pipeline.harvest import draw
from autointerp.pipeline.job import Job, Resolved, open_existing, run_for
from autointerp.pipeline.lab import measured
from autointerp.pipeline.rate_result import RateResult, reason_texts
from autointerp.pipeline.responses import measure_texts, pending_texts, subject_for_texts
from autointerp.questions.explain import (
    EXPLAIN,
    EXPLAIN_LOGITS,
    Explanation,
    choose_explainer,
    eligible_units,
    explain_trials,
    explainer_name,
    explainers,
    explanations,
)
from autointerp.questions.question import Question
from autointerp.questions.score import Plan, lab_of, plan, store_plan
from autointerp.questions.scorers import Scorer, needs_responses, scorer
from autointerp.questions.specificity import specificity_trials
from autointerp.questions.trials import add_trials
from autointerp.raters import Rater
from autointerp.records import Context, LogitEffects
from autointerp.stats.results import Statistic
from autointerp.store.run import Run, open_run
from autointerp.text import count, statuses_text
from autointerp.units.subject_record import is_unchanged

# --------------------------------------------------------------------------------- results


@dataclass(frozen=True)
class ExplainResult:
    """What a call to `explain` left.

    Attributes:
        explainer: Who described: the rater, with `+logits` where it saw logit effects.
        units: Units that were to be described.
        described, unknown: Units with a description, and those called Unknown.
        missing: Units without an answer, by status.
    """

    run: str
    explainer: str
    units: int
    described: int
    unknown: int
    missing: Mapping[str, int]
    counts: RatingCounts

    def __str__(self) -> str:
        missing = "".join(f", {n} {status}" for status, n in sorted(self.missing.items()))
        return (
            f"run '{self.run}': {self.explainer} describes {self.described} of "
            f"{count(self.units, 'unit')}; {self.unknown} Unknown{missing}"
            + (f", {self.counts.spent_text}" if self.counts.spent_text else "")
            + _on_a_line(self.counts.budget_text)
        )


@dataclass(frozen=True)
class DescriptionsResult(RateResult):
    """What a call to `rate` under a rubric about descriptions did.

    Attributes:
        descriptions: Descriptions that were rated, on `contexts` contexts in all.
        without: Units that have no description.
    """

    descriptions: int = 0
    contexts: int = 0
    without: int = 0

    def __str__(self) -> str:
        counts = self.counts
        line = (
            f"run '{self.run}': {count(self.descriptions, 'description')} on "
            f"{count(self.contexts, 'context')}; {self.rater} on {self.rubric}: "
            + (statuses_text(counts.statuses) or "nothing new")
            + (f", {counts.before} rated before" if counts.before else "")
            + (f", {counts.spent_text}" if counts.spent_text else "")
            + (f"; {count(self.without, 'unit')} without a description" if self.without else "")
        )
        return "\n".join([line, *self.reasons])


@dataclass(frozen=True)
class ScoreResult:
    """What one scorer was asked.

    Attributes:
        units: Units with questions.
        without: Units without questions, by reason.
        means: By source, the mean score with own descriptions and with another unit's.
    """

    scorer: str
    units: int
    without: Mapping[str, int]
    counts: RatingCounts
    means: Mapping[str, tuple[Statistic, Statistic]] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = self.counts
        text = f"{self.scorer}: {count(self.units, 'unit')}, "
        text += statuses_text(counts.statuses) or "nothing new"
        text += f", {counts.before} answered before" if counts.before else ""
        text += f", {counts.spent_text}" if counts.spent_text else ""
        for reason, n in sorted(self.without.items()):
            text += f"; {count(n, 'unit')} with {reason}"
        return text + _on_a_line(counts.budget_text)


def _on_a_line(text: str) -> str:
    return f"\n{text}" if text else ""


# --------------------------------------------------------------------------------- explain


def explain(job: Job, on: On = ignore) -> ExplainResult:
    """Have the rater describe the units of the run that it has not described yet.

    With `job.logit_effects` it is shown logit effects, for which the run's subject is loaded.
    Raises BadInput for those where the rater is no language model: rules make nothing of them.
    """
    resolved = Resolved(job)
    name = _explainer_of(resolved)
    with open_existing(resolved, on) as run:
        units = eligible_units(run, resolved.job.sources, job.n)
        effects = _effects(run, units, on) if job.logit_effects else None
        counts = _explain(run, units, resolved, on, effects)
        answers = explanations(run, name, job.sources, job.n)
    described = sum(answer.says_something for answer in answers)
    missing = Counter[str](answer.status for answer in answers if answer.status != "ok")
    if len(units) > len(answers):
        missing["not answered yet"] = len(units) - len(answers)
    unknown = sum(answer.status == "ok" for answer in answers) - described
    return ExplainResult(job.run, name, len(units), described, unknown, missing, counts)


def forecast_explain(job: Job, on: On = ignore) -> Forecast:
    """Return what `explain` would ask and what it would cost."""
    resolved = Resolved(job)
    _explainer_of(resolved)
    with open_existing(resolved, on) as run:
        units = eligible_units(run, job.sources, job.n)
        effects = _effects(run, units, on) if job.logit_effects else None
        task = EXPLAIN if effects is None else EXPLAIN_LOGITS
        trials = explain_trials(run, units, resolved.rater.evidence, effects)
        return forecast_trials(run, resolved.rater, task, trials, len(units), job.batch)


def _explainer_of(resolved: Resolved) -> str:
    """Return what the rater is called as an explainer."""
    rater = resolved.rater
    reads_effects = rater.is_llm or getattr(rater, "reads_effects", False)
    if resolved.job.logit_effects and not reads_effects:
        raise BadInput(
            f"--logit-effects: {rater.name} reads contexts alone; name a language model, as in "
            "--rater anthropic:MODEL"
        )
    return explainer_name(rater.name, resolved.job.logit_effects)


def _effects(run: Run, units: Mapping[int, str], on: On) -> dict[int, LogitEffects]:
    """Return the logit effects of units, and say which sources have none."""
    from autointerp.labs.logit_effects import logit_effects  # imports torch

    effects, without = logit_effects(run, list(units))
    on(Step(f"logit effects of {len(effects)} of {count(len(units), 'unit')}"))
    for source, reason in without.items():
        on(Note(f"none of {source}: {reason}"))
    return effects


def _explain(
    run: Run,
    units: Sequence[int] | dict[int, str],
    resolved: Resolved,
    on: On,
    effects: Mapping[int, LogitEffects] | None = None,
) -> RatingCounts:
    task = EXPLAIN if effects is None else EXPLAIN_LOGITS
    rater = resolved.rater
    ids = add_trials(run, explain_trials(run, units, rater.evidence, effects))
    counts = ask_pending(run, sorted(set(ids)), task, resolved, on, "explain", repeats=1)
    _say_failures(run, task, rater, counts, on)
    run.log("explained", rater=rater.name, task=task.id, statuses=dict(counts.statuses))
    return counts


def _say_failures(run: Run, question: Question, rater: Rater, counts: RatingCounts, on: On) -> None:
    """Say why most of what is no answer is none."""
    for text in reason_texts(*common_reasons(run, question, rater, counts)):
        on(Note(text))


def _explained(run: Run, resolved: Resolved, on: On) -> list[Explanation]:
    """Return the descriptions to be tried; the rater writes them where the run has none."""
    job, rater = resolved.job, resolved.rater
    name = job.explainer
    if name is None and not explainers(run):
        on(Step(f"run '{run.name}' has no descriptions yet: {rater.name} explains first"))
        counts = _explain(run, eligible_units(run, job.sources, job.n), resolved, on)
        if counts.spent_text:
            on(Note(f"descriptions by {rater.name}: {counts.spent_text}"))
        name = rater.name
        if job.batch:
            raise BadInput(
                "the descriptions were submitted to the batch API; collect them by "
                f"`autointerp rate --resume --run {run.name}`, then give this command again"
            )
    return explanations(run, choose_explainer(run, name), job.sources, job.n)


# ---------------------------------------------------------------------------------- rate


def rate_descriptions(resolved: Resolved, on: On = ignore) -> DescriptionsResult:
    """Rate descriptions under a rubric about them, each on `job.contexts` held-out contexts.

    A run that exists is taken as it is; one that does not is harvested as the job says.
    """
    rubric, rater = resolved.question, resolved.rater
    with _run(resolved, on) as run:
        resolved = _with_controls(run, resolved)
        described = _explained(run, resolved, on)
        trials = specificity_trials(run, rubric, described, resolved.job.contexts)
        lacking = {trial.unit_id for trial in trials}
        lacking -= {trial.unit_id for trial in trials if trial.pieces[0].kind == "other"}
        if lacking and resolved.job.contexts > 2:
            on(Note(f"{_unknown_silence(run, len(lacking))} none of these contexts"))
        ids = add_trials(run, trials)
        counts = ask_pending(run, sorted(set(ids)), rubric, resolved, on)
        failure, unread = common_reasons(run, rubric, rater, counts)
        run.log("rated", rater=rater.name, rubric=rubric.id, statuses=dict(counts.statuses))
    descriptions = sum(one.says_something for one in described)
    return DescriptionsResult(
        run=resolved.job.run,
        rater=rater.name,
        rubric=rubric.id,
        units=Counter(one.source for one in described),
        counts=counts,
        failure=failure,
        unread=unread,
        budget_usd=counts.budget_usd,
        descriptions=descriptions,
        contexts=len(set(ids)),
        without=len(described) - descriptions,
    )


def _unknown_silence(run: Run, units: int) -> str:
    """Return why units get no contexts of others, up to what they lack."""
    return (
        f"run '{run.name}' holds no context of another unit in which "
        f"{count(units, 'unit')} would be known to be silent, so they have"
    )


def forecast_descriptions(resolved: Resolved) -> Forecast:
    """Return what rating descriptions would ask and cost; the run and descriptions must exist."""
    rubric = resolved.question
    with open_run(resolved.job.run, folder=resolved.job.runs) as run:
        resolved = _with_controls(run, resolved)
        job = resolved.job
        name = choose_explainer(run, job.explainer)
        described = explanations(run, name, job.sources, job.n)
        trials = specificity_trials(run, rubric, described, job.contexts)
        units = len({trial.unit_id for trial in trials})
        return forecast_trials(run, resolved.rater, rubric, trials, units, job.batch)


def _with_controls(run: Run, resolved: Resolved) -> Resolved:
    """Return the job with the run's controls among its sources, if it wants them."""
    job = resolved.job
    if not (job.sources and job.controls):
        return resolved
    controls = run.rows(
        "SELECT DISTINCT source FROM unit JOIN source USING (source)"
        " WHERE is_control AND outcome = 'eligible' ORDER BY source"
    )
    return Resolved(replace(job, sources=(*job.sources, *(name for (name,) in controls))))


@contextlib.contextmanager
def _run(resolved: Resolved, on: On) -> Iterator[Run]:
    """Open the run; one that does not exist is harvested."""
    if resolved.about is not None:
        with open_existing(resolved, on) as run:
            yield run
        return
    wanted = resolved.wanted
    resolved.require_rater()
    subject = resolved.subject()
    with run_for(resolved, subject, on) as run:
        on(Step(f"harvesting {', '.join(f'{n} {name}' for name, n in wanted.items())}"))
        draw(run, subject, wanted, on, cache=resolved.job.cache_bytes)
        yield run


# ---------------------------------------------------------------------------------- score


def score(job: Job, on: On = ignore) -> dict[str, ScoreResult]:
    """Ask the questions of `job.scorers` about descriptions; return what came back by scorer.

    Raises UnknownName for a scorer that does not exist.
    """
    resolved = Resolved(job)
    modules = {name: scorer(name) for name in dict.fromkeys(job.scorers)}
    results: dict[str, ScoreResult] = {}
    with open_existing(resolved, on) as run:
        _require_model(run, modules)
        described = _to_score(run, resolved, modules, lambda: _explained(run, resolved, on))
        explainers_asked = {one.explainer or None for one in described} | {None}
        hard = _hard(run, described) if job.design.hard else None
        _measure(run, modules, described, on)
        subject = None  # loaded before anything is asked, so that nothing is paid in vain
        plans = {}
        for name in [name for name, module in modules.items() if needs_responses(module)]:
            plans[name] = plan(run, name, described, job.design, hard)
            if subject is None and not _is_measured(run, resolved, name, plans[name], described):
                subject = subject_for_texts(run, f"--scorer {name}")
        for name, module in modules.items():
            planned = plans.get(name) or plan(run, name, described, job.design, hard)
            if planned.without_control:
                on(Note(f"{name}: {_unknown_silence(run, planned.without_control)} no control"))
            ids = store_plan(run, planned, job.design)
            counts = ask_pending(run, ids, module.TASK, resolved, on, name, repeats=1)
            _say_failures(run, module.TASK, resolved.rater, counts, on)
            if subject is not None and needs_responses(module):
                for texts in _texts(run, resolved, name, described):
                    measure_texts(run, subject, texts, name, on)
            run.log(
                "scored", scorer=name, rater=resolved.rater.name, statuses=dict(counts.statuses)
            )
            without = Counter(planned.untried.values())
            results[name] = ScoreResult(name, planned.units, without, counts)
            on(Step(str(results[name])))
            if counts.stopped:
                break
        for result in scorer_results_of(run):
            if result.scorer not in results or result.rater != resolved.rater.name:
                continue
            is_this = result.design == str(job.design.of(result.scorer))
            if is_this and result.explainer in explainers_asked:
                means = {name: (one.scored, one.permuted) for name, one in result.sources.items()}
                results[result.scorer] = replace(results[result.scorer], means=means)
    return results


def _texts(
    run: Run, resolved: Resolved, name: str, described: Sequence[Explanation]
) -> Iterator[dict[int, list[str]]]:
    """Yield, for each explainer, the texts on which a scorer has units measured, by unit."""
    design = str(resolved.job.design.of(name))
    for explainer in sorted({one.explainer for one in described}):
        yield texts_of(run, name, design, explainer, resolved.rater.name)


def _is_measured(
    run: Run, resolved: Resolved, name: str, planned: Plan, described: Sequence[Explanation]
) -> bool:
    """Return whether the rater has answered all that a scorer asks, units were measured on all
    texts that follow, and the files of the run's subject are those that it was made of."""
    seed = run.settings.seed
    ids = {trial.item_id(seed) for trial in planned.trials}
    return (
        not pending_work(run, sorted(ids), resolved.rater, 1)
        and not any(pending_texts(run, texts) for texts in _texts(run, resolved, name, described))
        and is_unchanged(run)
    )


def _hard(run: Run, described: Sequence[Explanation]) -> dict[int, dict[int, tuple[Context, str]]]:
    from autointerp.labs.hard_negatives import hard_contexts  # imports torch

    return hard_contexts(run, [one.unit_id for one in described])


def forecast_score(job: Job) -> dict[str, Forecast]:
    """Return what each scorer would ask and what it would cost; descriptions must exist."""
    resolved = Resolved(job)
    modules = {name: scorer(name) for name in dict.fromkeys(job.scorers)}
    with open_run(job.run, folder=job.runs) as run:

        def described() -> list[Explanation]:
            return explanations(run, choose_explainer(run, job.explainer), job.sources, job.n)

        _require_model(run, modules)
        explained = _to_score(run, resolved, modules, described)
        hard = _hard(run, explained) if job.design.hard else None
        _measure(run, modules, explained)
        forecasts = {}
        for name, module in modules.items():
            planned = plan(run, name, explained, job.design, hard)
            forecasts[name] = forecast_trials(
                run, resolved.rater, module.TASK, planned.trials, planned.units, job.batch
            )
        return forecasts


def _require_model(run: Run, modules: Mapping[str, Scorer]) -> None:
    """Raise BadInput if scorers need what the model does, and the run has none."""
    for name, module in modules.items():
        if run.is_imported and (lab_of(module) is not None or needs_responses(module)):
            raise BadInput(
                f"--scorer {name} needs the model, and run '{run.name}' was {run.without_model}; "
                "name a run that `autointerp harvest` or `rate` made"
            )


def _measure(
    run: Run, modules: Mapping[str, Scorer], described: Sequence[Explanation], on: On = ignore
) -> None:
    """Have the labs that scorers choose from measure the units that have descriptions."""
    units = [one.unit_id for one in described if one.says_something]
    for module in modules.values():
        lab = lab_of(module)
        if lab is not None and units:
            measured(run, lab, units, options_of(lab, {}), on)


def _to_score(
    run: Run, resolved: Resolved, modules: Mapping[str, Any], described: Any
) -> list[Explanation]:
    """Return the units to score: with their descriptions, if a scorer shows any."""
    job = resolved.job
    units = eligible_units(run, job.sources, job.n)
    if any(module.TASK.about == "description" for module in modules.values()):
        explained: list[Explanation] = described()
        return explained
    return [Explanation(unit, source, "", "ok", None, ()) for unit, source in units.items()]
