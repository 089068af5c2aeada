"""Rules parsed from a description's words and applied to contexts, without a model.

`rule_from_words` reads what `_rules.rule_in_words` writes. A rater that can apply a rule to a text
can answer every form of task about it, and rate a context by it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from autointerp.questions.forms import LETTERS, LOUDEST, UNKNOWN, WRITTEN
from autointerp.questions.question import COMPUTED, Question
from autointerp.raters._evidence import Condition, Evidence, Mask
from autointerp.raters._rules import SHAPES, quoted
from autointerp.records import Item, Reply

Alternatives = tuple[tuple[Condition, ...], ...]

SAID = ("word", "text")  # attributes of a token that can be written down
FRAMES = (
    ("It was", "and then"), ("They had", "but not"), ("On that day", "or even"),
    ("Without", "there is no"),
)  # fmt: skip
VALUE = r"'(?P<value>.+?)'"
LONG = r"letters, (?P<value>[48]) or more"
QUOTED = r"'(?:\\.|[^'\\])*'"
NEARBY = re.compile(rf"(?P<least>\d+) of (?P<words>{QUOTED}(?:, {QUOTED})*) nearby")
INSIDE = re.compile(r" inside '(?P<mark>[(\[{<\"`])'")
WORDS = (  # what can be said of one token; the attribute, and the words
    ("word", r"'(?P<value>[^\W\d_]+)' in any case"),
    ("long", LONG),
    ("ending", rf"a piece ending in {VALUE}"),
    ("beginning", rf"a piece beginning with {VALUE}"),
    ("text", VALUE),
    (
        "shape",
        r"(?P<value>" + "|".join(sorted(map(re.escape, SHAPES.values()), key=len)[::-1]) + ")",
    ),
)
KIND_WORDS = ("white space", "letters", "digits", "punctuation")
NEXT = (
    r"(?=$| and | after | before | with | inside | \d+ places after )"  # what may follow the words
)
PLACE = re.compile(r" (?:(?P<many>\d+) places )?(?P<side>after|before|with) ")


def rule_from_words(text: str) -> Alternatives | None:
    """Return the alternatives that the words stand for; None if they are no rule's words."""
    alternatives = []
    for part in text.split("; or "):
        conditions = _conditions(part)
        if not conditions:
            return None
        alternatives.append(conditions)
    return tuple(alternatives)


def _conditions(text: str) -> tuple[Condition, ...] | None:
    conditions: list[Condition] = []
    rest = text
    if rest.startswith("any token"):
        rest = rest.removeprefix("any token")
    else:
        while True:
            condition = _one(rest)
            if condition is None:
                return None
            attribute, value, rest = condition
            conditions.append(Condition(attribute, 0, value))
            if not rest.startswith(" and "):
                break
            rest = rest.removeprefix(" and ")
    while rest:
        if inside := INSIDE.match(rest):
            conditions.append(Condition("inside", 0, inside["mark"]))
            rest = rest[inside.end() :]
            continue
        place = PLACE.match(rest)
        if place and place["side"] == "with" and (nearby := NEARBY.match(rest, place.end())):
            words = " ".join(_plain(w[1:-1]) for w in re.findall(QUOTED, nearby["words"]))
            conditions.append(Condition("nearby", int(nearby["least"]), words))
            rest = rest[nearby.end() :]
            continue
        condition = _one(rest[place.end() :]) if place else None
        if place is None or condition is None:
            return None
        attribute, value, rest = condition
        if place["side"] == "with":
            if not rest.startswith(" earlier") or attribute != "word":
                return None
            rest = rest.removeprefix(" earlier")
            conditions.append(Condition("earlier", 0, value))
            continue
        many = int(place["many"] or 1)
        conditions.append(Condition(attribute, many if place["side"] == "before" else -many, value))
    return tuple(conditions)


def _one(text: str) -> tuple[str, str, str] | None:
    """Return attribute, value and what follows, of the words about one token."""
    for kind, pattern in WORDS:
        match = re.match(pattern + (NEXT if kind != "word" else "(?=$|[ ])"), text)
        if match is None:
            continue
        words, rest = match["value"], text[match.end() :]
        if kind == "shape":
            attribute = "kind" if words in KIND_WORDS else "shape"
            value = next(
                v
                for v, shape in SHAPES.items()
                if shape == words
                and (attribute == "shape" or v in ("space", "letters", "digits", "punctuation"))
            )
            return attribute, value, rest
        value = _plain(words)
        if kind == "long":
            return f"long{value}", value, rest
        if kind in ("ending", "beginning"):
            if len(value) not in (2, 3):
                return None
            return f"{kind}{len(value)}", value, rest
        return kind, value, rest
    return None


def _plain(words: str) -> str:
    """Return the text that `quoted` wrote so."""
    plain = re.sub(
        r"\\(?:n|t|r|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})",
        lambda m: m[0].encode().decode("unicode_escape"),
        words,
    )
    return plain if quoted(plain) == f"'{words}'" else words


def where(alternatives: Alternatives, contexts: Sequence[Sequence[str]]) -> list[Mask]:
    """Return for each context [tokens] whether the rule holds at each of its tokens."""
    evidence = Evidence(contexts, [[0.0] * len(tokens) for tokens in contexts])
    holds = np.zeros(len(evidence.firing), dtype=bool)
    for conditions in alternatives:
        holds |= evidence.where(conditions)
    return np.split(holds, evidence.ends[:-1]) if len(contexts) else []


# --------------------------------------------------------------------------------- replies


def answer(form: str, contexts: Sequence[dict[str, Any]], description: str | None) -> str | None:
    """Return the reply to a task of this form, as JSON; None if the description is no rule.

    `contexts` have `tokens` and `focus`. `Unknown` holds nowhere.
    """
    tokens = [context["tokens"] for context in contexts]
    if form == "choose":
        return json.dumps({"rationale": "it shares least", "context": odd_one_out(contexts)})
    alternatives = () if description in (None, UNKNOWN) else rule_from_words(description or "")
    if alternatives is None:
        return None
    holds = where(alternatives, tokens)
    if form == "predict":
        predictions: list[dict[str, Any]] = [
            {
                "context": number,
                "active": [
                    {"token": int(place) + 1, "activation": LOUDEST}
                    for place in np.flatnonzero(mask)
                ],
            }
            for number, mask in enumerate(holds, 1)
        ]
        return json.dumps({"contexts": predictions})
    if form in COMPUTED:
        return _computed(form, [bool(mask.any()) for mask in holds])
    answers = [
        {"context": number, "yes": bool(mask.any() if c["focus"] is None else mask[c["focus"]])}
        for number, (mask, c) in enumerate(zip(holds, contexts, strict=True), 1)
    ]
    return json.dumps({"answers": answers})


def _computed(form: str, fits: Sequence[bool]) -> str:
    """Return the reply of a model to which a text is the description, or has nothing of it."""
    if form == "embed":
        cosines = [{"context": n, "cosine": float(fit)} for n, fit in enumerate(fits, 1)]
        return json.dumps({"similarities": cosines})
    losses = [
        {"context": n, "given": 0.0 if fit else 1.0, "without": 1.0}
        for n, fit in enumerate(fits, 1)
    ]
    return json.dumps({"losses": losses})


def written_to(description: str | None) -> str | None:
    """Return as JSON texts in which a rule of words or tokens holds; None if it is no such rule.

    Only what the rule says of the token itself is written: it holds three times in each text.
    """
    alternatives = rule_from_words(description or "") or ()
    said = [c.value for one in alternatives for c in one if c.offset == 0 and c.attribute in SAID]
    if not said:
        return None
    texts = []
    for number in range(WRITTEN):
        value = said[number % len(said)]
        one, other = FRAMES[number % len(FRAMES)]
        if value[:1].isspace():
            texts.append(f"{one}{value} {other}{value},{value}")
        else:  # a word, or a piece that may stand inside one
            texts.append(f"{value} {one} {value} {other} ({value})")
    return json.dumps({"texts": texts})


def matches(contexts: Sequence[dict[str, Any]], descriptions: Sequence[str]) -> str | None:
    """Return as JSON which contexts fit each description that is a rule; None if none is."""
    fields = {}
    for number, description in enumerate(descriptions, 1):
        text = answer("judge", contexts, description)
        if text is not None:
            told = zip(LETTERS, json.loads(text)["answers"], strict=False)
            fields[str(number)] = " ".join(letter for letter, one in told if one["yes"])
    return json.dumps(fields) if fields else None


def specificity(context: dict[str, Any], description: str | None) -> tuple[int, str] | None:
    """Return 3 where the rule holds on the marked token, 2 for the next token on either side, 1
    for elsewhere in the context, 0 for nowhere, and why; None if the description is no rule."""
    alternatives = () if description in (None, UNKNOWN) else rule_from_words(description or "")
    if alternatives is None:
        return None
    (holds,) = where(alternatives, [context["tokens"]])
    places = np.flatnonzero(holds)
    if not len(places):
        return 0, "the rule holds nowhere in the context"
    away = int(np.abs(places - context["focus"]).min())
    if away == 0:
        return 3, "the rule holds on the marked token"
    if away == 1:
        return 2, "the rule holds next to the marked token"
    return 1, f"the rule holds {away} tokens from the marked token"


def any_of(tokens: Sequence[str]) -> str:
    """Return the rule in words that holds on any of these tokens; Unknown if none can be said."""
    said = [quoted(token) for token in tokens if rule_from_words(quoted(token)) is not None]
    return "; or ".join(said) or UNKNOWN


def common_word(contexts: Sequence[dict[str, Any]]) -> str:
    """Return `'word' in any case` if all contexts fire most strongly on one word, else Unknown."""
    words = set()
    for context in contexts:
        levels = context["activations"]
        words.add(context["tokens"][int(np.argmax(levels))].strip().lower())
    word = next(iter(words)) if len(words) == 1 else ""
    return f"{quoted(word)} in any case" if word.isalpha() else UNKNOWN


def odd_one_out(contexts: Sequence[dict[str, Any]]) -> int:
    """Return the number of the context that shares least with the rest: first of the marked
    tokens, then of all words; the first of those that tie."""
    marked = [c["tokens"][c["focus"]].strip().lower() for c in contexts]
    times = Counter(marked)
    bags = [{token.strip().lower() for token in c["tokens"]} for c in contexts]
    shared = [
        (times[word], sum(len(bag & other) for other in bags))
        for word, bag in zip(marked, bags, strict=True)
    ]
    return 1 + min(range(len(shared)), key=lambda place: shared[place])


# ------------------------------------------------------------------------- requests, replies


def body_of(item: Item, question: Question) -> dict[str, Any]:
    """Return what a rater without a model needs of a task, or of a rubric about a description."""
    body: dict[str, Any] = {
        "item": item.id,  # units may share a description and a context: each call has its own key
        "form": question.form,
        "scores": list(question.scores),
        "description": item.description,
        "contexts": [
            {
                "tokens": list(context.tokens),
                "focus": context.focus,
                "activations": None if context.activations is None else list(context.activations),
            }
            for context in item.contexts
        ],
    }
    if item.descriptions:
        body["descriptions"] = list(item.descriptions)
    return body


def reply_to(
    body: dict[str, Any], describe: Callable[[Sequence[dict[str, Any]]], str | None]
) -> Reply:
    """Return the truthful reply to what `body_of` made; `describe` says what contexts share.

    A description that is no rule's words, and contexts that `describe` makes nothing of (None),
    are failures that say so.
    """
    contexts, description = body["contexts"], body["description"]
    text: str | None
    if body["form"] == "describe":
        rule = any_of(body["promoted"]) if "promoted" in body else describe(contexts)
        if rule is None:
            return Reply("", stop="error", error="too little evidence for a rule")
        text = json.dumps({"rationale": "what the contexts share", "description": rule})
    elif body["form"] == "rate":
        rated = specificity(contexts[0], description)
        share = None if rated is None else rated[0] / 3
        scores = body["scores"]
        text = None
        if rated is not None and share is not None:
            score = scores[round(share * (len(scores) - 1))]
            text = json.dumps({"rationale": rated[1], "score": score})
    elif body["form"] == "write":
        text = written_to(description)
    elif body["form"] == "match":
        text = matches(contexts, body["descriptions"])
    else:
        text = answer(body["form"], contexts, description)
    if text is None:
        return Reply("", stop="error", error="the description is not in the words of a rule")
    return Reply(text)
