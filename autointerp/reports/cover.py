"""The page of concepts: which of them units are about, and how frequent those are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from autointerp.findings.cover import Cover, CoveredConcept
from autointerp.reports.colours import MUTED, colour
from autointerp.reports.page import Panel
from autointerp.reports.panels import Block, Figure, Prose, Table
from autointerp.reports.style import headline, plain_axes, sheet
from autointerp.reports.words import interval, number, percent
from autointerp.reports.write import write_panels
from autointerp.text import ON_PAGE, count, visible
from autointerp.units.sources import kind_of

SHOWN = 300  # concepts on the page; the tables have all
STEPS = 120  # of the curve
SAID = 120  # characters of a description
COVERED = {True: "yes", False: "no", None: "no answer"}


def write_cover(found: Cover, out: Path) -> Path:
    """Write the page, its picture and tables to the folder `out`; return index.html.

    Raises BadInput if `out` holds something else than a report, StorageError if it cannot be
    written.
    """
    panels = [
        Panel("coverage", "How many concepts are covered", tuple(_coverage(found))),
        Panel("frequency", "Coverage by frequency", tuple(_frequency(found))),
        Panel("concepts", "Concepts", tuple(_concepts(found))),
    ]
    several = kind_of(found.source).names[1]
    heading = f"Do {several} of '{found.run}' cover these concepts? " + (
        f"{percent(found.coverage.value)} of {len(found.answered)} are covered."
        if found.answered
        else "Nothing is answered yet."
    )
    beneath = (
        f"{count(len(found.concepts), 'concept')}; for each the {several} that fire most strongly "
        f"on its last token, and random ones, judged blind by {found.rater}."
    )
    write_panels(panels, out, heading, beneath)
    return out / "index.html"


def _coverage(found: Cover) -> Iterator[Block]:
    for note in found.notes:
        yield Prose(f"{note}.", tone="warning" if "means little" in note else "plain")
    rows = [
        ("concepts covered by their strongest units", found.coverage),
        ("concepts covered by random units", found.control),
        ("strongest units that are about the concept", found.yes["strongest"]),
        ("random units that are about the concept", found.yes["random"]),
    ]
    yield Table(
        name="coverage",
        caption=f"Shares with {percent(found.coverage.level)} intervals, of units the mean over "
        "concepts. Random units are judged in the same queue; where they are said to be about the "
        "concept, the judge says yes too easily",
        frame=pd.DataFrame(
            [
                {"share": text, "value": one.value, "low": one.low, "high": one.high, "n": one.n[0]}
                for text, one in rows
            ]
        ),
        headings=["share of", "value", "concepts"],
        rows=[[text, interval(one), f"{one.n[0]:,}"] for text, one in rows],
        summary=True,
    )


def _frequency(found: Cover) -> Iterator[Block]:
    slope, half = found.curve.slope, found.curve.half
    if slope.value is None:
        yield Prose(f"There is no curve of coverage by frequency: {slope.note}.")
    else:
        at = "" if half.value is None else f" Half are covered at {_per_million(half.value)}"
        if half.low is not None and half.high is not None:
            at += f" [{_per_million(half.low)}, {_per_million(half.high)}]"
        elif slope.low is not None:
            at += f" ({half.note})"
        note = f" There is no interval: {slope.note}." if slope.low is None else ""
        yield Prose(
            "For ten times as many occurrences the log odds of being covered change by "
            f"{interval(slope)}.{at + '.' if at else ''}{note}"
        )
    if not found.answered:
        return
    yield Figure(
        name="coverage_by_frequency",
        caption="Concepts that are covered (above) and not (beneath) by how often they occur as a "
        f"whole word in the {found.tokens:,} tokens that the run read, half a time added; the "
        f"curve of a logistic regression, with its pointwise {percent(slope.level)} interval where "
        "it has one.",
        alt=f"{percent(found.coverage.value)} of {len(found.answered)} concepts are covered; slope "
        f"{interval(slope)}.",
        draw=lambda: draw(found),
    )


def draw(found: Cover) -> Drawing:
    """Return the answered concepts, one at least, by frequency, with the curve."""
    figure = sheet(8, 4)
    axes = figure.subplots()
    answered = found.answered
    x = np.array([found.frequency(one) for one in answered])
    y = np.array([float(bool(one.covered())) for one in answered])
    jitter = np.random.default_rng(0).uniform(-0.03, 0.03, len(x))
    axes.scatter(x, y + jitter, s=14, color=colour(found.source), alpha=0.6, linewidths=0)
    line = np.linspace(x.min(), max(x.max(), x.min() + 0.1), STEPS)
    middle, low, high = found.curve.at(line)
    if not np.isnan(middle).all():
        axes.plot(line, middle, color=colour(found.source))
        if not np.isnan(low).all():
            axes.fill_between(line, low, high, color=MUTED, alpha=0.25, linewidth=0)
    ticks = np.arange(np.floor(x.min()), np.ceil(x.max()) + 1)
    axes.set_xticks(
        ticks, [f"{10.0**tick:,.0f}" if tick >= 0 else f"{10.0**tick:g}" for tick in ticks]
    )
    axes.set_yticks([0, 0.5, 1], ["not covered", "", "covered"])
    axes.set_ylim(-0.1, 1.1)
    axes.set_xlabel("occurrences in a million tokens")
    plain_axes(axes)
    headline(figure, "")
    return figure


def _concepts(found: Cover) -> Iterator[Block]:
    order = sorted(found.concepts, key=lambda one: (-one.occurrences, one.name))
    yield Table(
        name="concepts",
        caption=f"The {min(SHOWN, len(order))} most frequent of {len(order):,} concepts; the unit "
        "is the strongest that is about it, else the strongest",
        frame=pd.DataFrame(
            [
                {
                    "concept": one.name,
                    "occurrences": one.occurrences,
                    "covered": COVERED[one.covered()],
                    "covered_by_random": COVERED[one.covered("random")],
                }
                for one in order
            ]
        ),
        headings=["concept", "in a million", "covered", "by random", "unit", "description"],
        rows=[_row(found, one) for one in order[:SHOWN]],
    )
    yield Table(name="judgements", caption="Judgements", frame=found.frame())


def _row(found: Cover, concept: CoveredConcept) -> list[str]:
    strongest = concept.of("strongest")
    best = next((one for one in strongest if one.is_main), strongest[0] if strongest else None)
    said = (best.description or "") if best is not None else "no unit fires on it"
    return [
        visible(concept.name, ON_PAGE),
        number(1e6 * concept.occurrences / max(found.tokens, 1), 1),
        COVERED[concept.covered()],
        COVERED[concept.covered("random")],
        "–" if best is None else str(best.unit),
        visible(said[:SAID], ON_PAGE),
    ]


def _per_million(log10: float) -> str:
    value = 10.0 ** min(log10, 300)
    return f"{value:,.0f} in a million" if value >= 10 else f"{value:.2g} in a million"
