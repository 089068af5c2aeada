"""The first screen: what came out, and the picture of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D

from autointerp.findings.groups import Contrast, Judgement
from autointerp.reports.against import NOTHING_KNOWN, objections
from autointerp.reports.colours import INK, MUTED, PAPER, RULE, colour
from autointerp.reports.panels import Answer, Figure, Material
from autointerp.reports.style import plain_axes, sheet
from autointerp.reports.words import (
    SUPERIORITY,
    brief_label,
    claim,
    interval,
    label,
    listed,
    number,
    p_value,
    percent,
    plural,
    rater_kind,
    what,
    wins_ties_losses,
)
from autointerp.stats.results import Statistic

MOST = 4  # judgements in the picture, and in the list of what each found
MARKS = ("o", "s", "^", "D")
NAME_LETTERS, LEGEND_LETTERS = 44, 56  # that fit into a row
WIDTH = 5.4  # inches: narrow, so that it can be read on a phone too


def answer(material: Material) -> Answer | None:
    """Return the first screen of a report; None where no unit was rated."""
    judgements = [j for j in material.judgements if any(g.n for g in j.groups.values())]
    if not judgements:
        return None
    pairs = {place: pair for place, j in enumerate(judgements) if (pair := studied_pair(j))}
    held = {place for place, j in enumerate(judgements) if j.trust.state != "broken"}
    against = objections(material)
    unresolved = not pairs or any(pair.outcome == "not resolved" for pair in pairs.values())
    claimed, tone = _claim(judgements, pairs, held)
    return Answer(
        claim=claimed,
        support=_support(judgements, pairs, material),
        heading="What to keep in mind" if unresolved else "What speaks against it",
        against=[(one.lead, one.text) for one in against[:3]] or [NOTHING_KNOWN],
        figure=Figure(
            name="answer",
            caption=_caption(judgements, pairs, material),
            alt=_alt(judgements, pairs),
            draw=lambda: draw(judgements, material),
        ),
        tone=tone,  # type: ignore[arg-type]
    )


def studied_pair(judgement: Judgement) -> Contrast | None:
    """Return the contrast that answers the question, of two sources that are studied.

    None where only one was rated: a control is nothing that its units are compared with.
    """
    contrast = judgement.decisive
    if contrast is None or contrast.second not in judgement.sources:
        return None
    return contrast


# ------------------------------------------------------------------------------ words


def _claim(
    judgements: Sequence[Judgement], pairs: Mapping[int, Contrast], held: set[int]
) -> tuple[str, str]:
    """Return what may be said, and its tone: by the raters whose controls are in their places."""
    if not held:
        raters = list(dict.fromkeys(judgement.rater for judgement in judgements))
        whose = f"of {raters[0]} are" if len(raters) == 1 else "of every rater are"
        return f"No answer: the controls {whose} not where they must be.", "warning"
    counted = {place: pair for place, pair in pairs.items() if place in held}
    if not counted:
        return f"{_alone(judgements[min(held)])}.", "plain"
    claims = list(dict.fromkeys(claim(pair) for pair in counted.values()))
    outcomes = {pair.outcome for pair in counted.values()}
    resolved = outcomes in ({"higher"}, {"lower"})
    checked = all(judgements[place].trust.state == "held" for place in counted)
    if len(claims) == 1:
        return f"{claims[0]}.", "good" if resolved and checked else "plain"
    if {"higher", "lower"} <= outcomes:
        return "The ratings contradict one another.", "plain"
    return "The ratings do not agree on an answer.", "plain"


def _alone(judgement: Judgement) -> str:
    """Return the means of what is studied, where there is nothing to compare them with."""
    names = judgement.sources or judgement.controls
    means = listed(
        f"{plural(name)[1]} score {number(judgement.groups[name].mean.value)}" for name in names
    )
    low, high = judgement.scale.lowest, judgement.scale.highest
    return f"{means[0].upper()}{means[1:]} on average, on a scale of {low} to {high}"


def _support(
    judgements: Sequence[Judgement], pairs: Mapping[int, Contrast], material: Material
) -> list[str]:
    if len(judgements) > 1:
        lines = [
            f"{brief_label(judgement, material)}: {_brief(judgement, pairs.get(place))}."
            for place, judgement in enumerate(judgements[:MOST])
        ]
        rest = len(judgements) - MOST
        return [*lines, *([f"{rest} more below."] if rest > 0 else [])]
    (judgement,) = judgements
    sentences = []
    pair = pairs.get(0)
    if pair is not None and not pair.is_one_value:
        shares = wins_ties_losses(pair)
        sentences.append(f"{shares[0].upper()}{shares[1:]}.")
        adjusted = "" if pair.holm_p is None else f"; p {p_value(pair.holm_p)} after Holm"
        sentences.append(
            f"{SUPERIORITY.capitalize()}, ties halved: {interval(pair.superiority)}{adjusted}."
        )
    controls = [
        f"{plural(name)[1]} {number(judgement.groups[name].mean.value)}"
        for name in judgement.controls
        if judgement.groups[name].n
    ]
    means = [
        f"{plural(name)[1]} {number(judgement.groups[name].mean.value)}"
        for name in judgement.sources
        if judgement.groups[name].n
    ]
    low, high = judgement.scale.lowest, judgement.scale.highest
    if pair is None:
        means = [
            f"{plural(name)[1]} {interval(judgement.groups[name].mean)}, "
            f"n = {judgement.groups[name].n:,}"
            for name in judgement.sources
            if judgement.groups[name].n
        ]
    beside = f"; the controls beside them: {listed(controls)}" if controls else ""
    if means:
        sentences.append(f"Means on the scale of {low} to {high}: {listed(means)}{beside}.")
    if judgement.is_llm is not False or rater_kind(judgement.rater) == "human":  # else an objection
        sentences.append(f"The rater is {judgement.rater}, {what(judgement)}.")
    return sentences


def _brief(judgement: Judgement, pair: Contrast | None) -> str:
    if judgement.trust.state == "broken":
        return "its controls are not where they must be, so it does not count"
    if pair is None:
        text = _alone(judgement)
        return f"{text[0].lower()}{text[1:]}"
    text = claim(pair)
    estimate = "" if pair.is_one_value else f", {interval(pair.superiority)}"
    return f"{text[0].lower()}{text[1:]}{estimate}"


def _caption(
    judgements: Sequence[Judgement], pairs: Mapping[int, Contrast], material: Material
) -> str:
    parts = []
    if pairs:
        parts.append(
            f"Bars: of all pairs of units, one of each source, how often either scores higher; "
            f"grey: the same. Dots: {SUPERIORITY}, ties halved, with its "
            f"{_levels(pair.superiority for pair in pairs.values())} interval where one is known; "
            "shaded: differences too small to matter."
        )
    means = _levels(group.mean for one in judgements for group in one.groups.values())
    parts.append(
        f"{'Below: mean' if pairs else 'Mean'} scores with {means} intervals"
        + (", controls (*) on the same axis" if any(one.controls for one in judgements) else "")
        + ("; a circle's area is the share of units at a score." if len(judgements) == 1 else ".")
    )
    if len(judgements) > MOST:
        parts.append(f"Drawn for the first {MOST} of {len(judgements)} ratings.")
    if len(judgements) == 1:
        parts.append(f"{label(judgements[0], material)}.")
    return " ".join(parts)


def _levels(statistics: Iterable[Statistic]) -> str:
    return listed(percent(level) for level in sorted({one.level for one in statistics}))


def _alt(judgements: Sequence[Judgement], pairs: Mapping[int, Contrast]) -> str:
    parts = []
    for place, judgement in enumerate(judgements[:MOST]):
        pair = pairs.get(place)
        if pair is not None:
            parts.append(
                f"{judgement.rater}: {wins_ties_losses(pair)}; {SUPERIORITY} "
                f"{interval(pair.superiority)}"
            )
        means = "; ".join(
            f"{name} {interval(group.mean)}" for name, group in judgement.groups.items() if group.n
        )
        parts.append(f"{judgement.rater}, mean scores: {means}")
    return ". ".join(parts) + "."


# ------------------------------------------------------------------------------ the picture


@dataclass(frozen=True)
class _Row:
    """A row of the upper part: one rating's pairs of units, or raters combined (`pair` None)."""

    name: str
    pair: Contrast | None
    superiority: Statistic
    sources: Sequence[str] = ()


def draw(judgements: Sequence[Judgement], material: Material) -> Drawing:
    """Return wins, ties, losses and their interval, over the means of all sources on one axis."""
    shown = list(judgements[:MOST])
    rows = [
        _Row(shortened(brief_label(judgement, material)), pair, pair.superiority, judgement.sources)
        for judgement in shown
        if (pair := studied_pair(judgement)) is not None
    ]
    if len(rows) > 1:
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
    alike = [j for j in shown if j.rubric_digest == shown[0].rubric_digest]
    sources = list(dict.fromkeys(name for j in alike for name, g in j.groups.items() if g.n))
    below = 0.85 + 0.3 * len(sources)
    if len(alike) > 1:
        below += 0.09 * len(sources) * (len(alike) - 1) + 0.19 * _legend_rows(alike, material)
    if not rows:
        figure = sheet(WIDTH, below + 0.2)
        _means(figure.subplots(), alike, sources, material)
        return figure
    above = 0.8 + (0.75 if len(rows) == 1 else 0.52) * sum(row.pair is not None for row in rows)
    above += 0.26 * sum(row.pair is None for row in rows)
    figure = sheet(WIDTH, above + below)
    upper, lower = figure.subfigures(2, 1, height_ratios=[above, below], squeeze=False)[:, 0]
    _pairs(upper.subplots(), rows)
    _means(lower.subplots(), alike, sources, material)
    return figure


def _pairs(axes: Axes, rows: Sequence[_Row]) -> None:
    """Draw a bar of wins, ties and losses for each row, and its probability of superiority."""
    pairs = [row.pair for row in rows if row.pair is not None]
    axes.axvspan(*pairs[0].equivalence, color=RULE, alpha=0.6, linewidth=0)
    axes.axvline(0.5, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    alone = len(rows) == 1
    at = 0.0
    for row in rows:
        if row.pair is not None:
            shares = [share.value or 0.0 for share in row.pair.pairs.shares]
            _bar(axes, at, shares, row)
            texts = (
                (f"{row.pair.first} higher {percent(shares[0])}",
                 f"same {percent(shares[1])}",
                 f"{row.pair.second} higher {percent(shares[2])}")
                if alone
                else (row.name, "", " / ".join(map(percent, shares)))
            )  # fmt: skip
            middle = min(0.66, max(0.42, shares[0] + shares[1] / 2))
            for x, side, text in zip((0, middle, 1), ("left", "center", "right"), texts,
                                     strict=True):  # fmt: skip
                axes.text(
                    x, at - 0.42, text, fontsize=9 if alone else 8.5, ha=side, va="bottom",
                    bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.6} if text else None,
                )  # fmt: skip
            _estimate(axes, at + 0.6, row.superiority, alone)
            at += 1.9
        else:
            axes.text(0, at - 0.3, row.name, fontsize=8.5, va="center")
            _estimate(axes, at - 0.3, row.superiority, alone)
            at += 0.9
    axes.set_ylim(at - (0.75 if rows[-1].pair is None else 0.9), -0.95)
    axes.set_xlim(-0.005, 1.005)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    names = {(pair.first, pair.second) for pair in pairs}
    first, second = names.pop() if len(names) == 1 else ("first", "second")
    bars = f"share of pairs: {first} higher / same / {second} higher"
    axes.set_xlabel(f"bars: {bars}\ndots: {SUPERIORITY}, ties halved", fontsize=8.5)
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
    axes.text(
        high + 0.025 if right else low - 0.025, at, interval(p), va="center",
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
    for place, name in enumerate(sources):
        for nth, judgement in enumerate(judgements):
            group = judgement.groups.get(name)
            if group is None or group.mean.value is None:
                continue
            at = place + (nth - (len(judgements) - 1) / 2) * 0.22
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
    kinds = {name: judgements[0].groups.get(name) for name in sources}
    axes.set_yticks(
        range(len(sources)),
        [f"{name}*" if group is not None and group.is_control else name
         for name, group in kinds.items()],
    )  # fmt: skip
    axes.set_ylim(len(sources) - 0.45, -0.6)
    margin = 0.06 * (scale.highest - scale.lowest)
    axes.set_xlim(scale.lowest - margin, scale.highest + margin)
    axes.set_xticks(scale.scores)
    ends = [text.split(":")[0] for _, text in (scale.levels[0], scale.levels[-1])]
    words = f"\n{scale.lowest}: {ends[0]}; {scale.highest}: {ends[1]}" if all(ends) else ""
    star = "; * control" if any(judgement.controls for judgement in judgements) else ""
    axes.set_xlabel(f"mean score{star}{words}", fontsize=8.5)
    plain_axes(axes, "x")
    if several:
        handles = [
            Line2D([], [], color=PAPER, marker=MARKS[nth], markersize=6.5, markeredgecolor=INK,
                   linewidth=0)
            for nth in range(len(judgements))
        ]  # fmt: skip
        names = [shortened(brief_label(judgement, material)) for judgement in judgements]
        across = len(names) // _legend_rows(judgements, material)
        axes.legend(
            handles, names, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=across, fontsize=8.5
        )


def _legend_rows(judgements: Sequence[Judgement], material: Material) -> int:
    names = [shortened(brief_label(judgement, material)) for judgement in judgements]
    return 1 if sum(map(len, names)) <= LEGEND_LETTERS else len(names)


def shortened(name: str) -> str:
    """Return a name that fits into the picture: both ends are kept, for names differ there."""
    if len(name) <= NAME_LETTERS:
        return name
    end = NAME_LETTERS // 2
    return f"{name[: NAME_LETTERS - end - 1]}…{name[-end:]}"
