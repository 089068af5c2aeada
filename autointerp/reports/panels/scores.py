"""How often each score was given: what is studied in one picture, the controls beside it."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import PercentFormatter

from autointerp.findings.groups import Contrast, Group, Judgement
from autointerp.reports.colours import INK, MUTED, RULE, colour, ink_on
from autointerp.reports.panels import MOST_PICTURES, Block, Figure, Material, Prose
from autointerp.reports.style import headline, legend_columns, plain_axes, sheet, shortened
from autointerp.reports.words import (
    SUPERIORITY,
    full_finding,
    interval,
    label,
    level_text,
    listed,
    number,
    percents,
    plural,
    slug,
    studied_pair,
    wins_ties_losses,
)
from autointerp.text import count

AFTER = "verdict"
TITLE = "Scores by source"
MOST_CONTRASTS = 8
MOST_SOURCES = 8  # drawn as bars beside one another
NAME_LETTERS = 36  # of a source's name beside a picture
LEAST_BAR = 0.2  # inches of a bar that leave room for its share
MOST_TICKS = 10  # under a small picture
LEAST_LEVEL = 0.65  # inches of a level that leave room for its words


def show(material: Material) -> list[Block]:
    blocks: list[Block] = []
    judgements = [j for j in material.judgements if any(g.n for g in j.groups.values())]
    for judgement in judgements[:MOST_PICTURES]:
        blocks.append(
            Figure(
                name="scores" + slug(judgement, material),
                caption=_caption(judgement, material),
                alt=_alt(judgement),
                draw=lambda judgement=judgement: draw(judgement),  # type: ignore[misc]
            )
        )
        if drawn_contrasts(judgement):
            blocks.append(
                Figure(
                    name="pairs_of_units" + slug(judgement, material),
                    caption=f"{label(judgement, material)}. Left: of all pairs of units, one of "
                    "each source, the shares in which either scores higher, and the ties. Right: "
                    f"the {SUPERIORITY}, ties halved, with its {level_text(material)} interval "
                    f"where one is known; 0.5 is no difference.{_first_pairs(judgement)}",
                    alt=_pairs_alt(judgement),
                    draw=lambda judgement=judgement: draw_pairs(judgement),  # type: ignore[misc]
                )
            )
    if len(judgements) > MOST_PICTURES:
        blocks.append(
            Prose(
                f"Drawn for the first {MOST_PICTURES} of {len(judgements)} ratings; the tables "
                "below have all."
            )
        )
    return blocks


def drawn_contrasts(judgement: Judgement) -> list[Contrast]:
    """Return the contrasts that are drawn: those of what is studied, the decisive one first."""
    return _studied_contrasts(judgement)[:MOST_CONTRASTS]


def _studied_contrasts(judgement: Judgement) -> list[Contrast]:
    studied = [c for c in judgement.contrasts if c.first in judgement.sources]
    return sorted(studied, key=lambda c: c is not judgement.decisive)


def _first_pairs(judgement: Judgement) -> str:
    """Return that not all pairs are drawn; nothing where they are."""
    return _first_of(MOST_CONTRASTS, len(_studied_contrasts(judgement)), "pairs")


def _first_of(most: int, n: int, what: str) -> str:
    return (
        f" Drawn are the first {most} of {n} {what}; the tables below have all." if n > most else ""
    )


def draw_pairs(judgement: Judgement) -> Drawing:
    """Return wins, ties and losses of each contrast, with its probability of superiority."""
    contrasts = drawn_contrasts(judgement)
    figure = sheet(10, 1.5 + 0.52 * len(contrasts))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    for at, contrast in enumerate(contrasts):
        shares = contrast.pairs
        texts = percents(share.value for share in shares.shares)
        begin = 0.0
        first, second = (
            colour(name, judgement.sources) for name in (contrast.first, contrast.second)
        )
        for share, text, ink, text_ink in (
            (shares.wins, texts[0], first, ink_on(first)),
            (shares.ties, texts[1], RULE, INK),
            (shares.losses, texts[2], second, ink_on(second)),
        ):
            width = share.value or 0.0
            left.barh(at, width, 0.6, left=begin, color=ink)
            if width >= 0.06:
                left.text(
                    begin + width / 2, at, text, ha="center", va="center",
                    fontsize=8.5, color=text_ink,
                )  # fmt: skip
            begin += width
        p = contrast.superiority
        if p.low is not None and p.high is not None:
            right.plot([p.low, p.high], [at, at], color=INK, linewidth=1.8)
        if p.value is not None:
            right.plot([p.value], [at], "o", color=INK, markersize=6)
            right.text(p.value, at - 0.22, number(p.value), ha="center", va="bottom", fontsize=8.5)
    names = [
        f"{shortened(c.first, NAME_LETTERS)} (left)\nagainst {shortened(c.second, NAME_LETTERS)}"
        for c in contrasts
    ]
    left.set_yticks(range(len(contrasts)), names, fontsize=8.5)
    left.set_ylim(len(contrasts) - 0.5, -0.65)
    left.set_xlim(0, 1)
    left.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    left.set_xlabel("pairs of units: wins, ties (grey), losses of the first")
    right.axvline(0.5, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    right.set_xlim(0, 1)
    right.set_xlabel(SUPERIORITY)
    for axes in (left, right):
        plain_axes(axes, "x")
    headline(figure, heading(judgement), _beneath(judgement))
    return figure


def heading(judgement: Judgement) -> str:
    """Return the finding on what is studied; of a source alone its mean, for a control is no
    answer."""
    pair = studied_pair(judgement)
    if pair is not None:
        return full_finding(judgement, pair)
    names = judgement.sources or judgement.controls
    means = [f"{name}: mean score {interval(judgement.groups[name].mean)}" for name in names]
    return "; ".join(means)


def draw(judgement: Judgement) -> Drawing:
    """Return the histograms of one judgement, same bins and same height everywhere."""
    scale = judgement.scale
    studied = [judgement.groups[name] for name in judgement.sources]
    controls = [judgement.groups[name] for name in judgement.controls]
    main = (studied or controls)[:MOST_SOURCES]
    beside = controls if studied else []
    widths = [2.5, 1.0] if beside else [1.0]
    inches = 10 * widths[0] / sum(widths)
    legends = [_legend(group) for group in main]
    columns = min(2, len(main), legend_columns(legends, inches))
    figure = sheet(10, (4.1 if beside else 3.8) + 0.2 * (max(2, len(main) // columns) - 2))
    parts = figure.subfigures(1, len(widths), width_ratios=widths, wspace=0.03, squeeze=False)[0]
    everything = {g.source: g.shares for g in judgement.groups.values()}
    top = 1.12 * max(everything[group.source].max() for group in main) + 0.02

    axes = parts[0].subplots()
    width = 0.8 / len(main)
    at = np.arange(len(scale.scores))
    a_level = (inches - 1) / len(at)
    for place, group in enumerate(main):
        offset = (place - (len(main) - 1) / 2) * width
        values = everything[group.source]
        ink = colour(group.source, judgement.sources)
        bars = axes.bar(at + offset, values, width * 0.94, color=ink, label=_legend(group))
        if a_level * width < LEAST_BAR:
            continue
        texts = [text if text != "0 %" else "" for text in percents(values)]
        axes.bar_label(bars, texts, fontsize=8 if len(main) < 3 else 6.5, color=MUTED, padding=2)
    in_words = [_level(score, text) for score, text in scale.levels]
    if a_level < LEAST_LEVEL:
        ends = (name.replace("\n", ": ", 1).replace("\n", " ") for name in in_words[:: len(at) - 1])
        axes.set_xlabel("; ".join(ends), fontsize=8.5)
        in_words = [str(score) for score in scale.scores]
    axes.set_xticks(at, in_words, fontsize=8.5)
    axes.set_ylim(0, top)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_ylabel("share of the scored units")
    plain_axes(axes)
    # Upward from the axes, two in a row: more do not fit beside one another.
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, fontsize=9.5)

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
        every = -(-len(at) // MOST_TICKS)
        stack[-1].set_xticks(at[::every], [str(score) for score in scale.scores[::every]])
    headline(figure, heading(judgement), _beneath(judgement))
    return figure


def _beneath(judgement: Judgement) -> str:
    return f"{judgement.rater} on {judgement.rubric}, run {judgement.run}"


def _legend(group: Group) -> str:
    mean = f", mean {group.mean.value:.2f}" if group.mean.value is not None else ""
    return f"{shortened(group.source, NAME_LETTERS)} (n = {group.n}{mean})"


def _level(score: int, text: str) -> str:
    short = text.split(":")[0]
    return f"{score}\n" + "\n".join(textwrap.wrap(short, 13)) if short else str(score)


def _caption(judgement: Judgement, material: Material) -> str:
    repeats = (
        " Repeats of a unit are averaged first, and counted at the nearest score, a half at the "
        "higher: so bars lie above the mean."
        if judgement.repeats > 1
        else ""
    )
    contrast = judgement.primary
    estimate = (
        f" The {SUPERIORITY} of {plural(contrast.first)[1]} over {plural(contrast.second)[1]}, "
        f"ties halved: {interval(contrast.superiority)}."
        if contrast
        else ""
    )
    first = _first_of(MOST_SOURCES, len(judgement.sources), "sources")
    return f"{label(judgement, material)}. One value a unit, same bins.{estimate}{repeats}{first}"


def _pairs_alt(judgement: Judgement) -> str:
    parts = [
        f"{wins_ties_losses(contrast)}, {SUPERIORITY} {interval(contrast.superiority)}"
        for contrast in drawn_contrasts(judgement)
    ]
    return "Stacked bars of wins, ties and losses. " + "; ".join(parts) + "."


def _alt(judgement: Judgement) -> str:
    parts = []
    for group in judgement.groups.values():
        each = ", ".join(
            f"{score}: {part}"
            for score, part in zip(judgement.scale.scores, percents(group.shares), strict=True)
        )
        parts.append(f"{group.source} ({count(group.n, 'unit')}): {each}")
    return f"Histograms of scores of {listed(judgement.groups)}. " + ". ".join(parts) + "."
