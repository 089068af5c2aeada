"""Tasks: what a rater is asked that is no rating, by one of four forms of reply.

A task goes wherever a rubric goes (requests, cache, retries, budget, batches), and a file in
`scorers/` brings one. Whoever can answer a form, can answer every task of that form.

    describe   say in words what the contexts have in common
    judge      yes or no, for each context (or for the token that is marked in it)
    predict    an activation from 0 to 10 for each token of each context
    choose     the number of one context
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from autointerp.questions.rubric import (
    QUOTED,
    ReadReply,
    Rubric,
    Shows,
    fenced,
    fields_of,
    read_reply,
    reply_schema,
    system_text,
    user_text,
)
from autointerp.records import Item, ItemContext, Reply

Form = Literal["describe", "judge", "predict", "choose"]

UNKNOWN = "Unknown"
LOUDEST = 10  # the unit's maximum, as raters are shown it and asked for it


@dataclass(frozen=True)
class Task(Rubric):
    """A question with a form of reply of its own; where a rubric has levels, it has none.

    Attributes:
        form: What a reply holds.
    """

    form: Form = "judge"


def make_task(
    identifier: str,
    version: int,
    title: str,
    form: Form,
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
    return Task(identifier, version, title, (), shows, (), text.strip(), form)


# -------------------------------------------------------------------------------- prompts

SHOWN = {
    "describe": "`text` is a piece of text, and `fires` lists the tokens in it on which the unit "
    f"fires, each with its strength: 1 is weak, {LOUDEST} the unit's maximum.",
    "judge": "`text` is a piece of text, and `context` its number.",
    "predict": "`context` is its number, and `tokens` lists the tokens of a piece of text in "
    "order, each after its own number.",
    "choose": "`text` is a piece of text, and `context` its number.",
}
MARKED = (
    "`context` is its number, `token` the marked token; `before` and `after` are the text round it."
)
REPLY = {
    "describe": '{"rationale": "<one or two sentences>", "description": "<a few words, or '
    'Unknown>"}',
    "judge": '{"answers": [{"context": 1, "yes": true or false}, {"context": 2, …}, …]}\n'
    "Answer for every context, in their order.",
    "predict": '{"contexts": [{"context": 1, "active": [{"token": <its number>, "activation": '
    f"<1 to {LOUDEST}>}}, …]}}, …]}}\nList every context, in their order, and in each only the "
    "tokens on which you expect the unit to fire; the list may be empty.",
    "choose": '{"rationale": "<one sentence>", "context": <its number>}',
}


@system_text.register(Task)
def _instructions(task: Task, order: Sequence[int] | None = None) -> str:
    first = "First comes a description of the unit. " if task.shows.description else ""
    form = MARKED if task.shows.mark else SHOWN[task.form]
    shown = f"{first}Each context is a JSON object on a line of its own: {form}\n\n{QUOTED}"
    reply = f"Reply with one JSON object and nothing round it:\n{REPLY[task.form]}"
    return task.text.replace("{shown}", shown).replace("{reply}", reply)


@user_text.register(Task)
def _shown(task: Task, item: Item) -> str:
    lines = [
        _fields(task, number, context)
        for number, context in enumerate(item.contexts, 1)
        if context.split == task.shows.split
    ]
    if task.shows.description:
        lines.insert(0, {"description": item.description or UNKNOWN})
    if item.effects is not None:
        told = {"promotes": item.effects.promoted, "suppresses": item.effects.suppressed}
        lines.insert(0, told)
    return fenced(item.id, lines)


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
    return {
        "context": number,
        "before": "".join(tokens[: context.focus]),
        "token": tokens[context.focus],
        "after": "".join(tokens[context.focus + 1 :]),
    }


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


TEXT, WHOLE, TRUTH = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
SCHEMAS: dict[Form, dict[str, Any]] = {
    "describe": _object(rationale=TEXT, description=TEXT),
    "judge": _object(answers=_list(_object(context=WHOLE, yes=TRUTH))),
    "predict": _object(
        contexts=_list(_object(context=WHOLE, active=_list(_object(token=WHOLE, activation=WHOLE))))
    ),
    "choose": _object(rationale=TEXT, context=WHOLE),
}


@reply_schema.register(Task)
def _schema(task: Task) -> dict[str, Any]:
    return SCHEMAS[task.form]


class _Unreadable(Exception):
    """What is wrong with a reply, in a few words."""


@read_reply.register(Task)
def _read(task: Task, reply: Reply) -> ReadReply:
    """Return what the reply says as a rating keeps it.

    The score of a task is a count: 1 for a description, 0 for Unknown; how many contexts were
    said yes to; on how many tokens the unit is said to fire; the number of the chosen context.
    The answers themselves stay in the reply, see `answers_in`.
    """
    fields = fields_of(reply)
    if isinstance(fields, ReadReply):
        return fields
    rationale = fields.get("rationale")
    if rationale is not None and not isinstance(rationale, str):
        return ReadReply("unparsed", problem="`rationale` is not text")
    try:
        if task.form == "describe":
            description = _description(fields)
            return ReadReply("ok", int(description != UNKNOWN), description, rationale)
        answers = _answers(task.form, fields)
    except _Unreadable as error:
        return ReadReply("unparsed", problem=str(error))
    if task.form == "judge":
        return ReadReply("ok", sum(answers.values()))
    if task.form == "predict":
        return ReadReply("ok", sum(len(levels) for levels in answers.values()))
    return ReadReply("ok", next(iter(answers)), rationale=rationale)


def _description(fields: dict[str, Any]) -> str:
    told = fields.get("description")
    if not isinstance(told, str) or not told.strip():
        raise _Unreadable("no `description`")
    told = " ".join(told.split())
    return UNKNOWN if told.strip(" .'\"").lower() == "unknown" else told


def answers_in(task: Task, reply: Reply) -> dict[int, Any]:
    """Return the answers in a reply that was read as ok, by the number of the context, from 1.

    `judge`: True for yes. `predict`: activations by the number of the token, from 1; the rest is
    0. `choose`: True for the one that is chosen. A context that the reply passes over is not in
    the result.
    """
    fields = fields_of(reply)
    if isinstance(fields, ReadReply):
        return {}
    try:
        return _answers(task.form, fields)
    except _Unreadable:
        return {}


def _answers(form: Form, fields: dict[str, Any]) -> dict[int, Any]:
    """Raises _Unreadable if a part has another form, or a context is answered twice."""
    if form == "choose":
        return {_whole(fields, "context"): True}
    answers: dict[int, Any] = {}
    for one in _objects(fields, "answers" if form == "judge" else "contexts"):
        number = _whole(one, "context")
        if number in answers:
            raise _Unreadable(f"context {number} is answered twice")
        answers[number] = _yes(one) if form == "judge" else _levels(one)
    return answers


def _yes(one: dict[str, Any]) -> bool:
    if not isinstance(one.get("yes"), bool):
        raise _Unreadable("`yes` is neither true nor false")
    return bool(one["yes"])


def _levels(one: dict[str, Any]) -> dict[int, float]:
    levels: dict[int, float] = {}
    for active in _objects(one, "active"):
        token, level = _whole(active, "token"), active.get("activation")
        if isinstance(level, bool) or not isinstance(level, int | float):
            raise _Unreadable("an `activation` is no number")
        if not 0 <= level <= LOUDEST:
            raise _Unreadable(f"activation {level} is not between 0 and {LOUDEST}")
        if token in levels:
            raise _Unreadable(f"token {token} stands twice in a context")
        levels[token] = float(level)
    return levels


def _whole(fields: dict[str, Any], name: str) -> int:
    if type(fields.get(name)) is not int:
        raise _Unreadable(f"`{name}` is no whole number")
    return int(fields[name])


def _objects(fields: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = fields.get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise _Unreadable(f"`{name}` is no list of objects")
    return found


# ------------------------------------------------------------------- the task of an explainer

EXPLAIN = make_task(
    "explain",
    1,
    "What does this unit respond to?",
    "describe",
    """
You are shown where one unit of a language model fires. A unit is a number that the model computes \
at every token of a text; it fires where that number is above zero. Say in a few words what the \
unit responds to.

{shown}

The first contexts are those in which it fires most strongly; the rest are drawn over the whole \
range of its firing, from strong to weak.

How to describe

- Say what the tokens on which it fires have in common, or what stands round them: form, grammar, \
meaning, subject, kind of text. A good description tells somebody who has never seen these \
contexts on which tokens of a new text the unit fires, and on which it does not.
- Be as specific as the contexts allow and as short as that permits. Name exact tokens where the \
unit responds to exact tokens.
- Weak firing may be about something else than strong firing. If one description does not fit \
both, describe the strong firing.
- If the contexts share nothing that can be named, the description is "Unknown".

{reply}""",
    description=False,
)

EXPLAIN_LOGITS = make_task(
    "explain-logits",
    1,
    EXPLAIN.title,
    "describe",
    EXPLAIN.text.replace(
        "\n\nHow to describe\n",
        """

Where it is known what the unit does to the model's prediction of the next token, a line before \
the contexts says so: `promotes` lists the tokens that it makes likelier when it fires, \
`suppresses` those that it makes less likely, each list from the strongest effect on. That is its \
direct effect; what later parts of the model make of it is not in it.

How to describe
""",
    ).replace(
        "\n- If the contexts share",
        """
- The description is of what the unit responds to. What it promotes and suppresses may help to \
understand that, but these tokens are not those on which it fires.
- If the contexts share""",
    ),
    description=False,
)
# The view `explanation` knows them by these ids.
EXPLAINING = (EXPLAIN, EXPLAIN_LOGITS)
