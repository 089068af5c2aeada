"""Price of a call, from `prices.toml`; None for a model that is not listed, never 0."""

from __future__ import annotations

import datetime
import functools
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autointerp.errors import BadInput

DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|latest)$")


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens.

    Attributes:
        cached: Share of `tokens_in` that a token read from the provider's cache costs.
        write: The same for a token written to it.
        batch: Share of everything that the batch API costs.
        as_of: The day the list was read; None for a price that the user gave.
    """

    tokens_in: float
    tokens_out: float
    cached: float = 1.0
    write: float = 1.0
    batch: float = 1.0
    as_of: datetime.date | None = None

    def cost_usd(
        self,
        tokens_in: int,
        tokens_out: int,
        read: int = 0,
        written: int = 0,
        batch: bool = False,
    ) -> float:
        """Return the cost of a call; `read` and `written` are those of `tokens_in` that met the
        provider's cache."""
        plain = tokens_in - read - written
        weighted = plain + read * self.cached + written * self.write
        cost = (weighted * self.tokens_in + tokens_out * self.tokens_out) / 1e6
        return cost * self.batch if batch else cost


FREE = Price(0.0, 0.0)


@functools.cache
def price_list() -> dict[str, Any]:
    """Return the parsed price list."""
    return tomllib.loads((Path(__file__).parent / "prices.toml").read_text("utf-8"))


def find_price(
    provider: str, model: str, price_in: float | None = None, price_out: float | None = None
) -> Price | None:
    """Return the user's price, or the listed one of exactly this model; None if there is none.

    A date at the end of a model's name does not count. Raises BadInput if only one of the user's
    prices is there, or one is negative.
    """
    if (price_in is None) != (price_out is None):
        raise BadInput("give both --price-in and --price-out, in US dollars per million tokens")
    listed = price_list()
    entry = listed["providers"].get(provider, {}).get(DATED.sub("", model))
    listed_price = entry and Price(
        entry["in"],
        entry["out"],
        entry.get("cached", 1.0),
        entry.get("write", 1.0),
        listed["batch_discount"],
        listed["as_of"],
    )
    if price_in is None or price_out is None:
        return listed_price or None
    if min(price_in, price_out) < 0:
        raise BadInput(f"--price-in {price_in} --price-out {price_out}: give prices of 0 or more")
    if listed_price:
        return replace(listed_price, tokens_in=price_in, tokens_out=price_out, as_of=None)
    return Price(price_in, price_out)
