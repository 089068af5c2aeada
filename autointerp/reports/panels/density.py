"""Score against density and against peak: dense and simple units drive cheap results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from autointerp.findings.density import STRATA, StratumMean
from autointerp.findings.groups import Contrast, Group, Judgement
from autointerp.reports.panels import Block, Figure, Material, Prose, Table
from autointerp.reports.style import colour, headline, log_axis, plain_axes, sheet
from autointerp.reports.words import interval, label, number, percent, slug
from autointerp.stats.results import Floats
from autointerp.text import count

AFTER = "sources"
TITLE = "Score against density and peak"

VECTOR_POINTS = 1_500
DRAWN_POINTS = 3_000
MOST_PICTURES = 6


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
                    f"{STRATA} strata of each source's own units, bars their 95 % intervals. Peaks "
                    "are in the subject's own units.",
                    alt=_alt(groups),
                    draw=lambda judgement=judgement: draw(judgement),  # type: ignore[misc]
                )
            )
            if judgement.primary is not None and judgement.primary.matched is not None:
                blocks.extend(_strata(judgement, judgement.primary, name, material))
    if blocks and len(list(material.judgements)) > MOST_PICTURES:
        blocks.append(
            Prose(f"Drawn for the first {MOST_PICTURES} only; tables/units.csv holds all scores.")
        )
    if blocks:
        blocks.insert(
            0,
            Prose(
                "A unit that fires on a third of all tokens cannot mean one thing, and one that "
                "fires on a single token is easily described. So the sources are compared within "
                f"{STRATA} strata of like density too, weighted where both have units, and among "
                "the units that no single token explains."
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
        ncols=len(order),
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
    known = np.nan_to_num(x) > 0
    if not known.any():
        return
    x, y = x[known], group.scores[known]
    drawn = rng.permutation(len(x))[: DRAWN_POINTS // groups]
    ink = colour(group.source, sources)
    axes.scatter(
        x[drawn],
        y[drawn] + rng.uniform(-0.18, 0.18, len(drawn)),
        s=10 if not group.is_control else 5,
        color=ink,
        alpha=0.45 if not group.is_control else 0.3,
        linewidths=0,
        label=group.source,
        rasterized=group.n > VECTOR_POINTS // groups,
    )
    if not strata:
        return
    for stratum in strata:
        if stratum.mean.low is not None and stratum.mean.high is not None:
            axes.vlines(stratum.at, stratum.mean.low, stratum.mean.high, color=ink, linewidth=1.8)
    places = [stratum.at for stratum in strata]
    means = [stratum.mean.value or 0.0 for stratum in strata]
    axes.plot(places, means, color=ink, linewidth=1.8, marker="o", markersize=5)


def _strata(judgement: Judgement, contrast: Contrast, name: str, material: Material) -> list[Block]:
    matched = contrast.matched
    assert matched is not None
    one, other = contrast.first, contrast.second
    rows = [
        {
            "rater": judgement.rater,
            "stratum": stratum.label + 1,
            f"n_{one}": stratum.n[0],
            f"n_{other}": stratum.n[1],
            "weight": stratum.weight,
            "p_superiority": stratum.superiority.value if stratum.superiority else None,
            "low": stratum.superiority.low if stratum.superiority else None,
            "high": stratum.superiority.high if stratum.superiority else None,
        }
        for stratum in matched.strata
    ]
    return [
        Table(
            name="strata" + name,
            caption=f"{label(judgement, material)}: P({one} > {other}) by stratum of density, "
            f"sparsest first; together {interval(matched.superiority)}, difference of means "
            f"{interval(matched.difference)}. {count(sum(matched.unmatched), 'unit')} in strata "
            "without a counterpart do not count.",
            frame=pd.DataFrame(rows),
            headings=["stratum", one, other, "weight", "P"],
            rows=[
                [
                    str(s.label + 1),
                    str(s.n[0]),
                    str(s.n[1]),
                    percent(s.weight),
                    interval(s.superiority),
                ]
                for s in matched.strata
            ],
        )
    ]


def _alt(groups: Sequence[Group]) -> str:
    medians = [
        f"{group.source}: median density {number(group.median_density, 4)}, "
        f"mean score {number(group.mean.value)}"
        for group in groups
    ]
    return "Scatter of score against density and against peak. " + "; ".join(medians) + "."
