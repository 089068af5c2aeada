"""The founding figure: how well descriptions fit, by activation level, per source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import PercentFormatter

from autointerp.findings.descriptions import (
    CONTROL_COLUMNS,
    Specificity,
    SpecificityResult,
)
from autointerp.reports.panels import Block, Figure, Material, Prose, Table
from autointerp.reports.style import INK, headline, plain_axes, sheet
from autointerp.reports.words import flat, interval, listed, percent

AFTER = "density"
TITLE = "Specificity by activation"
SHADES = ("#d9cfc4", "#c3d3e8", "#7ba3d8", "#2a5fa8")  # light for 0 to dark for the highest


def show(material: Material) -> list[Block]:
    results = [(one.run, result) for one in material.comparisons for result in one.specificity]
    blocks: list[Block] = []
    for place, (run, result) in enumerate(results):
        suffix = f"-{place + 1}" if len(results) > 1 else ""
        label = _label(result, run if material.several_runs else "")
        blocks.append(
            Figure(
                name=f"specificity{suffix}",
                caption=f"{label}. Share of each score by the interval of the activation on the "
                "marked token, from weak to strong, every unit alike. The rater saw neither the "
                "activation nor which contexts were the controls: `other`, where another unit of "
                "the source fires, and `silent`, where this one does nowhere.",
                alt=_alt(result),
                draw=lambda result=result: draw(result),  # type: ignore[misc]
            )
        )
    if not results:
        return []
    rows = [
        (_label(result, run if material.several_runs else ""), one)
        for run, result in results
        for one in result.sources.values()
    ]
    blocks.append(
        Table(
            name="specificity",
            caption="Mean specificity by source",
            frame=pd.DataFrame(
                [
                    _row(run, result, one)
                    for run, result in results
                    for one in result.sources.values()
                ]
            ),
            headings=[
                "rating", "source", "units", "intervals alike", "by density", "silent", "other",
                "without a score",
            ],
            rows=[[label, *_cells(one)] for label, one in rows],
            summary=True,
        )
    )  # fmt: skip
    blocks.append(
        Table(
            name="specificity_shares",
            caption="Shares of scores by interval",
            frame=pd.DataFrame(
                [
                    {
                        "run": run,
                        "rubric": result.rubric,
                        "explainer": result.explainer,
                        "rater": result.rater,
                        "source": one.source,
                        "column": str(column),
                        "contexts": one.counts[column],
                        **{f"share_{s}": v for s, v in zip(result.levels, shares, strict=True)},
                    }
                    for run, result in results
                    for one in result.sources.values()
                    for column, shares in one.shares.items()
                ]
            ),
        )
    )
    blocks.append(
        Prose(
            "“Intervals alike” averages a unit's intervals of activation as if they were equally "
            "common; “by density” weighs each by the tokens that fall into it, so weak firing, "
            "which is most of it, counts for most. Intervals at 95 % are Student's t over units."
        )
    )
    for label, one in rows:
        if one.not_silent:
            blocks.append(
                Prose(
                    f"{label}: {one.not_silent} of {one.units} {one.source} fire in every random "
                    "context that was kept, so that they have no silent one to be tried on."
                )
            )
        if one.fits_others:
            blocks.append(
                Prose(
                    f"{label}: descriptions of {one.source} fit contexts of other units "
                    f"({interval(one.other)}) about as well as their own ({interval(one.plain)}).",
                    lead="No better than the control.",
                    tone="plain" if one.is_control else "warning",
                )
            )
    return blocks


def _label(result: SpecificityResult, run: str) -> str:
    who = (
        result.rater
        if result.explainer == result.rater
        else f"described by {result.explainer}, rated by {result.rater}"
    )
    return " · ".join(part for part in (run, result.rubric, who) if part)


def draw(result: SpecificityResult) -> Drawing:
    """Return stacked shares of scores against activation, one picture a source."""
    sources = list(result.sources.values())
    across = min(3, len(sources))
    down = -(-len(sources) // across)
    figure = sheet(10, 1.1 + 2.5 * down)
    grid = figure.subplots(down, across, sharey=True, squeeze=False)
    columns: list[str | int] = [*CONTROL_COLUMNS, *range(1, result.intervals + 1)]
    at = np.array([0, 1, *(2.6 + np.arange(result.intervals))])
    shades = _shades(len(result.levels))
    for axes, one in zip(grid.ravel(), sources, strict=False):
        base = np.zeros(len(columns))
        for level, score in enumerate(result.levels):
            heights = np.array([one.shares[c][level] if c in one.shares else 0.0 for c in columns])
            axes.bar(at, heights, 0.92, bottom=base, color=shades[level], label=str(score))
            base += heights
        axes.set_ylim(0, 1)
        axes.set_xticks(at, [str(c) for c in columns], fontsize=7.5)
        for tick, column in zip(axes.get_xticklabels(), columns, strict=True):
            tick.set_rotation(90 if isinstance(column, str) else 0)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        mean = "" if one.plain.value is None else f", mean {one.plain.value:.2f}"
        axes.set_title(
            f"{one.source}{'*' if one.is_control else ''} ({one.units} units{mean})", fontsize=9
        )
        plain_axes(axes)
    for axes in grid.ravel()[len(sources) :]:
        axes.set_visible(False)
    grid[0, 0].set_ylabel("share of contexts", color=INK)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles[::-1], labels[::-1], title="score", loc="outside right center", fontsize=8.5
    )
    headline(
        figure,
        finding(sources),
        f"interval of the activation, weak to strong; * control; {result.rater} on {result.rubric}",
    )
    return figure


def _shades(levels: int) -> list[str]:
    if levels == len(SHADES):
        return list(SHADES)
    places = np.linspace(0, len(SHADES) - 1, levels).round().astype(int)
    return [SHADES[place] for place in places]


def finding(sources: Sequence[Specificity]) -> str:
    """Return the picture's headline: the highest score, in the weakest and strongest interval."""
    parts = []
    for one in sources:
        intervals = sorted(column for column in one.shares if isinstance(column, int))
        if one.is_control or not intervals:
            continue
        weak, strong = (100 * float(one.shares[i][-1]) for i in (intervals[0], intervals[-1]))
        parts.append(f"{one.source} {weak:.0f} to {strong:.0f} %")
    if not parts:
        return "Specificity of the controls"
    return f"Exact fits, from weak to strong firing: {', '.join(parts)}"


def _alt(result: SpecificityResult) -> str:
    parts = []
    for one in result.sources.values():
        each = ", ".join(
            f"{column}: {'/'.join(percent(float(share)) for share in shares)}"
            for column, shares in one.shares.items()
        )
        parts.append(f"{one.source} ({one.units} units): {each}")
    scores = listed(map(str, result.levels))
    return f"Stacked shares of the scores {scores} by activation. " + ". ".join(parts) + "."


def _cells(one: Specificity) -> list[str]:
    return [
        one.source + ("*" if one.is_control else ""),
        str(one.units),
        interval(one.plain),
        interval(one.weighted),
        interval(one.silent),
        interval(one.other),
        ", ".join(f"{n} {status}" for status, n in one.lost.items()) or "0",
    ]


def _row(run: str, result: SpecificityResult, one: Specificity) -> dict[str, object]:
    return {
        "run": run,
        "rubric": result.rubric,
        "rubric_digest": result.rubric_digest,
        "explainer": result.explainer,
        "rater": result.rater,
        "source": one.source,
        "is_control": one.is_control,
        "units": one.units,
        **flat("mean", one.plain),
        **flat("mean_by_density", one.weighted),
        **flat("silent", one.silent),
        **flat("other", one.other),
        "not_silent": one.not_silent,
        **{f"ratings_{status}": n for status, n in one.statuses.items()},
    }
