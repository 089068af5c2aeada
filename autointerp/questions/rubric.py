"""Rubrics: questions answered by one score of a scale, with their prompts and replies."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

from autointerp.questions.question import QUOTED, About, ReadReply, Shows, fenced, fields_of
from autointerp.questions.replies import whole_number
from autointerp.records import Item, ItemContext, Reply

PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")


@dataclass(frozen=True)
class Rubric:
    """A question that is answered by one score of a scale.

    Attributes:
        title: The question in one line, for lists and reports; raters do not see it.
        scale: (score, label) of each level, in ascending order of score.
        asks: What is asked for beside the score: `description` or nothing.
        text: The instructions; `{scale}`, `{shown}` and `{reply}` stand for generated parts.
    """

    id: str
    version: int
    title: str
    scale: tuple[tuple[int, str], ...]
    shows: Shows
    asks: tuple[str, ...]
    text: str

    form: ClassVar[Literal["rate"]] = "rate"

    @property
    def about(self) -> About:
        return "description" if self.shows.description else "unit"

    @property
    def scores(self) -> tuple[int, ...]:
        return tuple(score for score, _ in self.scale)

    @cached_property
    def digest(self) -> str:
        """The sha256 of the rubric's content; layout of the front matter does not count."""
        return hashlib.sha256(self.content.encode()).hexdigest()

    @cached_property
    def content(self) -> str:
        """The rubric as canonical JSON; `rubric_from` reads it back."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    # ----------------------------------------------------------------------------- prompts

    def anchors(self, repeat: int) -> tuple[int, ...]:
        """Return the order in which the levels are listed: ascending, descending, then shuffled.

        The order of options biases judges; it depends on rubric and repeat alone, so that the
        prefix of a prompt is the same for all items.
        """
        scores = list(self.scores)
        if repeat == 1:
            scores.reverse()
        elif repeat > 1:
            random.Random(f"{self.digest}/{repeat}").shuffle(scores)
        return tuple(scores)

    def system(self, repeat: int = 0) -> str:
        """Return the instructions: the same for all items, levels in the order of `anchors`."""
        return self._instructions(repeat, _reply_text(self, self.anchors(repeat)))

    def system_of_choice(self, repeat: int = 0) -> str:
        """Return the instructions of a forced choice: the reply is the score, and nothing else."""
        levels = ", ".join(map(str, self.anchors(repeat)))
        return self._instructions(
            repeat,
            f"Reply with the score alone, one of {levels}: a single number, without reasons, "
            "description or any other word.",
        )

    def _instructions(self, repeat: int, reply: str) -> str:
        labels = dict(self.scale)
        parts = {
            "scale": "\n".join(f"{score} = {labels[score]}" for score in self.anchors(repeat)),
            "shown": _shown_text(self.shows),
            "reply": reply,
        }
        return PLACEHOLDER.sub(lambda match: parts[match[1]], self.text)

    def user(self, item: Item) -> str:
        """Return the item as the rater reads it: its contexts, each a line of JSON, in a fence.

        Of an item that carries more than the rubric shows, only what the rubric shows is written.
        The fence's code comes from the run's secret, so no text in the corpus can close it.
        """
        shown = [c for c in item.contexts if c.split == self.shows.split]
        strengths = [_strength(context) for context in shown]
        if None not in strengths:  # else the item comes with what is shown, strongest first
            order = sorted(range(len(shown)), key=lambda place: -(strengths[place] or 0.0))
            shown = [shown[place] for place in order]
        shown = shown[: self.shows.contexts]
        lines = [context_fields(self.shows, context) for context in shown]
        if self.shows.description:
            lines.insert(0, {"description": item.description or "Unknown"})
        return fenced(item, lines)

    # ----------------------------------------------------------------------------- replies

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of a reply; reasons stand before the score that they inform."""
        names = ["rationale", *self.asks]
        properties: dict[str, Any] = {name: {"type": "string"} for name in names}
        properties["score"] = {"type": "integer", "enum": list(self.scores)}
        return {
            "type": "object",
            "properties": properties,
            "required": [*names, "score"],
            "additionalProperties": False,
        }

    def read(self, reply: Reply) -> ReadReply:
        """Return the score in a reply, or why there is none. Never raises, never guesses.

        A reply is one JSON object whose `score` is a whole number on the rubric's scale, perhaps
        written 4.0 or "4"; the texts beside it must be strings if they are there. What may stand
        round the object says `replies`.
        """
        fields = fields_of(reply)
        if isinstance(fields, ReadReply):
            return fields
        score = whole_number(fields.get("score"))
        if score is None or score not in self.scores:
            levels = ", ".join(map(str, self.scores))
            return ReadReply("unparsed", problem=f"no score among {levels}")
        texts = {name: fields.get(name) for name in ("description", "rationale")}
        for name, value in texts.items():
            if value is not None and not isinstance(value, str):
                return ReadReply("unparsed", problem=f"`{name}` is not text")
        if "description" not in self.asks:
            texts["description"] = None
        return ReadReply("ok", score, **texts)


def rubric_from(content: str) -> Rubric:
    """Return the rubric whose `Rubric.content` this is."""
    fields = json.loads(content)
    shows = fields["shows"]
    return Rubric(
        **{
            **fields,
            "scale": tuple((score, label) for score, label in fields["scale"]),
            "shows": Shows(**{**shows, "draws": tuple(shows["draws"])}),
            "asks": tuple(fields["asks"]),
        }
    )


def _shown_text(shows: Shows) -> str:
    kinds = {
        "top": "those in which it fires most strongly",
        "interval": "drawn over the whole range of its firing, from weak to strong",
        "random": "drawn at random from all text, where it may be silent",
    }
    several = len(shows.draws) > 1
    drawn = "; ".join(("some " if several else "") + kinds[draw] for draw in shows.draws)
    window = f"up to {shows.each_side} tokens on either side"
    if not shows.mark:
        form = f"Each is a JSON object on a line of its own; `text` is {window} of a token."
    else:
        marked = (
            "the token for which the context was drawn"
            if "random" in shows.draws
            else "the marked token, on which the unit fires"
        )
        form = (
            "Each is a JSON object on a line of its own: `token` is "
            f"{marked}; `before` and `after` are the text round it, {window}."
        )
    if shows.activations == "scaled":
        form += (
            " `activations` lists its tokens in order, each with how strongly the unit fires on "
            "it: 0 is silent, 10 the unit's maximum."
        )
    description = (
        "First comes a description of the unit that somebody proposed. "
        if shows.description
        else ""
    )
    number = (
        f"You get at most {shows.contexts} contexts, strongest first: {drawn}. "
        if shows.contexts > 1
        else "You get one context. "  # which, the rater must not know
    )
    return f"{description}{number}{form}\n\n{QUOTED}"


def _reply_text(rubric: Rubric, order: Sequence[int]) -> str:
    fields = ['"rationale": "<one or two sentences>"']
    if "description" in rubric.asks:
        fields.append('"description": "<a few words, or Unknown>"')
    fields.append(f'"score": <one of {", ".join(map(str, order))}>')
    return (
        "Reply with one JSON object, in this order and with nothing round it:\n{"
        + ", ".join(fields)
        + "}"
    )


def _strength(context: ItemContext) -> float | None:
    """Return the activation on the focus token; None where the item does not tell."""
    if context.activations is None or context.focus is None:
        return None
    return context.activations[context.focus]


def context_fields(shows: Shows, context: ItemContext) -> dict[str, Any]:
    """Return what a rater is shown of a context, as JSON values."""
    first, last = 0, len(context.tokens)
    focus = context.focus
    if focus is not None:
        first, last = max(0, focus - shows.each_side), focus + shows.each_side + 1
    tokens = context.tokens[first:last]
    if shows.mark and focus is not None:
        place = focus - first
        fields: dict[str, Any] = {
            "before": "".join(tokens[:place]),
            "token": tokens[place],
            "after": "".join(tokens[place + 1 :]),
        }
    else:
        fields = {"text": "".join(tokens)}
    if shows.activations == "scaled" and context.activations is not None:
        levels = [round(activation) for activation in context.activations[first:last]]
        fields["activations"] = [list(pair) for pair in zip(tokens, levels, strict=True)]
    return fields
