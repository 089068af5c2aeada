"""Who judges. A file here is a rater: `--rater NAME[:MODEL]`.

A rater module has `create(model, options)`, which returns a `Rater`, and a first docstring line
that `autointerp raters` prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from autointerp.records import Item, Reply, Request
from autointerp.rubrics import Rubric


@dataclass(frozen=True)
class RaterOptions:
    """What a user may say of a rater beside its name.

    Attributes:
        base_url: Of a compatible server; None for the provider's own.
        timeout_s: Seconds for one attempt, from sending to the last byte.
        max_output_tokens: Upper bound of a reply.
        price_in, price_out: US dollars per million tokens; None to look the model up.
        seed: For raters that draw at random.
    """

    base_url: str | None = None
    timeout_s: float = 120.0
    max_output_tokens: int = 1024
    price_in: float | None = None
    price_out: float | None = None
    seed: int = 0


class Rater(Protocol):
    """A judge of items.

    Attributes:
        name: As it stands in the ratings, such as `lexical` or `openai:MODEL`.
        evidence: `shown` if it judges by what the rubric shows; `all` if its items are to carry
            every context of both splits, silent ones included.
        is_llm: Whether a language model judges; reports say so.
    """

    name: str
    evidence: Literal["shown", "all"]
    is_llm: bool

    def request(self, item: Item, rubric: Rubric, repeat: int = 0) -> Request:
        """Return the call that asks about `item`; pure: the same item gives the same key."""
        ...

    async def send(self, request: Request) -> Reply:
        """Make one attempt. Raises on transport errors; never retries by itself."""
        ...
