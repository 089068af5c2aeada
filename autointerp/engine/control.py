"""What may be changed while a rater is asked: pause, calls in flight at most, budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from autointerp.settings import check_number

EVERY_S = 0.25  # between two looks at what is wanted
PAUSED = "paused; no new call is made until it is resumed"


@dataclass(frozen=True)
class Limits:
    """What is wanted now.

    Attributes:
        paused: Make no new call; those in flight are waited for.
        concurrency: Calls in flight at most; None for what the work began with.
        budget_usd: What the run may cost in all; None for what the work began with.
    """

    paused: bool = False
    concurrency: int | None = None
    budget_usd: float | None = None

    def __post_init__(self) -> None:
        check_number("concurrency", self.concurrency)
        check_number("budget_usd", self.budget_usd)


class Control(Protocol):
    """Says what is wanted; asked again and again, from the engine's thread."""

    def limits(self) -> Limits:
        """Return what is wanted now."""
