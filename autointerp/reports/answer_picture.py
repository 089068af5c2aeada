"""The picture of the first screen: wins, ties, losses and their interval, over all means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D

from autointerp.findings.groups import Contrast, Judgement, on_first_rubric
from autointerp.reports.colours import INK, MUTED, PAPER, RULE, colour
from autointerp.reports.panels import Material
from autointerp.reports.style import plain_axes, sheet, shortened, two_lines
from autointerp.reports.words import (
    NOT_COUNTED,
    SUPERIORITY,
    brief_label,
    interval,
    percents,
    studied_pair,
)
from autointerp.stats.results import Statistic

MARKS = ("o", "s", "^", "D", "v", "P")
NAME_LETTERS, LEGEND_LETTERS = 44, 84  # that fit into a row
# Of a source's name: beside its mean, before it is broken; over and under the bar, where two stand.
SOURCE_LETTERS, PAIR_LETTERS = 20, 16
MARK_LETTERS = 9  # as wide as a mark of the legend with the gaps round it
WIDTH = 5.4  # inches: narrow, so that it can be read on a phone too


@dataclass(frozen=True)
class _Row:
    """A row of the upper part: one rating's pairs of units, or raters combined (`pair` None)."""

    name: str
    pair: Contrast | None
    superiority: Statistic
    sources: Sequence[str] = ()


def draw(judgements: Sequence[Judgement], material: Material) -> Drawing:
    """Return wins, ties, losses and their interval, over the means of all sources on one axis.

    Of six judgements at most; means are drawn of those that share the first one's rubric.
    """
    shown = list(judgements)
    rows = [
        _Row(_name(judgement, material), pair, pair.superiority, judgement.sources)
        for judgement in shown
        if (pair := studied_pair(judgement)) is not None
    ]
    alone = len(rows) == 1
    if alone and len(shown) == 1 and (baseline := shown[0].baseline) is not None:
        rows.append(_Row("", baseline, baseline.superiority, shown[0].sources))
    if len(rows) > 1 and not alone:
        rows += [
            _Row(
                f"{comparison.run}: " * material.several_runs
                + f"{len(pooled.raters)} raters combined",
                None,
                pooled.superiority,
            )
            for comparison in material.comparisons
            for pooled in comparison.pooled
            if len(pooled.raters) > 1 and pooled.superiority.value is not None
        ]
    alike = on_first_rubric(shown)
    sources = list(dict.fromkeys(name for j in alike for name, g in j.groups.items() if g.n))
    below = 0.85 + 0.3 * len(sources)
    if len(alike) > 1:
        below += 0.09 * len(sources) * (len(alike) - 1) + 0.19 * _legend_rows(alike, material)
    if not rows:
        figure = sheet(WIDTH, below + 0.2)
        _means(figure.subplots(), alike, sources, material)
        return figure
    above = 0.8 + (0.75 if alone else 0.52) * sum(row.pair is not None for row in rows)
    above += 0.34 * sum(row.pair is None for row in rows)
    figure = sheet(WIDTH, above + below)
    upper, lower = figure.subfigures(2, 1, height_ratios=[above, below], squeeze=False)[:, 0]
    _pairs(upper.subplots(), rows, alone, fails=alone and bool(shown[0].fails))
    _means(lower.subplots(), alike, sources, material)
    return figure


def _name(judgement: Judgement, material: Material) -> str:
    """Return the name of a judgement's row; of a rater that fails, that it does not count."""
    without = NOT_COUNTED if judgement.fails else ""
    return shortened(brief_label(judgement, material), NAME_LETTERS - len(without)) + without


def _pairs(axes: Axes, rows: Sequence[_Row], alone: bool, fails: bool) -> None:
    """Draw a bar of wins, ties and losses for each row, and its probability of superiority.

    `alone`: of one judgement, whose rows are pairs of sources, each named beside its share.
    `fails`: whether that one's scores are no evidence.
    """
    pairs = [row.pair for row in rows if row.pair is not None]
    axes.axvspan(*pairs[0].equivalence, color=RULE, alpha=0.6, linewidth=0)
    axes.axvline(0.5, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    at = 0.0
    for row in rows:
        if row.pair is not None:
            shares = [share.value or 0.0 for share in row.pair.pairs.shares]
            _bar(axes, at, shares, row)
            wins, ties, losses = percents(shares)
            texts = (
                (f"{shortened(row.pair.first, PAIR_LETTERS)} higher {wins}", f"same {ties}",
                 f"{shortened(row.pair.second, PAIR_LETTERS)} higher {losses}")
                if alone
                else (row.name, "", f"{wins} / {ties} / {losses}")
            )  # fmt: skip
            middle = min(0.66, max(0.42, shares[0] + shares[1] / 2))
            if max(map(len, texts)) > PAIR_LETTERS + 8:  # texts of long names reach to 0.4 and 0.6
                middle = 0.5
            for x, side, text in zip((0, middle, 1), ("left", "center", "right"), texts,
                                     strict=True):  # fmt: skip
                axes.text(
                    x, at - 0.42, text, fontsize=9 if alone else 8.5, ha=side, va="bottom",
                    bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.6} if text else None,
                )  # fmt: skip
            _estimate(axes, at + 0.6, row.superiority, alone)
            at += 1.9
        else:
            axes.text(0, at - 0.36, row.name, fontsize=8.5, va="bottom")
            _estimate(axes, at, row.superiority, alone)
            at += 1.2
    axes.set_ylim(at - (0.75 if rows[-1].pair is None else 0.9), -0.95)
    axes.set_xlim(-0.005, 1.005)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    names = {(pair.first, pair.second) for pair in pairs}
    pair = names.pop() if len(names) == 1 else ("first", "second")
    first, second = (shortened(name, PAIR_LETTERS) for name in pair)
    bars = f"share of pairs: {first} higher / same / {second} higher"
    warning = "scores that are no evidence\n" if fails else ""
    axes.set_xlabel(f"{warning}bars: {bars}\ndots: {SUPERIORITY}, ties halved", fontsize=8.5)
    axes.tick_params(length=0)


def _bar(axes: Axes, at: float, shares: Sequence[float], row: _Row) -> None:
    assert row.pair is not None
    inks = [colour(row.pair.first, row.sources), RULE, colour(row.pair.second, row.sources)]
    begin = 0.0
    for width, ink in zip(shares, inks, strict=True):
        axes.barh(at, width, 0.56, left=begin, color=ink)
        begin += width
    axes.barh(at, 1, 0.56, color="none", edgecolor=MUTED, linewidth=0.8)


def _estimate(axes: Axes, at: float, p: Statistic, large: bool) -> None:
    """Draw a probability with its interval, and write it where there is room."""
    if p.value is None:
        axes.text(0.5, at, f"no estimate: {p.note}", fontsize=8.5, ha="center", va="center")
        return
    low, high = (p.value, p.value) if p.low is None or p.high is None else (p.low, p.high)
    axes.plot([low, high], [at, at], color=INK, linewidth=2.2)
    axes.plot([p.value], [at], "o", color=INK, markersize=7 if large else 5.5)
    right = high < (0.66 if large else 0.74)
    # A dot alone may lie between the equivalence bounds, and would pass for a finding.
    text = f"{interval(p)}, no interval" if p.low is None else interval(p)
    axes.text(
        high + 0.025 if right else low - 0.025, at, text, va="center",
        ha="left" if right else "right", fontsize=10.5 if large else 8.5,
        fontweight="bold" if large else "normal",
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.2},
    )  # fmt: skip


def _means(
    axes: Axes, judgements: Sequence[Judgement], sources: Sequence[str], material: Material
) -> None:
    """Draw each source's mean; the ratings of several raters lie one under the other."""
    scale = judgements[0].scale
    several = len(judgements) > 1
    step = min(0.22, 0.72 / max(1, len(judgements) - 1))  # a gap is left between sources
    for place, name in enumerate(sources):
        for nth, judgement in enumerate(judgements):
            group = judgement.groups.get(name)
            if group is None or group.mean.value is None:
                continue
            at = place + (nth - (len(judgements) - 1) / 2) * step
            ink = colour(name, judgement.sources)
            if not several:
                axes.scatter(
                    scale.scores, [at] * len(scale.scores), s=(330 * group.shares).tolist(),
                    color=ink, alpha=0.32, linewidths=0,
                )  # fmt: skip
            if group.mean.low is not None and group.mean.high is not None:
                axes.plot([group.mean.low, group.mean.high], [at, at], color=INK, linewidth=1.6)
            axes.plot(
                [group.mean.value], [at], MARKS[nth], color=ink, markersize=6.5,
                markeredgecolor=INK, markeredgewidth=0.9,
            )  # fmt: skip
    controls = {name for judgement in judgements for name in judgement.controls}
    named = [
        two_lines(f"{name}*" if name in controls else name, SOURCE_LETTERS) for name in sources
    ]
    is_broken = any("\n" in name for name in named)
    axes.set_yticks(range(len(sources)), named, fontsize=8.5 if is_broken else None)
    axes.set_ylim(len(sources) - 0.45, -0.6)
    margin = 0.06 * (scale.highest - scale.lowest)
    axes.set_xlim(scale.lowest - margin, scale.highest + margin)
    axes.set_xticks(scale.scores)
    ends = [text.split(":")[0] for _, text in (scale.levels[0], scale.levels[-1])]
    parted = ";\n" if is_broken else "; "  # names leave less room
    words = f"\n{scale.lowest}: {ends[0]}{parted}{scale.highest}: {ends[1]}" if all(ends) else ""
    star = "; * control" if controls else ""
    axes.set_xlabel(f"mean score{star}{words}", fontsize=8.5)
    plain_axes(axes, "x")
    if several:
        handles = [
            Line2D([], [], color=PAPER, marker=MARKS[nth], markersize=6.5, markeredgecolor=INK,
                   linewidth=0)
            for nth in range(len(judgements))
        ]  # fmt: skip
        names = [
            shortened(brief_label(judgement, material), NAME_LETTERS) for judgement in judgements
        ]
        across = len(names) // _legend_rows(judgements, material)
        axes.legend(
            handles, names, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=across, fontsize=8.5
        )


def _legend_rows(judgements: Sequence[Judgement], material: Material) -> int:
    names = [shortened(brief_label(judgement, material), NAME_LETTERS) for judgement in judgements]
    return 1 if sum(len(name) + MARK_LETTERS for name in names) <= LEGEND_LETTERS else len(names)
