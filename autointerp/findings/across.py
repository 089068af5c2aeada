"""Several runs → contrasts of every source of one with every source of the others.

Runs are compared where the same rater rated both on the same rubric and was shown as much; what
else differs is said. Runs that are seeds of one recipe form a group: its units are nested in runs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

import numpy as np

from autointerp.errors import BadInput, TooFewRatings, UnknownName
from autointerp.findings.comparison import NO_POOLED_TEST, Comparison
from autointerp.findings.conditions import (
    Difference,
    Held,
    differing,
    evidence_of,
    refusal,
)
from autointerp.findings.groups import (
    PERMUTATIONS,
    Group,
    Scale,
    at_like_density,
    fine_test,
)
from autointerp.findings.json_values import plain
from autointerp.findings.looks import (
    BY_INTERVAL,
    Compared,
    Declared,
    Look,
    Reading,
    take_look_across,
)
from autointerp.findings.plan import PRIMARY
from autointerp.findings.sweep_plan import plans_of_runs
from autointerp.stats.decision import EQUIVALENT, Decision, decide
from autointerp.stats.density import DensityAdjusted
from autointerp.stats.means import missing_bounds_superiority
from autointerp.stats.nested import (
    Arm,
    ArmsCompared,
    Over,
    WithinRuns,
    compare_arms,
    within_runs,
)
from autointerp.stats.results import Bounds, Floats, HypothesisTest, Integers, Statistic
from autointerp.stats.superiority import (
    ALL_EQUAL,
    Pairs,
    holm_unfinished,
    pairs,
    superiority,
)
from autointerp.stats.van_elteren import Combined
from autointerp.store.run import Run


@dataclass(frozen=True)
class LeftOut:
    """Runs that are not compared, and why, in one line."""

    runs: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class ArmOfRuns:
    """A source in one run, or in the runs of a group.

    Attributes:
        name: The run's or the group's.
        units: Scored units, each counted once.
        mean: Of the runs' mean scores.
    """

    name: str
    source: str
    runs: tuple[str, ...]
    units: int
    mean: float

    @property
    def label(self) -> str:
        """Such as `features of main`."""
        return f"{self.source} of {self.name}"

    @property
    def in_ledger(self) -> str:
        """The arm by its runs, whatever the name of their group."""
        return f"{self.source} of {', '.join(sorted(self.runs))}"


Asked = Callable[[ArmOfRuns, ArmOfRuns], bool]
Declares = Callable[[ArmOfRuns, ArmOfRuns], Declared]


@dataclass(frozen=True)
class RunContrast:
    """A source of one run or group against a source of another.

    Attributes:
        superiority: P(first > second) + ½ P(tie).
        over: For each arm: `runs` where the estimate speaks of runs like these, `units` where it
            speaks of these very runs.
        holm_p: p, adjusted for all contrasts across runs of the report.
        bounds: Of `superiority`, whatever units without a score would have scored; None where an
            arm has several runs.
        adjusted: At like density; None likewise, and where a density is not known.
        reading: How this look may be read: where no sweep's plan declares it, from the second look
            on, `superiority` and `test` are those of a confidence sequence. All other figures are
            those of one look.
        elsewhere: Digest of the sweep's plan by which the ledgers hold this very look, where it is
            read without that plan: its p is adjusted for all contrasts of the sweep.
    """

    first: ArmOfRuns
    second: ArmOfRuns
    superiority: Statistic
    pairs: Pairs
    test: HypothesisTest
    over: tuple[Over, Over]
    reading: Reading
    bounds: Bounds | None = None
    adjusted: DensityAdjusted | None = None
    equivalence: tuple[float, float] = EQUIVALENT
    holm_p: float | None = None
    elsewhere: str = ""

    @property
    def outcome(self) -> Decision:
        """What may be said of the first, by adjusted p, interval and equivalence bounds; nothing at
        an interim look."""
        if self.reading.interim:
            return "not resolved"
        alpha = 1 - self.superiority.level
        return decide(self.superiority, self.holm_p, self.equivalence, alpha)

    @property
    def is_one_value(self) -> bool:
        """Whether every score of both is the same."""
        return self.superiority.note == ALL_EQUAL


@dataclass(frozen=True)
class NestedContrast:
    """The primary pair within each run, combined over runs: units nested in runs.

    Attributes:
        name: Of the group; empty for all runs.
        runs: That hold both sources.
        within: Of these runs, and of runs such as these.
    """

    name: str
    runs: tuple[str, ...]
    first: str
    second: str
    within: WithinRuns


@dataclass(frozen=True)
class Judged:
    """All that one rater on one rubric says across runs.

    Attributes:
        runs: That it rated and that are compared, in the order given.
        contrasts: Every source of a run or group against every source of the others.
        nested: The primary pair within runs, combined.
        differences: Between the runs.
        left_out: Runs or sources that are not compared.
    """

    rubric: str
    rubric_digest: str
    rater: str
    runs: tuple[str, ...]
    contrasts: tuple[RunContrast, ...]
    nested: tuple[NestedContrast, ...]
    differences: tuple[Difference, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class AcrossRuns:
    """What several runs say of one another.

    Attributes:
        runs: In the order given.
        groups: Runs of one recipe, by the group's name; empty if none were named.
        judged: One a rater and rubric that two runs or more share.
        left_out: Runs that share no rater and rubric with another.
        unrecorded: Looks that no run's ledger could take.
        sweep_plans: Digests of the plans of sweeps that have two of these runs or more, where they
            are read without.
    """

    runs: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    judged: tuple[Judged, ...]
    left_out: tuple[LeftOut, ...]
    unrecorded: tuple[Look, ...] = ()
    sweep_plans: tuple[str, ...] = ()

    @property
    def contrasts_are_there(self) -> bool:
        """Whether anything could be compared, across runs or within each."""
        return any(one.contrasts or one.nested for one in self.judged)

    @property
    def family(self) -> int:
        """Contrasts in the family that Holm's adjustment is for."""
        return sum(len(one.contrasts) for one in self.judged)

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values; fields are those of the dataclasses of this file."""
        values: dict[str, Any] = plain(self)
        return values


def across_runs(
    comparisons: Sequence[Comparison],
    runs: Sequence[Run],
    groups: Mapping[str, Sequence[str]] | None = None,
    level: float | None = None,
    verb: str = "compare",
    asked: Asked = lambda first, second: True,
    declares: Declares | None = None,
) -> AcrossRuns:
    """Return the contrasts across runs, from their comparisons and the open runs behind them.

    Each contrast leaves a line in the ledger of looks of every run that it concerns and that can be
    written; `verb` says there who looks.

    `groups`: runs that are seeds of one recipe, by a name for it; a run in no group stands for
    itself. `level`: nominal coverage of intervals; None for the highest of the comparisons', which
    are of their runs' plans. `asked` says of two arms whether their contrast is wanted: the others
    are not computed, and are no part of the family that p is adjusted for. `declares` returns what
    a plan declared of two arms; None where none did. Raises BadInput for fewer than two runs, a
    run in two groups, or two runs of one SAE in a group; UnknownName for a run in a group that is
    none of `runs`.
    """
    names = tuple(comparison.run for comparison in comparisons)
    if len(names) < 2:
        raise BadInput(f"{len(names)} run to compare across; name two or more")
    level = max(one.level for one in comparisons) if level is None else level
    checked = _groups(names, groups or {})
    _require_seeds(comparisons, checked)
    opened = dict(zip(names, runs, strict=True))
    held: dict[tuple[str, str], dict[str, Held]] = {}
    for comparison in comparisons:
        for judgement in comparison.judgements:
            shown = evidence_of(opened[comparison.run], judgement)
            of_judge = held.setdefault((judgement.rubric_digest, judgement.rater), {})
            of_judge[comparison.run] = Held(judgement, comparison, shown, opened[comparison.run])
    unrecorded: list[Look] = []
    family = sum(map(_most_contrasts, held.values()))
    judged = [
        _judged(of_judge, checked, level, verb, unrecorded, asked, declares, family)
        for of_judge in held.values()
        if len(of_judge) > 1
    ]
    contrasts = {
        (place, at): contrast
        for place, one in enumerate(judged)
        for at, contrast in enumerate(one.contrasts)
    }
    adjusted = holm_unfinished(
        {key: contrast.test.p_value for key, contrast in contrasts.items()},
        {key for key, contrast in contrasts.items() if contrast.reading.interim},
    )
    return AcrossRuns(
        names,
        checked,
        tuple(
            replace(
                one,
                contrasts=tuple(
                    replace(contrast, holm_p=adjusted[place, at])
                    for at, contrast in enumerate(one.contrasts)
                ),
            )
            for place, one in enumerate(judged)
        ),
        (*_alone(comparisons, held), *_other_rubrics(held)),
        tuple(unrecorded),
        () if declares else tuple(p.digest for p in plans_of_runs(names, runs[0].path.parent)),
    )


def _groups(
    names: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    seen: dict[str, str] = {}
    for group, members in groups.items():
        if not members:
            raise BadInput(f"group '{group}' names no run; write {group}=RUN,RUN")
        if group in names and list(members) != [group]:
            raise BadInput(f"group '{group}' has the name of a run; give it another")
        for run in members:
            if run not in names:
                raise UnknownName("run", run, names, f"group '{group}' names it")
            if run in seen:
                raise BadInput(f"run '{run}' is in '{seen[run]}' and '{group}'; leave it in one")
            seen[run] = group
    return {group: tuple(members) for group, members in groups.items()}


def _require_seeds(comparisons: Sequence[Comparison], groups: Mapping[str, Sequence[str]]) -> None:
    """Raise BadInput where two runs of a group have features of one SAE: it is one seed."""
    by_run = {comparison.run: comparison for comparison in comparisons}
    for group, members in groups.items():
        run_of: dict[tuple[str, ...], str] = {}
        for run in members:
            if FEATURES not in set(by_run[run].units.source):
                continue
            first = run_of.setdefault(population(by_run[run], FEATURES), run)
            if first != run:
                raise BadInput(
                    f"runs '{first}' and '{run}' of group '{group}' have features of one and the "
                    "same SAE, so they are no two seeds of a recipe; leave one of them out"
                )


def _alone(
    comparisons: Sequence[Comparison], held: Mapping[tuple[str, str], Mapping[str, Held]]
) -> Iterator[LeftOut]:
    """Yield the runs that share a rater and rubric with none, each with what stands in the way."""
    shared = {run for of_judge in held.values() if len(of_judge) > 1 for run in of_judge}
    for comparison in comparisons:
        if comparison.run in shared:
            continue
        own = comparison.judgements
        others = [j for other in comparisons if other is not comparison for j in other.judgements]
        if not own:
            yield LeftOut((comparison.run,), f"no unit of run '{comparison.run}' was rated")
            continue
        same_rater = sorted({j.rater for j in own} & {j.rater for j in others})
        if not same_rater:
            raters = ", ".join(sorted({j.rater for j in own}))
            yield LeftOut(
                (comparison.run,),
                f"run '{comparison.run}' was rated by {raters}, and no other run was; scores of "
                "different raters are not compared: rate it by the other runs' rater",
            )
            continue
        # What other raters rated is no rubric that this run could be compared on.
        rubrics, theirs = (
            sorted({f"{j.rubric} ({j.rubric_digest[:8]})" for j in of if j.rater in same_rater})
            for of in (own, others)
        )
        yield LeftOut(
            (comparison.run,),
            f"run '{comparison.run}' was rated by {', '.join(same_rater)} on {', '.join(rubrics)}, "
            f"the other runs on {', '.join(theirs)}; scores on different rubrics are not compared: "
            "rate it on theirs",
        )


def _other_rubrics(held: Mapping[tuple[str, str], Mapping[str, Held]]) -> Iterator[LeftOut]:
    """Yield what one rater said on rubrics of one name and different content, and what a rater of
    several runs said in one alone."""
    by_name: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {}
    for (digest, rater), of_judge in held.items():
        rubric = next(iter(of_judge.values())).judgement.rubric
        by_name.setdefault((rubric, rater), {})[digest] = tuple(of_judge)
    for (rubric, rater), by_digest in by_name.items():
        if len(by_digest) < 2:
            continue
        each = "; ".join(f"{digest[:8]} in {', '.join(runs)}" for digest, runs in by_digest.items())
        everywhere = tuple(dict.fromkeys(run for runs in by_digest.values() for run in runs))
        yield LeftOut(
            everywhere,
            f"rubric {rubric} has different content ({each}): scores by {rater} on one are not "
            "compared with those on another; rate the runs on the same",
        )


# ------------------------------------------------------------------------------ one judge


def _most_contrasts(of_judge: Mapping[str, Held]) -> int:
    """Return how many pairs of sources of two runs a judge rated: contrasts, at most."""
    sources = [len(held.judgement.sources) for held in of_judge.values()]
    return sum(one * other for one, other in combinations(sources, 2))


def _judged(
    of_judge: Mapping[str, Held],
    groups: Mapping[str, tuple[str, ...]],
    level: float,
    verb: str,
    unrecorded: list[Look],
    asked: Asked,
    declares: Declares | None,
    family: int,
) -> Judged:
    first = next(iter(of_judge.values())).judgement
    left_out: list[LeftOut] = []
    used = dict(of_judge)
    for run, of_run in of_judge.items():
        why = ""
        if fails := of_run.judgement.fails:
            why = f"{first.rater} in run '{run}' is no evidence: {fails}"
        elif not of_run.shown.kind:
            why = f"no unit of run '{run}' has a score by {first.rater}"
        if why:
            left_out.append(LeftOut((run,), why))
            del used[run]
    differences = list(differing(used))
    incomparable = {
        frozenset(pair): why
        for pair in combinations(used, 2)
        if (why := refusal(first.rater, pair, used))
    }
    left_out += [LeftOut(tuple(sorted(pair)), why) for pair, why in incomparable.items()]
    arms = [
        (name, runs)
        for name, runs in _by_group(tuple(used), groups).items()
        if not any(frozenset(pair) in incomparable for pair in combinations(runs, 2))
    ]
    contrasts: list[RunContrast] = []
    for (one, its_runs), (other, their_runs) in combinations(arms, 2):
        if any(frozenset(pair) in incomparable for pair in product(its_runs, their_runs)):
            continue
        for source, against in product(_sources(used, its_runs), _sources(used, their_runs)):
            left = _arm(one, source, its_runs, used)
            right = _arm(other, against, their_runs, used)
            if left is None or right is None or not asked(left[0], right[0]):
                continue
            if _populations(left[1]) & _populations(right[1]):
                why = f"{source} of {one} and of {other} are the same units of the same model"
                left_out.append(LeftOut((*its_runs, *their_runs), why))
                continue
            contrast, look = _contrast(
                left, right, first.scale, used, level, verb, declares, family
            )
            contrasts.append(contrast)
            if not look.recorded:
                unrecorded.append(look)
    nested = list(_nested(used, groups, incomparable, level))
    return Judged(
        rubric=first.rubric,
        rubric_digest=first.rubric_digest,
        rater=first.rater,
        runs=tuple(used),
        contrasts=tuple(contrasts),
        nested=tuple(nested),
        differences=tuple(differences),
        left_out=tuple(left_out),
    )


def _by_group(
    runs: Sequence[str], groups: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Return the runs of each arm by its name, in the order of the runs."""
    group_of = {run: name for name, members in groups.items() for run in members}
    arms: dict[str, list[str]] = {}
    for run in runs:
        arms.setdefault(group_of.get(run, run), []).append(run)
    return {name: tuple(members) for name, members in arms.items()}


def _sources(held: Mapping[str, Held], runs: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(s for run in runs for s in held[run].judgement.sources))


def _arm(
    name: str, source: str, runs: Sequence[str], held: Mapping[str, Held]
) -> tuple[ArmOfRuns, Arm] | None:
    """Return a source in some runs; None where fewer than two units of it were scored in each."""
    scores: list[Floats] = []
    units: list[list[Hashable]] = []
    holding = []
    for run in runs:
        group = held[run].judgement.groups.get(source)
        if group is None or group.n < 2:
            continue
        holding.append(run)
        scores.append(group.scores)
        units.append(_identities(held[run].comparison, source, group.unit_ids))
    if not holding:
        return None
    arm = Arm(tuple(scores), tuple(units))
    mean = float(np.mean([part.mean() for part in scores]))
    return ArmOfRuns(name, source, tuple(holding), arm.distinct, mean), arm


FEATURES = PRIMARY[0]
UNTRAINED = "untrained"  # its units are of the twin's own SAE


def _identities(comparison: Comparison, source: str, unit_ids: Integers) -> list[Hashable]:
    """Return what each unit is: the same in two runs only where model, site and SAE are."""
    of = population(comparison, source)
    rows = comparison.units.loc[list(unit_ids)]
    return [(of, int(idx), int(sign)) for idx, sign in zip(rows.idx, rows.sign, strict=True)]


def population(comparison: Comparison, source: str) -> tuple[str, ...]:
    """Return the units that a source draws from: equal where two runs draw from the same ones.

    Without the model's digest a run's units are taken to be its own.
    """
    digests, settings = comparison.about["digests"], comparison.about["settings"]["subject"]
    files = sorted(str(digest) for digest in comparison.imported.sha256)
    if files:
        return ("imported", *files, source)
    if not digests.get("model"):
        return ("run", comparison.run, source)
    dictionary = "untrained" if source == UNTRAINED else "sae"
    sae = () if source == PRIMARY[1] else (str(digests.get(dictionary, "")),)
    return (str(digests["model"]), str(settings["site"]), *sae, source)


def _populations(arm: Arm) -> set[Hashable]:
    return {unit[0] for names in arm.units for unit in names}  # type: ignore[index]


def _contrast(
    left: tuple[ArmOfRuns, Arm],
    right: tuple[ArmOfRuns, Arm],
    scale: Scale,
    held: Mapping[str, Held],
    level: float,
    verb: str,
    declares: Declares | None,
    family: int,
) -> tuple[RunContrast, Look]:
    (first, one), (second, other) = left, right
    plans = [held[run].comparison.plan for run in (*first.runs, *second.runs)]
    bounds = [plan.equivalence if plan else EQUIVALENT for plan in plans]
    # Where runs declared different bounds, a difference matters that matters to any of them.
    equivalence = (max(low for low, _ in bounds), min(high for _, high in bounds))
    bounded = adjusted = None
    scores: tuple[Floats, Floats] | None = None
    if len(one.scores) == len(other.scores) == 1:
        scores = x, y = one.scores[0], other.scores[0]
        groups = [held[arm.runs[0]].judgement.groups[arm.source] for arm in (first, second)]
        bounded = missing_bounds_superiority(
            x, y, (groups[0].lost, groups[1].lost), scale.lowest, scale.highest, level
        )
        adjusted = at_like_density(groups[0], groups[1], level)
        seed = [*first.label.encode(), *second.label.encode(), *bytes(str(scale.scores), "ascii")]
        rng = np.random.default_rng(seed)
        made = ArmsCompared(
            superiority(x, y, level),
            pairs(x, y, level),
            fine_test(x, y, rng, PERMUTATIONS["primary"], family),
            ("units", "units"),
        )
    else:
        made = compare_arms(one, other, level)

    def as_read(reading: Reading) -> ArmsCompared:
        if reading.multiplier is None:
            return made
        if scores is None:
            return _nested_as_read(made, one, other, level, reading)
        return replace(
            made, superiority=reading.interval(*scores), test=reading.test(made.test, *scores)
        )

    def estimate(reading: Reading) -> tuple[Statistic, float | None]:
        look = as_read(reading)
        # The ledger holds a pair in one order, whichever run is named first.
        return _mirrored(look.superiority) if turned else look.superiority, look.test.p_value

    turned = second.in_ledger < first.in_ledger
    sides = [(second, other), (first, one)] if turned else [(first, one), (second, other)]
    compared = _compared(sides, held)
    plan = None if declares is None else declares(sides[0][0], sides[1][0])
    runs = dict.fromkeys((*first.runs, *second.runs))
    opened = [held[run].run for run in runs]
    reading, look = take_look_across(opened, compared, plan, level, verb, estimate)
    found = as_read(reading)
    contrast = RunContrast(
        first, second, found.superiority, found.pairs, found.test, found.over, reading, bounded,
        adjusted, equivalence,
        elsewhere=look.plan if plan is None and look.rule != "undeclared" else "",
    )  # fmt: skip
    return contrast, look


def _nested_as_read(
    made: ArmsCompared, one: Arm, other: Arm, level: float, reading: Reading
) -> ArmsCompared:
    """Return a comparison of arms of several runs as this look may read it."""
    wide = compare_arms(one, other, reading.tail_level).superiority
    test = replace(
        made.test,
        p_value=reading.p_value(made.test.p_value),
        method=f"{made.test.method}; {BY_INTERVAL}",
    )
    return replace(made, superiority=_as_read(wide, level, reading), test=test)


def _as_read(wide: Statistic, level: float, reading: Reading) -> Statistic:
    """Return a statistic at a look's tail level as one at `level` that holds at all looks."""
    return replace(wide, level=level, method=f"{wide.method}; {reading.method}")


def _mirrored(p: Statistic) -> Statistic:
    """Return P(second > first) of P(first > second)."""

    def mirror(value: float | None) -> float | None:
        return None if value is None else 1 - value

    return replace(p, value=mirror(p.value), low=mirror(p.high), high=mirror(p.low), n=p.n[::-1])


def _compared(sides: Sequence[tuple[ArmOfRuns, Arm]], held: Mapping[str, Held]) -> Compared:
    """Return what a contrast across runs is a look at: the scores of both arms, run by run."""
    groups = [[held[run].judgement.groups[arm.source] for run in arm.runs] for arm, _ in sides]
    (first, one), (second, other) = sides
    judgement = held[first.runs[0]].judgement
    runs = (*first.runs, *second.runs)
    return Compared(
        rubric=judgement.rubric,
        rubric_digest=judgement.rubric_digest,
        rater=judgement.rater,
        first=first.in_ledger,
        second=second.in_ledger,
        unit_ids=(_joined(groups[0]), _joined(groups[1])),
        scores=(np.concatenate(one.scores), np.concatenate(other.scores)),
        asked=(sum(g.asked for g in groups[0]), sum(g.asked for g in groups[1])),
        repeats=max(held[run].judgement.repeats for run in runs),
    )


def _joined(groups: Sequence[Group]) -> Integers:
    return np.concatenate([group.unit_ids for group in groups])


def _nested(
    held: Mapping[str, Held],
    groups: Mapping[str, tuple[str, ...]],
    incomparable: Mapping[frozenset[str], str],
    level: float,
) -> Iterator[NestedContrast]:
    """Yield the primary pair within the runs of each group, or of all runs where none is named.

    It is that of the runs' plans where they declare one alike, else features and neurons.
    """
    sets = {name: tuple(r for r in runs if r in held) for name, runs in groups.items()}
    for name, runs in (sets or {"": tuple(held)}).items():
        declared = {held[run].comparison.primary for run in runs}
        pair = declared.pop() if len(declared) == 1 else PRIMARY
        holding = tuple(
            run
            for run in runs
            if all(
                (group := held[run].judgement.groups.get(source)) is not None and group.n >= 2
                for source in pair
            )
        )
        if len(holding) < 2 or any(frozenset(p) in incomparable for p in combinations(holding, 2)):
            continue
        tables = [_table(held, holding, source) for source in pair]
        # As wide as the looks at the runs' own make it; each is in its run's ledger.
        readings = [held[run].judgement.reading for run in holding]
        own = [reading for reading in readings if reading is not None]
        widest = max(own, key=lambda reading: reading.tail_level, default=None)
        wide = level if widest is None else max(level, widest.tail_level)
        try:
            within = within_runs(tables[0], tables[1], holding, wide)
        except TooFewRatings:  # pragma: no cover (each run holds two units of both)
            continue
        if widest is not None and wide > level:
            within = _within_as_read(within, level, widest)
        yield NestedContrast(name, holding, *pair, within)


def _within_as_read(within: WithinRuns, level: float, reading: Reading) -> WithinRuns:
    these = within.these
    return replace(
        within,
        these=Combined(
            _as_read(these.superiority, level, reading),
            replace(these.test, p_value=None, note=NO_POOLED_TEST),
            tuple(
                replace(
                    own,
                    superiority=own.superiority and _as_read(own.superiority, level, reading),
                )
                for own in these.raters
            ),
        ),
        such=_as_read(within.such, level, reading),
    )


def _table(held: Mapping[str, Held], runs: Sequence[str], source: str) -> Floats:
    """Return scores [units, runs], NaN where a run did not rate a unit."""
    rows: dict[Hashable, int] = {}
    cells: list[tuple[int, int, float]] = []
    for column, run in enumerate(runs):
        group = held[run].judgement.groups[source]
        names = _identities(held[run].comparison, source, group.unit_ids)
        for name, score in zip(names, group.scores, strict=True):
            cells.append((rows.setdefault(name, len(rows)), column, float(score)))
    table = np.full((len(rows), len(runs)), np.nan)
    for row, column, score in cells:
        table[row, column] = score
    return table
