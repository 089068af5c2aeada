"""The verb `map`: a run's dictionary in the plane, as a page to look around in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import BadInput
from autointerp.findings.map import DictionaryMap, map_of
from autointerp.pipeline.asked import check_sources
from autointerp.pipeline.counts import count_units
from autointerp.pipeline.events import Note, On, Step, ignore
from autointerp.pipeline.job import say_opened
from autointerp.pipeline.report import REPORTS
from autointerp.records import Unit
from autointerp.reports.map import write_map
from autointerp.reports.write import PAGE, check_folder
from autointerp.stats.cosines import unit_length
from autointerp.stats.layout import Layout, LayoutParameters, digest_of, lay_out
from autointerp.store.run import RUNS, Run, open_run
from autointerp.text import count
from autointerp.units.reopen import subject_again
from autointerp.units.sources import (
    Directed,
    described_sources,
    kind_of,
    load_source,
    space_of,
)
from autointerp.units.stream import calibrate, quiet_torch

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Mapped:
    """The map, and the page of it.

    Attributes:
        page: None where none was asked for.
    """

    map: DictionaryMap
    page: Path | None


def map_dictionary(
    run: str = "main",
    sources: Sequence[str] | str = (),
    parameters: LayoutParameters | None = None,
    out: Path | str | None = None,
    page: bool = True,
    count_all: bool = False,
    runs: Path | str = RUNS,
    on: On = ignore,
) -> Mapped:
    """Lay out the directions of a run's units, all that its sources have, and write the page.

    The layout is kept in the run (table `map_point`) and found there the next time.

    Args:
        sources: Whose units; none for the studied sources of the run and its random directions, as
            far as they are directions of one width.
        out: Folder of the page; None for reports/map-RUN.
        count_all: Count first on how many tokens each unit fires: a pass over the corpus.

    Raises BadInput if the run has no subject, a source has no directions, or umap-learn is not
    installed; RunMismatch if a part of the subject is not as it was.
    """
    parameters = parameters or LayoutParameters()
    place = REPORTS / f"map-{run}" if out is None else Path(out)
    if page:
        check_folder(place)
    names = (sources,) if isinstance(sources, str) else tuple(dict.fromkeys(sources))
    check_sources(names)
    with open_run(run, folder=Path(runs)) as opened:
        say_opened(opened, on)
        members, vectors = _directions(opened, names, on)
        if count_all:
            count_units(opened, [name for name, _, _ in members], "map --count", on)
        layout, digest = _layout(opened, members, vectors, parameters, on)
        found = map_of(opened, members, layout, digest, parameters)
        opened.replace_map_sources(digest, _source_rows(found))
        for note in found.notes:
            on(Note(note))
    report = REPORTS / run / PAGE
    return Mapped(found, write_map(found, place, report) if page else None)


def as_text(found: DictionaryMap) -> str:
    """Return the finding as lines for a terminal."""
    return "\n".join(
        f"{count(one.units, *_names(one.source))}: median cosine with the nearest "
        f"unit {one.median:.2f}; nearest of its own source in {100 * one.near_own:.0f} % "
        f"({100 * one.mixed:.0f} % if mixed); {100 * one.kept:.0f} % of its neighbours are "
        "neighbours on the map"
        for one in found.sources
    )


def _source_rows(found: DictionaryMap) -> list[dict[str, Any]]:
    return [
        {
            "source": one.source,
            "units": one.units,
            "without": one.without,
            "median": one.median,
            "near_own": one.near_own,
            "mixed": one.mixed,
            "kept": one.kept,
            "neighbours": found.parameters.neighbours,
            "seed": found.parameters.seed,
        }
        for one in found.sources
    ]


def _names(source: str) -> tuple[str, str]:
    one, several = kind_of(source).names
    return one.partition(" ")[2], several


def _directions(
    run: Run, asked: Sequence[str], on: On
) -> tuple[list[tuple[str, tuple[Unit, ...], int]], Vectors]:
    """Return sources with the units that have a direction, and these, of length 1.

    Raises BadInput if a source that was asked for has none, or another width than the first.
    """
    subject = subject_again(run, "map")
    names = list(asked)
    if not names:
        held = run.sources()
        names = [name for name, source in held.items() if not source.is_control]
        names += ["random"] if "random" in held else []
    members: list[tuple[str, tuple[Unit, ...], int]] = []
    parts: list[Vectors] = []
    space: tuple[bool, bool] | None = None  # of the first source
    with quiet_torch():
        calibration = calibrate(subject, run.settings.harvest, run.settings.seed)
        for name in names:
            if name not in described_sources():
                continue  # units that a file brought
            source = load_source(name, subject, calibration, run.settings.seed)
            why = ""
            if not isinstance(source, Directed):
                why = f"units of {name} are no directions, so they lie nowhere on a map"
            else:
                rows = source.written(np.arange(source.size)).float().cpu().numpy()
                if parts and rows.shape[1] != parts[0].shape[1]:
                    why = (
                        f"directions of {name} have {rows.shape[1]} axes and those of "
                        f"{members[0][0]} {parts[0].shape[1]}; they make no map together"
                    )
                elif space_of(source) != (space := space or space_of(source)):
                    why = (
                        f"directions of {name} and {members[0][0]} are in different spaces; they "
                        "make no map together"
                    )
            if why:
                if asked:
                    raise BadInput(f"{why}; name other sources by --source")
                on(Note(why))
                continue
            if not np.isfinite(rows).all():
                raise BadInput(f"a direction of {name} is not finite; fetch the SAE again")
            (number,) = np.nonzero(rows.any(axis=1))
            units = tuple(source.unit(int(one)) for one in number)
            members.append((name, units, source.size - len(units)))
            parts.append(unit_length(rows[number]) if len(number) else rows[number])
    if not members:
        raise BadInput(
            f"run '{run.name}' has no source of directions; name one, as in --source features"
        )
    return members, np.concatenate(parts)


def _layout(
    run: Run,
    members: Sequence[tuple[str, tuple[Unit, ...], int]],
    vectors: Vectors,
    parameters: LayoutParameters,
    on: On,
) -> tuple[Layout, str]:
    """Return the layout that the run keeps of these vectors, or a new one, and its digest."""
    digest = digest_of(vectors, parameters)
    if rows := run.map_points(digest):
        x, y, near, cosines, is_exact = zip(*rows, strict=True)
        layout = Layout(
            np.array([x, y], dtype=np.float32).T,
            np.array(near, dtype=np.int64),
            np.array(cosines, dtype=np.float32),
            all(is_exact),
        )
        on(Step("the layout is in the run"))
        return layout, digest
    on(Step(f"laying out {count(len(vectors), 'direction')} of {vectors.shape[1]} axes"))
    layout = lay_out(vectors, parameters)
    units = [unit for _, own, _ in members for unit in own]
    run.add_map(
        digest,
        [
            {
                "source": unit.source,
                "idx": unit.index,
                "sign": unit.sign,
                "x": x,
                "y": y,
                "near": near,
                "cosines": cosines,
                "is_exact": layout.is_exact,
            }
            for unit, (x, y), near, cosines in zip(
                units,
                layout.points.tolist(),
                layout.index.tolist(),
                layout.cosine.tolist(),
                strict=True,
            )
        ],
    )
    run.log("mapped", digest=digest, points=len(units))
    return layout, digest
