"""Units of a run that can be clamped at multiples of their maximum, with what that takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autointerp.errors import SubjectError
from autointerp.labs._refusals import none_measured
from autointerp.store.run import Run
from autointerp.subjects import Subject
from autointerp.subjects.interventions import ChangeableModel, Levers
from autointerp.units.levers import levers_of, model_of
from autointerp.units.reopen import numbers_again, sources_again


@dataclass(frozen=True)
class Clampable:
    """A unit that fires, with its one lever and the largest activation that the run found."""

    model: ChangeableModel
    levers: Levers
    peak: float


def clampable_units(
    run: Run, subject: Subject, units: Sequence[int], lab: str, refusal: str, remedy: str
) -> Iterator[tuple[int, Clampable | str]]:
    """Yield each unit with what it takes to clamp it, or with the reason why it cannot be.

    Raises BadInput at the end, with `refusal`, the reasons and the `remedy`, where none can be and
    the lab has no earlier row of one that could.
    """
    peaks = {unit.unit_id: unit.summary.peak for unit in run.units_numbered(units)}
    sources = list(sources_again(run, subject, units))  # a generator holds torch's settings
    reasons = {}
    has_any = any(row["outcome"] == "ok" for row in run.lab_rows(lab))
    for name, source, members in sources:
        try:
            model = model_of(subject, name, source)
            numbers = numbers_again(run, name, source, members)
            every = [levers_of(source, numbers[place : place + 1]) for place in range(len(members))]
        except SubjectError as error:
            reasons[name] = str(error)
            for unit_id in members:
                yield unit_id, str(error)
            continue
        for unit_id, levers in zip(members, every, strict=True):
            if not 0 < peaks[unit_id] < math.inf:
                reasons[name] = "it never fires, so there is no maximum to multiply"
                yield unit_id, reasons[name]
                continue
            has_any = True
            yield unit_id, Clampable(model, levers, peaks[unit_id])
    if not has_any:
        raise none_measured(f"lab {lab}: {refusal}", reasons, remedy, subject)
