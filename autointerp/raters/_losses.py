"""What raters that read a text's probabilities share: prefixes of `surprisal`, and replies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from autointerp.questions.forms import UNKNOWN
from autointerp.questions.question import Question
from autointerp.records import Item

# The description without any content, as in delphi's `surprisal.py`.
NEUTRAL = "Various unrelated sentences."
DIGITS = 6  # of a loss, behind the point


def texts_to_expect(item: Item, question: Question) -> dict[str, Any]:
    """Return what is read: `head`, then `given` with the description or `without` it, and then one
    of `texts`; or `lack`, why nothing can be.
    """
    texts = ["".join(context.tokens) for context in item.contexts]
    if not all(texts):
        return {"lack": "a text is empty"}
    description = " ".join((item.description or UNKNOWN).split())
    head, last = _parts(question.system())
    return {
        "head": head,
        "given": last.replace("{description}", description),
        "without": last.replace("{description}", NEUTRAL),
        "texts": texts,
    }


def _parts(template: str) -> tuple[str, str]:
    """Return the lines before the one with the description, and the rest; both end a line."""
    begins = template.rindex("\n", 0, template.index("{description}")) + 1
    return template[:begins], f"{template[begins:]}\n"


def losses_reply(given: Sequence[float], without: Sequence[float]) -> str:
    """Return the reply of form `expect` that gives these losses, in nats a token."""
    losses = [
        {
            "context": number,
            "given": round(max(0.0, float(one)), DIGITS),
            "without": round(max(0.0, float(other)), DIGITS),
        }
        for number, (one, other) in enumerate(zip(given, without, strict=True), 1)
    ]
    return json.dumps({"losses": losses})
