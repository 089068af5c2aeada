"""The page of a sweep: what each SAE is like, how interpretable it is, and against what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure as Drawing

from autointerp.findings.sweep import AXES, Sweep, SweptResult, place
from autointerp.reports.colours import INK, MUTED, colour
from autointerp.reports.page import Panel
from autointerp.reports.panels import Block, Figure, Prose, Table
from autointerp.reports.panels.across import judge_blocks
from autointerp.reports.style import (
    LABEL_PLACES,
    drawable,
    headline,
    log_axis,
    part_labels,
    plain_axes,
    sheet,
)
from autointerp.reports.words import interval, listed, number, percent
from autointerp.reports.write import write_panels
from autointerp.stats.results import Statistic
from autointerp.text import count

LABELS = {
    "l0": "L0: features that fire on a token",
    "loss_recovered": "loss recovered",
    "width": "features",
}


def write_sweep(sweep: Sweep, out: Path) -> Path:
    """Write the page, its pictures and tables to the folder `out`; return index.html.

    Raises BadInput if `out` holds something else than a report, StorageError if it cannot be
    written.
    """
    panels = [
        Panel("sweep", "Interpretability against what an SAE costs", tuple(_frontier(sweep))),
        Panel("contrasts", "Against neurons, untrained twins and the reference",
              tuple(_contrasts(sweep))),
        Panel("method", "How this was made", tuple(_method(sweep))),
    ]  # fmt: skip
    write_panels([panel for panel in panels if panel.blocks], out, heading(sweep), beneath(sweep))
    return out / "index.html"


def heading(sweep: Sweep) -> str:
    """Return the question of the page and its answer."""
    question = f"Which of {count(len(sweep.results), 'SAE')} has interpretable features?"
    across = sweep.across
    if sweep.fails or across is None or not across.family:
        return f"{question} Nothing could be compared."
    arms = [
        contrast
        for judged in across.judged
        for contrast in judged.contrasts
        if contrast.second.source == "neurons"
    ]
    if not arms:
        return f"{question} None was compared with neurons."
    higher = sum(contrast.outcome == "higher" for contrast in arms)
    early = sum(bool(contrast.reading.interim) for contrast in arms)
    if early == len(arms):
        return f"{question} Nothing is decided yet."
    left = f"; of {early} nothing is decided yet" if early else ""
    return f"{question} {higher} of {count(len(arms), 'arm')} score higher than neurons{left}."


def beneath(sweep: Sweep) -> str:
    """Return the line under the heading."""
    return (
        f"Sweep {sweep.name}, rated by {sweep.rater} on {sweep.rubric}, all SAEs in one blinded "
        f"order. Reference: {sweep.reference}."
    )


def _frontier(sweep: Sweep) -> Iterator[Block]:
    for run, why in sweep.fails.items():
        yield Prose(
            f"In run '{run}' {why}; its scores are no evidence, and nothing is compared.",
            lead=f"{sweep.rater} is not to be trusted here.",
            tone="warning",
        )
    if sweep.not_rated:
        yield Prose(f"Not rated: {listed(sweep.not_rated)}.", tone="warning")
    axes = [axis for axis in AXES if any(_point(one, axis) for one in sweep.results)]
    if axes:
        yield Figure(
            name="frontier",
            caption="Mean score of the sampled features against what an SAE costs, with 95 % "
            "intervals of both where they are known. Filled: no other SAE "
            f"{'of its site ' if len(_sites(sweep)) > 1 else ''}has both a score and a place on "
            "the axis that are at least as good. The line joins these.",
            alt=". ".join(_spoken(sweep, axis) for axis in axes) + ".",
            draw=lambda: draw(sweep, axes),
        )
    yield Table(
        name="sweep",
        caption="Each SAE: figures from the tokens that its units were drawn from, 95 % intervals",
        frame=sweep.frame(),
        headings=[
            "SAE", "recipe", "features", "L0", "dead", "variance explained", "loss recovered",
            "mean score", "scored", "beaten on score and L0 by",
        ],
        rows=[_cells(one) for one in sweep.results],
        summary=True,
    )  # fmt: skip


def _cells(one: SweptResult) -> list[str]:
    figures = one.figures
    beaten = [
        f"{name}{' (clearly)' if name in one.clearly_beaten_by['l0'] else ''}"
        for name in one.beaten_by["l0"]
    ]
    own = ["–"] * 5
    if figures is not None:
        own = [
            f"{figures.width:,}",
            interval(figures.l0, 1),
            f"{percent(figures.dead_share.value, 1)} ({figures.dead:,})",
            interval(figures.variance_explained),
            interval(figures.loss_recovered),
        ]
    return [
        one.sae.name,
        one.sae.recipe,
        *own,
        interval(one.interpretability),
        f"{one.scored} of {one.asked}",
        listed(beaten) or "none",
    ]


def _contrasts(sweep: Sweep) -> Iterator[Block]:
    across = sweep.across
    if across is None:
        return
    yield Prose(
        f"The p-values of all {count(across.family, 'contrast')} are adjusted together (Holm). "
        "SAEs of one recipe are one arm: their features are nested in seeds. Neurons and controls "
        "were drawn and rated once for a site."
    )
    several = len(across.judged) > 1
    for place_, judged in enumerate(across.judged):
        yield from judge_blocks(judged, f"-{place_ + 1}" if several else "")
    for out in across.left_out:
        yield Prose(f"{out.why}.", lead="Not compared.", tone="warning")


def _method(sweep: Sweep) -> Iterator[Block]:
    if sweep.plan is not None:
        yield Prose(
            f"{sweep.plan.made_at} UTC, before the first rating, sha256 {sweep.plan.digest}: "
            f"{sweep.plan}.",
            lead="Declared.",
        )
    for text in sweep.deviations:
        yield Prose(f"{text}.", lead="Not as declared:", tone="warning")
    read = [one.figures for one in sweep.results if one.figures is not None]
    if not read:
        return
    tokens = sorted({figures.tokens for figures in read})
    spliced = sorted({figures.loss_recovered.n[0] for figures in read} - {0})
    yield Prose(
        f"L0, dead features and variance explained are of {listed(f'{n:,}' for n in tokens)} "
        "tokens, those that the contexts come from; a feature is dead that fires on none of them, "
        "and variance explained is of one token in 16. "
        + (
            f"Loss recovered is of {listed(f'{n:,}' for n in spliced)} next tokens at the corpus's "
            "beginning: the share of the loss which setting the site to 0 costs that the "
            "reconstruction does not cost; more than all of it counts as all. "
            if spliced
            else ""
        )
        + "Intervals leave out groups of documents (jackknife); that of the dead share is "
        "Wilson's, for features drawn as these were."
    )
    for one in sweep.results:
        if one.figures is not None:
            for name, statistic in (
                ("variance explained", one.figures.variance_explained),
                ("loss recovered", one.figures.loss_recovered),
            ):
                if statistic.value is None:
                    yield Prose(f"{one.sae.name}: no {name}, for {statistic.note}.")
    yield from _without_interval(sweep)


def _without_interval(sweep: Sweep) -> Iterator[Block]:
    """Yield which figures of which SAEs have no interval, and why."""
    names: dict[tuple[str, str], list[str]] = {}
    for one in sweep.results:
        figures = one.figures
        if figures is not None:
            for name, statistic in (
                ("L0", figures.l0),
                ("variance explained", figures.variance_explained),
                ("loss recovered", figures.loss_recovered),
            ):
                if statistic.value is not None and statistic.low is None:
                    names.setdefault((name, statistic.note), []).append(one.sae.name)
    for (name, why), saes in names.items():
        yield Prose(f"{listed(saes)}: {name} without an interval, for {why}.")


# ---------------------------------------------------------------------------------- picture


def _sites(sweep: Sweep) -> list[str]:
    """Return the sites of the sweep's SAEs, each once, in their order."""
    return list(dict.fromkeys(one.sae.site for one in sweep.results))


def _point(one: SweptResult, axis: str) -> tuple[float, float] | None:
    at = place(one.figures, axis)
    score = one.interpretability
    return None if at is None or score is None or score.value is None else (at, score.value)


def _spoken(sweep: Sweep, axis: str) -> str:
    parts = [
        f"{one.sae.name} at {number(point[0])} with score {number(point[1])}"
        for one in sweep.results
        if (point := _point(one, axis)) is not None
    ]
    return f"Score against {LABELS[axis]}: {listed(parts)}"


def draw(sweep: Sweep, axes: list[str]) -> Drawing:
    """Return scatter plots of score against each axis, the best of both joined."""
    figure = sheet(3.6 * len(axes) + 0.6, 3.6)
    grid = figure.subplots(1, len(axes), sharey=True, squeeze=False)[0]
    labels = []
    for axis, panel in zip(axes, grid, strict=True):
        best: dict[str, list[tuple[float, float]]] = {site: [] for site in _sites(sweep)}
        for one in sweep.results:
            point = _point(one, axis)
            if point is None:
                continue
            is_best = not one.beaten_by[axis]
            if is_best:
                best[one.sae.site].append(point)
            own = getattr(one.figures, axis)
            panel.errorbar(
                *point,
                xerr=_reach(own) if isinstance(own, Statistic) else None,
                yerr=_reach(one.interpretability),
                fmt="o",
                color=colour("features"),
                markerfacecolor=colour("features") if is_best else "none",
                elinewidth=1,
            )
            labels.append(
                panel.annotate(
                    drawable(one.sae.name),
                    point,
                    xytext=LABEL_PLACES[0],
                    textcoords="offset points",
                    color=INK,
                    fontsize=8,
                )
            )
        for points in filter(None, best.values()):
            panel.plot(*zip(*sorted(points), strict=True), color=MUTED, linewidth=1, zorder=0)
        if axis != "loss_recovered":
            log_axis(panel, lambda x: f"{x:,.3g}")
        panel.set_xlabel(LABELS[axis])
        plain_axes(panel)
    grid[0].set_ylabel("mean score")
    headline(figure, "")
    part_labels(figure, labels)
    return figure


def _reach(statistic: Statistic | None) -> list[list[float]] | None:
    """Return how far an interval reaches below and above its value, as matplotlib takes it."""
    if statistic is None or statistic.value is None:
        return None
    if statistic.low is None or statistic.high is None:
        return None
    return [
        [max(0.0, statistic.value - statistic.low)],
        [max(0.0, statistic.high - statistic.value)],
    ]
