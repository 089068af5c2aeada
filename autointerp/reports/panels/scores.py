"""How often each score was given: what is studied in one picture, the controls beside it."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import PercentFormatter

from autointerp.findings.groups import Group, Judgement
from autointerp.reports.panels import Block, Figure, Material
from autointerp.reports.style import INK, MUTED, colour, headline, plain_axes, sheet
from autointerp.reports.words import finding, interval, label, listed, percent, slug
from autointerp.text import count

AFTER = "verdict"
TITLE = "Scores by source"


def show(material: Material) -> list[Block]:
    return [
        Figure(
            name="scores" + slug(judgement, material),
            caption=_caption(judgement, material),
            alt=_alt(judgement),
            draw=lambda judgement=judgement: draw(judgement),  # type: ignore[misc]
        )
        for judgement in material.judgements
        if any(group.n for group in judgement.groups.values())
    ]


def draw(judgement: Judgement) -> Drawing:
    """Return the histograms of one judgement, same bins and same height everywhere."""
    scale = judgement.scale
    studied = [judgement.groups[name] for name in judgement.sources]
    controls = [judgement.groups[name] for name in judgement.controls]
    main = studied or controls
    beside = controls if studied else []
    figure = sheet(10, 4.1 if beside else 3.8)
    widths = [2.5, 1.0] if beside else [1.0]
    parts = figure.subfigures(1, len(widths), width_ratios=widths, wspace=0.03, squeeze=False)[0]
    everything = {g.source: g.shares for g in judgement.groups.values()}
    top = 1.12 * max(everything[group.source].max() for group in main) + 0.02

    axes = parts[0].subplots()
    width = 0.8 / len(main)
    at = np.arange(len(scale.scores))
    for place, group in enumerate(main):
        offset = (place - (len(main) - 1) / 2) * width
        values = everything[group.source]
        ink = colour(group.source, judgement.sources)
        bars = axes.bar(at + offset, values, width * 0.94, color=ink, label=_legend(group))
        axes.bar_label(bars, [_share(v) for v in values], fontsize=8, color=MUTED, padding=2)
    axes.set_xticks(at, [_level(score, text) for score, text in scale.levels], fontsize=8.5)
    axes.set_ylim(0, top)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.set_ylabel("share of the scored units")
    plain_axes(axes)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=len(main), fontsize=9.5)

    if beside:
        stack = parts[1].subplots(len(beside), 1, sharex=True, squeeze=False)[:, 0]
        parts[1].suptitle(
            "controls, same bins, bars to 100 %", fontsize=8.5, color=MUTED, x=0.02, ha="left"
        )
        for small, group in zip(stack, beside, strict=True):
            values = everything[group.source]
            small.bar(at, values, 0.8, color=colour(group.source))
            small.set_ylim(0, 1.25)
            small.set_yticks([])
            small.spines["left"].set_visible(False)
            small.tick_params(length=0)
            mean = f", mean {group.mean.value:.2f}" if group.mean.value is not None else ""
            small.text(
                0.02, 0.97, f"{group.source} (n = {group.n}{mean})",
                transform=small.transAxes, va="top", fontsize=8.5, color=INK,
            )  # fmt: skip
        stack[-1].set_xticks(at, [str(score) for score in scale.scores])
    contrast = judgement.primary or next(iter(judgement.contrasts), None)
    if contrast is not None:
        headline(
            figure,
            finding(contrast),
            f"{judgement.rater} on {judgement.rubric}, run {judgement.run}",
        )
    return figure


def _share(value: float) -> str:
    return f"{100 * value:.0f} %" if value else ""


def _legend(group: Group) -> str:
    mean = f", mean {group.mean.value:.2f}" if group.mean.value is not None else ""
    return f"{group.source} (n = {group.n}{mean})"


def _level(score: int, text: str) -> str:
    short = text.split(":")[0]
    return f"{score}\n" + "\n".join(textwrap.wrap(short, 16)) if short else str(score)


def _caption(judgement: Judgement, material: Material) -> str:
    repeats = (
        " Repeats of a unit are averaged first, and counted at the nearest score."
        if judgement.repeats > 1
        else ""
    )
    contrast = judgement.primary
    found = (
        f" P({contrast.first} > {contrast.second}), ties halved: "
        f"{interval(contrast.superiority)}, 95 % interval."
        if contrast
        else ""
    )
    return f"{label(judgement, material)}. One value a unit, same bins.{found}{repeats}"


def _alt(judgement: Judgement) -> str:
    parts = []
    for group in judgement.groups.values():
        each = ", ".join(
            f"{score}: {percent(v)}"
            for score, v in zip(judgement.scale.scores, group.shares, strict=True)
        )
        parts.append(f"{group.source} ({count(group.n, 'unit')}): {each}")
    return f"Histograms of scores of {listed(judgement.groups)}. " + ". ".join(parts) + "."
