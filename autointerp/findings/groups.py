"""Scores by unit → estimates by source: groups, and the contrasts between them.

The unit is what is counted: repeats are averaged within a unit and rater before anything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from autointerp.findings.density import STRATA, StratumMean, means_by_stratum
from autointerp.questions.rubric import Rubric
from autointerp.stats.bootstrap import bootstrap_mean, bootstrap_superiority
from autointerp.stats.matched import (
    MatchedContrast,
    density_edges,
    density_strata,
    matched_contrast,
)
from autointerp.stats.means import (
    Share,
    mean,
    mean_difference,
    median,
    missing_bounds,
    missing_bounds_superiority,
    score_distribution,
)
from autointerp.stats.results import Bounds, Floats, HypothesisTest, Integers, Statistic
from autointerp.stats.superiority import (
    brunner_munzel,
    mann_whitney,
    permutation_test,
    superiority,
)
from autointerp.units.sources import kind_of

if TYPE_CHECKING:
    from autointerp.findings.checks import CheckResult
    from autointerp.findings.trust import Trust, Verdict

TELLS_NOTHING = 0.5  # width of an interval about 0.5 that leaves most of the scale open
PRIMARY = ("features", "neurons")
UNRATED = ("failed", "refused", "unparsed", "skipped")
EXCLUDED = ("dead", "ultralow", "dense")
PERMUTATIONS = {"primary": 9_999, "other": 999}
RESAMPLES = 1_000


Outcome = Literal["higher", "lower", "unclear", "too few units", "all scores equal"]


@dataclass(frozen=True)
class Scale:
    """The levels of a rubric.

    Attributes:
        levels: (score, label), ascending; labels are empty where the rubric is not at hand.
        rubric: None where neither the run nor the package holds it.
    """

    levels: tuple[tuple[int, str], ...]
    rubric: Rubric | None

    @property
    def scores(self) -> tuple[int, ...]:
        return tuple(score for score, _ in self.levels)

    @property
    def lowest(self) -> int:
        return self.levels[0][0]

    @property
    def highest(self) -> int:
        return self.levels[-1][0]


@dataclass(frozen=True)
class Group:
    """The units of one source under one rubric by one rater.

    Attributes:
        unit_ids, scores, density, peak, single_token: Of the units that have a score, [units]; a
            score is the mean of the unit's repeats. `single_token` is 1 where one token stands at
            the peak of all strongest contexts, 0 where not, NaN where no contexts are stored.
        asked: Units that the rater was asked about.
        unrated: Asked without a score, by what became of the last attempt.
        excluded: Drawn from the source's random order but not asked about, by why.
        shares: Share of the scored units at each score of the scale, means of repeats taken to
            the nearest one, [levels].
        distribution: Shares over all of these: the scores first, then the outcomes.
        bounds: Of the mean, whatever the unrated would have scored.
        by_density, by_peak: Mean scores within strata of the source's own units, lowest first;
            empty for controls, and where fewer than 20 units are known.
    """

    source: str
    is_control: bool
    unit_ids: Integers
    scores: Floats
    density: Floats
    peak: Floats
    single_token: Floats
    asked: int
    unrated: dict[str, int]
    excluded: dict[str, int]
    mean: Statistic
    median: Statistic
    shares: Floats
    distribution: tuple[Share, ...]
    bounds: Bounds
    by_density: tuple[StratumMean, ...]
    by_peak: tuple[StratumMean, ...]

    @property
    def n(self) -> int:
        return len(self.scores)

    @property
    def lost(self) -> int:
        """Units asked about that have no score."""
        return sum(self.unrated.values())

    @property
    def drawn(self) -> int:
        """Units asked about, and those left out before them."""
        return self.asked + sum(self.excluded.values())

    @property
    def scored_share(self) -> float:
        """Share of the units drawn that have a score."""
        return self.n / self.drawn

    @property
    def single_token_share(self) -> float | None:
        """Share of the scored units that one token explains; None where it is unknown."""
        known = self.single_token[~np.isnan(self.single_token)]
        return float(known.mean()) if len(known) else None

    @property
    def median_density(self) -> float | None:
        """Median of the densities that are known; None where none is."""
        known = self.density[np.nan_to_num(self.density) > 0]
        return float(np.median(known)) if len(known) else None


@dataclass(frozen=True)
class Contrast:
    """One source against another, under one rubric, by one rater (or all of them).

    Attributes:
        primary: Declared in run.toml before anything was rated.
        holm_p: Brunner-Munzel's p, adjusted for all tests of the same standing in the run.
        matched: Within strata of density; None where no density is known.
        several_tokens: P(superiority) among units that no single token explains; None where
            that leaves one group empty, or contexts are not stored.
        outcome: What P(superiority) and its interval come to.
    """

    first: str
    second: str
    primary: bool
    superiority: Statistic
    delta: Statistic
    difference: Statistic
    brunner_munzel: HypothesisTest
    mann_whitney: HypothesisTest
    permutation: HypothesisTest
    bounds: Bounds
    matched: MatchedContrast | None
    several_tokens: Statistic | None
    outcome: Outcome
    holm_p: float | None = None


@dataclass(frozen=True)
class Judgement:
    """One rater under one rubric in one run: its groups, and the contrasts between them.

    Attributes:
        is_llm: Whether the rater is a language model; None where the run does not say.
        repeats: Ratings of a unit at most.
        statuses: Ratings by status, repeats counted singly.
        check: The rater's latest check on this rubric; None if it was never checked.
    """

    run: str
    rubric: str
    rubric_digest: str
    rater: str
    is_llm: bool | None
    scale: Scale
    repeats: int
    statuses: dict[str, int]
    groups: dict[str, Group]
    contrasts: tuple[Contrast, ...]
    trust: Trust
    verdict: Verdict
    check: CheckResult | None

    @property
    def sources(self) -> list[str]:
        """What is studied, controls left out."""
        return [name for name, group in self.groups.items() if not group.is_control]

    @property
    def controls(self) -> list[str]:
        return [name for name, group in self.groups.items() if group.is_control]

    @property
    def primary(self) -> Contrast | None:
        """The contrast declared beforehand, if both of its sources were rated."""
        return next((contrast for contrast in self.contrasts if contrast.primary), None)

    @property
    def decisive(self) -> Contrast | None:
        """The contrast that the verdict speaks of; None where there is nothing to compare."""
        pair = (self.verdict.first, self.verdict.second)
        return next((one for one in self.contrasts if (one.first, one.second) == pair), None)


# ------------------------------------------------------------------------------ groups


def in_order(sources: Mapping[str, bool]) -> list[str]:
    """Return sources (name → is it a control) in the order of reports: the primary pair, the
    other sources, then the controls from ceiling to floor."""

    def place(name: str) -> int:
        if not sources[name]:
            return PRIMARY.index(name) if name in PRIMARY else len(PRIMARY)
        return ("ceiling", "control", "floor").index(kind_of(name, is_control=True).role)

    return sorted(sources, key=lambda name: (sources[name], place(name), name))


def make_groups(
    scores: pd.DataFrame,
    units: pd.DataFrame,
    scale: Scale,
    rng: np.random.Generator,
    level: float,
) -> Iterator[tuple[str, Group]]:
    """Yield the groups of one judgement by source, in the order of reports.

    Intervals of means are Student's t over units; where units were rated repeatedly, a bootstrap
    over units, each with all its ratings.
    """
    repeated = bool((scores.ok > 1).any())
    rows = scores.join(units.drop(columns=["unit_id", "outcome"]), on="unit_id")
    controls = dict(zip(rows.source, rows.is_control, strict=True))
    for source in in_order(controls):
        asked = rows[rows.source == source]
        rated = asked[asked.ok > 0]
        unrated = Counter(asked.outcome[asked.ok == 0])
        passed = units[(units.source == source) & (units.ord < asked.ord.max())]
        excluded = Counter(passed.outcome[passed.outcome != "eligible"])
        values = rated.score.to_numpy(np.float64)
        levels = nearest_level(values, scale.scores)
        density, peak = rated.density.to_numpy(np.float64), rated.peak.to_numpy(np.float64)
        studied = not controls[source]
        missing = {
            name: count
            for kinds, counter in ((UNRATED, unrated), (EXCLUDED, excluded))
            for name in kinds
            if (count := counter[name])
        }
        undefined = Statistic(None, None, None, (0,), "", level, "no unit has a score")
        yield (
            source,
            Group(
                source=source,
                is_control=bool(controls[source]),
                unit_ids=rated.unit_id.to_numpy(np.int64),
                scores=values,
                density=density,
                peak=peak,
                single_token=rated.single_token.to_numpy(np.float64),
                asked=len(asked),
                unrated={name: unrated[name] for name in UNRATED if unrated[name]},
                excluded={name: excluded[name] for name in EXCLUDED if excluded[name]},
                mean=_mean(values, repeated, rng, level) if len(values) else undefined,
                median=median(values, level) if len(values) else undefined,
                shares=np.array([(levels == s).sum() for s in scale.scores]) / max(1, len(values)),
                distribution=score_distribution(levels, scale.scores, missing, level),
                bounds=missing_bounds(
                    values, sum(unrated.values()), scale.lowest, scale.highest, level
                ),
                by_density=means_by_stratum(density, values) if studied else (),
                by_peak=means_by_stratum(peak, values) if studied else (),
            ),
        )


def _mean(scores: Floats, repeated: bool, rng: np.random.Generator, level: float) -> Statistic:
    if repeated and len(scores) > 1 and np.ptp(scores) > 0:
        return bootstrap_mean(scores, rng, resamples=RESAMPLES, level=level)
    return mean(scores, level)


def nearest_level(scores: Floats, levels: Sequence[int]) -> Floats:
    """Return each score's nearest level, the upper one where two are as near: means of repeats
    lie between levels."""
    at = np.asarray(levels, dtype=np.float64)
    borders = (at[1:] + at[:-1]) / 2
    return at[np.searchsorted(borders, scores, side="right")]


# ------------------------------------------------------------------------------ contrasts


def make_contrasts(
    groups: dict[str, Group],
    scale: Scale,
    rng: np.random.Generator,
    repeated: bool,
    level: float,
) -> Iterator[Contrast]:
    """Yield each pair of groups of two scored units or more, the earlier one first.

    Where units were `repeated`ly rated the interval of P(superiority) is a bootstrap over units,
    each with all its ratings.
    """
    for one, other in combinations(groups.values(), 2):
        if min(one.n, other.n) < 2:
            continue
        x, y = one.scores, other.scores
        primary = (one.source, other.source) == PRIMARY
        bounds = missing_bounds_superiority(
            x,
            y,
            (one.lost, other.lost),
            scale.lowest,
            scale.highest,
            level,
        )
        found = superiority(x, y, level)
        if repeated:
            drawn = bootstrap_superiority(x, y, rng, resamples=RESAMPLES, level=level)
            found = drawn if drawn.low is not None else found  # no spread where separated
        yield Contrast(
            first=one.source,
            second=other.source,
            primary=primary,
            superiority=found,
            delta=as_delta(found),
            difference=mean_difference(x, y, level),
            brunner_munzel=brunner_munzel(x, y),
            mann_whitney=mann_whitney(x, y),
            permutation=permutation_test(
                x, y, rng, PERMUTATIONS["primary" if primary else "other"]
            ),
            bounds=bounds,
            matched=_matched(one, other, level),
            several_tokens=_several_tokens(one, other, level),
            outcome=outcome_of(found),
        )


def outcome_of(p: Statistic) -> Outcome:
    """Return what a P(superiority) and its interval come to, for the first source.

    An interval about 0.5 that is wider than half of the range tells nothing: too few units.
    """
    if p.low is None or p.high is None:
        return "all scores equal"
    if p.low > 0.5:
        return "higher"
    if p.high < 0.5:
        return "lower"
    return "too few units" if p.high - p.low > TELLS_NOTHING else "unclear"


def as_delta(p: Statistic) -> Statistic:
    """Return Cliff's delta, 2 P - 1, of a P(superiority) and its interval."""

    def scaled(end: float | None) -> float | None:
        return None if end is None else 2 * end - 1

    return replace(p, value=scaled(p.value), low=scaled(p.low), high=scaled(p.high))


def _matched(one: Group, other: Group, level: float) -> MatchedContrast | None:
    known = [np.nan_to_num(group.density) > 0 for group in (one, other)]
    if not all(mask.any() for mask in known):
        return None
    densities = [group.density[mask] for group, mask in zip((one, other), known, strict=True)]
    edges = density_edges(*densities, strata=STRATA)
    strata = [density_strata(density, edges) for density in densities]
    return matched_contrast(
        one.scores[known[0]], other.scores[known[1]], strata[0], strata[1], level=level
    )


def _several_tokens(one: Group, other: Group, level: float) -> Statistic | None:
    x, y = (group.scores[group.single_token == 0] for group in (one, other))
    return superiority(x, y, level) if min(len(x), len(y)) >= 2 else None
