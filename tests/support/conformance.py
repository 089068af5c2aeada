"""What every rater and every question must hold; one that is written elsewhere is tried likewise.

`conformance/` runs these over the folders; a test of a rater of one's own calls them itself.
"""

from __future__ import annotations

import asyncio
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from autointerp.errors import AutointerpError, BadInput
from autointerp.questions.explain import (
    EXPLAIN_LOGITS,
    EXPLAINING,
    Explanation,
    explain_trials,
)
from autointerp.questions.items import load_items, make_items
from autointerp.questions.question import Question
from autointerp.questions.rubric_files import list_rubrics
from autointerp.questions.score import Design, plan
from autointerp.questions.scorers import scorer, scorer_names
from autointerp.questions.specificity import specificity_trials
from autointerp.questions.trials import add_trials
from autointerp.raters import Rater, RaterOptions
from autointerp.records import Item, LogitEffects, Reply
from autointerp.store.run import Run
from support.made_up import UNITS

WEIGHTS = b"no model, but a file that is there"


def modules_in(package: ModuleType) -> list[str]:
    """Return the names of the modules of an extension point: those without an underscore ahead."""
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name[0] != "_")


def every_question() -> dict[str, Question]:
    """Return all questions that ship, by id."""
    questions: dict[str, Question] = {task.id: task for task in EXPLAINING}
    questions |= {scorer(name).TASK.id: scorer(name).TASK for name in scorer_names()}
    return questions | {rubric.id: rubric for rubric in list_rubrics()}


def items_of(run: Run, question: Question, evidence: Any = "shown") -> list[Item]:
    """Return items that ask `question` about the units of a `made_up_run`.

    Each unit fires on one word, and its description is that word as a rule says it.
    """
    units = [unit for source in UNITS for unit in run.units(source)]
    described = [
        Explanation(u.unit_id, u.summary.unit.source, "ann", "ok", f"' w{word}'", ())
        for u in units
        for word in [f"{u.summary.unit.source}{u.summary.unit.index}"]
    ]
    if question.form == "describe":
        known = {unit.unit_id: LogitEffects((" a",), (" b",)) for unit in units}
        effects = known if question == EXPLAIN_LOGITS else None
        ids = add_trials(run, explain_trials(run, list(known), evidence, effects))
    elif question.form != "rate":
        ids = add_trials(run, plan(run, question.id, described, Design(count=10)).trials)
    elif question.about == "description":
        ids = add_trials(run, specificity_trials(run, question, described, 12))  # type: ignore[arg-type]
    else:
        ids = make_items(run, units, question, evidence)  # type: ignore[arg-type]
    return load_items(run, sorted(set(ids))[:6], question)


def right_reply(question: Question, item: Item) -> dict[str, Any]:
    """Return a reply of the question's form, whatever its answers."""
    numbers = range(1, len(item.contexts) + 1)
    if question.form == "rate":
        texts = {name: "words" for name in question.schema()["properties"] if name != "score"}
        return {**texts, "score": question.scores[0]}
    if question.form == "describe":
        return {"rationale": "they share it", "description": "cats"}
    if question.form == "judge":
        return {"answers": [{"context": number, "yes": number % 2 == 0} for number in numbers]}
    if question.form == "match":
        return {key: "A" if key == "1" else "" for key in question.schema()["properties"]}
    if question.form == "predict":
        active = [{"token": 1, "activation": 7}]
        return {"contexts": [{"context": number, "active": active} for number in numbers]}
    if question.form == "write":
        return {"texts": ["It was a cat.", "The cat ran."]}
    if question.form == "embed":
        return {"similarities": [{"context": number, "cosine": 0.25} for number in numbers]}
    if question.form == "expect":
        losses = [{"context": number, "given": 2.5, "without": 3.0} for number in numbers]
        return {"losses": losses}
    return {"rationale": "it is odd", "context": 1}


def wrong_replies(question: Question) -> Iterator[dict[str, Any]]:
    """Yield replies of another form."""
    yield {}
    yield {"rationale": "no answer"}
    wrong = {"score": "high", "description": 3, "answers": [1], "contexts": {}, "context": "one"}
    yield {**wrong, "1": "the first text"}
    yield {"texts": ["a text", 3]}
    yield {"similarities": [{"context": 1, "cosine": "near"}], "losses": [{"context": 1}]}


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Return whether a JSON value is as the schema says, by the keywords that ours use."""
    kinds: dict[str, Any] = {
        "object": dict, "array": list, "string": str, "integer": int, "boolean": bool,
        "number": (int, float),
    }  # fmt: skip
    assert set(schema) <= {
        "type", "enum", "properties", "required", "additionalProperties", "items",
    }  # fmt: skip
    kind = kinds[schema["type"]]
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if kind is dict:
        parts = schema["properties"]
        assert schema["additionalProperties"] is False
        return set(value) <= set(parts) and all(
            name in value and fits(value[name], parts[name]) for name in schema["required"]
        )
    return kind is not list or all(fits(one, schema["items"]) for one in value)


# ---------------------------------------------------------------------------------- questions


def check_question(question: Question, item: Item) -> None:
    """Check that the question's prompts, schema and reader agree with one another."""
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", question.id)
    assert question.version >= 1
    assert question.title.strip() == question.title
    assert "\n" not in question.title
    assert re.fullmatch(r"[0-9a-f]{64}", question.digest)
    assert (question.form == "rate") == bool(question.scores)
    for repeat in range(4):
        text = question.system(repeat)
        assert text == question.system(repeat)
        assert not re.search(r"\{(scale|shown|reply)\}", text)
        assert sorted(question.anchors(repeat)) == list(question.scores)
    shown = question.user(item)
    assert shown == question.user(item)
    assert item.id not in shown
    for line in shown.split("\n")[1:-1]:
        json.loads(line)
    right = right_reply(question, item)
    assert fits(right, question.schema())
    read = question.read(Reply(json.dumps(right)))
    assert (read.status, read.problem) == ("ok", None)
    assert read.score is not None
    for wrong in wrong_replies(question):
        assert not fits(wrong, question.schema())
        assert question.read(Reply(json.dumps(wrong))).status == "unparsed"
    assert question.read(Reply("no JSON")).status == "unparsed"
    assert question.read(Reply("", stop="refusal")).status == "refused"
    assert question.read(Reply("", stop="error", error="gone")).status == "failed"


# ------------------------------------------------------------------------------------- raters


def example_of(module: ModuleType, folder: Path) -> Rater:
    """Return a rater of the module: without a model, with a name or with a file for one.

    A module that takes none of these has `EXAMPLE`, a model to try it with.
    """
    weights = folder / "weights.gguf"
    weights.write_bytes(WEIGHTS)
    for model in (getattr(module, "EXAMPLE", None), None, "some-model", str(weights)):
        try:
            rater: Rater = module.create(model, RaterOptions())
        except BadInput:
            continue
        return rater
    raise AssertionError(f"{module.__name__} takes no model that is tried; give it an EXAMPLE")


def check_requests(rater: Rater, question: Question, items: list[Item]) -> bool:
    """Check that requests are pure and keys tell calls apart; return whether the rater makes any.

    One that does not answer the question says so by an error of one line.
    """
    refusal = ""
    try:
        first = rater.request(items[0], question)
    except AutointerpError as error:
        refusal = str(error)
    if refusal:
        assert "\n" not in refusal
        return False
    assert first == rater.request(items[0], question)
    assert (first.item, first.repeat) == (items[0].id, 0)
    assert re.fullmatch(r"[0-9a-f]{64}", first.key)
    json.dumps(first.body)
    again = rater.request(items[0], question, 1)
    assert again.repeat == 1
    requests = [rater.request(item, question) for item in items]
    bodies = {json.dumps(request.body, sort_keys=True) for request in requests}
    assert len({again.key, *(request.key for request in requests)}) == len(bodies) + 1
    return True


def check_replies(rater: Rater, question: Question, items: list[Item]) -> set[str]:
    """Check that each reply can be read, or says that it failed; return the statuses."""
    statuses = set()
    for item in items:
        reply = asyncio.run(rater.send(rater.request(item, question)))
        read = question.read(reply)
        assert read.status in ("ok", "failed"), (rater.name, question.id, read.problem)
        statuses.add(read.status)
    return statuses
