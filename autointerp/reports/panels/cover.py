"""Which concepts of a list the units are about; nothing where none was asked about."""

from __future__ import annotations

import pandas as pd

from autointerp.findings.cover import Cover
from autointerp.reports.panels import Block, Material, Prose, Table
from autointerp.reports.words import flat, interval, level_text

AFTER = "concepts"
TITLE = "Coverage of concepts"


def show(material: Material) -> list[Block]:
    found = [(c.run, one) for c in material.comparisons for one in c.covers]
    if not found:
        return []
    several = material.several_runs
    blocks: list[Block] = [
        Prose(
            "A concept is covered where a judge says that it is the main thing of one of the units "
            "that fire most strongly on it (`autointerp cover`, whose page has every concept). "
            "Random units are judged in the same queue: a judge that says yes of them says it too "
            "easily. All concepts that were asked about count, those on which no unit fires as not "
            f"covered; shares have {level_text(material)} intervals, of units the mean over "
            "concepts."
        )
    ]
    for _, one in found:
        for note in one.notes:
            blocks.append(
                Prose(
                    f"{note}.",
                    lead=f"{one.source} by {one.rater}:",
                    tone="warning" if "means little" in note else "plain",
                )
            )
    blocks.append(
        Table(
            name="coverage",
            caption="Share of concepts that units cover, and how it goes with frequency",
            frame=pd.DataFrame([_record(run, one) for run, one in found]),
            headings=[
                *(["run"] if several else []),
                "source", "judge", "concepts", "covered", "by random units",
                "units that are about it", "random units", "log odds for ten times as frequent",
            ],
            rows=[
                [
                    *([run] if several else []),
                    one.source,
                    one.rater,
                    f"{len(one.answered):,} of {len(one.concepts):,}",
                    interval(one.coverage),
                    interval(one.control),
                    interval(one.yes["strongest"]),
                    interval(one.yes["random"]),
                    interval(one.curve.slope),
                ]
                for run, one in found
            ],
            summary=True,
        )
    )  # fmt: skip
    frames = [one.frame().assign(run=run, source=one.source, judge=one.rater) for run, one in found]
    frame = pd.concat(frames, ignore_index=True)
    blocks.append(Table(name="covered_concepts", caption="Concepts and units", frame=frame))
    return blocks


def _record(run: str, one: Cover) -> dict[str, object]:
    return {
        "run": run,
        "source": one.source,
        "judge": one.rater,
        "concepts": len(one.concepts),
        "answered": len(one.answered),
        **flat("covered", one.coverage),
        **flat("covered_by_random", one.control),
        **flat("units_about_it", one.yes["strongest"]),
        **flat("random_units_about_it", one.yes["random"]),
        **flat("slope", one.curve.slope),
    }
