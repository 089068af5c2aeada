"""What is said where a lab can measure no unit at all."""

from __future__ import annotations

from collections.abc import Mapping

from autointerp.errors import BadInput, SubjectError
from autointerp.subjects import Subject


def none_measured(
    what: str, reasons: Mapping[str, str], remedy: str = "", subject: Subject | None = None
) -> BadInput:
    """Return the error that says why no unit can be measured, each reason once with its sources.

    The remedy names other units. It is left out where nothing can be set at the subject's site,
    whatever the unit: then the reason says where something can.
    """
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(name)
    texts = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())
    if subject is not None and by_reason.keys() <= _of_site(subject):
        remedy = ""
    return BadInput(f"{what} ({texts})" + (f"; {remedy}" if remedy else ""))


def _of_site(subject: Subject) -> set[str]:
    """Return the reasons why no unit can be set at a subject's site; none where one can."""
    from autointerp.subjects.interventions import changeable  # imports torch

    found = set()
    for model in (subject.model, subject.hidden):
        if model is not None:
            try:
                changeable(model, subject.name)
            except SubjectError as error:
                found.add(str(error))
    return found
