"""What a rating did, of units or of descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autointerp.engine.work import RatingCounts
from autointerp.text import count, statuses_text

if TYPE_CHECKING:
    from autointerp.pipeline.guess import GuessResult
    from autointerp.pipeline.until import UntilResult


@dataclass(frozen=True)
class RateResult:
    """What a call to `rate` did.

    Attributes:
        rater: Name of the rater, as in the ratings.
        rubric: Id of the rubric.
        units: Units that were asked for, by source.
        counts: Ratings by status, calls and cost of this call, and what was rated before.
        failure: The most frequent error where ratings failed; empty if none did.
        unread: The most frequent reason where replies could not be read; empty if all could.
        budget_usd: The budget that stopped the work; None if it did not.
        guesses: What the blinding check brought; None where it was not asked for.
        until: Where the stopping rule ended; None for a fixed n.
    """

    run: str
    rater: str
    rubric: str
    units: Mapping[str, int]
    counts: RatingCounts
    failure: str = ""
    unread: str = ""
    budget_usd: float | None = None
    guesses: GuessResult | None = None
    until: UntilResult | None = None

    def __str__(self) -> str:
        units = ", ".join(f"{n} {name}" for name, n in self.units.items())
        counts = self.counts
        lines = [
            f"run '{self.run}': {units}; {self.rater} on {self.rubric}: "
            + (statuses_text(counts.statuses) or "nothing new")
            + (f", {counts.before} rated before" if counts.before else "")
            + (
                f", {count(counts.reused, 'reply', 'replies')} found in the store"
                if counts.reused
                else ""
            )
            + (f", {counts.spent_text}" if counts.spent_text else "")
        ]
        if self.until is not None:
            lines.append(str(self.until))
        for member, n in counts.without.items():
            lines.append(
                f"{count(n, 'rating')} without {member}, which gave no answer; once it can be "
                "asked, rate by it alone, and then by the panel again, which takes its answers in"
            )
        lines += self.reasons
        if self.guesses is not None:
            lines.append(str(self.guesses))
        return "\n".join(lines)

    @property
    def reasons(self) -> list[str]:
        """Why ratings that were asked for are none, a line each."""
        budget = self.counts.budget_text
        return [*reason_texts(self.failure, self.unread), *([budget] if budget else [])]


def reason_texts(failure: str, unread: str) -> list[str]:
    """Return why most ratings failed, and why most replies could not be read, a line each; nothing
    of what is empty."""
    failed = [f"most failed with: {failure}"] if failure else []
    return failed + ([f"most replies that are unparsed: {unread}"] if unread else [])
