"""May a judge stand in for people? The alternative annotator test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from autointerp.stats.results import Floats, as_ratings
from autointerp.text import count

Answer = Literal["passes", "fails", "too few"]
LEAST_UNITS = 30
EPSILON = 0.15  # people who were instructed; 0.2 for experts, 0.1 for a crowd


@dataclass(frozen=True, slots=True)
class Leaving:
    """The judge against one person, both measured by the other people.

    Attributes:
        units: Rated by the person and at least one other.
        judge_share: Share of these on which the judge comes as near to the others, or nearer.
        person_share: The same of the person.
        p_value: That the judge's share falls short by less than epsilon; None where too few.
        adjusted: For the number of people (Benjamini-Yekutieli).
        won: Whether it is at most `alpha`.
    """

    person: str
    units: int
    judge_share: float | None
    person_share: float | None
    p_value: float | None
    adjusted: float | None
    won: bool


@dataclass(frozen=True, slots=True)
class AlternativeAnnotator:
    """Whether a judge may stand in for people.

    Attributes:
        answer: `passes` where the winning rate is at least ½.
        winning_rate: Share of the people against whom the judge won; None where too few.
        advantage: Mean share of units on which the judge is as near or nearer than the person.
        epsilon: What the judge's lower cost is held to be worth, in shares of units.
        note: Why it is too few; else empty.
    """

    answer: Answer
    winning_rate: float | None
    advantage: float | None
    epsilon: float
    people: tuple[Leaving, ...]
    note: str = ""


def alternative_annotator(
    people: npt.ArrayLike,
    judge: npt.ArrayLike,
    names: Sequence[str],
    *,
    epsilon: float = EPSILON,
    alpha: float = 0.05,
) -> AlternativeAnnotator:
    """Return whether the judge agrees with people at least as well as a person does, less epsilon.

    Each person is left out in turn. On each unit that the person and another rated, the root mean
    square distance to the others' scores is taken of the judge and of the person; the nearer one
    has the unit, both where they are as near. A one-sided paired test asks whether the judge's
    share exceeds the person's less `epsilon` (Student's t). People with fewer than 30 such units
    are left out of the winning rate.

    Args:
        people: [units, people], NaN where one did not rate.
        judge: [units], NaN where the judge did not.
        names: Of the people.

    A judge that `fails` is not shown to be worse: one that is as good as each of three people fails
    in 84 to 90 % with 30 units, in 62 to 76 % with 60, in 38 to 55 % with 100.

    `too few` with one person, or nobody with 30 units that another rated too.

    Raises ValueError if shapes do not match or epsilon is not from 0 to 1.
    Source: Calderon, Reichart & Dror 2025, arXiv 2501.10970, section 3; Benjamini & Yekutieli
    2001, Ann. Stat. 29:1165.
    """
    scores = as_ratings(people)
    guess = np.asarray(judge, dtype=np.float64)
    if scores.shape[1] != len(names) or guess.shape != (len(scores),):
        raise ValueError(
            f"ratings of shape {scores.shape}, {len(names)} names, judge {guess.shape}"
        )
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon {epsilon} is not between 0 and 1")
    wins = [_wins(scores, guess, person) for person in range(len(names))]
    p_values = [_p_value(judge_won, person_won, epsilon) for judge_won, person_won in wins]
    adjusted = _benjamini_yekutieli(p_values)
    leaving = tuple(
        Leaving(
            name,
            len(judge_won),
            float(judge_won.mean()) if len(judge_won) else None,
            float(person_won.mean()) if len(judge_won) else None,
            p,
            q,
            q is not None and q <= alpha,
        )
        for name, (judge_won, person_won), p, q in zip(names, wins, p_values, adjusted, strict=True)
    )
    counted = [person for person in leaving if person.p_value is not None]
    if not counted:
        most = max((person.units for person in leaving), default=0)
        note = (
            f"{len(names)} person; at least 2 are needed"
            if len(names) < 2
            else f"no person has more than {count(most, 'unit')} that the judge and another person "
            f"rated too; at least {LEAST_UNITS} are needed"
        )
        return AlternativeAnnotator("too few", None, None, epsilon, leaving, note)
    advantage = float(np.mean([person.judge_share for person in counted]))
    rate = float(np.mean([person.won for person in counted]))
    answer: Answer = "passes" if rate >= 0.5 else "fails"
    return AlternativeAnnotator(answer, rate, advantage, epsilon, leaving)


def _wins(scores: Floats, judge: Floats, person: int) -> tuple[Floats, Floats]:
    """Return 1 where the judge is as near to the others as the person or nearer, and 1 where the
    person is as near or nearer, [units that both and another rated] each."""
    others = np.delete(scores, person, axis=1)
    own = scores[:, person]
    used = ~np.isnan(own) & ~np.isnan(judge) & ~np.isnan(others).all(axis=1)
    rest = others[used]

    def distance(column: Floats) -> Floats:
        return np.asarray(np.sqrt(np.nanmean((rest - column[used, None]) ** 2, axis=1)))

    if not used.any():
        return np.zeros(0), np.zeros(0)
    of_judge, of_person = distance(judge), distance(own)
    return (of_judge <= of_person).astype(np.float64), (of_person <= of_judge).astype(np.float64)


def _p_value(judge_won: Floats, person_won: Floats, epsilon: float) -> float | None:
    if len(judge_won) < LEAST_UNITS:
        return None
    shortfall = person_won - judge_won - epsilon  # below 0 on average where the judge will do
    if np.ptp(shortfall) < 1e-12:
        return 0.0 if shortfall[0] < 0 else 1.0
    t = shortfall.mean() / (shortfall.std(ddof=1) / math.sqrt(len(shortfall)))
    return float(scipy.stats.t.cdf(t, len(shortfall) - 1))


def _benjamini_yekutieli(p_values: Sequence[float | None]) -> list[float | None]:
    ascending = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    m = len(ascending)
    penalty = sum(1 / k for k in range(1, m + 1))
    adjusted: list[float | None] = [None] * len(p_values)
    least = 1.0
    for rank in range(m, 0, -1):
        p, place = ascending[rank - 1]
        least = min(least, p * m * penalty / rank)
        adjusted[place] = least
    return adjusted
