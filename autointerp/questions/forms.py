"""Tasks: questions without a rating scale, in eight forms of reply.

A task goes wherever a rubric goes (requests, cache, retries, budget, batches), and a file in
`scorers/` brings one. A rater that can answer a form can answer every task of that form. The last
two are computed, not written: no text that a model writes answers them.

    describe   say in words what the contexts have in common
    judge      yes or no, for each context (or for the token that is marked in it)
    match      for each of several descriptions, the letters of the contexts that fit it
    predict    an activation from 0 to 10 for each token of each context
    choose     the number of one context
    write      texts that fit the description; there are no contexts
    embed      the cosine of the description's embedding with that of each context
    expect     the loss on each context, in nats a token, after the description and without it
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import string
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

from autointerp.questions.question import (
    COMPUTED,
    QUOTED,
    About,
    ReadReply,
    Shows,
    fenced,
    fields_of,
)
from autointerp.questions.replies import Unreadable, number, truth, whole_number
from autointerp.records import Item, ItemContext, Reply

TaskForm = Literal["describe", "judge", "match", "predict", "choose", "write", "embed", "expect"]

UNKNOWN = "Unknown"
LETTERS = string.ascii_uppercase + string.ascii_lowercase  # of contexts that are to be matched
DESCRIPTIONS = 8  # that contexts are matched with in one call, at most
WRITTEN = 8  # texts in a reply of the form `write`
LOUDEST = 10  # the unit's maximum, as raters are shown it and asked for it


@dataclass(frozen=True)
class Task:
    """A question without a scale.

    Attributes:
        title: The question in one line, for lists and reports; raters do not see it.
        shows: Its `draws` and `contexts` bound nothing: what a trial asks about is shown.
        text: The instructions; `{shown}` and `{reply}` stand for generated parts. Of a form that is
            computed, what is read before a text, with `{description}` for the description.
        form: What a reply holds.
    """

    id: str
    version: int
    title: str
    shows: Shows
    text: str
    form: TaskForm

    scores: ClassVar[tuple[int, ...]] = ()

    @property
    def about(self) -> About:
        return "description" if self.shows.description else "unit"

    @cached_property
    def digest(self) -> str:
        """The sha256 of the task's content."""
        # `scale` and `asks` were fields once; the digests of calls that were paid hold them.
        content = asdict(self) | {"scale": [], "asks": []}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def anchors(self, repeat: int) -> tuple[int, ...]:
        """Return no scores: a task has no levels to list."""
        return ()

    def system(self, repeat: int = 0) -> str:
        """Return the instructions: the same for all items and repeats."""
        if self.form == "match":
            text = MATCHED_MARK if self.shows.mark else MATCHED
            shown = f"{MATCHED_FIRST} {text}\n\n{QUOTED}"
        elif self.form == "write":
            shown = f"{GIVEN}\n\n{QUOTED}"
        else:
            first = "First comes a description of the unit. " if self.about == "description" else ""
            form = MARKED if self.shows.mark else SHOWN[self.form]
            shown = f"{first}Each context is a JSON object on a line of its own: {form}\n\n{QUOTED}"
        reply = f"Reply with one JSON object and nothing round it:\n{REPLY[self.form]}"
        return self.text.replace("{shown}", shown).replace("{reply}", reply)

    def user(self, item: Item) -> str:
        """Return the item as the rater reads it: its contexts, each a line of JSON, in a fence."""
        if self.form == "match":
            numbered = {str(number): text for number, text in enumerate(item.descriptions, 1)}
            texts = [
                [letter, *_parts(context)]
                for letter, context in zip(LETTERS, item.contexts, strict=False)
                if context.split == self.shows.split
            ]
            return fenced(item, [numbered, *texts])
        lines: list[dict[str, Any] | list[str]] = [
            _fields(self, number, context)
            for number, context in enumerate(item.contexts, 1)
            if context.split == self.shows.split
        ]
        if self.about == "description":
            lines.insert(0, {"description": item.description or UNKNOWN})
        if item.effects is not None:
            effects = {"promotes": item.effects.promoted, "suppresses": item.effects.suppressed}
            lines.insert(0, effects)
        return fenced(item, lines)

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of a reply."""
        return SCHEMAS[self.form]

    def read(self, reply: Reply) -> ReadReply:
        """Return what the reply says as a rating keeps it.

        The score of a task is a count: 1 for a description, 0 for Unknown; how many contexts were
        said yes to, or how many pairs of a description and a context; on how many tokens the unit
        is said to fire; the number of the chosen context; how many texts were written; how many
        contexts were compared with the description.
        The answers themselves stay in the reply, see `answers_in`.
        """
        fields = fields_of(reply)
        if isinstance(fields, ReadReply):
            return fields
        rationale = fields.get("rationale")
        if rationale is not None and not isinstance(rationale, str):
            return ReadReply("unparsed", problem="`rationale` is not text")
        try:
            if self.form == "describe":
                description = _description(fields)
                return ReadReply("ok", int(description != UNKNOWN), description, rationale)
            answers = _answers(self.form, fields)
        except Unreadable as error:
            return ReadReply("unparsed", problem=str(error))
        if self.form == "judge":
            return ReadReply("ok", sum(answers.values()))
        if self.form in COMPUTED or self.form == "write":
            return ReadReply("ok", len(answers))
        if self.form in ("match", "predict"):
            return ReadReply("ok", sum(len(listed) for listed in answers.values()))
        return ReadReply("ok", next(iter(answers)), rationale=rationale)


def make_task(
    identifier: str,
    version: int,
    title: str,
    form: TaskForm,
    text: str,
    description: bool = True,
    mark: bool = False,
) -> Task:
    """Return a task; `{shown}` and `{reply}` in `text` stand for generated parts.

    `description`: whether a description comes with the contexts. `mark`: whether a token of each
    is marked.
    """
    shows = Shows(
        draws=("top", "interval") if form == "describe" else ("interval", "random"),
        split="explain" if form == "describe" else "score",
        contexts=1_000,
        activations="scaled" if form == "describe" else "hidden",
        mark=mark,
        each_side=0,
        description=description,
    )
    return Task(identifier, version, title, shows, text.strip(), form)


# -------------------------------------------------------------------------------- prompts

MATCHED_FIRST = (
    "First comes a JSON object of the descriptions by number, then a line for each text, a JSON "
    "list:"
)
MATCHED = "its letter and the text."
MATCHED_MARK = "its letter, the text before the marked token, that token, and the text after it."
GIVEN = "What you get is one JSON object with the description."
SHOWN = {
    "describe": "`text` is a piece of text, and `fires` lists the tokens in it on which the unit "
    f"fires, each with its strength: 1 is weak, {LOUDEST} the unit's maximum.",
    "judge": "`text` is a piece of text, and `context` its number.",
    "predict": "`context` is its number, and `tokens` lists the tokens of a piece of text in "
    "order, each after its own number.",
    "choose": "`text` is a piece of text, and `context` its number.",
    "embed": "`text` is a piece of text, and `context` its number.",
    "expect": "`text` is a piece of text, and `context` its number.",
}
MARKED = (
    "`context` is its number, `token` the marked token; `before` and `after` are the text round it."
)
REPLY = {
    "describe": '{"rationale": "<one or two sentences>", "description": "<a few words, or '
    'Unknown>"}',
    "judge": '{"answers": [{"context": 1, "yes": true or false}, {"context": 2, …}, …]}\n'
    "Answer for every context, in their order.",
    "match": '{"1": "<letters of its texts in order, as in B K q>", "2": …}\n'
    f'with all keys from "1" to "{DESCRIPTIONS}"; "" where no text fits or there is no such '
    "description.",
    "predict": '{"contexts": [{"context": 1, "active": [{"token": <its number>, "activation": '
    f"<1 to {LOUDEST}>}}, …]}}, …]}}\nList every context, in their order, and in each only the "
    "tokens on which you expect the unit to fire; the list may be empty.",
    "choose": '{"rationale": "<one sentence>", "context": <its number>}',
    "write": '{"texts": ["<the first text>", "<the second text>", …]}',
    "embed": '{"similarities": [{"context": 1, "cosine": <-1 to 1>}, …]}',
    "expect": '{"losses": [{"context": 1, "given": <nats a token>, "without": <nats a token>}, …]}',
}


def _parts(context: ItemContext) -> list[str]:
    """Return the text; where a token is marked, what is before it, the token, and the rest."""
    tokens, place = context.tokens, context.focus
    if place is None:
        return ["".join(tokens)]
    return ["".join(tokens[:place]), tokens[place], "".join(tokens[place + 1 :])]


def _fields(task: Task, number: int, context: ItemContext) -> dict[str, Any]:
    tokens = context.tokens
    if task.form == "describe":
        fires = [
            [token, max(1, round(level))]
            for token, level in zip(tokens, context.activations or (), strict=True)
            if level > 0
        ]
        return {"text": "".join(tokens), "fires": fires}
    if task.form == "predict":
        numbered = [[place, token] for place, token in enumerate(tokens, 1)]
        return {"context": number, "tokens": numbered}
    if context.focus is None:
        return {"context": number, "text": "".join(tokens)}
    before, token, after = _parts(context)
    return {"context": number, "before": before, "token": token, "after": after}


# -------------------------------------------------------------------------------- replies


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


LISTED = re.compile(r"\s*(?:[A-Za-z](?:[\s,;]+[A-Za-z])*)?[\s,;]*")
TEXT, WHOLE, TRUTH = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
NUMBER = {"type": "number"}
SCHEMAS: dict[TaskForm, dict[str, Any]] = {
    "describe": _object(rationale=TEXT, description=TEXT),
    "judge": _object(answers=_list(_object(context=WHOLE, yes=TRUTH))),
    "match": _object(**{str(number): TEXT for number in range(1, DESCRIPTIONS + 1)}),
    "predict": _object(
        contexts=_list(_object(context=WHOLE, active=_list(_object(token=WHOLE, activation=WHOLE))))
    ),
    "choose": _object(rationale=TEXT, context=WHOLE),
    "write": _object(texts=_list(TEXT)),
    "embed": _object(similarities=_list(_object(context=WHOLE, cosine=NUMBER))),
    "expect": _object(losses=_list(_object(context=WHOLE, given=NUMBER, without=NUMBER))),
}


def _description(fields: dict[str, Any]) -> str:
    text = fields.get("description")
    if not isinstance(text, str) or not text.strip():
        raise Unreadable("no `description`")
    text = " ".join(text.split())
    return UNKNOWN if text.strip(" .'\"").lower() == "unknown" else text


def answers_in(task: Task, reply: Reply) -> dict[int, Any]:
    """Return the answers in a reply that was read as ok, by the number of the context, from 1.

    `judge`: True for yes. `match`: by the number of the description, the numbers of the contexts
    that fit it; one that the reply passes over is not in the result. `predict`: activations by the
    number of the token, from 1; the rest is 0. `choose`: True for the one that is chosen. `write`:
    the texts, by their own numbers. `embed`: the cosine. `expect`: the nats a token that the
    description saves. A context that the reply passes over is not in the result.
    """
    fields = fields_of(reply)
    if isinstance(fields, ReadReply) or task.form == "describe":
        return {}
    try:
        return _answers(task.form, fields)
    except Unreadable:
        return {}


def _answers(form: TaskForm, fields: dict[str, Any]) -> dict[int, Any]:
    """Raises Unreadable if a part has another form, or a context is answered twice."""
    if form == "choose":
        return {_whole(fields, "context"): True}
    answers: dict[int, Any] = {}
    if form == "write":
        return dict(enumerate(_texts(fields), 1))
    if form == "match":
        for number in range(1, DESCRIPTIONS + 1):
            if fields.get(str(number)) is not None:
                answers[number] = _matches(fields[str(number)])
        if not answers:
            raise Unreadable("no description is answered about")
        return answers
    name, read = READ[form]
    for answer in _objects(fields, name):
        number = _whole(answer, "context")
        if number in answers:
            raise Unreadable(f"context {number} is answered twice")
        answers[number] = read(answer)
    return answers


def _yes(answer: dict[str, Any]) -> bool:
    yes = truth(answer.get("yes"))
    if yes is None:
        raise Unreadable("`yes` is neither true nor false")
    return yes


def _matches(value: Any) -> frozenset[int]:
    """Return the numbers of contexts whose letters a field lists, as text or as a list."""
    if isinstance(value, list) and all(isinstance(letter, str) for letter in value):
        value = " ".join(value)
    if not isinstance(value, str) or not LISTED.fullmatch(value):
        raise Unreadable("a description's texts are no list of letters")
    return frozenset(LETTERS.index(letter) + 1 for letter in re.findall(r"[A-Za-z]", value))


def _texts(fields: dict[str, Any]) -> list[str]:
    """Return the texts that were written, as many as are asked for at most, blank ones left out."""
    texts = fields.get("texts")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Unreadable("`texts` is not a list of texts")
    written = [text.strip() for text in texts if text.strip()][:WRITTEN]
    if not written:
        raise Unreadable("no text was written")
    return written


def _levels(answer: dict[str, Any]) -> dict[int, float]:
    levels: dict[int, float] = {}
    for active in _objects(answer, "active"):
        token, level = _whole(active, "token"), number(active.get("activation"))
        if level is None:
            raise Unreadable("an `activation` is not a number")
        if not 0 <= level <= LOUDEST:
            raise Unreadable(f"activation {level:g} is not between 0 and {LOUDEST}")
        if token in levels:
            raise Unreadable(f"token {token} is listed twice for a context")
        levels[token] = level
    return levels


def _cosine(answer: dict[str, Any]) -> float:
    cosine = _finite(answer, "cosine")
    if not -1 <= cosine <= 1:
        raise Unreadable(f"cosine {cosine:g} is not between -1 and 1")
    return cosine


def _saved(answer: dict[str, Any]) -> float:
    given, without = _finite(answer, "given"), _finite(answer, "without")
    if min(given, without) < 0:
        raise Unreadable("a loss is negative")
    return without - given


READ: dict[TaskForm, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "judge": ("answers", _yes),
    "predict": ("contexts", _levels),
    "embed": ("similarities", _cosine),
    "expect": ("losses", _saved),
}


def _finite(fields: dict[str, Any], name: str) -> float:
    value = number(fields.get(name))
    if value is None or not math.isfinite(value):
        raise Unreadable(f"`{name}` is not a number")
    return value


def _whole(fields: dict[str, Any], name: str) -> int:
    value = whole_number(fields.get(name))
    if value is None:
        raise Unreadable(f"`{name}` is not a whole number")
    return value


def _objects(fields: dict[str, Any], name: str) -> list[dict[str, Any]]:
    objects = fields.get(name)
    if not isinstance(objects, list) or not all(isinstance(entry, dict) for entry in objects):
        raise Unreadable(f"`{name}` is not a list of objects")
    return objects
