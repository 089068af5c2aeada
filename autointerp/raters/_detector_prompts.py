"""What `detector:` asks a language model: to name what tokens or texts share, and to decide cases.

The same prompt is asked in two ways. A chat model gets the instructions as its system prompt, the
cases as a numbered list, and replies with one JSON object. A llama.cpp server completes the
instructions, each case by itself in one call: one token a case, whose probabilities are read.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from autointerp.questions.question import (
    QUOTED,
    About,
    Form,
    ReadReply,
    Shows,
    fenced,
    fields_of,
)
from autointerp.records import Item, Reply

VERSION = 1
LONGEST = 120  # characters of a description
YES, NO = ("yes", "y", "true", "1"), ("no", "n", "false", "0")

NAME_TOKENS = """\
Each line lists tokens of texts, then says in a few words what they have in common.

Tokens: "dog", "cats", "horse", "sparrow", "sheep" -> names of animals
Tokens: "walked", "called", "looked", "played" -> words ending in "ed"
Tokens: ";", ";", ";", ";" -> the token ";"
Tokens: "und", "nicht", "Haus", "der", "sich" -> German words
Tokens: "NASA", "HTTP", "USA", "FAQ" -> words in capital letters
Tokens: "might", "should", "must", "can" -> modal verbs
Tokens: "Paris", "Japan", "Ohio", "Berlin" -> names of places
Tokens: "userName", "getValue", "maxSize" -> identifiers in camel case
Tokens: "17", "90", "42", "65" -> numbers of two digits
"""
NAME_TEXTS = """\
Each line lists pieces of texts, then says in a few words what subject or what kind of text they \
have in common.

Texts: "the goalkeeper saved the" | "won the cup after extra" | "scored twice before" -> football
Texts: "mix the flour with two" | "bake at 180 degrees" | "a pinch of salt" -> cooking recipes
Texts: "SELECT name FROM users" | "ORDER BY price DESC" -> SQL code
Texts: "nous avons pris le train" | "elle ne voulait pas" -> French text
Texts: "what a lovely, wonderful" | "best film of the year" -> praise
"""
DECIDE_TOKENS = """\
Does the token fit the description? Answer yes or no.

Description: names of animals
"dog": yes
"table": no
Description: words ending in "ed"
"walked": yes
"green": no
Description: German words
"nicht": yes
"window": no
Description: """
DECIDE_TEXTS = """\
Does the text fit the description? Answer yes or no.

Description: football
"the goalkeeper saved the penalty": yes
"the price of oil fell": no
Description: German text
"wir haben es nicht gesagt": yes
"we have not said": no
Description: """

Task = Literal["name", "decide"]
NOTHING = ("", "nothing", "none", "unknown", "n/a", "no common theme")


@dataclass(frozen=True)
class StepQuestion:
    """A question that is asked within a judgement, about so many cases.

    Attributes:
        instructions: What comes before the cases.
        one_by_one: Whether each case is completed by itself.
    """

    id: str
    task: Task
    instructions: str
    cases: int
    one_by_one: bool
    version: int = VERSION

    title = "a step of a judgement"
    scores: tuple[int, ...] = ()
    about: About = "unit"
    form: Form = "describe"
    shows = Shows(("top", "interval"), "explain", 1_000, "hidden", True, 0, False)

    @cached_property
    def digest(self) -> str:
        """The sha256 of the question's content."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def anchors(self, repeat: int) -> tuple[int, ...]:
        """Return no scores."""
        return ()

    def system(self, repeat: int = 0) -> str:
        """Return the instructions for a chat model."""
        how = (
            'Reply with one JSON object: {"description": "<a few words>"}.'
            if self.task == "name"
            else f"The texts are numbered from 1 to {self.cases}. Reply with one JSON object: "
            f'{{"fits": [<for each text in order, 1 for yes or 0 for no; {self.cases} entries>]}}.'
        )
        return f"{self.instructions.strip()}\n\n{QUOTED} {how}"

    def user(self, item: Item) -> str:
        """Raise: a step's cases are written by `listed`."""
        raise TypeError("a step asks about cases, not about an item")

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of a chat model's reply."""
        field: tuple[str, dict[str, Any]] = ("description", {"type": "string"})
        if self.task == "decide":
            field = ("fits", {"type": "array", "items": {"type": "integer", "enum": [0, 1]}})
        return {
            "type": "object",
            "properties": dict([field]),
            "required": [field[0]],
            "additionalProperties": False,
        }

    def read(self, reply: Reply) -> ReadReply:
        """Return whether the reply has a description, or a decision for every case."""
        fields = fields_of(reply)
        if isinstance(fields, ReadReply):
            return fields
        try:
            if self.task == "name":
                return ReadReply("ok", 1, description_in(fields))
            chances, _ = chances_in(fields, reply.details, self.cases)
            return ReadReply("ok", sum(chance >= 0.5 for chance in chances))
        except ValueError as error:
            return ReadReply("unparsed", problem=str(error))


def listed(item: Item, cases: Sequence[str]) -> str:
    """Return cases as a chat model is shown them: a line of JSON each, in the item's fence."""
    lines = [{"context": number, "text": case} for number, case in enumerate(cases, 1)]
    return fenced(item, lines)


def description_in(fields: dict[str, Any]) -> str:
    """Return the description in a reply. Raises ValueError if it has none."""
    text = fields.get("description")
    if "texts" in fields:
        text = fields["texts"][0]
    if not isinstance(text, str):
        raise ValueError("no `description`")
    return " ".join(text.split()).strip(" .")[:LONGEST]


def yes_chances(
    first_tokens: Sequence[Sequence[Sequence[Any]]] | None, cases: int
) -> list[float | None] | None:
    """Return P(yes) against P(no) for each case, None for one where neither is an alternative.

    `first_tokens` has for each case pairs of text and log probability; None in all if there is
    none.
    """
    if first_tokens is None or len(first_tokens) != cases:
        return None
    chances: list[float | None] = []
    for alternatives in first_tokens:
        mass = {True: 0.0, False: 0.0}
        for text, logprob in alternatives:
            word = str(text).strip(" \n:.,[").lower()
            if word in YES or word in NO:
                mass[word in YES] += math.exp(logprob)
        total = sum(mass.values())
        chances.append(mass[True] / total if total > 0 else None)
    return chances


def chances_in(
    fields: dict[str, Any], details: dict[str, Any], cases: int
) -> tuple[list[float], bool]:
    """Return P(yes) for each case, and whether all come of probabilities.

    Where none are to be had for a case, its answer counts: 1 or 0. Raises ValueError if a case has
    neither.
    """
    read = yes_chances(details.get("first_tokens"), cases)
    if read is not None and None not in read:
        return [chance for chance in read if chance is not None], True
    answers = decisions_in(fields, cases)
    if read is None:
        return [float(answer) for answer in answers], False
    pairs = zip(answers, read, strict=True)
    return [float(answer) if chance is None else chance for answer, chance in pairs], False


def decisions_in(fields: dict[str, Any], cases: int) -> list[bool]:
    """Return the decision for each case. Raises ValueError if they are not all there."""
    given = fields.get("fits")
    if "texts" in fields:
        words = [str(text).strip(" \n:.").lower() for text in fields["texts"]]
        given = [1 if word in YES else 0 if word in NO else None for word in words]
    if not isinstance(given, list) or any(one not in (0, 1) for one in given):
        raise ValueError("the decisions are not all yes or no")
    if len(given) != cases:
        raise ValueError(f"{len(given)} decisions on {cases} cases")
    return [one == 1 for one in given]
