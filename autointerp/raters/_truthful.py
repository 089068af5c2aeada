"""`scripted:truth`: the right answers, by applying the description where it is a rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from autointerp.errors import RaterError
from autointerp.questions.question import Question
from autointerp.raters import call_key
from autointerp.raters._apply import body_of, common_word, reply_to
from autointerp.records import Item, Reply, Request


class Truthful:
    """A rater that explains units that fire on one word, and answers questions on descriptions.

    Planted units fire on one word, so what it says of them is the truth. Shown logit effects, it
    says which tokens a unit promotes, which is the truth of every direction.
    """

    name = "scripted:truth"
    evidence: Literal["shown", "all"] = "shown"
    is_llm = False
    reads_effects = True

    def request(self, item: Item, question: Question, repeat: int = 0) -> Request:
        """Raises RaterError for a rubric that comes without a description."""
        if question.form == "rate" and question.about == "unit":
            raise RaterError(
                f"{self.name} judges descriptions, and rubric '{question.id}' shows none; "
                "choose another rater"
            )
        body = body_of(item, question)
        if item.effects is not None:
            body["promoted"] = list(item.effects.promoted)
        return Request(
            call_key("scripted", self.name, body, question, repeat), item.id, body, repeat
        )

    async def send(self, request: Request) -> Reply:
        return reply_to(request.body, _describe)


def _describe(contexts: Sequence[dict[str, Any]]) -> str | None:
    return common_word(contexts)
