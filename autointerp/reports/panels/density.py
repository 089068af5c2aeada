"""Score against density and against peak: dense and simple units drive cheap results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from autointerp.findings.density import STRATA, StratumMean
from autointerp.findings.groups import Contrast, Group, Judgement
from autointerp.records import Role
from autointerp.reports.colours import colour
from autointerp.reports.panels import MOST_PICTURES, Block, Figure, Material, Prose, Table
from autointerp.reports.style import headline, legend_columns, log_axis, plain_axes, sheet
from autointerp.reports.words import (
    interval,
    label,
    level_text,
    number,
    plural,
    refusal,
    share,
    slug,
)
from autointerp.stats.density import Balance, DensityAdjusted
from autointerp.stats.results import Floats
from autointerp.units.sources import kind_of

AFTER = "sources"
TITLE = "Score against density and peak"

DRAWN_POINTS = 1_000
MARKERS: dict[Role, str] = {"studied": "o", "ceiling": "^", "floor": "v", "control": "s"}


def show(material: Material) -> list[Block]:
    blocks: list[Block] = []
    left = MOST_PICTURES
    for comparison in material.comparisons:
        for judgement in comparison.judgements:
            groups = [g for g in judgement.groups.values() if g.median_density is not None]
            if not groups or not left:
                continue
            left -= 1
            name = slug(judgement, material)
            blocks.append(
                Figure(
                    name="density" + name,
                    caption=f"{label(judgement, material)}. A point is a unit, moved a little up "
                    "or down so that points do not hide one another; lines join the means within "
                    f"{STRATA} strata of each source's own units, bars their "
                    f"{level_text(material)} intervals. Peaks are in the subject's own units."
                    f"{_drawn(groups)}",
                    alt=_alt(groups),
                    draw=lambda judgement=judgement: draw(judgement),  # type: ignore[misc]
                )
            )
            contrast = judgement.primary
            if contrast is not None and contrast.adjusted is not None:
                blocks.extend(_balance(judgement, contrast, contrast.adjusted, name, material))
    if blocks and len(list(material.judgements)) > MOST_PICTURES:
        blocks.append(
            Prose(f"Drawn for the first {MOST_PICTURES} only; tables/units.csv holds all scores.")
        )
    if blocks:
        blocks.insert(
            0,
            Prose(
                "How often a unit fires, and whether one token is all that it fires on, may move "
                "its score whatever else it is. So the sources are compared among "
                "units of like density too, where both have such units, and among the units that "
                "no single token explains."
            ),
        )
    return blocks


def draw(judgement: Judgement) -> Drawing:
    """Return scores against density, and against peak, of all groups."""
    groups = [g for g in judgement.groups.values() if g.n]
    figure = sheet(10, 4)
    left, right = figure.subplots(1, 2, sharey=True)
    rng = np.random.default_rng(0)
    for group in sorted(groups, key=lambda g: not g.is_control):
        shown = (judgement.sources, rng, len(groups))
        _points(left, group, group.density, group.by_density, *shown)
        _points(right, group, group.peak, group.by_peak, *shown)
    left.set_xlabel("density: share of tokens on which the unit fires")
    right.set_xlabel("peak: the unit's largest activation")
    left.set_ylabel("score")
    left.set_yticks(judgement.scale.scores)
    log_axis(left, lambda x: f"{100 * x:g} %")
    log_axis(right, lambda x: f"{x:g}")
    for axes in (left, right):
        plain_axes(axes)
    handles, names = left.get_legend_handles_labels()
    order = [names.index(g.source) for g in groups if g.source in names]
    legend = figure.legend(
        [handles[i] for i in order],
        [names[i] for i in order],
        loc="outside upper center",
        ncols=min(len(order), legend_columns(names, 10)),
        markerscale=2,
    )
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    headline(figure, "", f"{judgement.rater} on {judgement.rubric}, run {judgement.run}")
    return figure


def _points(
    axes: Axes, group: Group, x: Floats, strata: Sequence[StratumMean], sources: Sequence[str],
    rng: np.random.Generator, groups: int,
) -> None:  # fmt: skip
    has_value = np.nan_to_num(x) > 0
    if not has_value.any():
        return
    x, y = x[has_value], group.scores[has_value]
    drawn = rng.permutation(len(x))[: DRAWN_POINTS // groups]
    ink = colour(group.source, sources)
    axes.scatter(
        x[drawn],
        y[drawn] + rng.uniform(-0.18, 0.18, len(drawn)),
        s=13 if not group.is_control else 9,
        marker=MARKERS[kind_of(group.source, group.is_control).role],
        color=ink,
        alpha=0.6,
        linewidths=0,
        label=group.source,
    )
    if not strata:
        return
    for stratum in strata:
        if stratum.mean.low is not None and stratum.mean.high is not None:
            axes.vlines(stratum.at, stratum.mean.low, stratum.mean.high, color=ink, linewidth=1.8)
    places = [stratum.at for stratum in strata]
    means = [stratum.mean.value or 0.0 for stratum in strata]
    axes.plot(places, means, color=ink, linewidth=1.8, marker="o", markersize=5)


def _balance(
    judgement: Judgement,
    contrast: Contrast,
    adjusted: DensityAdjusted,
    name: str,
    material: Material,
) -> list[Block]:
    """Return how alike the two sources are in density before and after, and what follows."""
    balance = adjusted.balance
    rows = [
        _balance_row(judgement, source, side, balance)
        for side, source in enumerate((contrast.first, contrast.second))
    ]
    gaps = f"{number(balance.difference_before)} before" + (
        ""
        if balance.difference_after is None
        else f", {number(balance.difference_after)} among those kept"
    )
    blocks: list[Block] = []
    if adjusted.refused:
        blocks.append(
            Prose(
                f"{label(judgement, material)}: {refusal(contrast, adjusted)}.",
                lead="No adjustment for density.",
            )
        )
    else:
        odds = adjusted.odds_ratio
        second = odds.note if odds.value is None else f"odds ratio {interval(odds)}"
        blocks.append(
            Prose(
                f"{label(judgement, material)}: over pairs of like density the probability of "
                f"superiority of {plural(contrast.first)[1]} is {interval(adjusted.superiority)} "
                f"(over all pairs {interval(contrast.superiority)}). Second opinion, an ordinal "
                f"regression of the score on source and a smooth of log density: {second}."
            )
        )
    blocks.append(
        Table(
            name="balance" + name,
            caption=f"{label(judgement, material)}: units with one of the other source at their "
            f"density. Mean log densities differ by {gaps}, in standard deviations.",
            frame=pd.DataFrame(rows),
            headings=[
                "source", "units", "kept", "worth", "fires on (geometric mean)", "the same, kept",
            ],
            rows=[
                [
                    str(row["source"]),
                    str(row["units"]),
                    str(row["kept"]),
                    number(row["effective_n"], 0),
                    share(10 ** row["log10_density"]),
                    share(None if row["log10_density_kept"] is None
                          else 10 ** row["log10_density_kept"]),
                ]
                for row in rows
            ],
        )
    )  # fmt: skip
    return blocks


def _balance_row(judgement: Judgement, source: str, side: int, balance: Balance) -> dict[str, Any]:
    return {
        "rater": judgement.rater,
        "source": source,
        "units": balance.n[side],
        "kept": balance.kept[side],
        "effective_n": balance.effective_n[side],
        "log10_density": balance.before[side],
        "log10_density_kept": None if balance.after is None else balance.after[side],
        "difference_before": balance.difference_before,
        "difference_after": balance.difference_after,
    }


def _drawn(groups: Sequence[Group]) -> str:
    """Return that not all units are drawn, where they are too many."""
    most = DRAWN_POINTS // len(groups)
    if all(group.n <= most for group in groups):
        return ""
    return f" Of each source {most:,} units at most are drawn, at random; the means are of all."


def _alt(groups: Sequence[Group]) -> str:
    medians = [
        f"{group.source}: median density {share(group.median_density)}, "
        f"mean score {number(group.mean.value)}"
        for group in groups
    ]
    return "Scatter of score against density and against peak. " + "; ".join(medians) + "."
