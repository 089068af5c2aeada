"""What descriptions are worth, by source: unit scores and context ratings → figures.

The unit is what is counted: contexts are averaged within a unit before anything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autointerp.errors import RubricError
from autointerp.findings.answers import ContextRating, UnitScore, context_ratings, unit_scores
from autointerp.findings.groups import PRIMARY, in_order
from autointerp.questions.rubric_files import list_rubrics
from autointerp.stats.means import mean
from autointerp.stats.results import Floats, Statistic
from autointerp.stats.superiority import superiority
from autointerp.store.run import Run
from autointerp.units.sources import kind_of

CHANCE, TOLERANCE = 0.5, 0.05
CONTROL_COLUMNS = ("other", "silent")
LEVEL = 0.95


@dataclass(frozen=True)
class SourceScore:
    """One source under one scorer.

    Attributes:
        scored: Mean over the units that have a score.
        with_unknown: The same with units that the explainer called Unknown at chance.
        permuted: Mean over the units that were tried with another's description.
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
    permuted: Statistic
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
    def is_at_chance(self) -> bool | None:
        """Whether the permuted control is compatible with chance; None without one."""
        return at_chance(self.permuted)


def at_chance(found: Statistic) -> bool | None:
    """Return whether a mean is compatible with 0.5 ± 0.05; None without one.

    It is not if the whole interval lies outside.
    """
    if found.value is None:
        return None
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    return low <= CHANCE + TOLERANCE and high >= CHANCE - TOLERANCE


@dataclass(frozen=True)
class ScorerResult:
    """One scorer, answered by one rater, about one explainer's descriptions.

    Attributes:
        explainer: None for a scorer that needs no description.
        contrast: P(features > neurons) in the score; None if one is missing.
    """

    scorer: str
    explainer: str | None
    rater: str
    design: str
    sources: dict[str, SourceScore]
    contrast: Statistic | None

    @property
    def broken(self) -> list[str]:
        """Sources in which the permuted control is not at chance."""
        return [name for name, one in self.sources.items() if one.is_at_chance is False]

    @property
    def lost(self) -> dict[str, int]:
        """Calls that brought no answer, by status."""
        lost: Counter[str] = Counter()
        for one in self.sources.values():
            lost.update({status: n for status, n in one.statuses.items() if status != "ok"})
        return dict(sorted(lost.items()))

    @property
    def noise(self) -> Statistic | None:
        """The score of units that fire with no regard to the text, if it is not at chance."""
        for name, one in self.sources.items():
            if kind_of(name, one.is_control).role == "floor" and at_chance(one.scored) is False:
                return one.scored
        return None


def scorer_results_of(run: Run) -> list[ScorerResult]:
    """Return what a run's scorers say of its descriptions."""
    return scorer_results(unit_scores(run))


def scorer_results(scores: Sequence[UnitScore]) -> list[ScorerResult]:
    """Return the results, one for each scorer, explainer, rater and design."""
    groups: dict[tuple[str, str | None, str, str], list[UnitScore]] = {}
    for one in scores:
        groups.setdefault((one.scorer, one.explainer, one.rater, one.design), []).append(one)
    results = []
    for (name, explainer, rater, design), members in groups.items():
        controls = {one.source: one.is_control for one in members}
        sources = {
            source: _source_score(
                source, controls[source], [o for o in members if o.source == source]
            )
            for source in in_order(controls)
        }
        pair = [sources[s].values for s in PRIMARY if s in sources]
        both = len(pair) == 2 and min(map(len, pair)) >= 2
        contrast = superiority(pair[0], pair[1]) if both else None
        results.append(ScorerResult(name, explainer, rater, design, sources, contrast))
    return results


def _source_score(source: str, is_control: bool, scores: list[UnitScore]) -> SourceScore:
    own = [one for one in scores if not one.permuted]
    values = [one.score for one in own if one.score is not None]
    outcomes = Counter(one.outcome for one in own if one.score is None)
    statuses: Counter[str] = Counter()
    for one in scores:
        statuses.update(one.statuses)
    names = list(dict.fromkeys(name for one in own for name in one.more))
    return SourceScore(
        source=source,
        is_control=is_control,
        values=np.array(values, dtype=np.float64),
        scored=_mean(values, "no unit has a score"),
        with_unknown=_mean(values + [CHANCE] * outcomes["unknown"], "no unit has a score"),
        permuted=_mean(
            [one.score for one in scores if one.permuted and one.score is not None],
            "no unit was tried with another's description",
        ),
        outcomes=dict(sorted(outcomes.items())),
        statuses=dict(sorted(statuses.items())),
        questions=sum(one.questions for one in scores),
        answered=sum(one.answered for one in scores),
        more={
            name: float(np.mean([one.more[name] for one in own if name in one.more]))
            for name in names
        },
    )


def _mean(
    values: Sequence[float], otherwise: str, ends: tuple[float, float] = (0.0, 1.0)
) -> Statistic:
    """Return the mean; its interval, which knows no scale, ends where the scale does."""
    if not values:
        return Statistic(None, None, None, (0,), "", LEVEL, otherwise)
    found = mean(values, LEVEL)
    if found.low is None or found.high is None:
        return found
    return replace(found, low=max(ends[0], found.low), high=min(ends[1], found.high))


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
        silent, other: Mean score of the two controls.
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
    statuses: dict[str, int]
    not_silent: int

    @property
    def fits_others(self) -> bool:
        """Whether descriptions fit contexts of other units about as well as their own: the
        intervals of the two means overlap."""
        own, other = self.plain.low, self.other.high
        return own is not None and other is not None and other >= own

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


def specificity_results_of(run: Run) -> list[SpecificityResult]:
    """Return what a run's ratings of contexts against descriptions say."""
    ratings = context_ratings(run)
    if not ratings:
        return []
    tokens = {u: tuple(t) for u, t in run.rows("SELECT unit_id, interval_tokens FROM unit")}
    try:
        scales = {rubric.digest: rubric.scores for rubric in list_rubrics()}
    except RubricError:
        scales = {}
    return specificity_results(ratings, tokens, scales)


def specificity_results(
    ratings: Sequence[ContextRating],
    interval_tokens: dict[int, tuple[float, ...]],
    scales: dict[str, tuple[int, ...]],
) -> list[SpecificityResult]:
    """Return the results, one for each rubric, explainer and rater.

    `interval_tokens`: of each unit. `scales`: the levels of a rubric, by digest; where it is not
    there, those that were given.
    """
    groups: dict[tuple[str, str, str, str], list[ContextRating]] = {}
    for one in ratings:
        key = (one.rubric, one.rubric_digest, one.explainer, one.rater)
        groups.setdefault(key, []).append(one)
    results = []
    for (rubric, digest, explainer, rater), members in groups.items():
        given = sorted({one.score for one in members if one.score is not None})
        levels = scales.get(digest) or tuple(given)
        controls = {one.source: one.is_control for one in members}
        sources = {
            source: _specificity(
                source,
                controls[source],
                [one for one in members if one.source == source],
                levels,
                interval_tokens,
            )
            for source in in_order(controls)
        }
        many = max(len(interval_tokens.get(one.unit_id, ())) for one in members)
        results.append(SpecificityResult(rubric, digest, explainer, rater, levels, many, sources))
    return results


def _specificity(
    source: str,
    is_control: bool,
    ratings: list[ContextRating],
    levels: tuple[int, ...],
    interval_tokens: dict[int, tuple[float, ...]],
) -> Specificity:
    units: dict[int, dict[str | int, list[int]]] = {}
    for one in ratings:
        columns = units.setdefault(one.unit_id, {})
        if one.score is not None:
            columns.setdefault(_column(one), []).append(one.score)
    shares: dict[str | int, Floats] = {}
    counts: dict[str | int, int] = {}
    for column in _sorted({column for columns in units.values() for column in columns}):
        each = [np.array(columns[column]) for columns in units.values() if column in columns]
        shares[column] = np.mean(
            [[(scores == level).mean() for level in levels] for scores in each], axis=0
        )
        counts[column] = sum(map(len, each))
    ends = (levels[0], levels[-1]) if levels else (0, 0)
    asked_silent = {one.unit_id for one in ratings if one.kind == "silent"}
    return Specificity(
        source,
        is_control,
        len(units),
        shares,
        counts,
        plain=_over_units(units.values(), lambda c: _fired(c, None), ends),
        weighted=_mean(
            [
                value
                for unit, columns in units.items()
                if (value := _fired(columns, interval_tokens.get(unit))) is not None
            ],
            "no context in which a unit fires has a score",
            ends,
        ),
        silent=_over_units(units.values(), lambda c: _of(c, "silent"), ends),
        other=_over_units(units.values(), lambda c: _of(c, "other"), ends),
        statuses=dict(sorted(Counter(one.status for one in ratings).items())),
        not_silent=len(set(units) - asked_silent),
    )


def _column(one: ContextRating) -> str | int:
    return one.interval if one.kind == "firing" and one.interval is not None else one.kind


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
) -> Statistic:
    values = [value for columns in units if (value := figure(columns)) is not None]
    return _mean(values, "no unit has such contexts with a score", ends)
