"""What may still be spent: a call is paid for in advance, at the most that it can cost."""

from __future__ import annotations

import asyncio
import math

from autointerp.errors import BadInput
from autointerp.raters import Extent, Price, Rater, ServedRater, judges
from autointerp.text import dollars, exact_dollars

TOKENS_PER_BYTE = 0.5  # more than any text takes; learned from the first replies on
MARGIN = 1.2


def require_price(rater: Rater, budget_usd: float | None) -> None:
    """Raise BadInput if there is a budget, and no price by which to keep it."""
    for judge in judges(rater):
        if budget_usd is not None and isinstance(judge, ServedRater) and judge.price is None:
            raise BadInput(
                f"--budget-usd: no price is known for {judge.name}; "
                "give --price-in and --price-out, in US dollars per million tokens"
            )


def budget_text(budget_usd: float) -> str:
    """Say that a budget ended the work, and what goes on from there."""
    return (
        f"stopped: the next call could exceed the budget of {exact_dollars(budget_usd)}; "
        "give a larger --budget-usd to continue"
    )


def spent_text(spent_usd: float, charged_usd: float) -> str:
    """Return what calls cost, and at most what those of unknown cost do; empty if nothing."""
    parts = [dollars(spent_usd)] if spent_usd else []
    if charged_usd:
        parts.append(f"at most {dollars(charged_usd)} for calls of unknown cost")
    return " and ".join(parts)


class BudgetReached(Exception):
    """The next call could pass the budget, and nothing in flight can free enough of it."""


class Budget:
    """Money, reserved before a call and settled after it.

    Attributes:
        limit_usd: None for no limit.
        spent_usd: What is settled, with calls that may have been billed without a reply and those
            in a batch, at their most.
    """

    def __init__(self, limit_usd: float | None, spent_usd: float, price: Price | None) -> None:
        self.limit_usd = limit_usd
        self.spent_usd = spent_usd
        self._price = price
        self._reserved_usd = 0.0
        self._flying = 0
        self._tokens_per_byte: float | None = None
        self._changed = asyncio.Condition()

    def most_usd(self, extent: Extent, batch: bool = False) -> float:
        """Return the most that a call can cost."""
        if self._price is None:
            return 0.0
        ratio = MARGIN * self._tokens_per_byte if self._tokens_per_byte else TOKENS_PER_BYTE
        tokens_in = int(extent.prompt_bytes * ratio) + 64
        written = tokens_in if self._price.write > 1 else 0
        return self._price.cost_usd(tokens_in, extent.most_tokens_out, 0, written, batch)

    async def reserve(self, extent: Extent) -> float:
        """Return what was set aside for a call; waits for calls in flight to free it.

        A call that costs nothing is within any limit, also within one that is passed already.
        Raises BudgetReached if they cannot. Without a limit it is the most that the call can cost.
        """
        if self.limit_usd is None:
            most = self.most_usd(extent)
            self._reserved_usd += most  # for a limit that is set meanwhile
            self._flying += 1
            return most
        async with self._changed:
            while True:
                most = self.most_usd(extent)
                if not self.would_pass(most, self._reserved_usd):
                    break
                if not self._flying:
                    raise BudgetReached
                await self._changed.wait()
            self._reserved_usd += most
            self._flying += 1
            return most

    def check(self, reserved_usd: float) -> None:
        """Raise BudgetReached if a call that was reserved under another limit would pass this."""
        if self.would_pass(reserved_usd):
            raise BudgetReached

    def would_pass(self, usd: float, beside: float = 0.0) -> bool:
        """Return whether a call of this cost would pass the limit, with what is set aside `beside`
        it; one that costs nothing never does."""
        limit = math.inf if self.limit_usd is None else self.limit_usd
        return bool(usd) and self.spent_usd + beside + usd > limit + 1e-12

    async def settle(self, reserved_usd: float, cost_usd: float | None) -> None:
        """Put the cost of a call in place of what was reserved; None if there is no price."""
        self.spent_usd += cost_usd or 0.0
        self._reserved_usd -= reserved_usd
        self._flying -= 1
        if self.limit_usd is not None:
            async with self._changed:
                self._changed.notify_all()

    async def change(self, limit_usd: float | None) -> None:
        """Set another limit; calls in flight are paid all the same."""
        async with self._changed:
            self.limit_usd = limit_usd
            self._changed.notify_all()

    def learn(self, extent: Extent, tokens_in: int | None) -> None:
        """Take in how many tokens a prompt had."""
        if tokens_in and extent.prompt_bytes:
            seen = tokens_in / extent.prompt_bytes
            self._tokens_per_byte = max(self._tokens_per_byte or 0.0, seen)
