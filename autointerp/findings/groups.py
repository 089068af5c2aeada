"""Scores by unit → estimates by source: groups, and the contrasts between them.

The unit is what is counted: repeats are averaged within a unit and rater before anything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from autointerp.findings.density import (
    LIKE,
    StratumMean,
    log_density_gap,
    means_by_stratum,
)
from autointerp.findings.plan import PRIMARY, in_order
from autointerp.questions.rubric import Rubric
from autointerp.stats.decision import EQUIVALENT, Decision, decide
from autointerp.stats.density import DensityAdjusted, density_adjusted
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
    ALL_EQUAL,
    Pairs,
    brunner_munzel,
    cliffs_delta,
    mann_whitney,
    pairs,
    superiority,
    superiority_test,
)
from autointerp.units.sources import baseline_of

if TYPE_CHECKING:
    from autointerp.findings.checks import CheckResult, CheckState
    from autointerp.findings.looks import Reading
    from autointerp.findings.trust import Trust, Verdict

TELLS_NOTHING = 0.5  # width of an interval of P(superiority) that leaves most of it open
UNRATED = ("failed", "refused", "unparsed", "skipped")
EXCLUDED = ("dead", "ultralow", "dense")
PERMUTATIONS = {"primary": 9_999, "other": 999}
CLOSE = 0.01  # a p-value up to here is taken again, with more permutations
A_TEST = 40  # permutations for each test of a family: its least p, by Holm, is then 0.025


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

    @property
    def ends(self) -> tuple[int, int] | None:
        """The lowest and the highest score that can be given; None where only the scores that
        were given are known."""
        return None if self.rubric is None else (self.lowest, self.highest)


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
        single = self.single_token[~np.isnan(self.single_token)]
        return float(single.mean()) if len(single) else None

    @property
    def median_density(self) -> float | None:
        """Median of the densities that are known; None where none is."""
        densities = self.density[np.nan_to_num(self.density) > 0]
        return float(np.median(densities)) if len(densities) else None


@dataclass(frozen=True)
class Contrast:
    """One source against another, under one rubric, by one rater (or all of them).

    Attributes:
        primary: Named as the primary contrast: by the run's plan, else in run.toml.
        superiority: P(first > second) + ½ P(tie), the probability of superiority; its `method`
            says for how many looks the interval holds.
        pairs: The same pairs of units apart: wins, ties and losses of the first.
        test: Of `superiority` = ½, in the form that holds its level for groups of these sizes.
        holm_p: Its p, adjusted for all tests of the same standing in the run, also those of the
            plan that are still to come.
        equivalence: Bounds of `superiority` between which a difference does not matter.
        adjusted: At like density; None where a density is not known, or a control takes part.
        density_gap: Difference of the mean log densities, in standard deviations within the two
            sources; None where fewer than two densities of either are known.
        several_tokens: P(superiority) among units that no single token explains; None where
            that leaves one group empty, or contexts are not stored.
        interim: Why nothing is decided yet; empty where something may be.
    """

    first: str
    second: str
    primary: bool
    superiority: Statistic
    pairs: Pairs
    delta: Statistic
    difference: Statistic
    test: HypothesisTest
    brunner_munzel: HypothesisTest
    mann_whitney: HypothesisTest
    bounds: Bounds
    adjusted: DensityAdjusted | None
    density_gap: float | None
    several_tokens: Statistic | None
    equivalence: tuple[float, float] = EQUIVALENT
    holm_p: float | None = None
    interim: str = ""

    @property
    def outcome(self) -> Decision:
        """What may be said of the first source, by the adjusted p-value, the interval and the
        equivalence bounds; nothing at an interim look."""
        if self.interim:
            return "not resolved"
        alpha = 1 - self.superiority.level
        return decide(self.superiority, self.holm_p, self.equivalence, alpha)

    @property
    def like_density(self) -> bool:
        """Whether the two sources fire about equally often."""
        return self.density_gap is not None and abs(self.density_gap) <= LIKE

    @property
    def is_one_value(self) -> bool:
        """Whether every score of both groups is the same."""
        return self.superiority.note == ALL_EQUAL

    @property
    def tells_nothing(self) -> bool:
        """Whether too few units were rated: there is no interval, or it leaves most of the range
        open."""
        low, high = self.superiority.low, self.superiority.high
        return low is None or high is None or high - low > TELLS_NOTHING


@dataclass(frozen=True)
class ScoreErrors:
    """How sure a rater is of single scores, where it says so of too little evidence.

    Attributes:
        units: Of which it says how sure it is.
        mean: Of their standard errors, in the unit of the number behind the score.
        unsettled: Of these units, those that one standard error would put on another level.
    """

    units: int
    mean: float
    unsettled: int


@dataclass(frozen=True)
class UnlikeDraw:
    """How units came to be rated by a person, some more often than others.

    Attributes:
        by: What of the judge `plan-humans` went by; `several` where no one draw has all units.
    """

    by: Literal["score", "uncertainty", "several"]
    judge: str


@dataclass(frozen=True)
class Judgement:
    """One rater under one rubric in one run: its groups, and the contrasts between them.

    Attributes:
        is_llm: Whether the rater is a language model; None where the run does not say.
        repeats: Ratings of a unit at most.
        statuses: Ratings by status, repeats counted singly.
        check: The rater's check on this rubric that says most: of the version that rated, on the
            test side, the latest; None if it was never checked.
        check_state: What that check is worth; None for people and scripts, which have none.
        versions: Versions of the rater that its ratings are by, with how many; version None where
            that was not kept. More than one mean that units were not rated alike.
        models: Models that a server said it answered with, where that is more than the name asked.
        score_errors: Of units with few contexts; None where the rater says nothing of the kind.
        reading: Which look this is and how it may be read; None without a contrast.
        drawn: How a person's units were drawn where that was not alike, though all figures here
            count them alike; None where it was.
        reads_all: Whether the rater read all stored contexts of a unit, with the activation on each
            token, and not what the rubric shows.
        short: Units that a person was not asked about, by source: they have fewer contexts than
            people were shown of each.
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
    check_state: CheckState | None = None
    versions: tuple[tuple[str | None, int], ...] = ()
    models: tuple[str, ...] = ()
    score_errors: ScoreErrors | None = None
    reading: Reading | None = None
    drawn: UnlikeDraw | None = None
    reads_all: bool = False
    short: Mapping[str, int] = field(default_factory=dict)

    @property
    def sources(self) -> list[str]:
        """What is studied, controls left out."""
        return [name for name, group in self.groups.items() if not group.is_control]

    @property
    def has_scores(self) -> bool:
        """Whether any unit has a score."""
        return any(group.n for group in self.groups.values())

    @property
    def fails(self) -> str:
        """Why this rater's scores are no evidence about the units; empty where nothing says so.

        Its controls are not where they must be, or it does not tell planted units of one concept
        from others (`findings.checks`).
        """
        if self.trust.state == "broken":
            return "its controls are not where they must be"
        if self.check_state in ("chance", "weak"):
            return "it failed its check on planted units"
        return ""

    @property
    def known_versions(self) -> tuple[str, ...]:
        """The versions of the rater that its ratings are by, as far as they were kept."""
        return tuple(version for version, _ in self.versions if version is not None)

    @property
    def mixes_versions(self) -> bool:
        """Whether its ratings are by several versions of the rater, as far as they were kept."""
        return len(self.known_versions) > 1

    @property
    def controls(self) -> list[str]:
        return [name for name, group in self.groups.items() if group.is_control]

    @property
    def primary(self) -> Contrast | None:
        """The contrast that comes before all others, if both of its sources were rated."""
        return next((contrast for contrast in self.contrasts if contrast.primary), None)

    @property
    def decisive(self) -> Contrast | None:
        """The contrast that the verdict speaks of; None where there is nothing to compare."""
        pair = (self.verdict.first, self.verdict.second)
        return next(
            (contrast for contrast in self.contrasts if (contrast.first, contrast.second) == pair),
            None,
        )

    @property
    def baseline(self) -> Contrast | None:
        """What the verdict must survive: its source that scores higher against the same from an
        untrained model. None where nothing scores higher, or that was not rated."""
        decisive = self.decisive
        return self.beside if decisive is not None and decisive.outcome == "higher" else None

    @property
    def beside(self) -> Contrast | None:
        """The verdict's first source against the same from an untrained model, whatever was found;
        None where that was not rated, or is what the verdict speaks of."""
        decisive = self.decisive
        if decisive is None:
            return None
        pair = (decisive.first, baseline_of(decisive.first))
        found = next((c for c in self.contrasts if (c.first, c.second) == pair), None)
        return None if found is decisive else found

    @property
    def survives_baseline(self) -> bool | None:
        """Whether what scores higher does so against its untrained baseline too; None where there
        is nothing to survive."""
        return None if self.baseline is None else self.baseline.outcome == "higher"

    @property
    def survives_at_like_density(self) -> bool | None:
        """Whether what survives its baseline does so among units of like density too; None where it
        does not survive, units of like density are not known or too few, or the regression has no
        second opinion."""
        if not self.survives_baseline or self.baseline is None or self.baseline.adjusted is None:
            return None
        adjusted = self.baseline.adjusted
        if adjusted.refused or adjusted.has_one_opinion:
            return None
        return adjusted.decision == "higher"


def on_first_rubric(judgements: Sequence[Judgement]) -> list[Judgement]:
    """Return those whose scores can stand on one axis: that share the first one's rubric."""
    return [one for one in judgements if one.rubric_digest == judgements[0].rubric_digest]


# ------------------------------------------------------------------------------ groups


def make_groups(
    scores: pd.DataFrame,
    units: pd.DataFrame,
    scale: Scale,
    level: float,
) -> Iterator[tuple[str, Group]]:
    """Yield the groups of one judgement by source, in the order of reports.

    Intervals are over units, each counted by the mean of its ratings, however many it has.
    """
    # As arrays: pandas takes a millisecond for what numpy does in microseconds.
    at = units.index.get_indexer(scores.unit_id)
    numbers, names = pd.factorize(units.source)
    is_control, order = units.is_control.to_numpy(), units.ord.to_numpy()
    became = units.outcome.to_numpy(object)
    facts = units[["density", "peak", "single_token"]].to_numpy(np.float64)[at]
    number_of, order_of = numbers[at], order[at]
    ok, outcome = scores.ok.to_numpy(), scores.outcome.to_numpy(object)
    unit_ids, means = scores.unit_id.to_numpy(np.int64), scores.score.to_numpy(np.float64)
    controls = dict(zip(names[number_of].tolist(), is_control[at].tolist(), strict=True))
    for source in in_order(controls):
        number = names.get_loc(source)
        asked = number_of == number
        rated = asked & (ok > 0)
        unrated = Counter(outcome[asked & (ok == 0)].tolist())
        passed = became[(numbers == number) & (order < order_of[asked].max())].tolist()
        excluded = Counter(one for one in passed if one != "eligible")
        values = means[rated]
        levels = nearest_level(values, scale.scores)
        density, peak, single_token = facts[rated].T.copy()
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
                unit_ids=unit_ids[rated],
                scores=values,
                density=density,
                peak=peak,
                single_token=single_token,
                asked=int(asked.sum()),
                unrated={name: unrated[name] for name in UNRATED if unrated[name]},
                excluded={name: excluded[name] for name in EXCLUDED if excluded[name]},
                mean=mean(values, level, scale=scale.ends) if len(values) else undefined,
                median=median(values, level) if len(values) else undefined,
                shares=np.array([(levels == s).sum() for s in scale.scores]) / max(1, len(values)),
                distribution=score_distribution(levels, scale.scores, missing, level),
                bounds=missing_bounds(
                    values, sum(unrated.values()), scale.lowest, scale.highest, level
                ),
                by_density=means_by_stratum(density, values, level, scale.ends) if studied else (),
                by_peak=means_by_stratum(peak, values, level, scale.ends) if studied else (),
            ),
        )


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
    level: float,
    equivalence: tuple[float, float] = EQUIVALENT,
    declared: tuple[str, str] = PRIMARY,
    family: int = 1,
) -> Iterator[Contrast]:
    """Yield each pair of groups of two scored units or more, the earlier one first; `declared`
    is the primary one, `family` the number of tests that Holm's adjustment will count."""
    for one, other in combinations(groups.values(), 2):
        if min(one.n, other.n) < 2:
            continue
        x, y = one.scores, other.scores
        primary = (one.source, other.source) == declared
        bounds = missing_bounds_superiority(
            x,
            y,
            (one.lost, other.lost),
            scale.lowest,
            scale.highest,
            level,
        )
        p = superiority(x, y, level)
        yield Contrast(
            first=one.source,
            second=other.source,
            primary=primary,
            superiority=p,
            pairs=pairs(x, y, level),
            delta=cliffs_delta(p),
            difference=mean_difference(x, y, level, scale=scale.ends),
            test=fine_test(x, y, rng, PERMUTATIONS["primary" if primary else "other"], family),
            brunner_munzel=brunner_munzel(x, y),
            mann_whitney=mann_whitney(x, y),
            bounds=bounds,
            adjusted=at_like_density(one, other, level),
            density_gap=log_density_gap(one.density, other.density),
            several_tokens=_several_tokens(one, other, level),
            equivalence=equivalence,
        )


def fine_test(
    x: Floats, y: Floats, rng: np.random.Generator, permutations: int, family: int
) -> HypothesisTest:
    """Return the test of P(superiority) = ½, its p-value fine enough to pass Holm's adjustment.

    A p-value up to `CLOSE` is taken once more, with so many permutations that the smallest one
    there can be, times `family`, is 2.5 %; the second then stands, whatever it is. The level holds:
    for a ≤ `CLOSE` a result of at most a needs a second p-value of at most a, for a > `CLOSE` a
    first one of at most a.
    """
    test = superiority_test(x, y, rng, permutations)
    finer = A_TEST * family - 1
    if test.p_value is None or test.p_value > CLOSE or finer <= permutations:
        return test
    return superiority_test(x, y, rng, finer)


def at_like_density(first: Group, second: Group, level: float) -> DensityAdjusted | None:
    """Return P(superiority) at like density; None for a control, and where none is known."""
    if first.is_control or second.is_control:
        return None
    has_density = [np.nan_to_num(group.density) > 0 for group in (first, second)]
    if not all(mask.any() for mask in has_density):
        return None
    x, y = has_density
    return density_adjusted(
        first.scores[x], second.scores[y], first.density[x], second.density[y], level
    )


def _several_tokens(first: Group, second: Group, level: float) -> Statistic | None:
    x, y = (group.scores[group.single_token == 0] for group in (first, second))
    return superiority(x, y, level) if min(len(x), len(y)) >= 2 else None
