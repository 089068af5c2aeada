"""Mean scores per unit of use, beside the plain ones; nothing where importance was not measured."""

from __future__ import annotations

import pandas as pd

from autointerp.findings.importance import SourceUse, Use
from autointerp.reports.panels import Block, Material, Prose, Table
from autointerp.reports.words import flat, interval, number, percent

AFTER = "sources"
TITLE = "Scores by use"


def show(material: Material) -> list[Block]:
    found = [(c.run, use) for c in material.comparisons for use in c.use]
    if not found:
        return []
    several = len(found) > 1
    _, first = found[0]
    what = "the loss" if first.metric == "loss" else "the logit of the next token"
    blocks: list[Block] = [
        Prose(
            "Units were drawn uniformly, whether the model uses them or not. Here each counts by "
            f"its importance: |activation x gradient of {what}| along its direction, averaged over "
            f"{first.tokens:,} tokens (`autointerp lab importance`). The mean by use rests on the "
            "units that are used most: the effective number is how many units of one "
            "weight vary as much. Where few carry nearly all use, no interval is known that holds."
        )
    ]
    for _, use in found:
        if use.difference is not None:
            blocks.append(
                Prose(
                    f"By use, mean scores of {use.first} and {use.second} differ by "
                    + interval(use.difference)
                    + (
                        "."
                        if use.difference.low is not None
                        else f"; no interval is known, for {use.difference.note}."
                    ),
                    lead=f"{use.rater} on {use.rubric}:",
                )
            )
    blocks.append(
        Table(
            name="by_use",
            caption="Mean scores by unit and by use, of the units that have both",
            frame=pd.DataFrame(
                [_record(run, use, one) for run, use in found for one in use.sources]
            ),
            headings=[
                *(["rating"] if several else []),
                "source", "n", "mean by unit", "mean by use", "effective", "use of the top tenth",
                "rho of score and use",
            ],
            rows=[
                [
                    *([f"{run} · {use.rubric} · {use.rater}"] if several else []),
                    one.source + ("*" if one.is_control else ""),
                    str(one.n),
                    interval(one.mean),
                    interval(one.by_use),
                    number(one.effective, 1),
                    percent(one.top_share),
                    interval(one.rho),
                ]
                for run, use in found
                for one in use.sources
            ],
            summary=True,
        )
    )  # fmt: skip
    return blocks


def _record(run: str, use: Use, one: SourceUse) -> dict[str, object]:
    return {
        "run": run,
        "rubric": use.rubric,
        "rater": use.rater,
        "source": one.source,
        "metric": use.metric,
        "tokens": use.tokens,
        "units": one.n,
        "without_importance": one.without,
        **flat("mean", one.mean),
        **flat("mean_by_use", one.by_use),
        "effective_units": one.effective,
        "top_tenth_of_use": one.top_share,
        "total_importance": one.total,
        **flat("rho", one.rho),
    }
