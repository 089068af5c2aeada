"""What descriptions are worth, by source: unit scores and context ratings → figures.

The unit is what is counted: contexts are averaged within a unit before anything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autointerp.errors import RubricError
from autointerp.findings.answers import ContextRating, UnitScore, context_ratings, unit_scores
from autointerp.findings.looks import Reading
from autointerp.findings.plan import LEVEL, PRIMARY, in_order, level_of, plan_of, primary_pair
from autointerp.questions.rubric_files import list_rubrics
from autointerp.stats.decision import Equivalence, equivalence
from autointerp.stats.dyadic import pair_design_effect
from autointerp.stats.means import mean, missing_bounds, missing_bounds_superiority
from autointerp.stats.paired import PairedDifference, paired_difference
from autointerp.stats.results import Bounds, Floats, Statistic
from autointerp.stats.superiority import Pairs, pairs, superiority
from autointerp.store.run import Run
from autointerp.units.sources import kind_of

CHANCE, TOLERANCE = 0.5, 0.05
SCALE = (0.0, 1.0)  # of scorers
CONTROL_COLUMNS = ("other", "silent")
VERIFIED = "other, silent"  # contexts of others in which this unit is known to be silent


@dataclass(frozen=True)
class SourceScore:
    """One source under one scorer.

    Attributes:
        scored: Mean over the units that have a score.
        with_unknown: The same with units that the explainer called Unknown at chance.
        bounds: Of the mean, whatever the units without a score would have scored; None where
            only controls were tried.
        permuted: Mean over the units that were tried with another's description; where they share
            calls, its interval allows for descriptions that are tried on several units.
        permuted_at_chance: Whether that mean is 0.5 ± `TOLERANCE`; None without such units.
        own_at_chance: The same of `scored`.
        outcomes: Units without a score, by why.
        statuses: Of the calls, permuted ones included.
        questions, answered: Contexts asked about, and those that an answer came for.
        more: Means of the further figures.
    """

    source: str
    is_control: bool
    values: Floats
    scored: Statistic
    with_unknown: Statistic
    bounds: Bounds | None
    permuted: Statistic
    permuted_at_chance: Equivalence | None
    own_at_chance: Equivalence | None
    outcomes: dict[str, int]
    statuses: dict[str, int]
    questions: int
    answered: int
    more: dict[str, float]

    @property
    def median(self) -> float | None:
        """Median over the units that have a score; None without any."""
        return float(np.median(self.values)) if len(self.values) else None

    @property
    def missing(self) -> int:
        """Units without a score."""
        return sum(self.outcomes.values())


@dataclass(frozen=True)
class ScorerResult:
    """One scorer, answered by one rater, about one explainer's descriptions.

    Attributes:
        explainer: None for a scorer that needs no description.
        first, second: The pair that is compared: the run's plan's, else features and neurons.
        contrast: Probability of superiority of the first over the second in the score, among the
            units that have one; None if fewer than two of either do.
        pairs: Wins, ties and losses behind it.
        bounds: Of `contrast`, whatever the units without a score would have scored.
        reading: Which look at `contrast` this is; its interval is that of this look. None where
            nobody kept count, or there is no contrast.
    """

    scorer: str
    explainer: str | None
    rater: str
    design: str
    sources: dict[str, SourceScore]
    first: str
    second: str
    contrast: Statistic | None
    pairs: Pairs | None
    bounds: Bounds | None
    reading: Reading | None = None

    @property
    def broken(self) -> list[str]:
        """Sources in which the permuted control is shown not to be at chance."""
        return [
            name
            for name, source_score in self.sources.items()
            if source_score.permuted_at_chance
            and source_score.permuted_at_chance.answer == "not equivalent"
        ]

    @property
    def too_few(self) -> list[str]:
        """Sources in which too few units were tried to say whether the control is at chance."""
        return [
            name
            for name, source_score in self.sources.items()
            if source_score.permuted_at_chance
            and source_score.permuted_at_chance.answer == "too few to tell"
        ]

    @property
    def lost(self) -> dict[str, int]:
        """Calls that brought no answer, by status."""
        lost: Counter[str] = Counter()
        for source_score in self.sources.values():
            lost.update(
                {status: n for status, n in source_score.statuses.items() if status != "ok"}
            )
        return dict(sorted(lost.items()))

    @property
    def noise(self) -> Statistic | None:
        """The score of units that fire with no regard to the text, if it is shown not to be at
        chance."""
        for name, source_score in self.sources.items():
            chance = source_score.own_at_chance
            is_floor = kind_of(name, source_score.is_control).role == "floor"
            if is_floor and chance is not None and chance.answer == "not equivalent":
                return source_score.scored
        return None


def scorer_results_of(run: Run) -> list[ScorerResult]:
    """Return what a run's scorers say of its descriptions, by the pair and level of its plan."""
    plan = plan_of(run)
    return scorer_results(unit_scores(run), primary_pair(plan), level_of(plan))


def scorer_results(
    scores: Sequence[UnitScore], pair: tuple[str, str] = PRIMARY, level: float = LEVEL
) -> list[ScorerResult]:
    """Return the results, one for each scorer, explainer, rater and design; `pair` is compared.

    A control is at chance or not by a test at 5 %, whatever the `level` of intervals.
    """
    groups: dict[tuple[str, str | None, str, str], list[UnitScore]] = {}
    for unit_score in scores:
        groups.setdefault(
            (unit_score.scorer, unit_score.explainer, unit_score.rater, unit_score.design), []
        ).append(unit_score)
    results = []
    for (name, explainer, rater, design), members in groups.items():
        controls = {unit_score.source: unit_score.is_control for unit_score in members}
        sources = {
            source: _source_score(
                source, controls[source], [o for o in members if o.source == source], level
            )
            for source in in_order(controls)
        }
        first, second = pair
        contrast = _contrast_of(sources, pair, level)
        results.append(
            ScorerResult(name, explainer, rater, design, sources, first, second, *contrast)
        )
    return results


def _contrast_of(
    sources: Mapping[str, SourceScore], pair: tuple[str, str], level: float
) -> tuple[Statistic | None, Pairs | None, Bounds | None]:
    """Return the probability of superiority of a pair of sources, its pairs and its bounds."""
    if not all(name in sources and len(sources[name].values) >= 2 for name in pair):
        return None, None, None
    first, second = (sources[name] for name in pair)
    return (
        superiority(first.values, second.values, level),
        pairs(first.values, second.values, level),
        missing_bounds_superiority(
            first.values, second.values, (first.missing, second.missing), *SCALE, level
        ),
    )


def _source_score(
    source: str, is_control: bool, scores: list[UnitScore], level: float
) -> SourceScore:
    own = [unit_score for unit_score in scores if not unit_score.permuted]
    values = [unit_score.score for unit_score in own if unit_score.score is not None]
    outcomes = Counter(unit_score.outcome for unit_score in own if unit_score.score is None)
    statuses: Counter[str] = Counter()
    for unit_score in scores:
        statuses.update(unit_score.statuses)
    names = list(dict.fromkeys(name for unit_score in own for name in unit_score.more))
    tried = [one for one in scores if one.permuted and one.score is not None]
    permuted = [one.score for one in tried if one.score is not None]
    # Units that share calls have the same descriptions beside them.
    shared = pair_design_effect({one.unit_id: one.others for one in tried if one.others})
    return SourceScore(
        source=source,
        is_control=is_control,
        values=np.array(values, dtype=np.float64),
        scored=_mean(values, level, "no unit has a score"),
        with_unknown=_mean(values + [CHANCE] * outcomes["unknown"], level, "no unit has a score"),
        bounds=_bounds(values, outcomes.total(), level),
        permuted=_mean(
            permuted, level, "no unit was tried with another's description", shared=shared
        ),
        permuted_at_chance=_at_chance(permuted, shared),
        own_at_chance=_at_chance(values),
        outcomes=dict(sorted(outcomes.items())),
        statuses=dict(sorted(statuses.items())),
        questions=sum(unit_score.questions for unit_score in scores),
        answered=sum(unit_score.answered for unit_score in scores),
        more={
            name: float(
                np.mean([unit_score.more[name] for unit_score in own if name in unit_score.more])
            )
            for name in names
        },
    )


def _mean(
    values: Sequence[float],
    level: float,
    otherwise: str,
    ends: tuple[float, float] = SCALE,
    shared: float = 1.0,
) -> Statistic:
    if not values:
        return Statistic(None, None, None, (0,), "", level, otherwise)
    if ends[0] == ends[1]:
        return mean(values, level)
    # Weighted means may round off the scale.
    return mean(np.clip(values, *ends), level, scale=ends, design_effect=shared)


def _bounds(values: Sequence[float], missing: int, level: float) -> Bounds | None:
    if not values and not missing:
        return None
    return missing_bounds(np.array(values, dtype=np.float64), missing, *SCALE, level)


def _at_chance(values: Sequence[float], shared: float = 1.0) -> Equivalence | None:
    if not values:
        return None
    return equivalence(values, CHANCE, TOLERANCE, scale=SCALE, design_effect=shared)


# ------------------------------------------------------------------------------ specificity


@dataclass(frozen=True)
class Specificity:
    """One source's ratings of contexts against descriptions.

    Attributes:
        shares: Column (`other`, `silent`, or an interval) → share of each level, every unit
            alike; columns without ratings are missing.
        counts: Column → contexts with a score.
        plain: Mean score where the unit fires, all intervals alike.
        weighted: The same, each interval weighing as many tokens as fall into it.
        silent: Mean score where this unit is silent.
        other: Mean score of contexts of other units in which this unit is known to be silent.
        over_silent, over_other: `plain` less that mean, over the units that have both; None
            without any.
        unverified: Contexts of other units of which the run does not hold whether this unit is
            silent; they are in `shares` and in nothing else.
        statuses: Of all ratings.
        not_silent: Units that have no silent context to rate.
    """

    source: str
    is_control: bool
    units: int
    shares: dict[str | int, Floats]
    counts: dict[str | int, int]
    plain: Statistic
    weighted: Statistic
    silent: Statistic
    other: Statistic
    over_silent: PairedDifference | None
    over_other: PairedDifference | None
    unverified: int
    statuses: dict[str, int]
    not_silent: int

    @property
    def lost(self) -> dict[str, int]:
        """Ratings without a score, by status."""
        return {status: n for status, n in self.statuses.items() if status != "ok"}


@dataclass(frozen=True)
class SpecificityResult:
    """One rater's ratings of one explainer's descriptions under one rubric.

    Attributes:
        levels: The scores there are, ascending.
        intervals: How many there are.
    """

    rubric: str
    rubric_digest: str
    explainer: str
    rater: str
    levels: tuple[int, ...]
    intervals: int
    sources: dict[str, Specificity]


def specificity_results_of(run: Run, level: float | None = None) -> list[SpecificityResult]:
    """Return what a run's ratings of contexts against descriptions say; `level` as above."""
    ratings = context_ratings(run)
    if not ratings:
        return []
    tokens = {u: tuple(t) for u, t in run.rows("SELECT unit_id, interval_tokens FROM unit")}
    try:
        scales = {rubric.digest: rubric.scores for rubric in list_rubrics()}
    except RubricError:
        scales = {}
    return specificity_results(ratings, tokens, scales, level or level_of(plan_of(run)))


def specificity_results(
    ratings: Sequence[ContextRating],
    interval_tokens: dict[int, tuple[float, ...]],
    scales: dict[str, tuple[int, ...]],
    level: float = LEVEL,
) -> list[SpecificityResult]:
    """Return the results, one for each rubric, explainer and rater.

    `interval_tokens`: of each unit. `scales`: the levels of a rubric, by digest; where it is not
    there, those that were given.
    """
    groups: dict[tuple[str, str, str, str], list[ContextRating]] = {}
    for rating in ratings:
        key = (rating.rubric, rating.rubric_digest, rating.explainer, rating.rater)
        groups.setdefault(key, []).append(rating)
    results = []
    for (rubric, digest, explainer, rater), members in groups.items():
        given = sorted({rating.score for rating in members if rating.score is not None})
        levels = scales.get(digest) or tuple(given)
        controls = {rating.source: rating.is_control for rating in members}
        sources = {
            source: _specificity(
                source,
                controls[source],
                [rating for rating in members if rating.source == source],
                levels,
                interval_tokens,
                level,
            )
            for source in in_order(controls)
        }
        many = max(len(interval_tokens.get(rating.unit_id, ())) for rating in members)
        results.append(SpecificityResult(rubric, digest, explainer, rater, levels, many, sources))
    return results


def _specificity(
    source: str,
    is_control: bool,
    ratings: list[ContextRating],
    levels: tuple[int, ...],
    interval_tokens: dict[int, tuple[float, ...]],
    coverage: float,
) -> Specificity:
    units: dict[int, dict[str | int, list[int]]] = {}
    for rating in ratings:
        columns = units.setdefault(rating.unit_id, {})
        if rating.score is not None:
            columns.setdefault(_column(rating), []).append(rating.score)
            if rating.kind == "other" and rating.is_silent:
                columns.setdefault(VERIFIED, []).append(rating.score)
    shares: dict[str | int, Floats] = {}
    counts: dict[str | int, int] = {}
    every = {column for columns in units.values() for column in columns}
    for column in _sorted(every - {VERIFIED}):
        each = [np.array(columns[column]) for columns in units.values() if column in columns]
        shares[column] = np.mean(
            [[(scores == level).mean() for level in levels] for scores in each], axis=0
        )
        counts[column] = sum(map(len, each))
    ends = (levels[0], levels[-1]) if levels else (0, 0)
    asked_silent = {rating.unit_id for rating in ratings if rating.kind == "silent"}
    return Specificity(
        source,
        is_control,
        len(units),
        shares,
        counts,
        plain=_over_units(units.values(), lambda c: _fired(c, None), ends, coverage),
        weighted=_mean(
            [
                value
                for unit, columns in units.items()
                if (value := _fired(columns, interval_tokens.get(unit))) is not None
            ],
            coverage,
            "no context in which a unit fires has a score",
            ends,
        ),
        silent=_over_units(units.values(), lambda c: _of(c, "silent"), ends, coverage),
        other=_over_units(units.values(), lambda c: _of(c, VERIFIED), ends, coverage),
        over_silent=_over(units, "silent", ends, coverage),
        over_other=_over(units, VERIFIED, ends, coverage),
        unverified=sum(rating.kind == "other" and not rating.is_silent for rating in ratings),
        statuses=dict(sorted(Counter(rating.status for rating in ratings).items())),
        not_silent=len(set(units) - asked_silent),
    )


def _over(
    units: Mapping[int, dict[str | int, list[int]]],
    control: str,
    ends: tuple[float, float],
    level: float,
) -> PairedDifference | None:
    """Return a unit's mean where it fires less that of a control, over units that have both."""
    both = [
        (own, beside)
        for columns in units.values()
        if (own := _fired(columns, None)) is not None
        and (beside := _of(columns, control)) is not None
    ]
    if not both or ends[0] == ends[1]:
        return None
    own, beside = np.clip(np.array(both), *ends).T
    return paired_difference(own, beside, np.random.default_rng(0), scale=ends, level=level)


def _column(rating: ContextRating) -> str | int:
    return (
        rating.interval if rating.kind == "firing" and rating.interval is not None else rating.kind
    )


def _sorted(columns: Iterable[str | int]) -> list[str | int]:
    return sorted(
        columns, key=lambda c: (isinstance(c, int), c if isinstance(c, int) else 0, str(c))
    )


def _fired(columns: dict[str | int, list[int]], tokens: Sequence[float] | None) -> float | None:
    """Return the mean score over intervals, by their tokens if given; None without any.

    Intervals of which no context has a score are left out.
    """
    intervals = [column for column in columns if isinstance(column, int)]
    if not intervals:
        return None
    means = [float(np.mean(columns[interval])) for interval in intervals]
    weights = [1.0 if tokens is None else tokens[interval - 1] for interval in intervals]
    return float(np.average(means, weights=weights)) if sum(weights) > 0 else None


def _of(columns: dict[str | int, list[int]], column: str) -> float | None:
    return float(np.mean(columns[column])) if column in columns else None


def _over_units(
    units: Iterable[dict[str | int, list[int]]],
    figure: Callable[[dict[str | int, list[int]]], float | None],
    ends: tuple[float, float],
    level: float,
) -> Statistic:
    values = [value for columns in units if (value := figure(columns)) is not None]
    return _mean(values, level, "no unit has such contexts with a score", ends)
