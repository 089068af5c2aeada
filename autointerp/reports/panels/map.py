"""How near units lie to one another, and how far to trust their map; nothing without one."""

from __future__ import annotations

import pandas as pd

from autointerp.reports.panels import Block, Material, Prose, Table
from autointerp.reports.words import number, percent

AFTER = "match"
TITLE = "Maps of the dictionary"


def show(material: Material) -> list[Block]:
    found = [
        (c.run, place, one, source)
        for c in material.comparisons
        for place, one in enumerate(c.maps, start=1)
        for source in one.sources
    ]
    if not found:
        return []
    many = len({(run, place) for run, place, _, _ in found}) > 1
    return [
        Prose(
            "Of each unit the largest cosine of its direction with another one on the map "
            "(`autointerp map`, whose page is the map). Random directions have no structure: what "
            "they show is made by the method. Where few neighbours are kept, the list of nearest "
            "units is to be read and not the picture."
        ),
        Table(
            name="maps",
            caption="Units of each source on the run's maps",
            frame=pd.DataFrame(
                [
                    {
                        "run": run,
                        "map": one.digest,
                        "neighbours": one.neighbours,
                        "seed": one.seed,
                        "source": source.source,
                        "units": source.units,
                        "without_direction": source.without,
                        "median_nearest_cosine": source.median,
                        "nearest_of_own_source": source.near_own,
                        "nearest_of_own_source_if_mixed": source.mixed,
                        "neighbours_kept": source.kept,
                    }
                    for run, _, one, source in found
                ]
            ),
            headings=[
                *(["map"] if many else []),
                "source", "units", "no direction", "median cosine with the nearest",
                "nearest of own source", "if sources were mixed", "neighbours kept",
            ],
            rows=[
                [
                    *([f"{run} · {place}"] if many else []),
                    source.source,
                    f"{source.units:,}",
                    f"{source.without:,}",
                    number(source.median),
                    percent(source.near_own),
                    percent(source.mixed),
                    f"{percent(source.kept)} of {one.neighbours}",
                ]
                for run, place, one, source in found
            ],
            summary=True,
        ),
    ]  # fmt: skip
