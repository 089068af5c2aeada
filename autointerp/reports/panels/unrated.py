"""What became of every unit that was drawn: nothing is dropped in silence."""

from __future__ import annotations

import pandas as pd

from autointerp.findings.groups import EXCLUDED, UNRATED, Group, Judgement
from autointerp.reports.panels import Block, Material, Prose, Table
from autointerp.reports.words import (
    SUPERIORITY,
    brief_label,
    counted,
    interval,
    label,
    listed,
    number,
    percent,
)

AFTER = "imported"
TITLE = "Missing data"


def show(material: Material) -> list[Block]:
    if not any(True for _ in material.judgements):
        return []
    rows = [(j, g) for j in material.judgements for g in j.groups.values()]
    pairs = [(j, j.primary) for j in material.judgements if j.primary]
    statuses = [
        {"run": j.run, "rubric": j.rubric, "rater": j.rater, "status": status, "ratings": n}
        for j in material.judgements
        for status, n in sorted(j.statuses.items())
    ]
    several = len(list(material.judgements)) > 1
    lost = any(g.lost for _, g in rows)
    short = [
        f"{label(judgement, material)} {listed(counts)}"
        for judgement in material.judgements
        if (counts := [counted(n, name) for name, n in judgement.short.items() if n])
    ]
    blocks: list[Block] = [
        Prose(
            (
                "Every unit that was asked about has a score."
                if not lost
                else "Units without a score are left out of means and tests. The bounds say what "
                "would come out if all of them had the lowest score, or all the highest; for "
                "the probability of superiority, all of the first source the lowest and all of the "
                "second the highest, and the reverse. They assume nothing."
            )
            + " Dead, ultralow and dense units were drawn from the source's random order before "
            "the last unit that was rated, and left out by the density filter: the results speak "
            "of the units that pass it."
            + (
                " A sitting shows one number of contexts of each unit, and does not ask about "
                f"units with fewer: {'; '.join(short)}."
                if short
                else ""
            )
        ),
        Table(
            name="missing",
            caption="What became of the units drawn",
            frame=pd.DataFrame([_row(j, g) for j, g in rows]),
            headings=[
                *(["rating"] if several else []),
                "source", "drawn", "scored", *UNRATED, *EXCLUDED, "mean", "worst case", "best case",
            ],
            rows=[
                [*([brief_label(j, material)] if several else []), *_cells(g)] for j, g in rows
            ],
        ),
        Table(
            name="statuses",
            caption="Single ratings by status",
            frame=pd.DataFrame(statuses),
            headings=["rating", "status", "ratings"],
            rows=[
                [brief_label(j, material), status, f"{n:,}"]
                for j in material.judgements
                for status, n in sorted(j.statuses.items())
            ],
        ),
    ]  # fmt: skip
    for judgement, contrast in pairs:
        if sum(contrast.bounds.missing):
            worst, best = contrast.bounds.worst, contrast.bounds.best
            blocks.append(
                Prose(
                    f"{label(judgement, material)}: the {SUPERIORITY} of {contrast.first} "
                    f"over {contrast.second} is "
                    f"{interval(contrast.superiority)} without them, {interval(worst)} in the "
                    f"worst case and {interval(best)} in the best."
                )
            )
    return blocks


def _cells(group: Group) -> list[str]:
    return [
        group.source,
        str(group.drawn),
        f"{group.n} ({percent(group.scored_share)})",
        *(str(group.unrated.get(name, 0)) for name in UNRATED),
        *(str(group.excluded.get(name, 0)) for name in EXCLUDED),
        number(group.mean.value),
        number(group.bounds.worst.value),
        number(group.bounds.best.value),
    ]


def _row(judgement: Judgement, group: Group) -> dict[str, object]:
    outcomes = {name: group.unrated.get(name, 0) for name in UNRATED}
    outcomes |= {name: group.excluded.get(name, 0) for name in EXCLUDED}
    return {
        "run": judgement.run,
        "rubric": judgement.rubric,
        "rater": judgement.rater,
        "source": group.source,
        "drawn": group.drawn,
        "scored": group.n,
        **outcomes,
        "mean": group.mean.value,
        "mean_worst": group.bounds.worst.value,
        "mean_best": group.bounds.best.value,
        "mean_worst_low": group.bounds.worst.low,
        "mean_best_high": group.bounds.best.high,
    }
