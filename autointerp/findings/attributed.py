"""What a run holds of attributions, as `autointerp attribute` stored them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from autointerp.store.run import Run

STRONGEST = 100  # rows of a source, by ablation; the table `attributed_unit` has all
COLUMNS = (
    "unit, position, token, activation, attribution, ablation, attribution_rank, ablation_rank"
)


@dataclass(frozen=True)
class AttributedSource:
    """What the active units of one source add to the logit difference.

    Attributes:
        active: Units that are active, counted at each position.
        pearson, spearman: Of attribution and ablation over them; None where that is undefined.
        rows: One row a unit and position, the `STRONGEST` by ablation: unit, position, token,
            activation, attribution, ablation, attribution_rank, ablation_rank (among all of the
            source, from 1), description (the newest that the run holds, or None).
    """

    source: str
    active: int
    pearson: float | None
    spearman: float | None
    rows: pd.DataFrame


@dataclass(frozen=True)
class Attributed:
    """One prompt and the two tokens whose logits are compared after it."""

    prompt: str
    target: str
    against: str
    sources: tuple[AttributedSource, ...]


def attributions_of(run: Run) -> Iterator[Attributed]:
    """Yield what the run holds of each question, the one that was asked first ahead."""
    found = run.rows(
        "SELECT min(made_at) OVER (PARTITION BY question) AS asked_at, question, source, prompt,"
        " target, against, active, pearson, spearman FROM attributed"
    )
    by_question: dict[tuple[str, str, str, str], list[AttributedSource]] = {}
    for _, question, source, prompt, target, against, active, pearson, spearman in sorted(
        found, key=lambda row: row[:3]
    ):
        rows = run.frame(
            f"SELECT {COLUMNS}, description FROM attributed_unit LEFT JOIN ("
            " SELECT unit_name(source, idx, sign) AS unit,"
            " arg_max(description, made_at) AS description"
            " FROM explanation JOIN unit USING (unit_id) WHERE status = 'ok' GROUP BY ALL)"
            " USING (unit) WHERE question = ? AND source = ? AND ablation_rank <= ?"
            " ORDER BY ablation_rank",
            [question, source, STRONGEST],
        )
        rows["description"] = rows.description.astype(object).where(rows.description.notna(), None)
        by_question.setdefault((question, prompt, target, against), []).append(
            AttributedSource(source, active, pearson, spearman, rows)
        )
    for (_, prompt, target, against), sources in by_question.items():
        yield Attributed(prompt, target, against, tuple(sources))
