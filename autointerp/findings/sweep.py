"""A sweep: many SAEs of one model on one corpus, what each is like and how interpretable it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from autointerp.errors import TooFewRatings
from autointerp.findings.across import AcrossRuns, ArmOfRuns, Declares, across_runs
from autointerp.findings.comparison import Comparison, compare
from autointerp.findings.groups import Group, Judgement
from autointerp.findings.json_values import plain
from autointerp.findings.looks import Declared
from autointerp.findings.sweep_plan import SweepPlan
from autointerp.findings.swept import FEATURES, NEURONS, UNTRAINED, Swept
from autointerp.stats.results import Statistic
from autointerp.store.run import Run
from autointerp.units.dictionary_figures import DictionaryFigures, stored_figures
from autointerp.units.held import is_exhausted

# What interpretability is set against, and whether more of it is better.
AXES = {"l0": False, "loss_recovered": True, "width": False}
MOST = {"loss_recovered": 1.0}  # a model that loses less with the SAE than without is no better


@dataclass(frozen=True)
class SweptResult:
    """An SAE and what was found of it.

    Attributes:
        figures: L0, dead share and the like; None where its run holds none.
        interpretability: Mean score of its sampled features; None where none was scored.
        beaten_by: For each axis, SAEs of the same site whose score is at least as good and whose
            place on the axis is, one of the two being better: by estimates, whatever their
            intervals. L0 and loss recovered of two sites measure two things. A loss recovered above
            1 counts as 1.
        clearly_beaten_by: Those of them whose intervals of score lie apart as well.
    """

    sae: Swept
    figures: DictionaryFigures | None
    interpretability: Statistic | None
    scored: int
    asked: int
    beaten_by: Mapping[str, tuple[str, ...]]
    clearly_beaten_by: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Sweep:
    """What a sweep found.

    Attributes:
        reference: The SAE that others are compared with.
        fails: Why the rater's scores are no evidence, by the runs whose controls or check say so;
            empty where none does. Then nothing is compared.
        across: Contrasts against neurons, the untrained twin and the reference, p adjusted over all
            of them; None where fewer than two runs were rated.
        not_rated: SAEs of which no unit was rated.
        plan: What was declared before the first rating; None where nothing was.
        deviations: In what the sweep is not as it was declared, a clause each.
    """

    name: str
    rater: str
    rubric: str
    reference: str
    fails: Mapping[str, str]
    results: tuple[SweptResult, ...]
    across: AcrossRuns | None
    not_rated: tuple[str, ...]
    plan: SweepPlan | None = None
    deviations: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        values: dict[str, Any] = plain(self)
        if self.plan is not None:
            values["plan"]["digest"] = self.plan.digest
        return values

    def frame(self) -> pd.DataFrame:
        """Return a row an SAE: its figures, its score and the ends of their intervals."""
        return pd.DataFrame([_row(result) for result in self.results])


def _row(result: SweptResult) -> dict[str, Any]:
    sae, figures = result.sae, result.figures
    row: dict[str, Any] = {
        "sae": sae.name,
        "recipe": sae.recipe,
        "site": sae.site,
        "run": sae.run,
        "width": None if figures is None else figures.width,
        "tokens": None if figures is None else figures.tokens,
        "dead": None if figures is None else figures.dead,
        "scored": result.scored,
        "asked": result.asked,
    }
    statistics = {
        "interpretability": result.interpretability,
        "l0": figures and figures.l0,
        "dead_share": figures and figures.dead_share,
        "variance_explained": figures and figures.variance_explained,
        "loss_recovered": figures and figures.loss_recovered,
    }
    for name, statistic in statistics.items():
        row[name] = statistic and statistic.value
        row[f"{name}_low"] = statistic and statistic.low
        row[f"{name}_high"] = statistic and statistic.high
    for axis in AXES:
        row[f"beaten_by_{axis}"] = " ".join(result.beaten_by[axis])
    return row


def sweep_findings(
    name: str,
    saes: Sequence[Swept],
    runs: Mapping[str, Run],
    rater: str,
    rubric_digest: str,
    rubric: str,
    reference: str,
    level: float = 0.95,
    plan: SweepPlan | None = None,
    deviations: tuple[str, ...] = (),
) -> Sweep:
    """Return what a sweep found, from its open runs by name.

    SAEs of one recipe are an arm whose units are nested in runs. Each contrast is a line in the
    ledgers of its runs, with the sweep's plan where there is one. Raises TooFewRatings if no run
    holds a rating by this rater and rubric.
    """
    comparisons: dict[str, Comparison] = {}
    for run_name, run in runs.items():
        try:
            comparisons[run_name] = compare(run, level, verb="sweep")
        except TooFewRatings:
            continue
    judgements = {
        run_name: judgement
        for run_name, comparison in comparisons.items()
        for judgement in comparison.judgements
        if judgement.rater == rater and judgement.rubric_digest == rubric_digest
    }
    if not judgements:
        raise TooFewRatings(
            f"no unit of sweep '{name}' has a rating by {rater} on {rubric}; `autointerp sweep` "
            "without --no-rate makes some"
        )
    fails = {run_name: found.fails for run_name, found in judgements.items() if found.fails}
    across = None
    if len(judgements) > 1 and not fails:
        declares = None if plan is None else _declares(plan, deviations, saes, runs, judgements)
        across = _across(saes, runs, comparisons, judgements, reference, level, declares)
    found = {sae.name: (stored_figures(runs[sae.run]), _group(sae, judgements)) for sae in saes}
    return Sweep(
        name=name,
        rater=rater,
        rubric=rubric,
        reference=reference,
        fails=fails,
        results=tuple(
            _result(sae, {one.name: found[one.name] for one in saes if one.site == sae.site})
            for sae in saes
        ),
        across=across,
        not_rated=tuple(sae.name for sae in saes if found[sae.name][1] is None),
        plan=plan,
        deviations=deviations,
    )


def _group(sae: Swept, judgements: Mapping[str, Judgement]) -> Group | None:
    judgement = judgements.get(sae.run)
    return None if judgement is None else judgement.groups.get(FEATURES)


Found = Mapping[str, tuple[DictionaryFigures | None, Group | None]]


def _result(sae: Swept, found: Found) -> SweptResult:
    figures, group = found[sae.name]
    others = {name: pair for name, pair in found.items() if name != sae.name}
    beaten: dict[str, tuple[str, ...]] = {}
    clearly: dict[str, tuple[str, ...]] = {}
    for axis in AXES:
        by = [name for name, other in others.items() if _beats(other, (figures, group), axis)]
        beaten[axis] = tuple(by)
        clearly[axis] = tuple(name for name in by if _apart(others[name][1], group))
    return SweptResult(
        sae,
        figures,
        None if group is None else group.mean,
        0 if group is None else group.n,
        0 if group is None else group.asked,
        beaten,
        clearly,
    )


def _beats(
    one: tuple[DictionaryFigures | None, Group | None],
    other: tuple[DictionaryFigures | None, Group | None],
    axis: str,
) -> bool:
    """Return whether one SAE is at least as good on score and axis, and better on one of them."""
    pairs = [(_score(group), place(figures, axis)) for figures, group in (one, other)]
    (score, at), (other_score, other_at) = pairs
    if score is None or other_score is None or at is None or other_at is None:
        return False
    if not AXES[axis]:
        at, other_at = -at, -other_at
    elif axis in MOST:
        at, other_at = min(at, MOST[axis]), min(other_at, MOST[axis])
    return score >= other_score and at >= other_at and (score, at) != (other_score, other_at)


def _score(group: Group | None) -> float | None:
    return None if group is None else group.mean.value


def place(figures: DictionaryFigures | None, axis: str) -> float | None:
    """Return where an SAE stands on an axis; None where that is not known."""
    if figures is None:
        return None
    value = getattr(figures, axis)
    return value.value if isinstance(value, Statistic) else float(value)


def _apart(one: Group | None, other: Group | None) -> bool:
    if one is None or other is None or one.mean.low is None or other.mean.high is None:
        return False
    return one.mean.low > other.mean.high


# ------------------------------------------------------------------------------- contrasts


def _across(
    saes: Sequence[Swept],
    runs: Mapping[str, Run],
    comparisons: Mapping[str, Comparison],
    judgements: Mapping[str, Judgement],
    reference: str,
    level: float,
    declares: Declares | None,
) -> AcrossRuns:
    """Return the contrasts that a sweep is about, of the judge alone that it names."""
    rated = [sae for sae in saes if sae.run in judgements]
    of_reference = next(sae for sae in saes if sae.name == reference)
    # The first of a contrast is what is studied, so the reference's recipe comes after the others.
    rated.sort(key=lambda sae: sae.recipe == of_reference.recipe)
    names = dict.fromkeys(
        [
            *(sae.run for sae in rated),
            *(sae.untrained for sae in rated if sae.untrained in judgements),
            *(sae.baseline for sae in rated if sae.baseline in judgements),
        ]
    )
    by_run = {sae.run: sae for sae in rated}

    def asked(first: ArmOfRuns, second: ArmOfRuns) -> bool:
        if first.source != FEATURES:
            return False
        own = [by_run[run] for run in first.runs if run in by_run]
        if second.source == NEURONS:
            return all(sae.baseline in second.runs for sae in own)
        if second.source == UNTRAINED:
            return {sae.untrained for sae in own} == set(second.runs)
        return of_reference.run in second.runs

    only = [_of_one_judge(comparisons[name], judgements[name]) for name in names]
    groups = dict(_groups(rated, set(names)))
    return across_runs(
        only, [runs[name] for name in names], groups, level, "sweep", asked, declares
    )


def _declares(
    plan: SweepPlan,
    deviations: tuple[str, ...],
    saes: Sequence[Swept],
    runs: Mapping[str, Run],
    judgements: Mapping[str, Judgement],
) -> Declares:
    """Return what says how many units of two arms a sweep's plan asks about.

    Units of a seed that was not rated yet, and so is in no arm, are among those of its recipe.
    """
    source_of: dict[str, str] = {}
    seeds: dict[str, set[str]] = {}
    for sae in saes:
        source_of |= {sae.run: FEATURES, sae.untrained: UNTRAINED, sae.baseline: NEURONS}
        alike = [other for other in saes if other.recipe == sae.recipe]
        seeds[sae.run] = {other.run for other in alike}
        seeds[sae.untrained] = {other.untrained for other in alike}

    units = {
        name: len(runs[name].sampled(source, plan.n))
        if is_exhausted(runs[name], source)
        else plan.n
        for name, source in source_of.items()
        if name
    }

    def is_asked(run: str) -> bool:
        groups = judgements[run].groups if run in judgements else {}
        return source_of[run] in groups and groups[source_of[run]].asked >= units[run]

    def units_of(arm: ArmOfRuns) -> int:
        others = set().union(*(seeds.get(run, set()) for run in arm.runs)) - set(arm.runs)
        return sum(units[run] for run in arm.runs) + sum(
            units[run] for run in others if not is_asked(run)
        )

    def declares(first: ArmOfRuns, second: ArmOfRuns) -> Declared:
        return Declared(plan.digest, (units_of(first), units_of(second)), deviations)

    return declares


def _of_one_judge(comparison: Comparison, judgement: Judgement) -> Comparison:
    return replace(comparison, judgements=(judgement,))


def _groups(rated: Sequence[Swept], names: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the runs of each recipe that has several seeds, and those of its twins."""
    recipes: dict[str, list[Swept]] = {}
    for sae in rated:
        recipes.setdefault(sae.recipe, []).append(sae)
    for recipe, members in recipes.items():
        if len(members) > 1:
            yield f"recipe {recipe}", [sae.run for sae in members]
            twins = [sae.untrained for sae in members if sae.untrained in names]
            if len(twins) > 1:
                yield f"recipe {recipe}, untrained", twins
