"""What the controls say of a rater, and which contrast its verdict speaks of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from autointerp.findings.groups import Contrast, Group, Scale
from autointerp.stats.decision import Decision
from autointerp.stats.results import Statistic
from autointerp.units.sources import described_sources, kind_of

EDGE = 0.25  # of the scale's range, at either end
LEAST_CONTROLS = 5

State = Literal["held", "broken", "unknown"]
End = Literal["floor", "ceiling"]
ENDS: tuple[End, ...] = ("floor", "ceiling")


@dataclass(frozen=True)
class ControlCheck:
    """Where a rater puts a control.

    Attributes:
        limit: The highest mean that counts as the floor, or the lowest that counts as the ceiling.
        n: Scored units; None if the control was not rated at all.
        mean: Of these; None where they are too few to say.
        state: `held` if the mean is on the right side of the limit, `broken` if not, `unknown`
            with fewer than `LEAST_CONTROLS` scored units.
    """

    control: str
    end: End
    limit: float
    n: int | None
    mean: Statistic | None
    state: State

    @property
    def is_sure(self) -> bool:
        """Whether the whole interval of the mean is on the same side of the limit as the mean."""
        if self.mean is None or self.mean.low is None or self.mean.high is None:
            return False
        return not self.mean.low <= self.limit <= self.mean.high


@dataclass(frozen=True)
class Trust:
    """What all controls say of a rater.

    Attributes:
        state: `broken` if a control is not where it must be, else `unknown` if one is lacking,
            else `held`.
    """

    state: State
    controls: tuple[ControlCheck, ...]


def trust(groups: Mapping[str, Group], scale: Scale) -> Trust:
    """Return whether the rater puts the controls that are a floor or a ceiling in their places.

    At the floor means a mean in the lowest quarter of the scale's range, at the ceiling in the
    highest quarter; fewer than five scored units cannot say.
    """
    span = scale.highest - scale.lowest
    limits = {"floor": scale.lowest + EDGE * span, "ceiling": scale.highest - EDGE * span}
    checks = tuple(
        _check(name, end, limits[end], groups.get(name))
        for end in ENDS
        for name in _controls(groups, end)
    )
    states = {check.state for check in checks}
    order: tuple[State, ...] = ("broken", "unknown", "held")
    return Trust(next(state for state in order if state in states), checks)


def _controls(groups: Mapping[str, Group], end: End) -> list[str]:
    """Return the controls that were rated of this end of the scale, else those that there are."""
    kinds = {name: kind_of(name, group.is_control) for name, group in groups.items()}
    rated = [name for name, kind in kinds.items() if kind.role == end]
    return rated or [name for name, kind in described_sources().items() if kind.role == end]


def _check(control: str, end: End, limit: float, group: Group | None) -> ControlCheck:
    if group is None or group.n < LEAST_CONTROLS or group.mean.value is None:
        return ControlCheck(
            control, end, limit, None if group is None else group.n, None, "unknown"
        )
    value = group.mean.value
    holds = value <= limit if end == "floor" else value >= limit
    return ControlCheck(control, end, limit, group.n, group.mean, "held" if holds else "broken")


@dataclass(frozen=True)
class Verdict:
    """What a judgement comes to.

    Attributes:
        outcome: Of the contrast that the verdict speaks of; `nothing to compare` without one.
        first, second: The sources of that contrast; None without one.
        declared: Whether a plan named the contrast before anything was rated, and was followed.
        trust: The state of the controls: `broken` means that the outcome says nothing.
    """

    outcome: Decision | Literal["nothing to compare"]
    first: str | None
    second: str | None
    declared: bool
    trust: State


def verdict(
    groups: Mapping[str, Group], contrasts: Sequence[Contrast], trusted: Trust, declared: bool
) -> Verdict:
    """Return the verdict: on the primary contrast, else on the first contrast of two sources that
    are studied. A source alone is not compared: controls show what the rater is worth.

    `declared`: whether the run has a plan, and it was followed.
    """
    studied = [name for name, group in groups.items() if not group.is_control]
    candidates = [
        *(c for c in contrasts if c.primary),
        *(c for c in contrasts if c.first in studied and c.second in studied),
    ]
    if not candidates:
        return Verdict("nothing to compare", None, None, False, trusted.state)
    chosen = candidates[0]
    return Verdict(
        chosen.outcome, chosen.first, chosen.second, chosen.primary and declared, trusted.state
    )
