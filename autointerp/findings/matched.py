"""What a run holds of other runs' dictionaries, as `autointerp match` stored it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from autointerp.stats.results import Statistic
from autointerp.store.run import Run


@dataclass(frozen=True)
class MatchedScore:
    """Whether features that are more similar to one of the other run are scored higher.

    Attributes:
        n: Features that have a score; `median` is their cosine.
        look: Number in the ledger of looks; None where nothing was compared.
        higher: P(a feature over the median scores higher than one under it).
        rho: Spearman's correlation of score and cosine.
    """

    rubric: str
    rater: str
    n: int
    median: float
    look: int | None
    higher: Statistic
    rho: Statistic


@dataclass(frozen=True)
class MatchedRun:
    """This run's features in the dictionary of another run; the columns of `match_side`.

    Attributes:
        other: The other run.
        features, directed, counted, dead: Of this run; with a vector that is not 0, whose firing
            had been counted, and that fired on fewer than 10 tokens. Shares and medians leave out
            the dead ones.
        related: Cosine from which two features are relatives.
        share_related, share_related_one_to_one: Features whose nearest, or whose one-to-one
            partner, is a relative.
        median, median_one_to_one: Of these cosines.
        chance_median, chance_99: Largest cosine of random directions with the other dictionary.
        splits: Features that are the nearest of several relatives in the other dictionary.
        is_exact: Whether the one-to-one matching is the best of all.
    """

    other: str
    other_sae: str
    features: int
    directed: int
    counted: int
    dead: int
    related: float
    share_related: float | None
    share_related_one_to_one: float | None
    median: float | None
    median_one_to_one: float | None
    chance_median: float
    chance_99: float
    splits: int
    is_exact: bool
    scores: tuple[MatchedScore, ...] = ()


def matches_of(run: Run) -> Iterator[MatchedRun]:
    """Yield what the run holds of each other run, by name."""
    columns = [field.name for field in fields(MatchedRun) if field.name != "scores"]
    scores: dict[str, list[MatchedScore]] = {}
    for other, rubric, rater, n, median, look, higher, rho in run.rows(
        "SELECT other, rubric, rater, n, median, look, higher, rho FROM match_score"
    ):
        scores.setdefault(other, []).append(
            MatchedScore(rubric, rater, n, median, look, _statistic(higher), _statistic(rho))
        )
    for row in sorted(run.rows(f"SELECT {', '.join(columns)} FROM match_side")):
        held: dict[str, Any] = dict(zip(columns, row, strict=True))
        yield MatchedRun(**held, scores=tuple(scores.get(held["other"], ())))


def _statistic(stored: dict[str, Any]) -> Statistic:
    return Statistic(**{**stored, "n": tuple(stored["n"])})
