"""Mean scores per unit of use, beside those per unit: what the lab `importance` measured is use.

Units are drawn uniformly, so a plain mean speaks of the dictionary's units, most of which the model
may hardly use. Weighted by importance, a mean speaks of what the model does with them. It rests on
the few units that are used most, and its interval says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from autointerp.findings.groups import Group, Judgement
from autointerp.stats.agreement import spearman
from autointerp.stats.bounded import mover_difference
from autointerp.stats.means import mean
from autointerp.stats.results import Statistic
from autointerp.stats.weighted import effective_units, weighted_mean
from autointerp.store.run import Run

LAB = "importance"
LEAST = 2  # units of a source that have a score and an importance
TOP = 0.1  # share of units whose share of the use is given


@dataclass(frozen=True)
class SourceUse:
    """One source under one rater: its scores by unit, and by use.

    Attributes:
        n: Units that have a score and an importance; `without` have a score alone.
        mean: Of these units, each counted alike.
        by_use: Of these units, weighted by importance.
        effective: Units of one weight that would vary as much.
        rho: Spearman's correlation of score and importance.
        top_share: Share of all use that the most important tenth of these units carries.
        total: Sum of their importance, in nats (or logits) a token.
    """

    source: str
    is_control: bool
    n: int
    without: int
    mean: Statistic
    by_use: Statistic
    effective: float
    rho: Statistic
    top_share: float
    total: float


@dataclass(frozen=True)
class Use:
    """What one rater's scores under one rubric say per unit of use.

    Attributes:
        metric: Whose gradient importance is by: `loss` or `logit`.
        tokens: Of the corpus over which importance was measured.
        difference: Of the means by use of the two sources that the verdict speaks of, `first` less
            `second`; None where either has none.
    """

    rubric: str
    rubric_digest: str
    rater: str
    metric: str
    tokens: int
    sources: tuple[SourceUse, ...]
    first: str | None = None
    second: str | None = None
    difference: Statistic | None = None


def uses(run: Run, judgements: Sequence[Judgement], level: float) -> Iterator[Use]:
    """Yield the means by use of each judgement; none where the lab has measured no unit of it."""
    rows = [row for row in run.lab_rows(LAB) if row["outcome"] == "ok"]
    if not rows:
        return
    # Units that were measured by other options are no weights beside these.
    kinds = Counter((row["metric"], row["tokens"]) for row in rows)
    (metric, tokens), _ = kinds.most_common(1)[0]
    importance = {
        row["unit_id"]: float(row["importance"])
        for row in rows
        if (row["metric"], row["tokens"]) == (metric, tokens)
    }
    for judgement in judgements:
        sources = tuple(
            _source(group, importance, judgement, level)
            for group in judgement.groups.values()
            if sum(unit in importance for unit in group.unit_ids.tolist()) >= LEAST
        )
        if not sources:
            continue
        by_name = {one.source: one for one in sources}
        pair = judgement.decisive
        difference = None
        if pair is not None and {pair.first, pair.second} <= set(by_name):
            first, second = by_name[pair.first], by_name[pair.second]
            if first.by_use.value is not None and second.by_use.value is not None:
                difference = mover_difference(
                    first.by_use, second.by_use, (first.n, second.n),
                    "MOVER of two means by use",
                )  # fmt: skip
        yield Use(
            judgement.rubric,
            judgement.rubric_digest,
            judgement.rater,
            metric,
            tokens,
            sources,
            pair.first if pair is not None and difference is not None else None,
            pair.second if pair is not None and difference is not None else None,
            difference,
        )


def _source(
    group: Group, importance: dict[int, float], judgement: Judgement, level: float
) -> SourceUse:
    known = np.array([unit in importance for unit in group.unit_ids.tolist()])
    weights = np.array([importance[unit] for unit in group.unit_ids[known].tolist()])
    scores = group.scores[known]
    scale = judgement.scale.lowest, judgement.scale.highest
    if weights.any():
        by_use = weighted_mean(scores, weights, scale, level)
        ordered = np.sort(weights)[::-1]
        top_share = float(ordered[: max(1, round(TOP * len(ordered)))].sum() / ordered.sum())
    else:
        note = "no unit matters on the tokens that were read"
        by_use, top_share = Statistic(None, None, None, (len(scores),), "", level, note), 0.0
    return SourceUse(
        source=group.source,
        is_control=group.is_control,
        n=len(scores),
        without=group.n - len(scores),
        mean=mean(scores, level, scale=judgement.scale.ends),
        by_use=by_use,
        effective=effective_units(weights),
        rho=spearman(scores, weights, level),
        top_share=top_share,
        total=float(weights.sum()),
    )
