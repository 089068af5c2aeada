"""A dictionary in the plane: where its units lie, how often they fire, what was said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from autointerp.findings.browse import StrongContext, newest_descriptions, strongest_contexts
from autointerp.records import Unit
from autointerp.stats.layout import Layout, LayoutParameters, kept_neighbours
from autointerp.stats.results import Floats, Integers
from autointerp.store.run import Run

CARRIED = 2_000  # units whose contexts a page carries
TOP = 5  # contexts of each


@dataclass(frozen=True)
class SourceOnMap:
    """What the map says of one source.

    Attributes:
        units: That have a direction, and lie on the map.
        without: Whose direction is 0.
        counted: Of those on the map, how many have a known density.
        median: Of the cosine with the nearest other unit on the map, of whatever source.
        near_own: Share of units whose nearest is of their own source, and what it would be if
            sources were mixed at random.
        kept: Mean share of a unit's nearest ones that are nearest on the map, too.
    """

    source: str
    units: int
    without: int
    counted: int
    median: float
    near_own: float
    mixed: float
    kept: float


@dataclass(frozen=True)
class Judged:
    """Mean scores of units by one rater on one rubric, [points], NaN where there is none."""

    rubric: str
    rater: str
    score: Floats


@dataclass(frozen=True)
class DictionaryMap:
    """The units of some sources of a run, laid out by their directions.

    All arrays are of the points.

    Attributes:
        digest: Of directions and parameters: the key of the layout.
        source: Places in `sources`.
        unit_id: Of the run; -1 for units that it does not hold.
        name: As a report calls a unit of the run, by its number; others go by source and index.
        density: Share of tokens; NaN where it was not counted.
        descriptions: By point, the newest one.
        contexts: By point, the strongest contexts of units of the run.
        left_out: Units of the run on the map whose contexts are not among them.
        notes: What should be known beside it, a sentence each.
    """

    run: str
    digest: str
    parameters: LayoutParameters
    layout: Layout = field(repr=False)
    sources: tuple[SourceOnMap, ...]
    source: Integers
    units: tuple[Unit, ...] = field(repr=False)
    unit_id: Integers
    name: Mapping[int, str] = field(repr=False)
    density: Floats
    judged: tuple[Judged, ...]
    descriptions: Mapping[int, str] = field(repr=False)
    contexts: Mapping[int, tuple[StrongContext, ...]] = field(repr=False)
    peak: Mapping[int, float] = field(repr=False)
    left_out: int
    notes: tuple[str, ...]

    def label(self, point: int) -> str:
        """Return what a unit is called: as the run calls it, or as in `features/12`."""
        return self.name.get(point) or str(self.units[point])

    def frame(self) -> pd.DataFrame:
        """Return one row a point."""
        x, y = self.layout.points.astype(np.float64).T
        return pd.DataFrame(
            {
                "unit": [self.label(point) for point in range(len(self.units))],
                "source": [self.sources[place].source for place in self.source],
                "idx": [unit.index for unit in self.units],
                "sign": [unit.sign for unit in self.units],
                "x": x,
                "y": y,
                "density": self.density,
                "nearest": [self.label(int(one)) for one in self.layout.index[:, 0]],
                "cosine": self.layout.cosine[:, 0].astype(np.float64),
                **{f"score {one.rubric} {one.rater}": one.score for one in self.judged},
                "description": [self.descriptions.get(p) for p in range(len(self.units))],
            }
        )

    def as_json(self) -> dict[str, Any]:
        """Return the findings as JSON values; the points are in the run's table `map_point`."""
        return {
            "run": self.run,
            "digest": self.digest,
            "parameters": {
                "neighbours": self.parameters.neighbours,
                "spread": self.parameters.spread,
                "seed": self.parameters.seed,
            },
            "points": len(self.units),
            "neighbours_exact": self.layout.is_exact,
            "described": len(self.descriptions),
            "sources": [
                {
                    "source": one.source,
                    "units": one.units,
                    "without_direction": one.without,
                    "counted": one.counted,
                    "median_nearest_cosine": one.median,
                    "nearest_of_own_source": one.near_own,
                    "nearest_of_own_source_if_mixed": one.mixed,
                    "neighbours_kept": one.kept,
                }
                for one in self.sources
            ],
            "judged": [
                {
                    "rubric": one.rubric,
                    "rater": one.rater,
                    "units": int((~np.isnan(one.score)).sum()),
                }
                for one in self.judged
            ],
            "notes": list(self.notes),
        }


def map_of(
    run: Run,
    members: Sequence[tuple[str, tuple[Unit, ...], int]],
    layout: Layout,
    digest: str,
    parameters: LayoutParameters,
) -> DictionaryMap:
    """Return what a run knows of the points of a layout.

    Args:
        members: Sources in the order of the points: name, units on the map, how many are not on
            it for want of a direction.
    """
    units = tuple(unit for _, own, _ in members for unit in own)
    source = np.repeat(np.arange(len(members)), [len(own) for _, own, _ in members])
    place = {(unit.source, unit.index, unit.sign): point for point, unit in enumerate(units)}
    unit_id = np.full(len(units), -1, np.int64)
    name: dict[int, str] = {}
    peak: dict[int, float] = {}
    for number, label, top, *key in run.rows(
        "SELECT unit_id, unit_label(source, idx, sign, note), peak, source, idx, sign FROM unit"
    ):
        point = place.get((key[0], key[1], key[2]))
        if point is not None:
            unit_id[point], name[point], peak[point] = number, label, top
    density = np.full(len(units), np.nan)
    for one, _, _ in members:
        for (index, sign), (fires, tokens) in run.firing_counts(one).items():
            point = place.get((one, index, sign))
            if point is not None and tokens:
                density[point] = fires / tokens
    points = {int(number): point for point, number in enumerate(unit_id) if number >= 0}
    said = newest_descriptions(run)
    descriptions = {points[number]: text for number, text in said.items() if number in points}
    # Those with a description first, then by their number, so that the same are carried each time.
    carried = sorted(points, key=lambda number: (points[number] not in descriptions, number))
    contexts: dict[int, list[StrongContext]] = {}
    for context in strongest_contexts(run, carried[:CARRIED], TOP):
        contexts.setdefault(points[context.unit_id], []).append(context)
    return DictionaryMap(
        run=run.name,
        digest=digest,
        parameters=parameters,
        layout=layout,
        sources=tuple(_sources(members, source, layout, density)),
        source=source,
        units=units,
        unit_id=unit_id,
        name=name,
        density=density,
        judged=tuple(_judged(run, points, len(units))),
        descriptions=descriptions,
        contexts={point: tuple(of) for point, of in contexts.items()},
        peak=peak,
        left_out=max(0, len(carried) - CARRIED),
        notes=tuple(_notes(run, members, layout, density)),
    )


def _sources(
    members: Sequence[tuple[str, tuple[Unit, ...], int]],
    source: Integers,
    layout: Layout,
    density: Floats,
) -> list[SourceOnMap]:
    kept = kept_neighbours(layout)
    nearest, cosine = layout.index[:, 0], layout.cosine[:, 0].astype(np.float64)
    others = max(1, len(source) - 1)
    return [
        SourceOnMap(
            source=name,
            units=len(own),
            without=without,
            counted=int((~np.isnan(density[is_own])).sum()),
            median=float(np.median(cosine[is_own])),
            near_own=float((source[nearest[is_own]] == place).mean()),
            mixed=(len(own) - 1) / others,
            kept=float(kept[is_own].mean()),
        )
        for place, (name, own, without) in enumerate(members)
        for is_own in [np.asarray(source == place, dtype=np.bool_)]
    ]


def _judged(run: Run, points: Mapping[int, int], n: int) -> list[Judged]:
    rows = run.frame(
        "SELECT rubric, rubric_digest, rater, unit_id, avg(score)::DOUBLE AS score FROM unit_rating"
        " WHERE status = 'ok' AND score IS NOT NULL"
        " GROUP BY ALL ORDER BY rubric, rubric_digest, rater, unit_id"
    )
    found = []
    for (rubric, _, rater), part in rows.groupby(["rubric", "rubric_digest", "rater"]):
        score = np.full(n, np.nan)
        for number, value in zip(part.unit_id.tolist(), part.score.tolist(), strict=True):
            if number in points:
                score[points[number]] = value
        if not np.isnan(score).all():
            found.append(Judged(str(rubric), str(rater), score))
    return found


def _notes(
    run: Run,
    members: Sequence[tuple[str, tuple[Unit, ...], int]],
    layout: Layout,
    density: Floats,
) -> list[str]:
    notes = []
    for name, own, without in members:
        if without:
            notes.append(
                f"{without:,} of {len(own) + without:,} {name} have a direction of length 0 and "
                "lie nowhere"
            )
    if unknown := int(np.isnan(density).sum()):
        notes.append(
            f"How often a unit fires is known of {len(density) - unknown:,} of {len(density):,} "
            f"units, those that run '{run.name}' has read; `--count` counts all"
        )
    if not layout.is_exact:
        notes.append(
            "Nearest units were found by nearest neighbour descent, which misses some; their "
            "cosines are exact"
        )
    return notes
