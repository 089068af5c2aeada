"""The founding figure: how well descriptions fit, by activation level, per source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import PercentFormatter

from autointerp.findings.descriptions import (
    CONTROL_COLUMNS,
    Specificity,
    SpecificityResult,
)
from autointerp.reports.colours import INK
from autointerp.reports.panels import Block, Figure, Material, Prose, Table
from autointerp.reports.panels._silence import assumed_silence
from autointerp.reports.style import headline, plain_axes, sheet
from autointerp.reports.words import (
    equals,
    flat,
    interval,
    level_text,
    listed,
    p_value,
    percents,
)
from autointerp.text import count

AFTER = "density"
TITLE = "Specificity by activation"
ALPHA = 0.05
LEAST_PAIRED = 10  # units: a sign-flip test of fewer seldom shows anything
SHADES = ("#d9cfc4", "#c3d3e8", "#7ba3d8", "#2a5fa8")  # light for 0 to dark for the highest


def show(material: Material) -> list[Block]:
    results = [
        (figures.run, result) for figures in material.comparisons for result in figures.specificity
    ]
    blocks: list[Block] = []
    for place, (run, result) in enumerate(results):
        suffix = f"-{place + 1}" if len(results) > 1 else ""
        label = _label(result, run if material.several_runs else "")
        if not _is_answered(result):
            blocks.append(Prose(f"{label}: no context has a score.", lead="Nothing to say."))
            continue
        blocks.append(
            Figure(
                name=f"specificity{suffix}",
                caption=f"{label}. Share of each score by the interval of the activation on the "
                "marked token, from weak to strong, every unit alike. The rater saw neither the "
                "activation nor which contexts were the controls: `silent`, where this unit fires "
                f"nowhere, and `other`, where another unit of the source fires{_unknown(result)}.",
                alt=_alt(result),
                draw=lambda result=result: draw(result),  # type: ignore[misc]
            )
        )
    if not results:
        return []
    rows = [
        (_label(result, run if material.several_runs else ""), figures)
        for run, result in results
        for figures in result.sources.values()
    ]
    blocks.append(
        Table(
            name="specificity",
            caption="Mean specificity by source",
            frame=pd.DataFrame(
                [
                    _row(run, result, figures)
                    for run, result in results
                    for figures in result.sources.values()
                ]
            ),
            headings=[
                "rating", "source", "units", "intervals alike", "by density", "silent",
                "more than silent", "p", "other", "more than other", "without a score",
            ],
            rows=[[label, *_cells(figures)] for label, figures in rows],
            summary=True,
        )
    )  # fmt: skip
    if not any(_is_answered(result) for _, result in results):
        return blocks
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
                        "source": figures.source,
                        "column": str(column),
                        "contexts": figures.counts[column],
                        **{f"share_{s}": v for s, v in zip(result.levels, shares, strict=True)},
                    }
                    for run, result in results
                    for figures in result.sources.values()
                    for column, shares in figures.shares.items()
                ]
            ),
        )
    )
    blocks.append(
        Prose(
            "“Intervals alike” averages a unit's intervals of activation as if they were equally "
            "common; “by density” weighs each by the tokens that fall into it, so weak firing, "
            "which is most of it, counts for most. “More than silent” is a unit's mean where it "
            "fires less its mean where it is silent, over the units that have both, with the "
            "p-value of a sign-flip test; “other” uses only contexts in which this unit is known "
            f"to be silent. Intervals are at {level_text(material)}, over units."
        )
    )
    blocks += assumed_silence(material)
    for label, figures in rows:
        if figures.not_silent:
            blocks.append(
                Prose(
                    f"{label}: {figures.not_silent} of {figures.units} {figures.source} fire in "
                    "every random context that was kept, so that they have no silent one to be "
                    "tried on."
                )
            )
        blocks += [
            Prose(f"{label}: {text}", lead=lead, tone=tone)
            for lead, text, tone in cautions(figures)
        ]
    return blocks


def cautions(figures: Specificity) -> list[tuple[str, str, Literal["plain", "warning"]]]:
    """Return what speaks against a source's descriptions: lead, sentence and tone of each."""
    sentences: list[tuple[str, str, Literal["plain", "warning"]]] = []
    tone: Literal["plain", "warning"] = "plain" if figures.is_control else "warning"
    for control, paired in (
        ("contexts in which they are silent", figures.over_silent),
        ("contexts of other units in which they are silent", figures.over_other),
    ):
        p = None if paired is None else paired.test.p_value
        if paired is None or p is None or paired.difference.value is None:
            continue
        units = count(paired.difference.n[0], "unit")
        gap = f"difference {interval(paired.difference)}, p {equals(p_value(p))}, {units}"
        if p <= ALPHA and paired.difference.value < 0:
            text = f"descriptions of {figures.source} fit {control} better than their own ({gap})."
            sentences.append(("Worse than the control.", text, tone))
        elif p > ALPHA and paired.difference.n[0] < LEAST_PAIRED:
            text = (
                f"too few {figures.source} to tell whether descriptions fit their own contexts "
                f"better than {control} ({gap})."
            )
            sentences.append(("Too few to tell.", text, "plain"))
        elif p > ALPHA:
            text = (
                f"descriptions of {figures.source} are not shown to fit their own contexts better "
                f"than {control} ({gap})."
            )
            sentences.append(("Not shown to be better than the control.", text, tone))
    if figures.unverified and figures.over_other is None:
        text = (
            f"whether {figures.source} are silent in the {count(figures.unverified, 'context')} of "
            "other units is not known, so descriptions are not compared on them."
        )
        sentences.append(("", text, "plain"))
    return sentences


def _unknown(result: SpecificityResult) -> str:
    """Return what is not known of the contexts of other units, as a clause."""
    unverified = sum(figures.unverified for figures in result.sources.values())
    return (
        f"; whether this one is silent there is not known for {unverified:,} of them"
        if unverified
        else ""
    )


def _label(result: SpecificityResult, run: str) -> str:
    who = (
        result.rater
        if result.explainer == result.rater
        else f"described by {result.explainer}, rated by {result.rater}"
    )
    return " · ".join(part for part in (run, result.rubric, who) if part)


def _is_answered(result: SpecificityResult) -> bool:
    """Return whether a context has a score."""
    return any(figures.shares for figures in result.sources.values())


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
    for axes, figures in zip(grid.ravel(), sources, strict=False):
        base = np.zeros(len(columns))
        for level, score in enumerate(result.levels):
            heights = np.array(
                [figures.shares[c][level] if c in figures.shares else 0.0 for c in columns]
            )
            axes.bar(at, heights, 0.92, bottom=base, color=shades[level], label=str(score))
            base += heights
        axes.set_ylim(0, 1)
        axes.set_xticks(at, [str(c) for c in columns], fontsize=7.5)
        for tick, column in zip(axes.get_xticklabels(), columns, strict=True):
            tick.set_rotation(90 if isinstance(column, str) else 0)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
        mean = "" if figures.plain.value is None else f", mean {figures.plain.value:.2f}"
        name = f"{figures.source}{'*' if figures.is_control else ''}"
        axes.set_title(f"{name} ({count(figures.units, 'unit')}{mean})", fontsize=9)
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
    for figures in sources:
        intervals = sorted(column for column in figures.shares if isinstance(column, int))
        if figures.is_control or not intervals:
            continue
        weak, strong = (100 * float(figures.shares[i][-1]) for i in (intervals[0], intervals[-1]))
        parts.append(f"{figures.source} {weak:.0f} to {strong:.0f} %")
    if not parts:
        return "Specificity of the controls"
    return f"Exact fits, from weak to strong firing: {', '.join(parts)}"


def _alt(result: SpecificityResult) -> str:
    parts = []
    for figures in result.sources.values():
        each = ", ".join(
            f"{column}: {'/'.join(percents(map(float, shares)))}"
            for column, shares in figures.shares.items()
        )
        parts.append(f"{figures.source} ({count(figures.units, 'unit')}): {each}")
    scores = listed(map(str, result.levels))
    return f"Stacked shares of the scores {scores} by activation. " + ". ".join(parts) + "."


def _cells(figures: Specificity) -> list[str]:
    return [
        figures.source + ("*" if figures.is_control else ""),
        str(figures.units),
        interval(figures.plain),
        interval(figures.weighted),
        interval(figures.silent),
        interval(figures.over_silent.difference if figures.over_silent else None),
        p_value(figures.over_silent.test.p_value if figures.over_silent else None),
        interval(figures.other),
        interval(figures.over_other.difference if figures.over_other else None),
        ", ".join(f"{n} {status}" for status, n in figures.lost.items()) or "0",
    ]


def _row(run: str, result: SpecificityResult, figures: Specificity) -> dict[str, object]:
    return {
        "run": run,
        "rubric": result.rubric,
        "rubric_digest": result.rubric_digest,
        "explainer": result.explainer,
        "rater": result.rater,
        "source": figures.source,
        "is_control": figures.is_control,
        "units": figures.units,
        **flat("mean", figures.plain),
        **flat("mean_by_density", figures.weighted),
        **flat("silent", figures.silent),
        **flat("other", figures.other),
        **flat("over_silent", figures.over_silent.difference if figures.over_silent else None),
        "over_silent_p": figures.over_silent.test.p_value if figures.over_silent else None,
        **flat("over_other", figures.over_other.difference if figures.over_other else None),
        "over_other_p": figures.over_other.test.p_value if figures.over_other else None,
        "unverified": figures.unverified,
        "not_silent": figures.not_silent,
        **{f"ratings_{status}": n for status, n in figures.statuses.items()},
    }
