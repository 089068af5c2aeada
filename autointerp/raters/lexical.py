"""A short rule of tokens and neighbours, no model: what surface text alone explains.

From a unit's `explain` contexts it learns a rule of at most two alternatives for where the unit
fires, and measures on the `score` contexts how well the rule tells firing from silent positions.
The score is the mean of the AUROC with one alternative and with both: what takes a second
alternative to say is worth half as much, because a long enough list describes anything.

As an explainer it gives the rule in words; asked about a description in such words, it applies it.

Its blind spot is meaning: topics, colour words, parts of the body.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from autointerp.errors import BadInput
from autointerp.questions.question import Question
from autointerp.raters import Rater, RaterOptions
from autointerp.raters._apply import body_of, reply_to
from autointerp.raters._evidence import Evidence, score_of
from autointerp.raters._rules import Rule, learn, measure, rule_in_words
from autointerp.records import Item, Reply, Request

WHAT = "a fixed rule on words and no language model"

VERSION = 1
ALTERNATIVES = 2
MOST_ALTERNATIVES = 4
# Fixed on planted units (`questions/planter.py`, seed 1, 160 units), never on a subject. Under
# LOW is the scale's lowest level: 19 of 20 noise units are there (their 95th percentile is 0.542
# with one or two alternatives, 0.543 with three or four). From HIGH is its highest: midway
# between the medians of clean and mostly clean units, topics left out (0.953). The other levels
# have equal widths between.
LOW, HIGH = 0.55, 0.95
LEAST_FIRING, LEAST_CONTEXTS, LEAST_SILENT = 10, 5, 50


def create(model: str | None, options: RaterOptions) -> Rater:
    """Return the rater; `model` is the number of alternatives a rule may have, 1 to 4.

    Raises BadInput if it is anything else.
    """
    if model is None:
        return Lexical(ALTERNATIVES)
    if model not in {str(count) for count in range(1, MOST_ALTERNATIVES + 1)}:
        raise BadInput(
            f"lexical:{model}: give the number of alternatives of a rule, "
            f"lexical:1 to lexical:{MOST_ALTERNATIVES}"
        )
    return Lexical(int(model))


class Lexical:
    """A rater that measures how well a lexical rule separates firing from silent positions."""

    evidence: Literal["shown", "all"] = "all"
    is_llm = False

    def __init__(self, alternatives: int = ALTERNATIVES) -> None:
        self.alternatives = alternatives
        self.name = "lexical" if alternatives == ALTERNATIVES else f"lexical:{alternatives}"

    def request(self, item: Item, question: Question, repeat: int = 0) -> Request:
        """Return the contexts as the call's body."""
        if question.form != "rate" or question.about == "description":
            body = {"rater": self.name, "version": VERSION, "alternatives": self.alternatives}
            return self._keyed({**body, "probe": body_of(item, question)}, item, question, repeat)
        body = {
            "rater": self.name,
            "version": VERSION,
            "alternatives": self.alternatives,
            "rubric": question.digest,
            "scores": list(question.scores),
            # Sorted, so that the order in which contexts come decides nothing.
            "contexts": sorted(
                (
                    {
                        "split": context.split,
                        "tokens": list(context.tokens),
                        "activations": _rounded(context.activations),
                    }
                    for context in item.contexts
                ),
                key=lambda fields: (fields["split"], fields["tokens"], fields["activations"] or []),
            ),
        }
        return self._keyed(body, item, question, repeat)

    def _keyed(self, body: dict[str, Any], item: Item, question: Question, repeat: int) -> Request:
        content = {"rater": self.name, "body": body, "rubric": question.digest, "repeat": repeat}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return Request(hashlib.sha256(canonical.encode()).hexdigest(), item.id, body, repeat)

    async def send(self, request: Request) -> Reply:
        """Return the judgement as a rubric reads it, or a failure if there is too little."""
        began = time.perf_counter()
        body = request.body
        if "probe" in body:
            reply = reply_to(
                body["probe"], lambda contexts: describe(contexts, body["alternatives"])
            )
        else:
            reply = judge(body)
        return Reply(
            text=reply.text,
            stop=reply.stop,
            model=self.name,
            cost_usd=0.0,
            latency_s=time.perf_counter() - began,
            error=reply.error,
            details=reply.details,
        )


def _rounded(activations: Sequence[float] | None) -> list[float] | None:
    """Return the activations to two places; what fires stays above 0."""
    if activations is None:
        return None
    return [max(0.01, round(a, 2)) if a > 0 else 0.0 for a in activations]


def describe(contexts: Sequence[dict[str, Any]], alternatives: int) -> str | None:
    """Return the rule that the contexts teach, in words; None if they are too few to learn from."""
    evidence = Evidence(
        [context["tokens"] for context in contexts],
        [context["activations"] for context in contexts],
    )
    return None if _lack(evidence) else rule_in_words(learn(evidence, alternatives))


def judge(body: dict[str, Any]) -> Reply:
    """Return the reply to a request's body."""
    if any(context["activations"] is None for context in body["contexts"]):
        return _failure("the item hides its activations, from which the rule is learnt")
    splits = {}
    for split in ("explain", "score"):
        contexts = [context for context in body["contexts"] if context["split"] == split]
        splits[split] = Evidence(
            [context["tokens"] for context in contexts],
            [context["activations"] for context in contexts],
        )
        lack = _lack(splits[split])
        if lack:
            return _failure(f"too little evidence in `{split}`: {lack}")
    count = body["alternatives"]
    rule = learn(splits["explain"], count)
    figures = measure(rule, splits["score"], count)
    statistic = float(np.mean(figures))
    firing, silent = splits["score"].weights()
    where = np.zeros(len(firing), dtype=bool)
    for alternative in rule:
        where |= splits["score"].where(alternative.conditions)
    covers, alarms = float(firing[where].sum()), float(silent[where].sum())
    positions = int(splits["score"].firing.sum()), int((~splits["score"].firing).sum())
    words = rule_in_words(rule)
    rationale = (
        f"AUROC {statistic:.2f} on {positions[0]} firing and {positions[1]} silent held-out "
        f"positions; the rule ({words}) holds on {covers:.0%} of the firing and {alarms:.0%} of "
        "the silent ones."
        if rule
        else f"No short rule tells the {positions[0]} firing from the {positions[1]} silent ones."
    )
    answer = {
        "rationale": rationale,
        "description": words if statistic >= LOW else "Unknown",
        "score": score_of(statistic, body["scores"], LOW, HIGH),
    }
    details = {
        "auroc": statistic,
        "auroc_by_alternatives": figures,
        "covers": covers,
        "alarms": alarms,
        "firing": positions[0],
        "silent": positions[1],
        "rule": rule_as_values(rule),
    }
    return Reply(json.dumps(answer, ensure_ascii=False), details=details)


def _failure(reason: str) -> Reply:
    return Reply("", stop="error", error=reason)


def _lack(evidence: Evidence) -> str | None:
    """Return why the evidence is too little, or None."""
    firing = int(evidence.firing.sum())
    contexts = len(np.unique(evidence.context[evidence.firing]))
    silent = int((~evidence.firing).sum())
    if firing < LEAST_FIRING or contexts < LEAST_CONTEXTS:
        return (
            f"{firing} firing positions in {contexts} contexts, "
            f"at least {LEAST_FIRING} in {LEAST_CONTEXTS} are needed"
        )
    if silent < LEAST_SILENT:
        return f"{silent} silent positions, at least {LEAST_SILENT} are needed"
    return None


def rule_as_values(rule: Rule) -> list[dict[str, Any]]:
    """Return the rule as JSON values."""
    return [
        {
            "conditions": [
                {"attribute": c.attribute, "offset": c.offset, "value": c.value}
                for c in alternative.conditions
            ],
            "covers": alternative.covers,
            "alarms": alternative.alarms,
        }
        for alternative in rule
    ]
