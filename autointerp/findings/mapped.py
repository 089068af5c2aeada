"""What a run holds of its maps, as `autointerp map` stored it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autointerp.store.run import Run


@dataclass(frozen=True)
class MappedSource:
    """What a map says of one source.

    Attributes:
        units: On the map; `without` have a direction of length 0 and lie nowhere.
        median: Of the cosine with the nearest other unit on the map, of whatever source.
        near_own: Share of units whose nearest is of their own source; `mixed` is what it would be
            if sources were mixed at random.
        kept: Mean share of a unit's nearest ones that are nearest on the map, too.
    """

    source: str
    units: int
    without: int
    median: float
    near_own: float
    mixed: float
    kept: float


@dataclass(frozen=True)
class Mapped:
    """One map: its digest, of directions and parameters, and what it says of its sources.

    Attributes:
        neighbours: Of a unit, by which the map was made.
    """

    digest: str
    neighbours: int
    seed: int
    sources: tuple[MappedSource, ...]


def maps_of(run: Run) -> Iterator[Mapped]:
    """Yield the maps that the run holds, by digest; their points are in the table `map_point`."""
    rows = run.rows(
        "SELECT digest, place, neighbours, seed, source, units, without, median, near_own, mixed,"
        " kept FROM map_source"
    )
    by_digest: dict[tuple[str, int, int], list[MappedSource]] = {}
    for digest, _, neighbours, seed, *row in sorted(rows):
        by_digest.setdefault((digest, neighbours, seed), []).append(MappedSource(*row))
    for (digest, neighbours, seed), sources in by_digest.items():
        yield Mapped(digest, neighbours, seed, tuple(sources))
