"""For tests: gives the score that it is told, `scripted:4`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

from autointerp.errors import BadInput
from autointerp.raters import RaterOptions
from autointerp.records import Item, Reply, Request
from autointerp.rubrics import Rubric


@dataclass(frozen=True)
class Scripted:
    score: int
    name: str
    evidence: Literal["shown", "all"] = "shown"
    is_llm: bool = False

    def request(self, item: Item, rubric: Rubric, repeat: int = 0) -> Request:
        body = {"rater": self.name, "rubric": rubric.digest, "item": asdict(item)}
        canonical = json.dumps({**body, "repeat": repeat}, sort_keys=True)
        return Request(hashlib.sha256(canonical.encode()).hexdigest(), item.id, body, repeat)

    async def send(self, request: Request) -> Reply:
        reply = {"rationale": "told so", "description": "scripted", "score": self.score}
        return Reply(json.dumps(reply))


def create(model: str | None, options: RaterOptions) -> Scripted:
    if model is None or not model.lstrip("-").isdigit():
        raise BadInput(f"rater 'scripted:{model or ''}': say the score to give, as in scripted:4")
    return Scripted(int(model), f"scripted:{model}")
