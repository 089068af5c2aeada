"""A language model that describes a unit, then decides place by place: `detector:RATER:MODEL`.

From a part of a unit's `explain` contexts the model names what the marked tokens have in common,
and what the texts have; `lexical` adds its rule. Each description is tried on other `explain`
contexts, firing against silent places, and the one that tells them apart best is kept. Its
probabilities of yes on held-out `score` places are the judgement: their AUROC, firing against
silent, on the rubric's scale. Places that the first description misses are described once more:
a unit of several concepts gets several descriptions, and the score of the first alone.

Probabilities are read from the log probabilities of yes and no. A server that gives none (as
Anthropic's) is taken at its word, and the reply says so in `details`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import BadInput
from autointerp.questions.forms import UNKNOWN
from autointerp.questions.question import Question, fields_of
from autointerp.raters import (
    Extent,
    Finding,
    Headroom,
    RaterOptions,
    Step,
    call_key,
    load_rater,
    version_of,
)
from autointerp.raters._apply import rule_from_words, where
from autointerp.raters._detector_prompts import (
    DECIDE_TEXTS,
    DECIDE_TOKENS,
    NAME_TEXTS,
    NAME_TOKENS,
    NOTHING,
    StepQuestion,
    chances_in,
    listed,
)
from autointerp.raters._evidence import Evidence, score_of
from autointerp.raters._marks import Context, Mark, firing_marks, silent_marks
from autointerp.raters._prices import Price
from autointerp.raters._rules import learn, rule_in_words
from autointerp.raters._served import ServedRaterBase
from autointerp.raters.local import LocalRater
from autointerp.records import Item, ItemContext, Reply, Request
from autointerp.stats.ranks import auc
from autointerp.text import count

WHAT = "a language model"
EXAMPLE = "openai:m"

VERSION = 1
ALONE = "alone:"  # ahead of the model: without the rule of `lexical`
NAMED: dict[str, int] = {"tokens": 12, "texts": 6}  # firing places that a name is to fit
AROUND = (6, 3)  # tokens of a text before and after the place
HELD = 8  # firing places on which descriptions compete, and as many silent ones
JUDGED = 12  # firing places of `score`, and as many silent ones
LEAST_NAMED, LEAST_HELD = 3, 4
LEAST_MISSED, MISSED_SHARE = 4, 0.25  # of the firing places, to be described once more
# AUROC on `explain` places from which on no description of this level is sought: texts cost three
# times what words cost, and help where no word does.
ENOUGH: dict[str, float] = {"tokens": 0.90, "texts": 0.80}
# AUROC on `explain` places under which nothing is measured, and under which an explainer says
# `Unknown`. Sixteen places tell little: at 0.65 for both, four of 34 clean units of the design side
# had no description, and the AUC against the unclean was 0.86 and 0.96 in two plantings, not 0.92
# and 0.95.
TRIED, SUPPORTED = 0.55, 0.65
# Fixed on the kit's design side: 119 units by the rule alone (no model). Of 0.55 to 0.65 and 0.85
# to 0.93 they tell clean units from mixtures, drift and noise about best (AUC 0.94 to 0.97
# throughout). Under LOW the description is `Unknown`.
LOW, HIGH = 0.60, 0.92
TOP = 20  # alternatives that are read at a token
CASES_A_CALL = 8  # that are completed one by one: a call takes seconds on one core
CASE_BYTES = 50  # about, for forecasts
YES_OR_NO = 'root ::= " yes" | " no"'
LONGEST_NAME = 16  # tokens

Floats = NDArray[np.float64]
Level = Literal["tokens", "texts", "rule"]
LEVELS: tuple[Level, ...] = ("tokens", "texts")
NAME = {"tokens": NAME_TOKENS, "texts": NAME_TEXTS}
DECIDE = {"tokens": DECIDE_TOKENS, "texts": DECIDE_TEXTS}


@dataclass(frozen=True)
class Candidate:
    """A description that competes.

    Attributes:
        level: What it was made from: marked tokens, the texts round them, or by `lexical`.
        auroc: On the `explain` places held out for it; NaN before it was tried.
    """

    level: Level
    text: str
    auroc: float = math.nan


class Detector:
    """A rater that asks a language model in steps."""

    evidence: Literal["shown", "all"] = "all"
    is_llm = True
    expected_steps = 5

    def __init__(self, model: ServedRaterBase, options: RaterOptions, with_rules: bool) -> None:
        self.model = model
        self.with_rules = with_rules
        self.seed = options.seed
        self.version = f"{VERSION} {version_of(model)}".strip()
        self.name = f"detector:{'' if with_rules else ALONE}{model.name}"
        # Each case by itself in one call: what llama.cpp offers beyond the chat protocol.
        self.one_by_one = isinstance(model, LocalRater)
        self.concurrency = model.concurrency
        if isinstance(model, LocalRater):
            model.slots = self.concurrency = 1  # one cache of prompts for all cases
            self.expected_steps = 9

    # ------------------------------------------------------------------------- the model's

    @property
    def price(self) -> Price | None:
        return self.model.price

    @property
    def headroom(self) -> Headroom | None:
        return self.model.headroom

    def require_key(self) -> None:
        self.model.require_key()

    async def open(self, remembered: str | None) -> str | None:
        return await self.model.open(remembered)

    async def close(self) -> None:
        await self.model.close()

    async def check(self) -> list[Finding]:
        return await self.model.check()

    async def send(self, request: Request) -> Reply:
        """Make the call of a step."""
        return await self.model.send(request)

    def extent(self, request: Request) -> Extent:
        """Return how large a step is, or all of a judgement's."""
        if "judgement" not in request.body:
            return self.model.extent(request)
        cases = [*NAMED.values(), *[2 * HELD] * 2, 2 * JUDGED]
        size = sum(len(DECIDE_TEXTS) + CASE_BYTES * count for count in cases)
        return Extent(size, self.expected_steps * self.model.most_tokens)

    # ------------------------------------------------------------------------- judgements

    def request(self, item: Item, question: Question, repeat: int = 0) -> Request:
        """Return the judgement as a whole: what it is about, and how it is made."""
        body = {
            "judgement": question.form,
            "rater": self.name,
            "version": VERSION,
            "seed": self.seed,
            "scores": list(question.scores),
            "item": item.id,
            "description": item.description,
            "contexts": contexts_of(item),
        }
        key = call_key("detector", self.model.place, body, question, repeat)
        return Request(key, item.id, body, repeat)

    def steps(
        self, item: Item, question: Question, repeat: int = 0
    ) -> Generator[Step, Reply, Reply]:
        """Yield the calls of a judgement; return its reply."""
        if question.about == "description" or question.form not in ("rate", "describe"):
            reply = yield Step(self.model.request(item, question, repeat), question)
            return replace(reply, cost_usd=0.0, tokens_in=None, tokens_out=None)
        asking = Judgement(self, item, repeat)
        contexts = contexts_of(item)
        if any(context["activations"] is None for context in contexts):
            return _failure("the item hides its activations, by which places are told apart")
        explain = [c for c in contexts if c["split"] == "explain"]
        score = [c for c in contexts if c["split"] == "score"]
        return (yield from asking.judge(explain, score, question))


class Judgement:
    """One judgement on its way."""

    def __init__(self, detector: Detector, item: Item, repeat: int) -> None:
        self.detector = detector
        self.item = item
        self.repeat = repeat
        content = json.dumps([VERSION, detector.seed, repeat, item.id])
        self.rng = np.random.default_rng(int(hashlib.sha256(content.encode()).hexdigest()[:16], 16))
        self.calls = 0
        self.hard = 0  # calls whose answers came without probabilities

    def judge(
        self, explain: Sequence[Context], score: Sequence[Context], question: Question
    ) -> Generator[Step, Reply, Reply]:
        firing = firing_marks(explain, self.rng)
        held_count = min(HELD, len(firing) // 2)
        held, shown = firing[:held_count], firing[held_count:]
        silent = silent_marks(explain, held, self.rng)
        if len(held) < LEAST_HELD or len(silent) < LEAST_HELD or len(shown) < LEAST_NAMED:
            return _failure(
                "too little evidence: "
                f"{count(len(firing), 'context that fires', 'contexts that fire')} and "
                f"{count(len(silent), 'silent one')} in `explain`, {LEAST_HELD + LEAST_NAMED} and "
                f"{LEAST_HELD} are needed"
            )
        competing: list[Candidate] = []
        if self.detector.with_rules:
            aside = {mark.context for mark in [*held, *silent]}
            rules = rule_candidates([c for n, c in enumerate(explain) if n not in aside])
            competing += yield from self.tried(rules, held, silent)
        for level in LEVELS:
            if any(one.auroc >= ENOUGH[level] for one in competing):
                continue
            named = yield from self.named(level, shown, competing)
            competing += yield from self.tried(named, held, silent)
        first = max(competing, key=lambda one: one.auroc, default=None)
        least = SUPPORTED if question.form == "describe" else TRIED
        if first is None or first.auroc < least:
            return self.reply(question, [], competing)
        if first.level == "rule":  # learnt again from all that there is
            learnt = rule_candidates(explain)
            first = replace(first, text=learnt[0].text) if learnt else first
        if question.form == "describe":
            return self.reply(question, [first], competing)
        return (yield from self.measured(first, competing, shown, score, question))

    def measured(
        self,
        first: Candidate,
        competing: Sequence[Candidate],
        shown: Sequence[Mark],
        score: Sequence[Context],
        question: Question,
    ) -> Generator[Step, Reply, Reply]:
        """Measure the first description on held-out places; describe once more what it misses."""
        firing = firing_marks(score, self.rng)
        if first.level != "rule":
            firing = firing[:JUDGED]
        silent = silent_marks(score, firing, self.rng)
        if min(len(firing), len(silent)) < LEAST_HELD:
            return _failure(
                f"too little evidence: {count(len(firing), 'firing place')} and "
                f"{count(len(silent), 'silent place')} in `score`, {LEAST_HELD} of each are needed"
            )
        chances = yield from self.chances(first, [*firing, *silent])
        auroc, error = auroc_with_error(chances[: len(firing)], chances[len(firing) :])
        cut = best_cut(chances, len(firing))
        missed = [mark for mark, p in zip(firing, chances, strict=False) if p < cut]
        kept, covers = [first], 1 - len(missed) / len(firing)
        if len(missed) >= LEAST_MISSED and len(missed) >= MISSED_SHARE * len(firing):
            second = yield from self.another(first, cut, shown, missed, silent)
            if second is not None:
                kept.append(second)
        details = {
            "auroc": auroc,
            "standard_error": error,
            "covers": covers,
            "firing": len(firing),
            "silent": len(silent),
            "expected_score": expected_level(auroc, error, question.scores),
        }
        return self.reply(question, kept if auroc >= LOW else [], competing, auroc, details)

    def another(
        self,
        first: Candidate,
        cut: float,
        shown: Sequence[Mark],
        missed: Sequence[Mark],
        silent: Sequence[Mark],
    ) -> Generator[Step, Reply, Candidate | None]:
        """Return a description of what the first one misses, or None where none is supported.

        It is made from the `explain` places that the first one misses, and tried on those of
        `score`: so it says what the unit does besides, and nothing of its score.
        """
        asked = list(shown[: NAMED["tokens"]])
        chances = yield from self.chances(first, asked)
        left = [mark for mark, p in zip(asked, chances, strict=True) if p < cut]
        if len(left) < LEAST_NAMED:
            return None
        named = yield from self.named("tokens", left, [first])
        tried = yield from self.tried(named, missed[:HELD], silent[:HELD])
        best = max(tried, key=lambda one: one.auroc, default=None)
        return best if best is not None and best.auroc >= SUPPORTED else None

    # ------------------------------------------------------------------------- asking

    def named(
        self, level: Level, marks: Sequence[Mark], known: Sequence[Candidate]
    ) -> Generator[Step, Reply, list[Candidate]]:
        """Return what the model says that the places share, unless it is nothing, or known."""
        shown = [_quoted(self.case(level, mark)) for mark in marks[: NAMED[level]]]
        case = f"Tokens: {', '.join(shown)} ->"
        if level == "texts":
            case = f"Texts: {' | '.join(shown)} ->"
        question = StepQuestion(f"name {level}", "name", NAME[level], 1, self.one_by_one)
        reply = yield self.step(question, [case])
        text = question.read(reply).description or ""
        if text.lower() in NOTHING or text in [one.text for one in known]:
            return []
        return [Candidate(level, text)]

    def case(self, level: Level, mark: Mark) -> str:
        """Return a place as the model is shown it: its word, or the text round it."""
        return mark.word if level == "tokens" else mark.text(*AROUND)

    def tried(
        self, candidates: Sequence[Candidate], firing: Sequence[Mark], silent: Sequence[Mark]
    ) -> Generator[Step, Reply, list[Candidate]]:
        """Return the candidates with their AUROC on these places."""
        tried = []
        for candidate in candidates:
            chances = yield from self.chances(candidate, [*firing, *silent])
            auroc = float(auc(chances[: len(firing)], chances[len(firing) :]))
            tried.append(replace(candidate, auroc=auroc))
        return tried

    def chances(
        self, candidate: Candidate, marks: Sequence[Mark]
    ) -> Generator[Step, Reply, Floats]:
        """Return the probability at each place that the unit fires there by the description.

        A rule is applied, not asked about: 1 where it holds, 0 elsewhere. The cases are asked in
        an order drawn at random, firing and silent ones mixed.
        """
        if candidate.level == "rule":
            alternatives = rule_from_words(candidate.text)
            assert alternatives is not None
            holds = where(alternatives, [mark.tokens for mark in marks])
            return np.array([float(h[m.place]) for h, m in zip(holds, marks, strict=True)])
        order = self.rng.permutation(len(marks))
        size = CASES_A_CALL if self.one_by_one else max(1, len(marks))
        chances = np.empty(len(marks))
        for begin in range(0, len(marks), size):
            places = order[begin : begin + size]
            question = StepQuestion(
                f"decide {candidate.level}",
                "decide",
                f"{DECIDE[candidate.level]}{candidate.text}\n",
                len(places),
                self.one_by_one,
            )
            cases = [self.case(candidate.level, marks[place]) for place in places]
            reply = yield self.step(question, cases)
            fields = fields_of(reply)
            assert isinstance(fields, dict)  # the reply was read
            chances[places], by_probability = chances_in(fields, reply.details, len(places))
            self.hard += not by_probability
        return chances

    def step(self, question: StepQuestion, cases: Sequence[str]) -> Step:
        """Return the call that asks about the cases."""
        self.calls += 1
        model = self.detector.model
        if self.one_by_one:
            if question.task == "decide":
                cases = [f"{_quoted(case)}:" for case in cases]
            body: dict[str, Any] = {
                "model": model.model,
                "prompt": [f"{question.instructions}{case}" for case in cases],
                "max_tokens": LONGEST_NAME if question.task == "name" else 1,
                "temperature": 0,
                "seed": self.repeat,
                "stop": ["\n"],
                "logprobs": TOP,
                "cache_prompt": True,
            }
            if question.task == "decide":
                body["grammar"] = YES_OR_NO
        else:
            user = listed(self.item, cases)
            body = model.body(question.system(), user, question.schema(), question, self.repeat)
        key = call_key(model.provider, model.place, body, question, self.repeat)
        return Step(Request(key, self.item.id, body, self.repeat), question)

    @property
    def one_by_one(self) -> bool:
        return self.detector.one_by_one

    # ------------------------------------------------------------------------- replies

    def reply(
        self,
        question: Question,
        kept: Sequence[Candidate],
        competing: Sequence[Candidate],
        auroc: float = 0.5,
        details: dict[str, Any] | None = None,
    ) -> Reply:
        """Return the judgement in the question's form."""
        description = "; ".join(one.text for one in kept) or UNKNOWN
        tried = ", ".join(f"{one.text} ({one.auroc:.2f})" for one in competing) or "none"
        if not kept:
            rationale = (
                f"AUROC {auroc:.2f}: no description holds on held-out places; tried: {tried}."
            )
        elif question.form == "describe":
            rationale = f"AUROC {kept[0].auroc:.2f} on held-out places; tried: {tried}."
        else:
            more = f"; what it misses: {kept[1].text}" if len(kept) > 1 else ""
            rationale = f"AUROC {auroc:.2f} of '{kept[0].text}' on held-out places{more}."
        answer: dict[str, Any] = {"rationale": rationale, "description": description}
        if question.form == "rate":
            answer["score"] = score_of(auroc, question.scores, LOW, HIGH)
        names = [{"level": c.level, "text": c.text, "auroc": round(c.auroc, 4)} for c in competing]
        how = "log probabilities" if not self.hard else "answers, no probabilities"
        more_details = {
            "descriptions": [{"level": one.level, "text": one.text} for one in kept],
            "candidates": names,
            "calls": self.calls,
            "decisions": how,
        }
        return Reply(
            json.dumps(answer, ensure_ascii=False),
            model=self.detector.name,
            cost_usd=0.0,
            details={"auroc": auroc, **(details or {}), **more_details},
        )


def rule_candidates(contexts: Sequence[Context]) -> list[Candidate]:
    """Return the best single rule that `lexical` learns, or none."""
    evidence = Evidence([c["tokens"] for c in contexts], [c["activations"] for c in contexts])
    if not evidence.firing.any() or evidence.firing.all():
        return []
    words = rule_in_words(learn(evidence, 1))
    return [] if rule_from_words(words) is None else [Candidate("rule", words)]


def best_cut(chances: Floats, firing: int) -> float:
    """Return the probability from which on a place counts as told: where the share of firing
    places less that of silent ones is largest (Youden 1950)."""
    cuts = np.unique(chances)
    yes, no = chances[:firing], chances[firing:]
    gains = [float((yes >= cut).mean() - (no >= cut).mean()) for cut in cuts]
    return float(cuts[int(np.argmax(gains))])


def auroc_with_error(firing: Floats, silent: Floats) -> tuple[float, float]:
    """Return the AUROC and its standard error. Source: Hanley & McNeil 1982, Radiology 143:29."""
    value = float(auc(firing, silent))
    n, m = len(firing), len(silent)
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    spread = value * (1 - value) + (n - 1) * (q1 - value**2) + (m - 1) * (q2 - value**2)
    return value, max(math.sqrt(max(spread, 0.0) / (n * m)), 0.5 / math.sqrt(n * m))


def level_chances(auroc: float, error: float, scores: Sequence[int]) -> list[float]:
    """Return the probability of each level, were the AUROC normal round its value."""
    count = len(scores)
    cuts = [(LOW + HIGH) / 2] if count == 2 else np.linspace(LOW, HIGH, count - 1).tolist()
    below = [0.0, *(0.5 * math.erfc((auroc - cut) / error / math.sqrt(2)) for cut in cuts), 1.0]
    shares: list[float] = np.diff(below).tolist()
    return shares


def expected_level(auroc: float, error: float, scores: Sequence[int]) -> float:
    """Return the mean level by `level_chances`."""
    return float(np.dot(scores, level_chances(auroc, error, scores)))


def contexts_of(item: Item) -> list[Context]:
    """Return the contexts as a request's body holds them; their order decides nothing."""
    return sorted(
        (
            {
                "split": context.split,
                "tokens": list(context.tokens),
                "activations": None
                if context.activations is None
                else [max(0.01, round(a, 2)) if a > 0 else 0.0 for a in context.activations],
                "focus": _place(context),
            }
            for context in item.contexts
        ),
        key=lambda fields: (
            fields["split"],
            fields["tokens"],
            fields["focus"] or 0,
            fields["activations"] or [],
        ),
    )


def _place(context: ItemContext) -> int:
    """Return the marked token; where none is marked, the one on which the unit fires most."""
    if context.focus is not None:
        return context.focus
    return int(np.argmax(context.activations)) if context.activations else 0


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _failure(reason: str) -> Reply:
    return Reply("", "error", error=reason, cost_usd=0.0)


def members(model: str) -> list[str]:
    """Return the name of the model that is asked."""
    return [model.removeprefix(ALONE)]


def create(model: str | None, options: RaterOptions) -> Detector:
    """Return the rater over a model; `alone:` ahead of it leaves the rule of `lexical` out.

    Raises BadInput for a rater that is no language model behind a server.
    """
    with_rules = not (model or "").startswith(ALONE)
    asked = (model or "").removeprefix(ALONE)
    if not asked:
        raise BadInput("rater 'detector': name a model, as in detector:local:PATH.gguf")
    if options.structured == "choice":
        raise BadInput(
            "rater 'detector' decides by probabilities already, and --structured choice is for "
            "scores; leave the option out"
        )
    rater = load_rater(asked, options)
    if not isinstance(rater, ServedRaterBase) or not rater.writes:
        raise BadInput(
            f"rater 'detector:{asked}': {asked} cannot be asked for words; give a language model, "
            "as in detector:openai:MODEL or detector:local:PATH.gguf"
        )
    return Detector(rater, options, with_rules)
