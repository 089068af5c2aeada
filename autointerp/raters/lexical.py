"""A short rule of tokens and neighbours, no model: what surface text alone explains.

From a unit's `explain` contexts it learns a rule of a few alternatives for where the unit fires.
On the `score` contexts it measures how well the first alternative alone, the best single one,
tells firing from silent positions, over the whole range of activation alike. The score is that
AUROC on the rubric's scale: what takes a second alternative to say is no one concept. Where the
splits hold too little for that, the contexts of both take turns as the held-out ones.

As an explainer it gives the rule in words; asked about a description in such words, it applies it.

Its blind spot is meaning: words that have only their sense in common.
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
from autointerp.raters import Rater, RaterOptions, require_written
from autointerp.raters._apply import body_of, reply_to
from autointerp.raters._evidence import Evidence, Mask, score_of
from autointerp.raters._rules import Rule, learn, measure, rule_in_words
from autointerp.records import Item, Reply, Request
from autointerp.stats.ranks import auc
from autointerp.text import count

WHAT = "a fixed rule on words and no language model"
OPTIONS = ()

VERSION = 2
ALTERNATIVES = 2
MOST_ALTERNATIVES = 4
# Fixed on the kit's design side, 231 units. Under LOW is the scale's lowest level: 19 of 20 noise
# units are there (their 95th percentile is 0.552). From HIGH is its highest: of 0.80 to 0.97 it
# tells clean units best from those of several concepts. The other levels have equal widths between.
LOW, HIGH = 0.55, 0.88
LEAST_FIRING, LEAST_CONTEXTS, LEAST_SILENT = 10, 5, 50
FOLDS = 5  # of contexts, where the splits are too small
LEAST_IN_ALL = 5  # contexts that fire, of both splits, to be told apart at all


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
        self.version = str(VERSION)

    def request(self, item: Item, question: Question, repeat: int = 0) -> Request:
        """Return the contexts as the call's body."""
        require_written(self.name, question)
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
    evidence = _evidence(contexts)
    return None if _lack(evidence) else rule_in_words(learn(evidence, alternatives))


def judge(body: dict[str, Any]) -> Reply:
    """Return the reply to a request's body."""
    contexts = body["contexts"]
    if any(context["activations"] is None for context in contexts):
        return _failure("the item hides its activations, from which the rule is learnt")
    splits = {
        split: _evidence([context for context in contexts if context["split"] == split])
        for split in ("explain", "score")
    }
    lacks = {split: _lack(evidence) for split, evidence in splits.items()}
    if not any(lacks.values()):
        return _held_out(splits["explain"], splits["score"], body)
    return _in_turns(contexts, body, next(filter(None, lacks.values())))


def _evidence(contexts: Sequence[dict[str, Any]]) -> Evidence:
    return Evidence(
        [context["tokens"] for context in contexts],
        [context["activations"] for context in contexts],
    )


def _held_out(explain: Evidence, score: Evidence, body: dict[str, Any]) -> Reply:
    """Return the judgement of a rule learnt on one split and measured on the other."""
    alternatives = body["alternatives"]
    rule = learn(explain, alternatives)
    figures = measure(rule, score, alternatives)
    firing, silent = score.weights()
    where = np.zeros(len(firing), dtype=bool)
    for alternative in rule:
        where |= score.where(alternative.conditions)
    covers, alarms = float(firing[where].sum()), float(silent[where].sum())
    positions = int(score.firing.sum()), int((~score.firing).sum())
    rationale = (
        f"AUROC {figures[0]:.2f} of the first rule on {positions[0]} firing and {positions[1]} "
        f"silent held-out positions; the rules ({rule_in_words(rule)}) hold on {covers:.0%} of "
        f"the firing and {alarms:.0%} of the silent ones."
        if rule
        else f"No short rule tells the {positions[0]} firing from the {positions[1]} silent ones."
    )
    return _judgement(
        figures[0],
        rule,
        rationale,
        body,
        auroc_by_alternatives=figures,
        covers=covers,
        alarms=alarms,
        firing=positions[0],
        silent=positions[1],
    )


def _in_turns(contexts: Sequence[dict[str, Any]], body: dict[str, Any], lack: str) -> Reply:
    """Return the judgement of rules learnt on some contexts and measured on the others, in turns.

    Its uncertainty is the jackknife's over contexts.
    """
    evidence = _evidence(contexts)
    fires = [bool(np.any(np.array(context["activations"]) > 0)) for context in contexts]
    silent_count = int((~evidence.firing).sum())
    if sum(fires) < LEAST_IN_ALL or silent_count < LEAST_SILENT:
        return _failure(
            "too little evidence: "
            f"{count(sum(fires), 'context that fires', 'contexts that fire')} and "
            f"{count(silent_count, 'silent position')} in all, at least {LEAST_IN_ALL} and "
            f"{LEAST_SILENT} are needed"
        )
    fold = np.zeros(len(contexts), dtype=np.int64)
    for part in (np.array(fires), ~np.array(fires)):
        fold[part] = np.arange(part.sum()) % FOLDS
    told = np.zeros(len(evidence.firing))
    for number in range(FOLDS):
        rule = learn(_evidence([c for c, f in zip(contexts, fold, strict=True) if f != number]), 1)
        if rule:
            here = fold[evidence.context] == number
            told[here & evidence.where(rule[0].conditions)] = rule[0].confidence
    firing, silent = evidence.weights()

    def auroc(kept: Mask) -> float:
        f, s = kept & evidence.firing, kept & ~evidence.firing
        return auc(told[f], told[s], firing[f], silent[s])

    statistic = auroc(np.ones(len(told), dtype=bool))
    firing_contexts = np.flatnonzero(fires)
    without = np.array([auroc(evidence.context != number) for number in firing_contexts])
    n = len(without)
    error = float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
    rule = learn(evidence, body["alternatives"])
    beside = "" if not all(fires) else ", all of them beside its firings"
    rationale = (
        f"AUROC {statistic:.2f} ± {error:.2f} of one rule, learnt and measured in turns on "
        f"{count(n, 'context')} that fire and {count(silent_count, 'silent position')}{beside}: "
        f"the splits hold too little ({lack})."
    )
    return _judgement(
        statistic,
        rule,
        rationale,
        body,
        standard_error=error,
        scores_within=[
            score_of(max(0.0, statistic - error), body["scores"], LOW, HIGH),
            score_of(min(1.0, statistic + error), body["scores"], LOW, HIGH),
        ],
        contexts=n,
        silent=silent_count,
    )


def _judgement(
    statistic: float, rule: Rule, rationale: str, body: dict[str, Any], **details: Any
) -> Reply:
    answer = {
        "rationale": rationale,
        "description": rule_in_words(rule) if statistic >= LOW else "Unknown",
        "score": score_of(statistic, body["scores"], LOW, HIGH),
    }
    return Reply(
        json.dumps(answer, ensure_ascii=False),
        details={"auroc": statistic, **details, "rule": rule_as_values(rule)},
    )


def _failure(reason: str) -> Reply:
    return Reply("", stop="error", error=reason)


def _lack(evidence: Evidence) -> str | None:
    """Return why the evidence is too little, or None."""
    firing = int(evidence.firing.sum())
    contexts = len(np.unique(evidence.context[evidence.firing]))
    silent = int((~evidence.firing).sum())
    if firing < LEAST_FIRING or contexts < LEAST_CONTEXTS:
        return (
            f"{count(firing, 'firing position')} in {count(contexts, 'context')}, "
            f"at least {LEAST_FIRING} in {LEAST_CONTEXTS} are needed"
        )
    if silent < LEAST_SILENT:
        return f"{count(silent, 'silent position')}, at least {LEAST_SILENT} are needed"
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
