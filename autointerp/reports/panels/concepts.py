"""Which share of concepts of known truth a unit of each source knows."""

from __future__ import annotations

import pandas as pd

from autointerp.findings.known import KnownConcepts
from autointerp.reports.panels import Block, Material, Prose, Table
from autointerp.reports.words import flat, interval, number
from autointerp.text import count

AFTER = "rater-check"
TITLE = "Known concepts"
ROWS = 20  # units on the page; the table that is saved has all


def show(material: Material) -> list[Block]:
    found = [(c.run, one) for c in material.comparisons for one in c.known]
    if not found:
        return []
    over = found[0][1].over
    blocks: list[Block] = [
        Prose(
            "Concepts whose truth is known token by token: of each, the unit that came first on "
            "the documents of one split, and its AUROC on those of the other (`autointerp "
            f"concepts`). Found is what has more than {over:g}; intervals are exact, over concepts."
        )
    ]
    several = len(found) > 1
    sizes = sorted({k for _, one in found for source in one.sources for k in source.probes})
    blocks.append(
        Table(
            name="known_concepts",
            caption="Share of concepts that a unit knows, or a probe of k units",
            frame=pd.DataFrame(
                [
                    {
                        "run": run,
                        "labels": one.labels,
                        "concepts": one.concepts,
                        "source": source.source,
                        **flat("found", source.found),
                        "mean_auroc": source.mean,
                        "mean_f1": source.f1,
                        **{
                            key: value
                            for k, share in source.probes.items()
                            for key, value in flat(f"found_by_{k}", share).items()
                        },
                    }
                    for run, one in found
                    for source in one.sources
                ]
            ),
            headings=[
                *(["labels"] if several else []),
                "source", "concepts", "found", "mean AUROC", "mean F1",
                *(f"k = {k}" for k in sizes),
            ],
            rows=[
                [
                    *([f"{run} · {one.labels[:8]}"] if several else []),
                    source.source,
                    f"{one.concepts:,}",
                    interval(source.found),
                    number(source.mean, 3),
                    number(source.f1),
                    *(interval(source.probes.get(k)) for k in sizes),
                ]
                for run, one in found
                for source in one.sources
            ],
            summary=True,
        )
    )  # fmt: skip
    blocks.append(_units(found, several))
    return blocks


def _units(found: list[tuple[str, KnownConcepts]], several: bool) -> Table:
    frame = pd.concat(
        [one.rows.assign(run=run, labels=one.labels) for run, one in found], ignore_index=True
    )
    best = frame[frame.picked == "auroc"].sort_values("auroc", ascending=False, kind="stable")
    shown = best.head(ROWS)
    named = frame.assign(units=[", ".join(units) for units in frame.units])
    return Table(
        name="known_units",
        caption=f"The {len(shown):,} of {count(len(best), 'best unit')} that know their concept "
        "most surely",
        frame=named[["run", "labels", *(c for c in named if c not in ("run", "labels"))]],
        headings=[*(["run"] if several else []), "concept", "unit", "searched", "held out"],
        rows=[
            [
                *([row.run] if several else []),
                row.concept,
                row.units[0],
                number(row.search, 3),
                f"{number(row.auroc, 3)} [{number(row.low, 3)}, {number(row.high, 3)}]"
                if pd.notna(row.low)
                else number(row.auroc, 3),
            ]
            for row in shown.itertuples()
        ],
    )
