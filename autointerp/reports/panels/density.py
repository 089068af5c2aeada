"""Score against density and against peak: dense and simple units drive cheap results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from autointerp.findings.groups import STRATA, Contrast, Group, Judgement
from autointerp.reports.panels import Block, Figure, Material, Prose, Table
from autointerp.reports.style import colour, headline, log_axis, plain_axes, sheet
from autointerp.reports.words import interval, label, number, percent, slug
from autointerp.stats.matched import density_edges, density_strata
from autointerp.stats.means import mean
from autointerp.stats.results import Floats
from autointerp.text import count

ORDER = 40
TITLE = "Score against density and peak"

VECTOR_POINTS = 1_500
DRAWN_POINTS = 3_000
MOST_PICTURES = 6


def show(material: Material) -> list[Block]:
    blocks: list[Block] = []
    left = MOST_PICTURES
    for comparison in material.comparisons:
        peaks = comparison.units.peak
        for judgement in comparison.judgements:
            groups = [g for g in judgement.groups.values() if (np.nan_to_num(g.density) > 0).any()]
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
                    draw=lambda j=judgement, p=peaks: draw(j, p),  # type: ignore[misc]
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


def draw(judgement: Judgement, peaks: pd.Series) -> Drawing:
    """Return scores against density, and against peak, of all groups."""
    groups = [g for g in judgement.groups.values() if g.n]
    figure = sheet(10, 4)
    left, right = figure.subplots(1, 2, sharey=True)
    rng = np.random.default_rng(0)
    for group in sorted(groups, key=lambda g: not g.is_control):
        _points(left, group, group.density, judgement.sources, rng, len(groups))
        peak = peaks.loc[group.unit_ids].to_numpy(np.float64)
        _points(right, group, peak, judgement.sources, rng, len(groups))
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
    axes: Axes, group: Group, x: Floats, sources: Sequence[str],
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
    if group.is_control or len(x) < 4 * STRATA:
        return
    stratum = density_strata(x, density_edges(x, strata=STRATA))
    middles: list[tuple[float, float]] = []
    for stratum_number in np.unique(stratum):
        mine = stratum == stratum_number
        found = mean(y[mine])
        at = float(np.exp(np.log(x[mine]).mean()))
        if found.low is not None and found.high is not None:
            axes.vlines(at, found.low, found.high, color=ink, linewidth=1.8)
        middles.append((at, found.value or 0.0))
    places, values = zip(*middles, strict=True)
    axes.plot(places, values, color=ink, linewidth=1.8, marker="o", markersize=5)


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
    told = []
    for group in groups:
        known = group.density[np.nan_to_num(group.density) > 0]
        told.append(
            f"{group.source}: median density {number(float(np.median(known)), 4)}, "
            f"mean score {number(group.mean.value)}"
        )
    return "Scatter of score against density and against peak. " + "; ".join(told) + "."
