"""How features are found in other runs' dictionaries; nothing where none was matched."""

from __future__ import annotations

import pandas as pd

from autointerp.findings.matched import MatchedRun, MatchedScore
from autointerp.reports.panels import Block, Material, Prose, Table
from autointerp.reports.words import flat, interval, number, percent

AFTER = "cover"
TITLE = "Other dictionaries"


def show(material: Material) -> list[Block]:
    found = [(c.run, one) for c in material.comparisons for one in c.matches]
    if not found:
        return []
    blocks: list[Block] = [
        Prose(
            "Of each feature the largest cosine of its dictionary vector with one of another run, "
            "and that with its one-to-one partner (`autointerp match`, whose page has the features "
            "that split and those that are new). Relatives have at least the cosine that is named; "
            "99 of 100 random directions stay under the last column. Features known to be dead are "
            "left out."
        ),
        Table(
            name="matched",
            caption="Features in the dictionaries of other runs",
            frame=pd.DataFrame([_record(run, one) for run, one in found]),
            headings=[
                "run", "other", "features", "dead", "median cosine", "with a relative",
                "one to one", "partner is a relative", "split into several", "relative from",
                "random directions",
            ],
            rows=[
                [
                    run,
                    one.other,
                    f"{one.directed:,}",
                    f"{one.dead:,}" if one.counted == one.directed
                    else f"{one.dead:,} of {one.counted:,} counted",
                    number(one.median),
                    percent(one.share_related),
                    number(one.median_one_to_one),
                    percent(one.share_related_one_to_one),
                    f"{one.splits:,}",
                    f"{one.related:g}",
                    number(one.chance_99),
                ]
                for run, one in found
            ],
            summary=True,
        ),
    ]  # fmt: skip
    scored = [(run, one.other, score) for run, one in found for score in one.scores]
    if scored:
        blocks.append(_scores(scored))
    return blocks


def _scores(scored: list[tuple[str, str, MatchedScore]]) -> Table:
    return Table(
        name="matched_scores",
        caption="Scores of features over the median cosine against those under it, ties halved, "
        "and Spearman's rho of score and cosine, as they were when the dictionaries were matched",
        frame=pd.DataFrame(
            [
                {
                    "run": run,
                    "other": other,
                    "rubric": one.rubric,
                    "rater": one.rater,
                    "features": one.n,
                    "median_cosine": one.median,
                    "look": one.look,
                    **flat("superiority", one.higher),
                    **flat("rho", one.rho),
                    "note": one.higher.note,
                }
                for run, other, one in scored
            ]
        ).astype({"look": "Int64"}),
        headings=["run", "other", "rater", "rubric", "features", "look", "P(higher)", "rho"],
        rows=[
            [
                run,
                other,
                one.rater,
                one.rubric,
                f"{one.n:,}",
                "–" if one.look is None else f"{one.look:,}",
                interval(one.higher) if one.higher.value is not None else one.higher.note,
                interval(one.rho),
            ]
            for run, other, one in scored
        ],
        summary=True,
    )


def _record(run: str, one: MatchedRun) -> dict[str, object]:
    return {
        "run": run,
        "other": one.other,
        "features": one.features,
        "directed": one.directed,
        "counted": one.counted,
        "dead": one.dead,
        "related": one.related,
        "share_related": one.share_related,
        "share_related_one_to_one": one.share_related_one_to_one,
        "median": one.median,
        "median_one_to_one": one.median_one_to_one,
        "chance_median": one.chance_median,
        "chance_99": one.chance_99,
        "splits": one.splits,
        "is_exact": one.is_exact,
    }
