"""What a run holds of the units that are wanted, and of the contexts in which they are silent.

All of it is read from the run. What is lacking, `sample` and `others` compute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autointerp.store.run import Run

PER_SOURCE = 240  # contexts that serve the other units of a source, at most
EACH = 8  # of one unit, at most
FIRST_UNITS = 96  # of a source, that are looked at in all of them
FEWER = 48  # contexts in which the units after those are looked at


@dataclass(frozen=True)
class Place:
    """Where a context stands: its number in the run, and its tokens' places in their document."""

    context: int
    document: int
    focus: int
    first: int
    length: int


def is_exhausted(run: Run, source: str) -> bool:
    """Return whether a run holds every unit of a source, eligible or not."""
    known = run.sources().get(source)
    return known is not None and len(run.units(source)) == known.size


def too_few(run: Run, wanted: Mapping[str, int]) -> dict[str, int]:
    """Return those `wanted[source]` of which a run holds fewer units."""
    return {name: n for name, n in wanted.items() if len(run.sampled(name, n)) < n}


def left_to_draw(run: Run, wanted: Mapping[str, int]) -> dict[str, int]:
    """Return what `too_few` does, but for sources that have no more units to give."""
    lacking = too_few(run, wanted)
    return {name: n for name, n in lacking.items() if not is_exhausted(run, name)}


def is_drawn(run: Run, wanted: Mapping[str, int]) -> bool:
    """Return whether a run holds `wanted[source]` units of each source, and where they are silent,
    so that nothing is left to harvest.
    """
    return not too_few(run, wanted) and not unverified(run, list(wanted))


def unverified(run: Run, sources: Sequence[str]) -> dict[str, tuple[list[int], list[Place]]]:
    """Return source → units and contexts that serve others, where a pair of them is not stored."""
    pending = {}
    for name in sources:
        units = [
            unit
            for (unit,) in run.rows(
                "SELECT unit_id FROM unit WHERE source = ? AND outcome = 'eligible' ORDER BY ord",
                [name],
            )
        ]
        places = _that_serve(run, units)
        for some, shown in looked_at(units, places):
            ((known,),) = run.rows(
                "SELECT count(*) FROM silence WHERE unit_id IN (SELECT unnest(?::INTEGER[]))"
                " AND context_id IN (SELECT unnest(?::BIGINT[]))",
                [some, [place.context for place in shown]],
            )
            if known < len(some) * len(shown):
                pending[name] = (units, places)
    return pending


def looked_at(
    units: Sequence[int], places: Sequence[Place]
) -> list[tuple[Sequence[int], Sequence[Place]]]:
    """Return which units are looked at in which places: the first ones in all, others in some."""
    return [(units[:FIRST_UNITS], places), (units[FIRST_UNITS:], places[:FEWER])]


def _that_serve(run: Run, units: Sequence[int]) -> list[Place]:
    """Return up to `PER_SOURCE` held-out contexts of the first units, over all intervals.

    Units take turns, so that as many as can be have one, and none has more than `EACH`.
    """
    most = min(PER_SOURCE, EACH * len(units))
    of_unit: dict[int, list[tuple[int, Place]]] = {unit: [] for unit in units[:PER_SOURCE]}
    for unit, interval, number, document, position, focus, length in run.rows(
        "SELECT unit_id, interval, context_id, document, position, focus, len(tokens) FROM context"
        " WHERE split = 'score' AND draw = 'interval' AND unit_id IN (SELECT unnest(?::INTEGER[]))"
        " ORDER BY context_id",
        [list(of_unit)],
    ):
        place = Place(number, document, position, position - focus, length)
        of_unit[unit].append((interval, place))
    intervals = 1 + max((i for held in of_unit.values() for i, _ in held), default=0)
    chosen: list[Place] = []
    turn = 0
    while len(chosen) < most and any(of_unit.values()):
        for held in of_unit.values():
            if held and len(chosen) < most:
                wanted = (7 * turn) % intervals  # 7 is prime to 10, and to most numbers
                nearest = min(held, key=lambda one: (abs(one[0] - wanted), one[1].context))
                held.remove(nearest)
                chosen.append(nearest[1])
                turn += 1
    return chosen
