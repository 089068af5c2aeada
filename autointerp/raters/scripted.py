"""For tests: a fixed score, `scripted:4`, or the replies in a file of JSON lines."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from autointerp.errors import BadInput, RaterError
from autointerp.files import json_value
from autointerp.questions.question import Question
from autointerp.raters import AttemptFailed, RaterOptions, call_key
from autointerp.raters._truthful import Truthful
from autointerp.records import Item, Reply, Request

WHAT = "a script that gives the scores it was told"
OPTIONS = ()
EXAMPLE = "truth"

KEYS = ("score", "text", "stop", "tokens_in", "tokens_out", "cost_usd", "fail", "retry_after_s")
KINDS = ("busy", "server", "timeout", "connection", "rejected", "fatal")


class Scripted:
    """A rater that replies by a script: one line for each call, then the last one repeatedly.

    A line is a JSON object. `{"score": 4}` is a proper reply; `{"text": …, "stop": "refusal"}`
    is that reply; `{"fail": "busy", "retry_after_s": 1}` is no reply.
    """

    evidence: Literal["shown", "all"] = "shown"
    is_llm = False

    def __init__(self, name: str, lines: list[dict[str, Any]]) -> None:
        self.name = name
        self.lines = lines
        self.sent = 0

    def request(self, item: Item, question: Question, repeat: int = 0) -> Request:
        fields = asdict(item)
        del fields["fence"]  # of prompts, which this rater has none of
        if item.effects is None:
            del fields["effects"]
        if not item.descriptions:
            del fields["descriptions"]
        body = {"item": fields}
        return Request(
            call_key("scripted", self.name, body, question, repeat), item.id, body, repeat
        )

    async def send(self, request: Request) -> Reply:
        line = self.lines[min(self.sent, len(self.lines) - 1)]
        self.sent += 1
        kind = line.get("fail")
        if kind == "fatal":
            raise RaterError(f"{self.name}: the script says to give up")
        if kind is not None:
            raise AttemptFailed(
                "the script says to fail", kind, kind != "rejected", line.get("retry_after_s")
            )
        proper = {"rationale": "by script", "description": "scripted", "score": line.get("score")}
        return Reply(
            line.get("text", json.dumps(proper)),
            line.get("stop", "end"),
            tokens_in=line.get("tokens_in"),
            tokens_out=line.get("tokens_out"),
            cost_usd=line.get("cost_usd"),
        )


def create(model: str | None, options: RaterOptions) -> Scripted | Truthful:
    """Return the rater that gives one score, plays a file of JSON lines, or answers truthfully.

    Raises BadInput if `model` is none of these, naming the malformed line.
    """
    if model is not None and model.lstrip("-").isdigit():
        return Scripted(f"scripted:{model}", [{"score": int(model)}])
    if model == "truth":
        return Truthful()
    path = Path(model or "")
    if not path.is_file():
        raise BadInput(
            f"rater 'scripted:{model or ''}': give a score, as in scripted:4, "
            "or a file of JSON lines"
        )
    lines = []
    try:
        texts = path.read_text("utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8 text; give a file of JSON lines") from None
    for number, text in enumerate(texts, 1):
        try:
            line = json_value(text)
        except ValueError:
            line = None
        if not isinstance(line, dict) or not set(line) <= set(KEYS):
            raise BadInput(
                f"{path}, line {number}: not a JSON object with keys among {', '.join(KEYS)}"
            )
        if line.get("fail") not in (None, *KINDS):
            raise BadInput(f"{path}, line {number}: `fail` must be one of {', '.join(KINDS)}")
        lines.append(line)
    if not lines:
        raise BadInput(f"{path} has no lines; write one JSON object a line")
    return Scripted(f"scripted:{path.name}", lines)
