"""Calls of equal content: they have one key, so one is made and the others share its reply."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from autointerp.records import Reply

REMEMBERED = 4096  # calls of late, for what the store does not hold yet


@dataclass
class Shared:
    """What is known of a key: the next attempt's number, and the complete replies so far."""

    next_attempt: int = 0
    replies: list[Reply] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    holders: int = 0


class Twins:
    """Gives calls of one key their turns, one after the other."""

    def __init__(self) -> None:
        self._shared: OrderedDict[str, Shared] = OrderedDict()

    @contextlib.asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[Shared]:
        """Hold a key; yield what earlier holders learned of it."""
        shared = self._shared.setdefault(key, Shared())
        self._shared.move_to_end(key)
        shared.holders += 1
        try:
            async with shared.lock:
                yield shared
        finally:
            shared.holders -= 1
            while len(self._shared) > REMEMBERED:
                oldest = next(iter(self._shared))
                if self._shared[oldest].holders:
                    break
                del self._shared[oldest]
