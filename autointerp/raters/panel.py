"""Several judges as one, `panel:lexical,likelihood:PATH.gguf`; `check-rater` learns their weights.

Each member is asked, stored, paid and retried as the rater that it is; what it rated before is
used. Its value of a unit (the number behind its score where it has one, else its score) becomes a
rank among the planted units of the kit's design side, so that scores of several runs are
comparable. The ranks together give a probability that the unit follows one concept, not several or
none; the score is that probability in equal parts of the rubric's scale.

Members are divided by commas. `optional:MEMBER` may fail: the others then decide, with weights of
their own. `openai:MODEL@URL` is a member at an address of its own; all other options hold for
every member.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np

from autointerp.errors import BadInput, RaterError
from autointerp.files import PRIVATE_FILE, PRIVATE_FOLDER, json_value, write_text
from autointerp.questions.kit import KIT
from autointerp.questions.question import Question
from autointerp.questions.rubric_files import rubric_argument
from autointerp.raters import (
    Lesson,
    MemberAnswer,
    Rater,
    RaterOptions,
    call_key,
    load_rater,
    rater_names,
    version_of,
)
from autointerp.records import Item, Reply, Request, rater_kind
from autointerp.stats.results import or_none
from autointerp.stats.stacked import Stack, cross_validated, normal_scores
from autointerp.text import count

WHAT = "several judges as one"
EXAMPLE = "lexical,scripted:3"

FORM = 1  # of the file of weights
MOST_MEMBERS = 6  # each set of them that may have to do has weights of its own
OPTIONAL = "optional:"
NO_MEMBERS = ("panel", "human")
LEAST_EACH = 4  # planted units of one concept, and of others, to learn from


def create(model: str | None, options: RaterOptions) -> Panel:
    """Return the panel of the members that `model` lists; raises BadInput for fewer than two."""
    return Panel(model or "", options)


def members(model: str) -> list[str]:
    """Return the names of the members that `model` lists."""
    return [part.strip().removeprefix(OPTIONAL) for part in model.split(",")]


class Panel:
    """A rater whose score is made of other raters'.

    Attributes:
        members: In the order of the name.
        optional: Of each, whether the others may decide without it.
        version: Of the weights and the members; empty until they are read or learned.
        learned: What `check-rater` learned; None until then.
    """

    def __init__(self, spec: str, options: RaterOptions) -> None:
        parts = [part.strip() for part in spec.split(",")]
        if len(parts) < 2 or not all(parts):
            raise BadInput(
                f"rater 'panel:{spec}': list two members or more, divided by commas, as in "
                "panel:lexical,likelihood:PATH.gguf"
            )
        if len(parts) > MOST_MEMBERS:
            raise BadInput(f"rater 'panel:{spec}': {len(parts)} members; at most {MOST_MEMBERS}")
        self.spec = spec
        self.options = options
        self.optional = tuple(part.startswith(OPTIONAL) for part in parts)
        self.members = tuple(_member(part.removeprefix(OPTIONAL), options) for part in parts)
        names = [member.name for member in self.members]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise BadInput(f"rater 'panel:{spec}': {twice} is named twice; name each member once")
        if all(self.optional):
            raise BadInput(f"rater 'panel:{spec}': all members are optional; one must not be")
        self.name = "panel:" + ",".join(
            OPTIONAL * may_fail + name for name, may_fail in zip(names, self.optional, strict=True)
        )
        everything = any(member.evidence == "all" for member in self.members)
        self.evidence: Literal["shown", "all"] = "all" if everything else "shown"
        self.is_llm = any(member.is_llm for member in self.members)
        self.version = ""
        self.learned: Learned | None = None

    def request(self, item: Item, question: Question, repeat: int = 0) -> NoReturn:
        raise self._cannot(question)

    async def send(self, request: Request) -> NoReturn:
        raise RaterError(f"{self.name} is asked through its members")

    def _cannot(self, question: Question) -> RaterError:
        return RaterError(
            f"{self.name} only rates units, and '{question.id}' asks something else; name one of "
            f"its members instead, such as {self.members[0].name}"
        )

    # ------------------------------------------------------------------------- weights

    def prepare(self, folder: Path, question: Question) -> None:
        """Read the weights that a check has left in `folder`.

        Raises RaterError where there are none for this question, these members and this kit, or
        where the question is none about units.
        """
        if question.form != "rate" or question.about == "description":
            raise self._cannot(question)
        asked = shlex.quote(f"panel:{self.spec}") + self.options.in_names
        again = f"run `autointerp check-rater {asked} --rubric {rubric_argument(question.id)}`"
        path = self._file(folder, question)
        try:
            learned = Learned.from_values(json_value(path.read_text("utf-8")))
        except FileNotFoundError:
            raise RaterError(
                f"{self.name} was never checked on {question.id}, so its members have no weights; "
                f"{again}"
            ) from None
        except (OSError, ValueError, KeyError, TypeError):
            raise RaterError(f"{path} cannot be read; {again}") from None
        if learned.kit != KIT:
            raise RaterError(
                f"{self.name}: its weights are of kit {learned.kit}, and the kit is {KIT} now; "
                f"{again}"
            )
        for member, version in zip(self.members, learned.versions, strict=True):
            if version != version_of(member):
                raise RaterError(
                    f"{self.name}: its weights were learned with version '{version}' of "
                    f"{member.name}, which is '{version_of(member)}' now; {again}"
                )
        self._take(learned)

    def learn(self, folder: Path, question: Question, lessons: Sequence[Lesson]) -> None:
        """Learn the weights from planted units of the design side, and keep them in `folder`.

        Raises RaterError where the members rated too few of them, StorageError if they cannot be
        kept.
        """
        whole = [lesson for lesson in lessons if not any(map(math.isnan, lesson.values))]
        single = [lesson.single for lesson in whole]
        if min(sum(single), len(single) - sum(single)) < LEAST_EACH:
            of_one, others = sum(single), len(single) - sum(single)
            raise RaterError(
                f"{self.name}: its members rated {count(of_one, 'planted unit')} of one concept "
                f"and {count(others, 'other')}, at least {LEAST_EACH} of each are needed; see "
                "why they fail by `autointerp check-rater` of each"
            )
        by_score = []
        for place, member in enumerate(self.members):
            ways = {lesson.are_scores[place] for lesson in whole}
            if len(ways) > 1:
                raise RaterError(
                    f"{self.name}: {member.name} gave a number behind some of its scores and none "
                    "behind others, which have no common order; leave it out"
                )
            by_score.append(ways.pop())
        values = np.array([lesson.values for lesson in whole], dtype=np.float64)
        scores = np.column_stack([normal_scores(of, of) for of in values.T])
        kinds = sorted({lesson.kind for lesson in whole if lesson.kind})
        # A kind is left out at a time; what has none is shared among them.
        rest = itertools.cycle(range(max(1, len(kinds))))
        folds = [kinds.index(one.kind) if one.kind else next(rest) for one in whole]
        stacks = {}
        for subset in _subsets(self.optional):
            stacks[subset], told = cross_validated(scores[:, subset], single, folds)
        learned = Learned(
            kit=KIT,
            members=tuple(member.name for member in self.members),
            versions=tuple(version_of(member) for member in self.members),
            by_score=tuple(by_score),
            reference=tuple(tuple(sorted(of)) for of in values.T.tolist()),
            stacks=stacks,
            optional=self.optional,
            out_of_fold=tuple(map(or_none, told.tolist())),
            single=tuple(single),
        )
        folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        text = json.dumps(learned.as_values(), sort_keys=True)
        write_text(self._file(folder, question), text, mode=PRIVATE_FILE)
        self._take(learned)

    def _file(self, folder: Path, question: Question) -> Path:
        content = json.dumps([self.name, question.digest])
        return folder / f"panel-{hashlib.sha256(content.encode()).hexdigest()[:16]}.json"

    def _take(self, learned: Learned) -> None:
        self.learned = learned
        text = json.dumps(learned.as_values(), sort_keys=True)
        self.version = hashlib.sha256(text.encode()).hexdigest()[:12]

    # ------------------------------------------------------------------------- scores

    def probability(self, values: Sequence[float], without: Sequence[int] = ()) -> float:
        """Return the probability that a unit follows one concept, by the members' values of it.

        Members whose numbers are in `without`, or whose value is NaN, have no say.
        """
        assert self.learned is not None, "prepare or learn comes first"
        present = tuple(
            place
            for place, value in enumerate(values)
            if place not in without and not math.isnan(value)
        )
        scores = [normal_scores([values[p]], self.learned.reference[p])[0] for p in present]
        return float(self.learned.stacks[present].probability([scores])[0])

    def weights(self) -> tuple[float, ...]:
        """Return each member's share of all weights."""
        assert self.learned is not None, "prepare or learn comes first"
        every = self.learned.stacks[tuple(range(len(self.members)))].weights
        total = sum(every)
        return tuple(weight / total if total else 0.0 for weight in every)

    def compose(
        self, item_id: str, question: Question, repeat: int, answers: Sequence[MemberAnswer]
    ) -> tuple[Request, Reply]:
        """Return the call that the members' answers about an item amount to, and its reply.

        The reply says `error` where a member that is not optional has none.
        """
        assert self.learned is not None, "prepare or learn comes first"
        answers = [
            answer
            if answer.value is None or answer.is_score == by_score
            else dataclasses.replace(answer, value=None, problem="no number behind its score")
            for answer, by_score in zip(answers, self.learned.by_score, strict=True)
        ]
        body = {
            "item": item_id,
            "version": self.version,
            "members": [
                {"rater": member.name, "value": answer.value, "problem": answer.problem}
                for member, answer in zip(self.members, answers, strict=True)
            ],
        }
        request = Request(
            call_key("panel", self.name, body, question, repeat), item_id, body, repeat
        )
        missing = [place for place, answer in enumerate(answers) if answer.value is None]
        lacks = [f"{self.members[p].name}: {answers[p].problem}" for p in missing]
        waited = [answer.latency_s for answer in answers if answer.latency_s is not None]
        latency_s = sum(waited) if waited else None
        if any(not self.optional[place] for place in missing):
            words = "; ".join(lacks)
            return request, Reply("", "error", model=self.name, cost_usd=0.0, error=words)
        values = [math.nan if answer.value is None else answer.value for answer in answers]
        probability = self.probability(values)
        levels = question.scores
        level = min(len(levels) - 1, int(probability * len(levels)))
        said = [
            f"{member.name} {answer.score}"
            for member, answer in zip(self.members, answers, strict=True)
            if answer.value is not None
        ]
        rationale = f"Probability {probability:.2f} of one concept, by {', '.join(said)}."
        if lacks:
            rationale += f" Without {'; '.join(lacks)}."
        described = [a.description for a in answers if a.description not in (None, "", "Unknown")]
        answer = {
            "rationale": rationale,
            "description": described[0] if described else "Unknown",
            "score": levels[level],
        }
        low, high = levels[0], levels[-1]
        details: dict[str, Any] = {
            "statistic": probability,
            "expected_score": low + probability * (high - low),
            "missing": [self.members[place].name for place in missing],
        }
        text = json.dumps(answer, ensure_ascii=False)
        return request, Reply(
            text, model=self.name, cost_usd=0.0, latency_s=latency_s, details=details
        )


@dataclasses.dataclass(frozen=True)
class Learned:
    """What a panel learned on the kit's design side.

    Attributes:
        by_score: Of each member, whether its values are scores, for want of a number behind them.
        reference: Of each member its values of the planted units, sorted.
        stacks: A model of each set of members that may have to do, by their numbers.
        out_of_fold: Of each planted unit, what the model of all members said without its kind.
        single: Whether that unit follows one concept.
    """

    kit: int
    members: tuple[str, ...]
    versions: tuple[str, ...]
    optional: tuple[bool, ...]
    by_score: tuple[bool, ...]
    reference: tuple[tuple[float, ...], ...]
    stacks: dict[tuple[int, ...], Stack]
    out_of_fold: tuple[float | None, ...]
    single: tuple[bool, ...]

    def as_values(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = {name: getattr(self, name) for name in _fields() if name != "stacks"}
        stacks = [[list(subset), dataclasses.astuple(s)] for subset, s in self.stacks.items()]
        return {"form": FORM, **values, "stacks": stacks}

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Learned:
        """Return it from JSON values. Raises ValueError, KeyError or TypeError for others."""
        if values["form"] != FORM:
            raise ValueError(f"form {values['form']}")
        stacks = {
            tuple(subset): Stack(intercept, tuple(weights), strength)
            for subset, (intercept, weights, strength) in values["stacks"]
        }
        if set(stacks) != set(_subsets(values["optional"])):
            raise ValueError("not the members' models")
        kept = {name: values[name] for name in _fields()}
        for name, value in kept.items():
            kept[name] = tuple(value) if isinstance(value, list) else value
        kept["reference"] = tuple(tuple(map(float, of)) for of in values["reference"])
        return cls(**{**kept, "stacks": stacks})


def _fields() -> list[str]:
    return [field.name for field in dataclasses.fields(Learned)]


def _subsets(optional: Sequence[bool]) -> list[tuple[int, ...]]:
    """Return the sets of members that need weights: without any optional ones, without each one
    alone to see what it adds, and all of them last."""
    every = tuple(range(len(optional)))
    may_fail = [place for place in every if optional[place]]
    lacks: set[tuple[int, ...]] = {(place,) for place in every}
    for size in range(len(may_fail) + 1):
        lacks.update(itertools.combinations(may_fail, size))
    sets = [tuple(place for place in every if place not in lack) for lack in lacks]
    return sorted(sets, key=lambda subset: (len(subset), subset))


def _member(spec: str, options: RaterOptions) -> Rater:
    kind = rater_kind(spec)
    if kind in NO_MEMBERS:
        raise BadInput(f"'{spec}' cannot be a member of a panel; name raters that can be called")
    if kind not in rater_names():
        raise BadInput(
            f"member '{spec}' of a panel is no rater: commas divide members, and {kind!r} is not "
            f"among {', '.join(name for name in rater_names() if name not in NO_MEMBERS)}"
        )
    return load_rater(spec, options)
