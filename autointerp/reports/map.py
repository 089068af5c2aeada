"""The page of a dictionary in the plane: a map to look around in, and how far to trust it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from autointerp.findings.map import DictionaryMap
from autointerp.reports.colours import colour, on_page
from autointerp.reports.page import Panel
from autointerp.reports.panels import Block, PointMap, Prose, Table
from autointerp.reports.words import number, percent
from autointerp.reports.write import write_panels
from autointerp.text import ON_PAGE, count, visible
from autointerp.units.sources import kind_of

NEAR = 10  # neighbours of a point that the page lists
PAGE = 50  # points whose contexts are unpacked together
SAID = 300  # characters of a description
LEVELS = "0123456789a"
COSINES = 10_000  # whole numbers stand for so many parts of 1


def write_map(found: DictionaryMap, out: Path, report: Path | None = None) -> Path:
    """Write the page and its tables to the folder `out`; return index.html.

    `report`: the run's report, to which units of the run are linked where it exists.

    Raises BadInput if `out` holds something else than a report, StorageError if it cannot be
    written.
    """
    panels = [
        Panel("map", "Map", tuple(_map(found, _link(report, out)))),
        Panel("sources", "Sources, and how far to trust the map", tuple(_sources(found))),
    ]
    points = count(len(found.units), "unit")
    heading = f"The dictionary of '{found.run}', {points}: what lies near what?"
    beneath = (
        "Directions of "
        + ", ".join(f"{one.units:,} {kind_of(one.source).names[1]}" for one in found.sources)
        + " at one site, laid out by UMAP on cosine distance "
        f"({found.parameters.neighbours} neighbours, seed {found.parameters.seed})."
    )
    write_panels(panels, out, heading, beneath)
    return out / "index.html"


def _link(report: Path | None, out: Path) -> str:
    """Return the address of the report as the page calls it; empty where there is none."""
    if report is None or not report.is_file():
        return ""
    relative = os.path.relpath(report.resolve(), out.resolve())
    return quote(relative.replace(os.sep, "/"))


def _map(found: DictionaryMap, report: str) -> Iterator[Block]:
    yield Prose(
        "Each point is a unit's direction; near points are alike by cosine, but distances across "
        "the map mean little. Larger points are units that the run has harvested: their strongest "
        "contexts open with them. Drag or use arrow keys to move, + and − or two fingers to zoom, "
        "0 to see all; once the map has the focus the wheel zooms."
    )
    for note in found.notes:
        yield Prose(f"{note}.")
    if found.left_out:
        yield Prose(
            f"To keep this file small, contexts of {found.left_out:,} units of the run are left "
            "out, described ones last; `autointerp show` shows any of them."
        )
    names = [one.source for one in found.sources]
    points = sorted(found.contexts)
    page = np.full(len(found.units), -1, np.int32)
    page[points] = np.arange(len(points))
    layout = found.layout
    columns: dict[str, np.ndarray[Any, np.dtype[Any]]] = {
        "x": layout.points[:, 0].astype("<f4"),
        "y": layout.points[:, 1].astype("<f4"),
        "source": found.source.astype("u1"),
        "idx": np.array([unit.index for unit in found.units], "<u4"),
        "sign": np.array([unit.sign for unit in found.units], "i1"),
        "held": (found.unit_id >= 0).astype("u1"),
        "density": found.density.astype("<f4"),
        "near": layout.index[:, :NEAR].astype("<u4"),
        "cosine": np.rint(layout.cosine[:, :NEAR] * COSINES).astype("<i2"),
        "page": page,
    }
    for place, judged in enumerate(found.judged):
        columns[f"score{place}"] = judged.score.astype("<f4")
    yield PointMap(
        index={
            "run": found.run,
            "report": report,
            "points": len(found.units),
            "neighbours": min(NEAR, layout.index.shape[1]),
            "cosines": COSINES,
            "size": PAGE,
            "sources": [
                {
                    "name": one.source,
                    "several": kind_of(one.source).names[1],
                    "colour": on_page(colour(one.source, names)),
                }
                for one in found.sources
            ],
            "judged": [f"{one.rubric} by {one.rater}" for one in found.judged],
            # Only those that are called otherwise than source and index say.
            "names": {
                point: visible(name, ON_PAGE)
                for point, name in found.name.items()
                if name != str(found.units[point])
            },
            "said": {
                point: visible(text[:SAID], ON_PAGE) for point, text in found.descriptions.items()
            },
        },
        columns=columns,
        pages=[
            [_contexts(found, point) for point in points[begin : begin + PAGE]]
            for begin in range(0, len(points), PAGE)
        ],
    )
    yield Table(name="points", caption="Points", frame=found.frame())


def _contexts(found: DictionaryMap, point: int) -> list[list[Any]]:
    """Return a unit's contexts: tokens, a level 0 to 10 for each, and the peak's place."""
    peak = found.peak[point]
    scale = 10 / peak if peak > 0 else 0.0
    return [
        [
            [visible(token, ON_PAGE) for token in context.tokens],
            "".join(
                LEVELS[min(10, max(1, round(a * scale)))] if a > 0 else "0"
                for a in context.activations
            ),
            context.focus,
        ]
        for context in found.contexts[point]
    ]


def _sources(found: DictionaryMap) -> Iterator[Block]:
    yield Prose(
        "A map of many axes in two keeps some neighbourhoods and breaks others. The table says "
        f"what share of a unit's {found.layout.index.shape[1]} nearest by cosine are among as many "
        "nearest on the map; where it is low, read the list of nearest units and not the picture. "
        "Random directions have no structure: what they show is made by the method."
    )
    rows = [
        {
            "source": one.source,
            "units": one.units,
            "without_direction": one.without,
            "density_known": one.counted,
            "median_nearest_cosine": one.median,
            "nearest_of_own_source": one.near_own,
            "nearest_of_own_source_if_mixed": one.mixed,
            "neighbours_kept": one.kept,
        }
        for one in found.sources
    ]
    yield Table(
        name="sources",
        caption="Units of each source on the map",
        frame=pd.DataFrame(rows),
        headings=[
            "source", "units", "no direction", "density known", "median cosine with the nearest",
            "nearest of own source", "if sources were mixed", "neighbours kept",
        ],
        rows=[
            [
                one.source,
                f"{one.units:,}",
                f"{one.without:,}",
                f"{one.counted:,}",
                number(one.median),
                percent(one.near_own),
                percent(one.mixed),
                percent(one.kept),
            ]
            for one in found.sources
        ],
        summary=True,
    )  # fmt: skip
