"""Explain, rate descriptions, score descriptions: from a wish to what the run lacks of it.

Each does what is missing before it, so a run without descriptions is explained first, by the same
rater, and a run that is not there is harvested first.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rich.console import Console

from autointerp.engine.forecast import forecast_trials
from autointerp.engine.work import RatingCounts
from autointerp.errors import BadInput
from autointerp.labs.hard_negatives import hard_contexts
from autointerp.labs.logit_effects import logit_effects
from autointerp.pipeline.rate import Wish, ask, require_means, run_of, wanted_units
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
from autointerp.questions.rubric_files import load_rubric
from autointerp.questions.score import Design, plan, store_plan
from autointerp.questions.scorers import scorer
from autointerp.questions.specificity import specificity_trials
from autointerp.questions.trials import add_trials
from autointerp.raters import Rater, load_rater
from autointerp.records import LogitEffects
from autointerp.settings import load_settings
from autointerp.store.run import Run, open_run, runs_in
from autointerp.subjects import load_subject
from autointerp.text import count
from autointerp.units.sample import draw_units

CONTEXTS = 30  # that a description is rated on


@dataclass(frozen=True)
class Choice:
    """Which units of the run, and whose descriptions.

    Attributes:
        sources: Empty for all that the run holds.
        n: Units of each source; None for all.
        explainer: None for the only one there is, or for the rater itself where there is none.
        with_controls: Whether the run's controls are among them though `sources` has others.
    """

    sources: tuple[str, ...] = ()
    n: int | None = None
    explainer: str | None = None
    with_controls: bool = False


# --------------------------------------------------------------------------------- explain


def explain(
    wish: Wish,
    choice: Choice,
    console: Console,
    dry_run: bool = False,
    with_effects: bool = False,
) -> RatingCounts:
    """Have the rater describe the units of the run that it has not described yet.

    `with_effects`: it is shown logit effects, for which the run's subject is loaded. Raises
    BadInput if the rater is no language model: rules of words make nothing of them.
    """
    rater = load_rater(wish.rater, wish.options)
    if with_effects and not rater.is_llm:
        raise BadInput(
            f"--logit-effects: {rater.name} reads contexts alone; name a language model, as in "
            "--rater anthropic:MODEL"
        )
    name = explainer_name(rater.name, with_effects)
    with open_run(wish.run, folder=wish.runs) as run:
        units = eligible_units(run, choice.sources, choice.n)
        effects = _effects(run, units, console) if with_effects else None
        if dry_run:
            task = EXPLAIN if effects is None else EXPLAIN_LOGITS
            trials = explain_trials(run, units, rater.evidence, effects)
            console.print(
                f"explain: {forecast_trials(run, rater, task, trials, len(units), wish.batch)}"
            )
            return RatingCounts(0, Counter())
        counts = _explain(run, units, rater, wish, console, effects)
        known = explanations(run, name, choice.sources, choice.n)
    told = sum(one.says_something for one in known)
    unknown = sum(one.status == "ok" for one in known) - told
    fates: Counter[str] = Counter(one.status for one in known if one.status != "ok")
    if len(units) > len(known):
        fates["not answered yet"] = len(units) - len(known)
    console.print(
        f"run '{wish.run}': {name} describes {told} of {count(len(units), 'unit')}; "
        f"{unknown} Unknown" + "".join(f", {k} {status}" for status, k in sorted(fates.items()))
    )
    return counts


def _effects(run: Run, units: Mapping[int, str], console: Console) -> dict[int, LogitEffects]:
    """Return the logit effects of units, and say which sources have none."""
    effects, without = logit_effects(run, list(units))
    console.print(f"logit effects of {len(effects)} of {count(len(units), 'unit')}")
    for source, reason in without.items():
        console.print(f"note: none of {source}: {reason}", highlight=False, markup=False)
    return effects


def _explain(
    run: Run,
    units: Sequence[int] | dict[int, str],
    rater: Rater,
    wish: Wish,
    console: Console,
    effects: Mapping[int, LogitEffects] | None = None,
) -> RatingCounts:
    task = EXPLAIN if effects is None else EXPLAIN_LOGITS
    ids = add_trials(run, explain_trials(run, units, rater.evidence, effects))
    asked = replace(wish, rubric=task.id, repeats=1)
    counts = ask(run, sorted(set(ids)), task, rater, asked, console)
    run.log("explained", rater=rater.name, task=task.id, statuses=dict(counts.statuses))
    return counts


def _explained(
    run: Run, rater: Rater, wish: Wish, choice: Choice, console: Console
) -> list[Explanation]:
    """Return the descriptions to be tried; the rater writes them where the run has none."""
    name = choice.explainer
    if name is None and not explainers(run):
        console.print(f"run '{run.name}' has no descriptions yet: {rater.name} explains first")
        _explain(run, eligible_units(run, choice.sources, choice.n), rater, wish, console)
        name = rater.name
        if wish.batch:
            raise BadInput(
                "the descriptions were handed to the batch API; collect them by "
                f"`autointerp rate --resume --run {run.name}`, then give this command again"
            )
    name = choose_explainer(run, name)
    return explanations(run, name, choice.sources, choice.n)


# ---------------------------------------------------------------------------------- rate


def rate_descriptions(
    wish: Wish,
    choice: Choice,
    console: Console,
    contexts: int = CONTEXTS,
    dry_run: bool = False,
) -> RatingCounts:
    """Rate descriptions under a rubric about them, each on `contexts` held-out contexts.

    A run that is there is taken as it is; one that is not is harvested as the wish says, but not
    for a dry run.
    """
    rubric = load_rubric(wish.rubric)
    rater = load_rater(wish.rater, wish.options)
    with open_run(wish.run, folder=wish.runs) if dry_run else _run(wish, rater, console) as run:
        choice = _with_controls(run, choice)
        if dry_run:
            name = choose_explainer(run, choice.explainer)
            known = explanations(run, name, choice.sources, choice.n)
            trials = specificity_trials(run, rubric, known, contexts)
            units = len({trial.unit_id for trial in trials})
            cost = forecast_trials(run, rater, rubric, trials, units, wish.batch)
            console.print(f"{rubric.id}: {cost}")
            return RatingCounts(0, Counter())
        known = _explained(run, rater, wish, choice, console)
        ids = add_trials(run, specificity_trials(run, rubric, known, contexts))
        counts = ask(run, sorted(set(ids)), rubric, rater, wish, console)
        run.log("rated", rater=rater.name, rubric=rubric.id, statuses=dict(counts.statuses))
    told = ", ".join(f"{n} {status}" for status, n in sorted(counts.statuses.items()))
    described = sum(one.says_something for one in known)
    console.print(
        f"run '{wish.run}': {count(described, 'description')} on "
        f"{count(len(set(ids)), 'context')}; "
        f"{rater.name} on {rubric.id}: {told or 'nothing new'}"
        + (f", {counts.before} rated before" if counts.before else "")
        + (
            f"; {count(len(known) - described, 'unit')} without a description"
            if described < len(known)
            else ""
        )
    )
    return counts


def _with_controls(run: Run, choice: Choice) -> Choice:
    """Return the choice with the run's controls named, if it wants them."""
    if not (choice.sources and choice.with_controls):
        return choice
    held = run.rows(
        "SELECT DISTINCT source FROM unit JOIN source USING (source)"
        " WHERE is_control AND outcome = 'eligible' ORDER BY source"
    )
    return replace(choice, sources=tuple(dict.fromkeys([*choice.sources, *(s for (s,) in held)])))


@contextlib.contextmanager
def _run(wish: Wish, rater: Rater, console: Console) -> Iterator[Run]:
    """Open the run; harvested as wished for if it is not there."""
    if wish.run in runs_in(wish.runs) or not (wanted := wanted_units(wish)):
        with open_run(wish.run, folder=wish.runs) as run:
            yield run
        return
    require_means(wish, rater)
    settings = load_settings(wish.subject, wish.seed)
    subject = load_subject(settings.subject)
    with run_of(wish, settings, subject, console) as run:
        console.print(f"harvesting {', '.join(f'{n} {name}' for name, n in wanted.items())}")
        draw_units(run, subject, wanted)
        yield run


# ---------------------------------------------------------------------------------- score


def score(
    wish: Wish,
    names: Sequence[str],
    choice: Choice,
    design: Design,
    console: Console,
    dry_run: bool = False,
) -> dict[str, RatingCounts]:
    """Ask the scorers' questions about descriptions; return what became of them by scorer.

    Raises UnknownName for a scorer that is not there.
    """
    modules = {name: scorer(name) for name in dict.fromkeys(names)}
    rater = load_rater(wish.rater, wish.options)
    found: dict[str, RatingCounts] = {}
    with open_run(wish.run, folder=wish.runs) as run:
        units = eligible_units(run, choice.sources, choice.n)
        if any(module.TASK.about == "description" for module in modules.values()):
            if dry_run:
                name = choose_explainer(run, choice.explainer)
                known = explanations(run, name, choice.sources, choice.n)
            else:
                known = _explained(run, rater, wish, choice, console)
        else:
            known = [Explanation(u, source, "", "ok", None, ()) for u, source in units.items()]
        hard = hard_contexts(run, [one.unit_id for one in known]) if design.hard else None
        for name, module in modules.items():
            planned = plan(run, name, known, design, hard)
            if dry_run:
                cost = forecast_trials(
                    run, rater, module.TASK, planned.trials, planned.units, wish.batch
                )
                console.print(f"{name}: {cost}")
                continue
            ids = store_plan(run, planned, design)
            asked = replace(wish, rubric=module.TASK.id, repeats=1)
            found[name] = ask(run, ids, module.TASK, rater, asked, console)
            run.log("scored", scorer=name, rater=rater.name, statuses=dict(found[name].statuses))
            console.print(_told(name, planned.units, planned.untried, found[name]))
            if found[name].stopped:
                break
    return found


def _told(name: str, units: int, untried: dict[int, str], counts: RatingCounts) -> str:
    fates = ", ".join(f"{n} {status}" for status, n in sorted(counts.statuses.items()))
    text = f"{name}: {count(units, 'unit')}, {fates or 'nothing new'}"
    text += f", {counts.before} answered before" if counts.before else ""
    for outcome, n in sorted(Counter(untried.values()).items()):
        text += f"; {count(n, 'unit')} with {outcome}"
    return text + (f"; stopped: {counts.stopped}" if counts.stopped else "")
