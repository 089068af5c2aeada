"""The page of two dictionaries: what they have in common, what splits, what is new."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from autointerp.findings.match import BINS, Match, Side, median
from autointerp.reports.colours import MUTED, colour
from autointerp.reports.page import Panel
from autointerp.reports.panels import Block, Figure, Prose, Table, Tree
from autointerp.reports.style import headline, plain_axes, sheet
from autointerp.reports.words import interval, listed, number, percent
from autointerp.reports.write import write_panels
from autointerp.stats.cosines import CANDIDATES, STEP
from autointerp.text import count

SHOWN = 50  # families, and features without a relative, on the page; the tables have all
RELATIVES = 20  # of one family on the page


def write_match(match: Match, out: Path) -> Path:
    """Write the page, its pictures and tables to the folder `out`; return index.html.

    Raises BadInput if `out` holds something else than a report, StorageError if it cannot be
    written.
    """
    panels = [
        Panel("match", "What they have in common", tuple(_common(match))),
        Panel("similarity", "Do features that are in both score higher?", tuple(_scores(match))),
        Panel("splitting", "Which features split", tuple(_families(match))),
        Panel("new", "What the smaller dictionary lacks", tuple(_unrelated(match))),
    ]
    first, second = match.first, match.second
    heading = (
        f"Are the features of '{first.run}' in '{second.run}'? "
        f"{percent(first.share_related(match.related))} of them are, "
        f"{percent(second.share_related(match.related))} the other way."
    )
    beneath = (
        f"Dictionary vectors of {count(first.size, 'feature')} and {count(second.size, 'feature')} "
        f"at one site of one model, compared by cosine; {match.related:g} or more makes a relative."
    )
    write_panels([panel for panel in panels if panel.blocks], out, heading, beneath)
    return out / "index.html"


def _common(match: Match) -> Iterator[Block]:
    for note in match.notes:
        yield Prose(f"{note}.")
    how = (
        "the best of all matchings"
        if match.is_exact
        else f"of each feature of '{match.first.run}' the {CANDIDATES} nearest were tried; no such "
        f"matching has a sum larger by {STEP:g} a feature"
    )
    yield Figure(
        name="cosines",
        caption="How many features have which largest cosine with the other dictionary, and with "
        f"their one-to-one partner ({how}). Grey: features known to be dead. Dashed: what 99 of "
        "100 random directions stay under.",
        alt=". ".join(
            f"'{side.run}': median largest cosine {number(median(side.cosine[side.counted]))}, "
            f"of random directions {number(side.chance_at(0.5))}"
            for side in (match.first, match.second)
        )
        + ".",
        draw=lambda: draw(match),
    )
    rows = [_row(match, side) for side in (match.first, match.second)]
    yield Table(
        name="dictionaries",
        caption="Either dictionary in the other; shares and medians leave out features known to "
        "be dead",
        frame=pd.DataFrame(rows),
        headings=[
            "run", "features", "dead", "median cosine", f"at least {match.related:g}",
            "one to one", f"at least {match.related:g}", "of dead ones", "random directions",
        ],
        rows=[
            [
                str(row["run"]),
                f"{row['features']:,}",
                f"{row['dead']:,}",
                number(row["median"]),
                percent(row["share_related"]),
                number(row["median_one_to_one"]),
                percent(row["share_related_one_to_one"]),
                number(row["median_dead"]),
                number(row["chance_median"]),
            ]
            for row in rows
        ],
        summary=True,
    )  # fmt: skip
    for name, side in (("first", match.first), ("second", match.second)):
        yield Table(name=f"features_{name}", caption="", frame=side.frame())


def draw(match: Match) -> Drawing:
    """Return histograms of the largest cosines and of those of partners, one row a side."""
    figure = sheet(10, 5)
    grid = figure.subplots(2, 2, sharex=True, squeeze=False)
    for line, side in zip(grid, (match.first, match.second), strict=True):
        other = match.second if side is match.first else match.first
        for axes, values, name in (
            (line[0], side.cosine, f"{side.run}: nearest in {other.run}"),
            (line[1], side.partner_cosine, f"{side.run}: one-to-one partner"),
        ):
            live, dead = (side.histogram(values[part]) for part in (side.counted, side.dead))
            axes.bar(BINS[:-1], live, np.diff(BINS), align="edge", color=colour("features"))
            axes.bar(
                BINS[:-1], dead, np.diff(BINS), bottom=live, align="edge", color=MUTED, alpha=0.6
            )
            axes.axvline(side.chance_at(0.99), color=MUTED, linestyle="--", linewidth=1)
            axes.set_title(name)
            plain_axes(axes)
    lowest = min(0.0, *(float(side.cosine.min()) for side in (match.first, match.second)))
    for axes in grid[-1]:
        axes.set_xlim(max(-1.0, lowest - 0.05), 1)
        axes.set_xlabel("cosine")
    for line in grid:
        line[0].set_ylabel("features")
    headline(figure, "")
    return figure


def _row(match: Match, side: Side) -> dict[str, Any]:
    counted = side.counted
    return {
        "run": side.run,
        "features": side.size,
        "dead": int(side.dead.sum()),
        "median": median(side.cosine[counted]),
        "share_related": side.share_related(match.related),
        "median_one_to_one": median(side.partner_cosine[counted]),
        "share_related_one_to_one": side.share_related(match.related, one_to_one=True),
        "median_dead": median(side.cosine[side.dead]),
        "chance_median": side.chance_at(0.5),
        "chance_99": side.chance_at(0.99),
    }


def _scores(match: Match) -> Iterator[Block]:
    found = [(side, score) for side in (match.first, match.second) for score in side.scores]
    if not found:
        yield Prose("No feature of either run has a score; `autointerp rate` makes some.")
        return
    records = [
        {
            "run": side.run,
            "rater": score.rater,
            "rubric": score.rubric,
            "features": score.n,
            "median_cosine": score.median,
            "look": None if score.reading is None else score.reading.number,
            "superiority": score.higher.value,
            "superiority_low": score.higher.low,
            "superiority_high": score.higher.high,
            "rho": score.rho.value,
            "rho_low": score.rho.low,
            "rho_high": score.rho.high,
        }
        for side, score in found
    ]
    levels = listed(percent(level) for level in sorted({one.higher.level for _, one in found}))
    yield Table(
        name="scores_by_similarity",
        caption="Scores of features over the median cosine against those under it, ties halved, "
        f"and Spearman's rho of score and cosine, with {levels} intervals",
        frame=pd.DataFrame(records),
        headings=["run", "rater", "rubric", "features", "P(higher)", "rho"],
        rows=[
            [
                side.run,
                score.rater,
                score.rubric,
                str(score.n),
                interval(score.higher),
                interval(score.rho),
            ]
            for side, score in found
        ],
        summary=True,
    )
    if any(score.reading is not None and score.reading.multiplier for _, score in found):
        yield Prose(
            "Looks at these scores were taken before: intervals are those of an asymptotic "
            "confidence sequence, which holds at all looks."
        )


def _families(match: Match) -> Iterator[Block]:
    small, large = match.small, match.large
    if not match.families:
        yield Prose(f"No feature of '{small.run}' has several relatives in '{large.run}'.")
        return
    yield Prose(
        f"{count(len(match.families), 'feature')} of '{small.run}' "
        f"{'has' if len(match.families) == 1 else 'have'} several relatives in '{large.run}': "
        f"features whose nearest in '{small.run}' it is, at a cosine of {match.related:g} or more."
        + (" Both have as many features, so that this is no splitting by size."
           if small.size == large.size else "")
    )  # fmt: skip
    yield Tree(
        caption=_caption(len(match.families), "family", "families", "families"),
        roots=[
            (
                _named(small, family.parent),
                [
                    f"{_named(large, child)} · {cosine:.2f}"
                    for child, cosine in family.children[:RELATIVES]
                ]
                + (
                    [f"{len(family.children) - RELATIVES:,} more"]
                    if len(family.children) > RELATIVES
                    else []
                ),
            )
            for family in match.families[:SHOWN]
        ],
    )
    yield Table(
        name="families",
        caption="",
        frame=pd.DataFrame(
            [
                {
                    "feature": family.parent,
                    "description": small.descriptions.get(family.parent),
                    "relative": child,
                    "cosine": cosine,
                    "relative_description": large.descriptions.get(child),
                }
                for family in match.families
                for child, cosine in family.children
            ]
        ),
    )


def _unrelated(match: Match) -> Iterator[Block]:
    small, large = match.small, match.large
    if not match.unrelated:
        yield Prose(f"Every feature of '{large.run}' has a relative in '{small.run}'.")
        return
    cosine_of = dict(zip(large.number.tolist(), large.cosine.tolist(), strict=True))
    described = [n for n in match.unrelated if n in large.descriptions]
    others = [n for n in match.unrelated if n not in large.descriptions]
    shown = [*described, *others][:SHOWN]
    yield Table(
        name="unrelated",
        caption=_caption(len(match.unrelated), "feature", "features", "unrelated")
        + f" of '{large.run}' without a relative in '{small.run}', described ones first",
        frame=pd.DataFrame(
            {
                "feature": match.unrelated,
                "cosine": [cosine_of[n] for n in match.unrelated],
                "description": [large.descriptions.get(n) for n in match.unrelated],
            }
        ),
        headings=["feature", "largest cosine", "description"],
        rows=[
            [f"features/{n}", number(cosine_of[n]), large.descriptions.get(n, "")] for n in shown
        ],
    )


def _caption(n: int, one: str, several: str, table: str) -> str:
    words = f"{n:,} {one if n == 1 else several}"
    return words if n <= SHOWN else f"The first {SHOWN} of {words} (all in tables/{table}.csv)"


def _named(side: Side, feature: int) -> str:
    description = side.descriptions.get(feature)
    return f"{side.run} features/{feature}" + (f": {description}" if description else "")
