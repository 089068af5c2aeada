"""Every source in a row, every pair of sources in another."""

from __future__ import annotations

from typing import Any

import pandas as pd

from autointerp.findings.comparison import Pooled
from autointerp.findings.groups import EXCLUDED, UNRATED, Contrast, Group, Judgement
from autointerp.reports.panels import Block, Material, Prose, Table
from autointerp.reports.words import (
    brief_label,
    flat,
    interval,
    level_text,
    number,
    p_value,
    percent,
    percents,
)

AFTER = "scores"
TITLE = "Estimates"


def show(material: Material) -> list[Block]:
    if not any(True for _ in material.judgements):
        return []
    blocks: list[Block] = [
        Prose(
            "One unit counts once: repeats are averaged within a unit and rater first. Intervals "
            f"are at {level_text(material)}; where none is given, none is known that holds. "
            "The probability of superiority counts a tie as half a win of the first. The test is "
            "Brunner-Munzel's, by permutation where groups are small or unequal."
        )
    ]
    judgements = list(material.judgements)
    groups = [(j, g) for j in judgements for g in j.groups.values()]
    pairs = [(j, c) for j in judgements for c in j.contrasts]
    several = len(judgements) > 1
    blocks.append(
        Table(
            name="sources",
            caption="Scores by source, rater and rubric",
            frame=pd.DataFrame([group_row(j, g) for j, g in groups]),
            headings=[
                *(["rating"] if several else []),
                "source", "n", "mean", "median", "scores", "no score", "left out", "one token",
            ],
            rows=[
                [*([brief_label(j, material)] if several else []), *_group_cells(j, g)]
                for j, g in groups
            ],
            summary=True,
        )
    )  # fmt: skip
    if pairs:
        blocks.append(
            Table(
                name="pairs",
                caption="Every pair of sources",
                frame=pd.DataFrame([pair_row(j, c) for j, c in pairs]),
                headings=[
                    *(["rating"] if several else []),
                    "first", "second", "wins / ties / losses", "probability of superiority",
                    "Cliff's delta", "means differ by", "p", "Holm p", "so the first is",
                    "Mann-Whitney p", "at like density", "several tokens",
                ],
                rows=[
                    [*([brief_label(j, material)] if several else []), *_pair_cells(c)]
                    for j, c in pairs
                ],
            )
        )  # fmt: skip
    pooled = [p for comparison in material.comparisons for p in comparison.pooled]
    if pooled:
        blocks.append(
            Table(
                name="all_raters",
                caption="Within each rater of a rubric, and combined (van Elteren)",
                frame=pd.DataFrame(
                    [
                        {
                            "rubric": p.rubric,
                            "raters": ", ".join(p.raters),
                            "left_out": ", ".join(p.left_out),
                            "first": p.first,
                            "second": p.second,
                            **flat("p_superiority", p.superiority),
                        }
                        for p in pooled
                    ]
                ),
                headings=[
                    "rubric",
                    "rater",
                    "weight",
                    "first",
                    "second",
                    "probability of superiority",
                ],
                rows=[row for p in pooled for row in _pooled_cells(p)],
            )
        )
    return blocks


def _pooled_cells(pooled: Pooled) -> list[list[str]]:
    """Return a row for each rater, one for those left out, and one for all together."""
    pair = [pooled.first, pooled.second]
    weights = percents(own.weight for own in pooled.by_rater)
    return [
        *(
            [pooled.rubric, own.rater, weight, *pair, interval(own.superiority)]
            for own, weight in zip(pooled.by_rater, weights, strict=True)
        ),
        *([pooled.rubric, rater, "left out", *pair, "–"] for rater in pooled.left_out),
        [pooled.rubric, "combined", "", *pair, interval(pooled.superiority)],
    ]


def _group_cells(judgement: Judgement, group: Group) -> list[str]:
    scored = len(judgement.scale.scores)
    counts = [share.count for share in group.distribution]
    star = "*" if group.is_control else ""
    return [
        group.source + star,
        str(group.n),
        interval(group.mean),
        number(group.median.value, 1),
        " / ".join(str(k) for k in counts[:scored]),
        ", ".join(f"{k} {name}" for name, k in group.unrated.items()) or "0",
        ", ".join(f"{k} {name}" for name, k in group.excluded.items()) or "0",
        percent(group.single_token_share),
    ]


def _pair_cells(contrast: Contrast) -> list[str]:
    shares = [share.value or 0 for share in contrast.pairs.shares]
    return [
        contrast.first,
        contrast.second,
        " / ".join(part.removesuffix(" %") for part in percents(shares)) + " %",
        interval(contrast.superiority),
        interval(contrast.delta),
        interval(contrast.difference),
        p_value(contrast.test.p_value) + (" (primary)" if contrast.primary else ""),
        p_value(contrast.holm_p),
        contrast.outcome,
        p_value(contrast.mann_whitney.p_value),
        interval(contrast.adjusted.superiority if contrast.adjusted else None),
        interval(contrast.several_tokens),
    ]


def group_row(judgement: Judgement, group: Group) -> dict[str, Any]:
    """Return all numbers of a group under plain column names."""
    scores = judgement.scale.scores
    return {
        "run": judgement.run,
        "rubric": judgement.rubric,
        "rubric_digest": judgement.rubric_digest,
        "rater": judgement.rater,
        "source": group.source,
        "is_control": group.is_control,
        "asked": group.asked,
        "n": group.n,
        **flat("mean", group.mean),
        **flat("median", group.median),
        **{f"score_{s.outcome}": s.count for s in group.distribution[: len(scores)]},
        **{name: group.unrated.get(name, 0) for name in UNRATED},
        **{name: group.excluded.get(name, 0) for name in EXCLUDED},
        "single_token_share": group.single_token_share,
        "mean_worst": group.bounds.worst.value,
        "mean_best": group.bounds.best.value,
    }


def pair_row(judgement: Judgement, contrast: Contrast) -> dict[str, Any]:
    """Return all numbers of a contrast under plain column names."""
    adjusted = contrast.adjusted
    return {
        "run": judgement.run,
        "rubric": judgement.rubric,
        "rubric_digest": judgement.rubric_digest,
        "rater": judgement.rater,
        "first": contrast.first,
        "second": contrast.second,
        "primary": contrast.primary,
        "n_first": contrast.superiority.n[0],
        "n_second": contrast.superiority.n[1],
        **flat("p_superiority", contrast.superiority),
        "p_superiority_method": contrast.superiority.method,
        **flat("wins", contrast.pairs.wins),
        **flat("ties", contrast.pairs.ties),
        **flat("losses", contrast.pairs.losses),
        "outcome": contrast.outcome,
        "test_p": contrast.test.p_value,
        "test_method": contrast.test.method,
        **flat("cliffs_delta", contrast.delta),
        **flat("mean_difference", contrast.difference),
        "brunner_munzel": contrast.brunner_munzel.statistic,
        "brunner_munzel_p": contrast.brunner_munzel.p_value,
        "holm_p": contrast.holm_p,
        "mann_whitney_u": contrast.mann_whitney.statistic,
        "mann_whitney_p": contrast.mann_whitney.p_value,
        **flat("p_like_density", adjusted.superiority if adjusted else None),
        "kept_first": adjusted.balance.kept[0] if adjusted else None,
        "kept_second": adjusted.balance.kept[1] if adjusted else None,
        **flat("p_several_tokens", contrast.several_tokens),
        "p_worst": contrast.bounds.worst.value,
        "p_best": contrast.bounds.best.value,
    }
