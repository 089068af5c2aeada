"""What the people who rated some units would say of all, from a judge's ratings of all (PPI++):
means, and the probability of superiority. And whether the judge may stand in for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from autointerp.errors import TooFewRatings
from autointerp.findings.groups import Judgement, UnlikeDraw, nearest_level
from autointerp.findings.looks import Compared, Estimate, Reading
from autointerp.findings.plan import PRIMARY
from autointerp.records import is_person
from autointerp.stats.alternative_annotator import AlternativeAnnotator, alternative_annotator
from autointerp.stats.means import mean, mean_difference
from autointerp.stats.ppi import (
    predict_difference,
    predict_difference_stratified,
    predict_mean,
    predict_mean_stratified,
)
from autointerp.stats.ppi_drawn import (
    predict_difference_drawn,
    predict_mean_drawn,
    predict_superiority_drawn,
)
from autointerp.stats.ppi_superiority import predict_superiority
from autointerp.stats.results import Floats, Integers, Statistic
from autointerp.stats.superiority import superiority

# Leaves a line in the ledger of looks, and returns how the look may be read.
TakeLook = Callable[[Compared, Estimate], Reading]


@dataclass(frozen=True)
class Drawn:
    """How the units that people rated were drawn from those that the judge rated.

    Attributes:
        strata: Of each unit that both rated, [units]; empty unless drawn within strata.
        sizes: Units in each stratum, rated or not.
        probability: Of each unit that both rated, where drawn by the judge's uncertainty, [units].
        why_not: Why no prediction can be made from them; empty if one can.

    Without strata and probabilities they are a simple random subset.
    """

    strata: tuple[int, ...] = ()
    sizes: Mapping[Hashable, int] = field(default_factory=dict)
    probability: tuple[float, ...] = ()
    why_not: str = ""


@dataclass(frozen=True)
class PredictedMean:
    """People's mean over all units of a source, or the difference of two sources, by prediction.

    Attributes:
        of: A source, or `features less neurons`.
        n_both, n_judge_only: Units that both rated, and that the judge alone did.
        judge_mean: Over all of these.
        predicted: Value None where no prediction can be made; the note says why.
        human_only: From people's ratings alone; likewise.
        power: Weight of the judge, 0 to leave it out; None where strata are weighted instead, and
            for a difference.
        correlation: Of people's and the judge's ratings; None for a difference.
        effective_n: Human ratings that would be as sure without a judge.
    """

    of: str
    n_both: int
    n_judge_only: int
    judge_mean: float
    predicted: Statistic
    human_only: Statistic
    power: float | None = None
    correlation: float | None = None
    effective_n: float | None = None


@dataclass(frozen=True)
class PredictedPair:
    """The primary pair as people would rate all units, by prediction.

    Attributes:
        n_both, n_judge_only: Units that both rated, and that the judge alone did.
        judge_only: P(first > second) + ½ P(tie) by the judge's ratings of all.
        predicted: The same by people's, corrected; value None where none can be made, and the note
            says why.
        human_only: From people's ratings alone; likewise.
        power: Weight of the judge in each source, 0 to leave it out; None without a prediction.
        reading: How this look may be read: `predicted` and `human_only` hold at all looks that the
            ledger has, and so does the difference of means; all else is of one look. None without
            a prediction, which is no look.
    """

    first: str
    second: str
    n_both: tuple[int, int]
    n_judge_only: tuple[int, int]
    judge_only: Statistic
    predicted: Statistic
    human_only: Statistic
    power: tuple[float, float] | None
    reading: Reading | None = None


@dataclass(frozen=True)
class Calibration:
    """One judge beside the people who rated some of its units.

    Attributes:
        humans: Names of these people; their mean stands for them.
        levels: Scores of the rubric, ascending.
        counts: By source: units by people's and the judge's score, [levels, levels]; means are
            taken to the nearest level.
        predictions: Of each source, and of the primary pair's difference.
        superiority: Of the primary pair; None where people rated one of its sources alone.
        stand_in: Whether the judge agrees with these people as well as they do with one another
            (alternative annotator test), on the studied units.
        drawn: How people's units were drawn where some were likelier to be than others.
        contexts: That people were shown of a unit; None where the run does not say.
        left_out: Units that the judge rated and that have fewer, by source: no person could rate
            them, so the predictions do not speak of them.
        primary: The pair that comes before others, whether people rated both or not.
    """

    run: str
    rubric: str
    rubric_digest: str
    judge: str
    humans: tuple[str, ...]
    levels: tuple[int, ...]
    counts: dict[str, Integers]
    predictions: tuple[PredictedMean, ...]
    superiority: PredictedPair | None
    stand_in: AlternativeAnnotator
    drawn: UnlikeDraw | None = None
    contexts: int | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    primary: tuple[str, str] = PRIMARY

    @property
    def alike(self) -> dict[str, int]:
        """Units scored alike by both, by source."""
        return {name: int(np.trace(counts)) for name, counts in self.counts.items()}

    @property
    def both(self) -> dict[str, int]:
        """Units that both rated, by source."""
        return {name: int(counts.sum()) for name, counts in self.counts.items()}


@dataclass(frozen=True)
class Shown:
    """What people were shown on a rubric.

    Attributes:
        contexts: Of each unit, one number for all.
        too_few: Units with fewer, which no person was asked about.
    """

    contexts: int
    too_few: tuple[int, ...]


@dataclass(frozen=True)
class _Pair:
    """The scores of one source: people's and the judge's, and the judge's of other units."""

    unit_ids: Integers
    human: Floats
    judge: Floats
    alone: Floats
    drawn: Drawn

    @property
    def judge_mean(self) -> float:
        return float(self.by_judge.mean())

    @property
    def by_judge(self) -> Floats:
        """The judge's scores of all units."""
        return np.concatenate([self.judge, self.alone])

    @property
    def weighted(self) -> tuple[Floats, Floats, Floats, Floats]:
        """People's and the judge's scores, the judge's of all, and the inclusion probabilities."""
        rated, drawn = len(self.human), self.drawn
        probability = np.full(rated, rated / len(self.by_judge))
        if drawn.probability:
            probability = np.array(drawn.probability)
        elif drawn.strata:
            taken = Counter(drawn.strata)
            probability = np.array([taken[s] / drawn.sizes[s] for s in drawn.strata])
        return self.human, self.judge, self.by_judge, probability


def calibrations(
    run: str,
    judgements: Sequence[Judgement],
    scores: pd.DataFrame,
    units: pd.DataFrame,
    plans: pd.DataFrame,
    take_look: TakeLook,
    level: float = 0.95,
    shown: Mapping[str, Shown] | None = None,
    primary: tuple[str, str] = PRIMARY,
) -> Iterator[Calibration]:
    """Yield each rater that is no person beside the people who rated on the same rubric.

    `scores`, `units` and `plans` are those of a `Comparison`; `shown` is by rubric's digest. Where
    the `primary` pair is compared, that is a look of its own, at people's ratings with this
    judge's.
    """
    scales = {j.rubric_digest: j.scale.scores for j in judgements}
    for (rubric, digest), part in scores.groupby(["rubric", "rubric_digest"]):
        table = part.pivot(index="unit_id", columns="rater", values="score")
        humans = [rater for rater in table if is_person(rater)]
        if not humans:
            continue
        levels = scales[digest]
        source = units.source.loc[table.index]
        studied = ~units.is_control.loc[table.index].astype(bool)
        rated_by_people = table[humans].notna().any(axis=1)
        few = (shown or {}).get(digest)
        could = table if few is None else table.drop(index=list(few.too_few), errors="ignore")
        for judge in (rater for rater in table if rater not in humans):
            asked = plans[plans.rubric_digest == digest]
            pairs = dict(
                _pairs(could, could[humans].mean(axis=1), judge, source[could.index], asked)
            )
            left_out = source[table.index.difference(could.index)]
            left_out = left_out[table[judge].loc[left_out.index].notna()]
            if pairs:
                pair = _superiority(pairs, primary, level)
                reading = None
                if pair is not None and pair.predicted.value is not None:
                    compared = _compared(rubric, digest, judge, humans, pairs, primary)
                    reading = take_look(compared, _estimate(pairs, primary, level))
                    pair = replace(_as_read(pairs, primary, level, reading), reading=reading)
                yield Calibration(
                    run=run,
                    rubric=rubric,
                    rubric_digest=digest,
                    judge=judge,
                    humans=tuple(humans),
                    levels=levels,
                    counts={
                        name: _counts(pair.human, pair.judge, levels)
                        for name, pair in pairs.items()
                    },
                    predictions=tuple(
                        _predictions(pairs, primary, (levels[0], levels[-1]), level, reading)
                    ),
                    superiority=pair,
                    stand_in=alternative_annotator(
                        table.loc[studied, humans].to_numpy(),
                        table.loc[studied, judge].to_numpy(),
                        humans,
                    ),
                    drawn=unlike_draw(asked, table.index[studied & rated_by_people], source),
                    contexts=None if few is None else few.contexts,
                    left_out={
                        name: int(n)
                        for name, n in left_out.value_counts().sort_index().items()
                        if name in pairs
                    },
                    primary=primary,
                )


def _pairs(
    table: pd.DataFrame, people: pd.Series, judge: str, source: pd.Series, plans: pd.DataFrame
) -> Iterator[tuple[str, _Pair]]:
    scores = table[judge]
    rated = people.notna() & scores.notna()
    for name in dict.fromkeys(source):
        of_source = source == name
        both = of_source & rated
        if not both.any():
            continue
        others = of_source & scores.notna() & ~rated
        yield (
            name,
            _Pair(
                table.index[both].to_numpy(np.int64),
                people[both].to_numpy(),
                scores[both].to_numpy(),
                scores[others].to_numpy(),
                how_drawn(plans, judge, table.index[both], table.index[others]),
            ),
        )


def how_drawn(plans: pd.DataFrame, judge: str, rated: pd.Index, others: pd.Index) -> Drawn:
    """Return how the `rated` units of a source came to be rated by people.

    Units that no plan drew are the first of a random order, or a random part of these. Where
    some were planned and some not, or by several plans, the probabilities are not known.
    """
    if not plans.unit_id.isin(rated).any() or others.empty:  # no draw, or all that there are
        return Drawn()
    plans = draw_of(plans, rated)
    if plans.empty:
        return Drawn(why_not="people rated units of several draws, with no probability known")
    if set(plans.rater) != {judge}:
        by = "uncertainty" if set(plans.drawn_by) == {"uncertainty"} else "scores"
        return Drawn(
            why_not=f"people rated units that were drawn by the {by} of {plans.rater.iloc[0]}, "
            "and no random subset"
        )
    by_unit = plans.set_index("unit_id").loc[rated]
    if set(plans.drawn_by) == {"uncertainty"}:
        if int(by_unit.stratum_size.iloc[0]) != len(rated) + len(others):
            why_not = "the judge has rated other units than when people's were drawn"
            return Drawn(why_not=why_not)
        # Of those drawn, the rated ones are the first of a random order.
        reached = len(rated) / by_unit.stratum_drawn
        return Drawn(probability=tuple((by_unit.inclusion * reached).tolist()))
    sizes: dict[Hashable, int] = dict(by_unit.groupby("stratum").stratum_size.first().items())
    every = len(rated) + len(others)
    outside = every - sum(sizes.values())
    if outside > 0:
        return Drawn(
            why_not=f"no rating of people speaks for {outside} of the {every} units that the judge "
            "rated: people rated none of their score, or the judge rated them after the draw"
        )
    strata = tuple(int(stratum) for stratum in by_unit.stratum.loc[rated])
    return Drawn(strata, {int(str(one)): int(size) for one, size in sizes.items()})


def draw_of(plans: pd.DataFrame, rated: pd.Index) -> pd.DataFrame:
    """Return the rows of the last plan that drew all of these units; none where no plan did.

    A plan draws none that were rated before, so one that was made and not followed drew others.
    """
    of_rated = plans[plans.unit_id.isin(rated)]
    covering = of_rated.groupby("plan").unit_id.nunique()
    whole = covering.index[covering == len(rated)]
    return of_rated[of_rated.plan == whole.max()] if len(whole) else of_rated.iloc[:0]


def unlike_draw(plans: pd.DataFrame, rated: pd.Index, source: pd.Series) -> UnlikeDraw | None:
    """Return how units came to be rated by people where some of a source were likelier to be than
    others; None where they were not, or all were rated from which they were drawn. `source` is by
    unit."""
    drawn = draw_of(plans, rated)
    is_one = not drawn.empty
    if not is_one:  # by several draws, or some of them by none
        drawn = plans[plans.unit_id.isin(rated)]
    if drawn.empty:
        return None
    plan = plans[plans.plan == drawn.plan.max()]
    names, planned = source.loc[rated], plan.unit_id.map(source)
    by_score, judge = drawn.drawn_by.iloc[0] == "score", str(drawn.rater.iloc[0])
    for name, part in drawn.groupby(drawn.unit_id.map(source)):
        strata = plan[planned == name].groupby("stratum").stratum_size.first()
        pool = int(strata.sum() if by_score else strata.max()) if len(strata) else 0
        if part.inclusion.round(9).nunique() > 1 and int((names == name).sum()) < pool:
            if not is_one:
                return UnlikeDraw("several", judge)
            return UnlikeDraw("score" if by_score else "uncertainty", judge)
    return None


def _counts(human: Floats, judge: Floats, levels: Sequence[int]) -> Integers:
    human, judge = nearest_level(human, levels), nearest_level(judge, levels)
    return np.array([[((human == h) & (judge == j)).sum() for j in levels] for h in levels])


def _compared(
    rubric: str,
    digest: str,
    judge: str,
    humans: Sequence[str],
    pairs: Mapping[str, _Pair],
    primary: tuple[str, str],
) -> Compared:
    """Return what a prediction of the primary pair rests on: people's ratings, and the judge's."""
    first, second = (pairs[name] for name in primary)
    return Compared(
        rubric=rubric,
        rubric_digest=digest,
        rater=f"{', '.join(humans)} with {judge}",
        first=primary[0],
        second=primary[1],
        unit_ids=(first.unit_ids, second.unit_ids),
        scores=(first.human, second.human),
        asked=(len(first.by_judge), len(second.by_judge)),
        repeats=1,
        beside=(first.judge, first.alone, second.judge, second.alone),
    )


def _estimate(pairs: Mapping[str, _Pair], primary: tuple[str, str], level: float) -> Estimate:
    return lambda reading: (_as_read(pairs, primary, level, reading).predicted, None)


def _as_read(
    pairs: Mapping[str, _Pair], primary: tuple[str, str], level: float, reading: Reading
) -> PredictedPair:
    """Return the primary pair with the intervals that hold at this look."""
    pair = _superiority(pairs, primary, reading.tail_level)
    assert pair is not None
    first, second = (pairs[name].by_judge for name in primary)
    return replace(
        pair,
        judge_only=superiority(first, second, level),
        predicted=_at_all_looks(pair.predicted, level, reading),
        human_only=_at_all_looks(pair.human_only, level, reading),
    )


def _at_all_looks(statistic: Statistic, level: float, reading: Reading | None) -> Statistic:
    """Return a statistic at the level of a look's tail as one at `level` that holds at all looks.

    Prediction-powered estimates are asymptotically linear, so that their confidence sequence has
    the multiplier of a mean's (Waudby-Smith et al. 2024, section 3).
    """
    if reading is None or reading.multiplier is None or statistic.low is None:
        return replace(statistic, level=level)
    return replace(statistic, level=level, method=f"{statistic.method}; {reading.method}")


def _predictions(
    pairs: Mapping[str, _Pair],
    primary: tuple[str, str],
    scale: tuple[int, int],
    level: float,
    reading: Reading | None,
) -> Iterator[PredictedMean]:
    for name, pair in pairs.items():
        counted = (len(pair.human), len(pair.alone), pair.judge_mean)
        try:
            yield _mean(name, pair, scale, *counted, level)
        except TooFewRatings as too_few:
            predicted, human_only = _undefined(too_few, [pair])
            if pair.drawn == Drawn():  # people's own mean needs no judge
                human_only = mean(pair.human, level, scale=scale)
            yield PredictedMean(name, *counted, predicted, human_only)
    if all(name in pairs for name in primary):
        first, second = (pairs[name] for name in primary)
        name = f"{primary[0]} less {primary[1]}"
        counted = (
            len(first.human) + len(second.human),
            len(first.alone) + len(second.alone),
            first.judge_mean - second.judge_mean,
        )
        tail = level if reading is None else reading.tail_level
        try:
            made = _difference(name, first, second, scale, *counted, tail)
            yield replace(
                made,
                predicted=_at_all_looks(made.predicted, level, reading),
                human_only=_at_all_looks(made.human_only, level, reading),
            )
        except TooFewRatings as too_few:
            predicted, human_only = _undefined(too_few, [first, second])
            if _rated_alike(first, second):
                own = mean_difference(first.human, second.human, level=tail, scale=scale)
                human_only = _at_all_looks(own, level, reading)
            yield PredictedMean(name, *counted, predicted, human_only)


def _mean(
    name: str,
    pair: _Pair,
    scale: tuple[int, int],
    both: int,
    alone: int,
    judge_mean: float,
    level: float,
) -> PredictedMean:
    drawn = pair.drawn
    if drawn.why_not:
        raise TooFewRatings(drawn.why_not)
    prediction = (
        predict_mean_stratified(pair.human, drawn.strata, drawn.sizes, scale=scale, level=level)
        if drawn.strata
        else predict_mean_drawn(*pair.weighted, scale=scale, level=level)
        if drawn.probability
        else predict_mean(pair.human, pair.judge, pair.alone, scale=scale, level=level)
    )
    return PredictedMean(
        name,
        both,
        alone,
        judge_mean,
        prediction.mean,
        prediction.human_only,
        None if drawn.strata else prediction.power,
        prediction.correlation,
        prediction.effective_n,
    )


def _difference(
    name: str,
    first: _Pair,
    second: _Pair,
    scale: tuple[int, int],
    both: int,
    alone: int,
    judge_mean: float,
    level: float,
) -> PredictedMean:
    for pair in (first, second):
        if pair.drawn.why_not:
            raise TooFewRatings(pair.drawn.why_not)
    if first.drawn.strata and second.drawn.strata:
        prediction = predict_difference_stratified(
            *((pair.human, pair.drawn.strata, pair.drawn.sizes) for pair in (first, second)),
            scale=scale,
            level=level,
        )
    elif first.drawn.strata or second.drawn.strata:
        raise TooFewRatings("people's units of the two sources were drawn in two ways")
    elif first.drawn.probability or second.drawn.probability:
        prediction = predict_difference_drawn(
            first.weighted, second.weighted, scale=scale, level=level
        )
    else:
        prediction = predict_difference(
            *((pair.human, pair.judge, pair.alone) for pair in (first, second)),
            scale=scale,
            level=level,
        )
    return PredictedMean(
        name,
        both,
        alone,
        judge_mean,
        prediction.difference,
        prediction.human_only,
        effective_n=prediction.effective_n,
    )


def _superiority(
    pairs: Mapping[str, _Pair], primary: tuple[str, str], level: float
) -> PredictedPair | None:
    """Return the primary pair's probability of superiority as people would rate all units."""
    if not all(name in pairs for name in primary):
        return None
    first, second = (pairs[name] for name in primary)
    if min(len(first.by_judge), len(second.by_judge)) < 2:
        return None
    counted = (
        *primary,
        (len(first.human), len(second.human)),
        (len(first.alone), len(second.alone)),
        superiority(first.by_judge, second.by_judge, level),
    )
    try:
        for pair in (first, second):
            if pair.drawn.why_not:
                raise TooFewRatings(pair.drawn.why_not)
        at_random = not any(p.drawn.strata or p.drawn.probability for p in (first, second))
        made = (
            predict_superiority(
                (first.human, first.judge, first.alone),
                (second.human, second.judge, second.alone),
                level=level,
            )
            if at_random
            else predict_superiority_drawn(first.weighted, second.weighted, level=level)
        )
    except TooFewRatings as too_few:
        predicted, human_only = _undefined(too_few, [first, second])
        if _rated_alike(first, second):
            human_only = superiority(first.human, second.human, level)
        return PredictedPair(*counted, predicted, human_only, None)
    return PredictedPair(*counted, made.superiority, made.human_only, made.power)


def _rated_alike(first: _Pair, second: _Pair) -> bool:
    """Return whether people's own comparison of two sources stands, which needs no judge: their
    units count alike, and there are enough."""
    enough = min(len(first.human), len(second.human)) >= 2
    return first.drawn == second.drawn == Drawn() and enough


def _undefined(error: TooFewRatings, pairs: Iterable[_Pair]) -> tuple[Statistic, Statistic]:
    n = tuple(len(pair.human) for pair in pairs)
    none = Statistic(None, None, None, n, "", note=str(error))
    return none, none
