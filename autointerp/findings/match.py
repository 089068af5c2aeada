"""Two dictionaries: which features of one are in the other, which split, and which are new.

The similarity of a feature is the largest cosine of its dictionary vector with one of the other
dictionary (max cosine similarity), or that with its one-to-one partner. Source: Sharkey, Braun &
Millidge 2022, "Taking features out of superposition with sparse autoencoders"; Bricken et al. 2023,
"Towards Monosemanticity", feature splitting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from autointerp.errors import BadInput
from autointerp.findings.browse import newest_descriptions
from autointerp.findings.json_values import plain
from autointerp.findings.looks import Compared, Reading, take_look
from autointerp.findings.plan import level_of, plan_of
from autointerp.stats import cosines
from autointerp.stats.agreement import spearman
from autointerp.stats.results import Floats, HypothesisTest, Integers, Statistic
from autointerp.store.run import Run
from autointerp.text import count

DEAD = 10  # tokens; a unit that fires on fewer is dead (SEEDS §4)
RELATED = 0.7
RANDOM = 1_000  # random directions that say what cosine is chance
BINS = np.round(np.linspace(-1, 1, 41), 2)  # of histograms
FEATURES = "features"
DIGITS = 6  # of a cosine that is set against scores: the rest is rounding
SAME = 0.9999  # features of such a cosine are one feature, stored in fewer bits or rescaled
NO_TEST = HypothesisTest(None, None, "", "similarity and score are compared by the interval alone")


@dataclass(frozen=True)
class ScoreBySimilarity:
    """Whether units that are in the other dictionary too are scored higher.

    Attributes:
        rho: Spearman's correlation of score and similarity, over scored units.
        higher: P(a unit over the median similarity scores higher than one under it).
        median: That similarity.
        reading: How this look at the ratings may be read; None where nothing was compared.
    """

    rubric: str
    rater: str
    n: int
    rho: Statistic
    higher: Statistic
    median: float
    reading: Reading | None = None


@dataclass(frozen=True)
class Side:
    """The features of one run, as they are found in the other.

    Attributes:
        size: Features that there are.
        sae: sha256 of the SAE.
        number: [n] those that have a direction, ascending; all arrays are of these.
        cosine, nearest: [n] the largest cosine with a vector of the other dictionary, and whose.
        partner_cosine, partner: [n] the same of the one-to-one partner; NaN and -1 without one.
        fires: [n] tokens on which a feature fires; NaN where the run has not counted it.
        descriptions: By number, the last one of each that has any.
        chance: [RANDOM] the largest cosine of random directions with the other dictionary, sorted.
    """

    run: str
    size: int
    sae: str
    number: Integers
    cosine: Floats
    nearest: Integers
    partner_cosine: Floats
    partner: Integers
    fires: Floats
    descriptions: dict[int, str]
    chance: Floats
    scores: tuple[ScoreBySimilarity, ...]

    @property
    def dead(self) -> npt.NDArray[np.bool_]:
        """Those that fired on fewer than `DEAD` tokens."""
        return np.asarray(np.nan_to_num(self.fires, nan=np.inf) < DEAD)

    @property
    def counted(self) -> npt.NDArray[np.bool_]:
        """Those that are not known to be dead: what shares and medians are of."""
        return ~self.dead

    def share_related(self, related: float, one_to_one: bool = False) -> float | None:
        """Return the share of the counted features with a cosine of at least `related`."""
        values = (self.partner_cosine if one_to_one else self.cosine)[self.counted]
        return float((np.nan_to_num(values, nan=-1.0) >= related).mean()) if len(values) else None

    def chance_at(self, share: float) -> float:
        """Return the cosine that a share of random directions stays under."""
        return float(np.quantile(self.chance, share))

    def histogram(self, values: Floats) -> Integers:
        """Return how many values lie in each of `BINS`; NaN in none."""
        counts, _ = np.histogram(values[~np.isnan(values)], BINS)
        return counts

    def frame(self) -> pd.DataFrame:
        """Return one row a feature that has a direction."""
        return pd.DataFrame(
            {
                "feature": self.number,
                "cosine": self.cosine,
                "nearest": self.nearest,
                "partner_cosine": self.partner_cosine,
                "partner": pd.Series(self.partner, dtype="Int64").where(self.partner >= 0),
                "fires": self.fires,
                "dead": self.dead,
                "description": [self.descriptions.get(int(n)) for n in self.number],
            }
        )


@dataclass(frozen=True)
class Family:
    """Features of the larger dictionary whose nearest in the smaller one is the same.

    Attributes:
        parent: Number in the smaller dictionary.
        children: Numbers in the larger one and their cosines with the parent, nearest first.
    """

    parent: int
    children: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Match:
    """What the dictionaries of two runs have in common.

    Attributes:
        related: Cosine from which two features count as relatives.
        is_exact: Whether the one-to-one matching is the best of all; see `stats.cosines.Partners`.
        families: Features of the smaller dictionary that have several relatives in the larger
            one, those with most first; the first run's count as smaller where sizes are equal.
        unrelated: Features of the larger one without a relative in the smaller, the least similar
            first, dead ones left out.
        notes: What should be known beside it, a sentence each.
    """

    first: Side
    second: Side
    related: float
    is_exact: bool
    families: tuple[Family, ...]
    unrelated: tuple[int, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def small(self) -> Side:
        """The side with fewer features; the first where both have as many."""
        return self.second if self.second.size < self.first.size else self.first

    @property
    def large(self) -> Side:
        return self.first if self.small is self.second else self.second

    def as_json(self) -> dict[str, Any]:
        """Return the findings as JSON values; the single features are in the run's table."""
        sides = {}
        for name, side in (("first", self.first), ("second", self.second)):
            known = ~np.isnan(side.fires)
            counted = side.counted
            sides[name] = {
                "run": side.run,
                "features": side.size,
                "without_direction": side.size - len(side.number),
                "read": int(known.sum()),
                "dead": int(side.dead.sum()),
                "median": median(side.cosine[counted]),
                "median_one_to_one": median(side.partner_cosine[counted]),
                "median_dead": median(side.cosine[side.dead]),
                "share_related": side.share_related(self.related),
                "share_related_one_to_one": side.share_related(self.related, one_to_one=True),
                "without_partner": int((side.partner < 0).sum()),
                "chance_median": side.chance_at(0.5),
                "chance_99": side.chance_at(0.99),
                "histogram": {
                    "edges": BINS.tolist(),
                    "largest": side.histogram(side.cosine[counted]).tolist(),
                    "one_to_one": side.histogram(side.partner_cosine[counted]).tolist(),
                    "dead": side.histogram(side.cosine[side.dead]).tolist(),
                },
                "scores": plain(side.scores),
            }
        return {
            **sides,
            "related": self.related,
            "is_exact": self.is_exact,
            "smaller": self.small.run,
            "families": [
                {
                    "feature": family.parent,
                    "description": self.small.descriptions.get(family.parent),
                    "relatives": [
                        {
                            "feature": number,
                            "cosine": cosine,
                            "description": self.large.descriptions.get(number),
                        }
                        for number, cosine in family.children
                    ],
                }
                for family in self.families
            ],
            "unrelated": [
                {"feature": number, "description": self.large.descriptions.get(number)}
                for number in self.unrelated
            ],
            "notes": list(self.notes),
        }


def match_dictionaries(
    runs: tuple[Run, Run],
    vectors: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    related: float = RELATED,
) -> Match:
    """Return what the dictionaries [d_sae, width] of two runs have in common.

    Vectors of length 0 are left out and counted. Intervals of a run's scores are at the level of
    its plan. Raises BadInput if the dictionaries are of
    different widths, if one has no direction at all, or if `related` is not between 0 and 1.
    """
    if not 0 < related < 1:
        raise BadInput(f"--related {related:g}: give a cosine between 0 and 1, such as {RELATED}")
    if vectors[0].shape[1] != vectors[1].shape[1]:
        raise BadInput(
            f"vectors of run '{runs[0].name}' have {vectors[0].shape[1]} axes and those of "
            f"'{runs[1].name}' {vectors[1].shape[1]}; match dictionaries of one site"
        )
    numbers, scaled = [], []
    for run, rows in zip(runs, vectors, strict=True):
        if not np.isfinite(rows).all():
            raise BadInput(f"run '{run.name}': a dictionary vector is not finite; fetch its SAE")
        (number,) = np.nonzero(rows.any(axis=1))
        if not len(number):
            raise BadInput(f"run '{run.name}': all its dictionary vectors are 0; train its SAE")
        numbers.append(number)
        scaled.append(cosines.unit_length(rows[number]))
    left, right = scaled
    near = cosines.nearest(left, right, cosines.CANDIDATES)
    pairs = cosines.partners(left, right, near)
    back_partner = np.full(len(right), -1, np.int64)
    back_cosine = np.full(len(right), np.nan, np.float32)
    (has,) = np.nonzero(pairs.index >= 0)
    back_partner[pairs.index[has]], back_cosine[pairs.index[has]] = has, pairs.cosine[has]
    rng = np.random.default_rng(0)
    random = cosines.unit_length(rng.standard_normal((RANDOM, left.shape[1]), dtype=np.float32))
    first = _side(
        runs[0], runs[1].name, numbers, (near.cosine[:, 0], near.index[:, 0]),
        (pairs.cosine, pairs.index),
        cosines.nearest(random, right).cosine[:, 0], len(vectors[0]),
    )  # fmt: skip
    second = _side(
        runs[1], runs[0].name, numbers[::-1], (near.back_cosine, near.back_index),
        (back_cosine, back_partner),
        cosines.nearest(random, left).cosine[:, 0], len(vectors[1]),
    )  # fmt: skip
    small, large = (second, first) if second.size < first.size else (first, second)
    return Match(
        first,
        second,
        related,
        pairs.is_exact,
        families_of(large, related),
        _unrelated(large, related),
        tuple(_notes(first, second, small, large, related)),
    )


def _side(
    run: Run,
    against: str,
    numbers: Sequence[Integers],
    near: tuple[npt.NDArray[np.float32], Integers],
    pairs: tuple[npt.NDArray[np.float32], Integers],
    chance: npt.NDArray[np.float32],
    size: int,
) -> Side:
    """Return one side; `numbers` are its own features with a direction, then the other's."""
    own, other = numbers
    read = run.firing_counts(FEATURES)
    cosine = near[0].astype(np.float64)
    partner = np.where(pairs[1] >= 0, other[pairs[1]], -1)
    return Side(
        run=run.name,
        size=size,
        sae=str(run.about["digests"].get("sae", "")),
        number=own,
        cosine=cosine,
        nearest=other[near[1]],
        partner_cosine=pairs[0].astype(np.float64),
        partner=partner,
        fires=np.array([read.get((n, 1), (np.nan, 0))[0] for n in own.tolist()], dtype=np.float64),
        descriptions=_descriptions(run),
        chance=np.sort(chance.astype(np.float64)),
        scores=tuple(_scores(run, against, dict(zip(own.tolist(), cosine.tolist(), strict=True)))),
    )


def _descriptions(run: Run) -> dict[int, str]:
    """Return the last description of each feature that has one, by its number."""
    said = newest_descriptions(run)
    numbers = run.rows("SELECT unit_id, idx FROM unit WHERE source = ?", [FEATURES])
    return {idx: said[unit_id] for unit_id, idx in numbers if unit_id in said}


def _scores(run: Run, other: str, cosine_of: dict[int, float]) -> list[ScoreBySimilarity]:
    level = level_of(plan_of(run))
    rows = run.frame(
        "SELECT rubric, rubric_digest, rater, unit_id, idx, count(*) AS repeats,"
        " avg(score) FILTER (status = 'ok') AS score FROM unit_rating"
        " WHERE source = ? GROUP BY ALL ORDER BY rubric, rubric_digest, rater, idx",
        [FEATURES],
    )
    rows = rows[rows.idx.isin(cosine_of)]
    found = []
    for (rubric, digest, rater), asked in rows.groupby(["rubric", "rubric_digest", "rater"]):
        part = asked[asked.score.notna()]
        if len(part) < 2:
            continue
        cosine_asked = np.array([cosine_of[int(number)] for number in asked.idx]).round(DIGITS)
        has_score = asked.score.notna().to_numpy()
        score, cosine = part.score.to_numpy(np.float64), cosine_asked[has_score]
        middle = float(np.median(cosine))
        if np.ptp(cosine) == 0 or cosine.min() >= SAME:  # as where an SAE stands beside itself
            higher = Statistic(
                None, None, None, (len(part),), "none", level, "all are equally similar"
            )
            found.append(ScoreBySimilarity(rubric, rater, len(part), higher, higher, middle))
            continue
        is_over = cosine_asked > middle
        if not is_over[has_score].any():  # more than half are the most similar
            is_over = cosine_asked >= middle
        over = is_over[has_score]
        unit_ids = part.unit_id.to_numpy(np.int64)
        compared = Compared(
            rubric=str(rubric),
            rubric_digest=str(digest),
            rater=str(rater),
            first=f"{FEATURES} nearer to '{other}'",
            second=f"{FEATURES} farther from '{other}'",
            unit_ids=(unit_ids[over], unit_ids[~over]),
            scores=(score[over], score[~over]),
            asked=(int(is_over.sum()), int((~is_over).sum())),
            repeats=int(asked.repeats.max()),
        )
        reading, _ = take_look(run, compared, None, level, "match", NO_TEST)
        higher = reading.interval(score[over], score[~over])
        rho = _rho(cosine, score, level, reading)
        found.append(ScoreBySimilarity(rubric, rater, len(part), rho, higher, middle, reading))
    return found


def _rho(cosine: Floats, score: Floats, level: float, reading: Reading | None) -> Statistic:
    """Return Spearman's rho with an interval as wide as the look's: it is at the same ratings."""
    if reading is None or reading.multiplier is None:
        return spearman(cosine, score, level)
    wide = spearman(cosine, score, reading.tail_level)
    method = wide.method if wide.low is None else f"{wide.method}; {reading.method}"
    return replace(wide, level=level, method=method)


def families_of(large: Side, related: float) -> tuple[Family, ...]:
    """Return the features of the other dictionary that are the nearest of several features of this
    one, all of them relatives and not known to be dead; those with most first.
    """
    children: dict[int, list[tuple[int, float]]] = {}
    for place in np.flatnonzero((large.cosine >= related) & large.counted).tolist():
        children.setdefault(int(large.nearest[place]), []).append(
            (int(large.number[place]), float(large.cosine[place]))
        )
    families = [
        Family(parent, tuple(sorted(held, key=lambda child: (-child[1], child[0]))))
        for parent, held in children.items()
        if len(held) > 1
    ]
    return tuple(sorted(families, key=lambda one: (-len(one.children), one.parent)))


def _unrelated(large: Side, related: float) -> tuple[int, ...]:
    places = np.flatnonzero((large.cosine < related) & large.counted)
    order = places[np.argsort(large.cosine[places], kind="stable")]
    return tuple(large.number[order].tolist())


def _notes(first: Side, second: Side, small: Side, large: Side, related: float) -> list[str]:
    notes = []
    if first.sae and first.sae == second.sae:
        notes.append(
            "Both runs have the same SAE, so that every feature is its own relative; match runs "
            "of two SAEs"
        )
    if related <= (chance := large.chance_at(0.99)):
        notes.append(
            f"One random direction in a hundred has a cosine of {chance:.2f} with a vector of "
            f"'{small.run}', so that {related:g} makes relatives of chance; raise --related"
        )
    for side in (first, second):
        if lacking := side.size - len(side.number):
            has = "is 0 and has" if lacking == 1 else "are 0 and have"
            notes.append(f"{count(lacking, 'vector')} of '{side.run}' {has} no direction")
        if unread := int(np.isnan(side.fires).sum()):
            notes.append(
                f"Run '{side.run}' has read {len(side.number) - unread:,} of its "
                f"{len(side.number):,} features; which of the others are dead is not known, and "
                "`--count` reads them"
            )
    return notes


def median(values: Floats) -> float | None:
    """Return the median of the values that are no NaN; None where there are none."""
    values = values[~np.isnan(values)]
    return float(np.median(values)) if len(values) else None
