"""Probes: one call's worth of questions about one unit, blind; what is true stays in the run.

A rater sees a probe as an item: pieces of text and perhaps a description. Whose text it is, where
the unit fires and whether the description was written for this unit is in the run alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from autointerp.questions.forms import LOUDEST, Task
from autointerp.questions.rubric import Rubric
from autointerp.records import Context, Item, ItemContext, LogitEffects
from autointerp.store.run import Run
from autointerp.store.tables import now


@dataclass(frozen=True)
class Question:
    """A piece of a context as it is put to a rater, and what is true of it.

    Attributes:
        context: The context's number in the run.
        first, last: Tokens shown: from `first` up to, without, `last`.
        mark: Index in the whole context of the token that is marked; None for none.
        truth: The right answer; None where it is the activations themselves.
        kind: Why it is here, such as `firing` or `silent`.
    """

    context: int
    first: int
    last: int
    mark: int | None
    truth: bool | None
    kind: str


@dataclass(frozen=True)
class Described:
    """A description: who wrote it, of which unit."""

    explainer: str
    unit_id: int
    text: str


@dataclass(frozen=True)
class Probe:
    """Questions that go out in one call.

    Attributes:
        unit_id: Whose firing is asked about.
        described: The description that is shown; None for none.
        permuted: A control whose right answers are chance: the description is another unit's,
            or the contexts have no unit in common.
        design: How contexts were chosen, in words; results of different designs stay apart.
        effects: The unit's logit effects, where they are shown.
    """

    task: str
    task_digest: str
    design: str
    unit_id: int
    scale: float
    questions: tuple[Question, ...]
    described: Described | None = None
    permuted: bool = False
    effects: LogitEffects | None = None

    def item_id(self, seed: int) -> str:
        """Return an opaque id: a keyed hash of all that the probe is."""
        key = hashlib.sha256(f"autointerp/{seed}".encode()).digest()
        told = asdict(self)
        if self.effects is None:
            del told["effects"]
        text = json.dumps(told, sort_keys=True)
        return hashlib.blake2b(text.encode(), key=key, digest_size=8).hexdigest()


def whole(number: int, context: Context, truth: bool | None, kind: str, mark: bool) -> Question:
    """Return the question about a whole context, its focus token marked if `mark`."""
    return Question(number, 0, len(context.tokens), context.focus if mark else None, truth, kind)


def unique_places(contexts: dict[int, Context], numbers: Sequence[int]) -> list[int]:
    """Return the numbers without those whose place in the corpus came before."""
    seen: set[tuple[int, int]] = set()
    kept = []
    for number in numbers:
        place = (contexts[number].document, contexts[number].position)
        if place not in seen:
            seen.add(place)
            kept.append(number)
    return kept


def over_intervals(contexts: dict[int, Context], count: int) -> list[int]:
    """Return up to `count` contexts in which the unit fires on the focus token, all intervals
    alike.

    Intervals take turns from the strongest; where their draws run out, the strongest contexts of
    all fill up. Of more intervals than `count`, those taken lie evenly from strong to weak.
    """
    groups: dict[int, list[int]] = {}
    for number, context in contexts.items():
        if context.draw == "interval" and context.interval is not None:
            groups.setdefault(context.interval, []).append(number)
    ordered = [groups[interval] for interval in sorted(groups, reverse=True)]
    longest = max(map(len, ordered), default=0)
    turns = [group[turn] for turn in range(longest) for group in ordered if turn < len(group)]
    if 0 < count < len(ordered):  # the first ones would be the strong ones
        chosen = np.linspace(0, len(ordered) - 1, count).round().astype(int)
        turns = [*(ordered[place][0] for place in chosen), *turns]
    top = [n for n, c in contexts.items() if c.draw == "top" and c.activation > 0]
    return unique_places(contexts, [*turns, *top])[:count]


def silent_contexts(contexts: dict[int, Context]) -> list[int]:
    """Return the random contexts in which the unit is silent on every token, as computed."""
    able = [
        number
        for number, context in contexts.items()
        if context.draw == "random" and context.silent and not any(context.activations)
    ]
    return unique_places(contexts, able)


def probe_rng(seed: int, unit_id: int, task: str) -> np.random.Generator:
    """Return the randomness of a unit's probes: the same whoever described or judges it."""
    return np.random.default_rng([seed, unit_id, *task.encode()])


# -------------------------------------------------------------------------------- storage


def add_probes(run: Run, probes: Sequence[Probe]) -> list[str]:
    """Store probes that are not there yet; return the ids of all, in their order."""
    ids = [probe.item_id(run.settings.seed) for probe in probes]
    at = now()
    with run.transaction():
        for begin in range(0, len(probes), 5_000):
            part = slice(begin, begin + 5_000)
            rows = [
                _row(identifier, probe) | {"made_at": at}
                for identifier, probe in zip(ids[part], probes[part], strict=True)
            ]
            run.insert("probe", rows, ignore=True)
    return ids


def _row(identifier: str, probe: Probe) -> dict[str, object]:
    asked = probe.questions
    return {
        "item_id": identifier,
        "task": probe.task,
        "task_digest": probe.task_digest,
        "design": probe.design,
        "unit_id": probe.unit_id,
        "explainer": probe.described.explainer if probe.described else None,
        "described": probe.described.unit_id if probe.described else None,
        "description": probe.described.text if probe.described else None,
        "permuted": probe.permuted,
        "scale": probe.scale,
        "contexts": [q.context for q in asked],
        "firsts": [q.first for q in asked],
        "lasts": [q.last for q in asked],
        "marks": [-1 if q.mark is None else q.mark for q in asked],
        "truths": [q.truth for q in asked],
        "kinds": [q.kind for q in asked],
        "promoted": None if probe.effects is None else list(probe.effects.promoted),
        "suppressed": None if probe.effects is None else list(probe.effects.suppressed),
    }


QUERY = (
    "SELECT item_id, task, task_digest, design, unit_id, scale, contexts, firsts, lasts, marks,"
    " truths, kinds, explainer, described, description, permuted, promoted, suppressed FROM probe"
)

COLUMNS = 18  # of `QUERY`


def probe_of(row: Sequence[Any]) -> tuple[str, Probe]:
    """Return the id and the probe in a row that begins with `QUERY`."""
    identifier, task, digest, design, unit_id, scale, *columns = row[:12]
    explainer, described, text, permuted, promoted, suppressed = row[12:COLUMNS]
    questions = tuple(
        Question(context, first, last, None if mark < 0 else mark, truth, kind)
        for context, first, last, mark, truth, kind in zip(*columns, strict=True)
    )
    told = None if text is None else Described(explainer, described, text)
    shown = None if promoted is None else LogitEffects(tuple(promoted), tuple(suppressed))
    return identifier, Probe(task, digest, design, unit_id, scale, questions, told, permuted, shown)


def load_probes(run: Run, item_ids: Sequence[str], task: Rubric) -> list[Item]:
    """Return probes as the rater sees them, in the order of `item_ids`."""
    rows = run.rows(f"{QUERY} WHERE item_id IN (SELECT unnest(?::VARCHAR[]))", [list(item_ids)])
    probes = dict(map(probe_of, rows))
    contexts = run.contexts_numbered(
        sorted({q.context for probe in probes.values() for q in probe.questions})
    )
    return [probe_item(one, probes[one], contexts, task) for one in item_ids]


def probe_item(identifier: str, probe: Probe, contexts: dict[int, Context], task: Rubric) -> Item:
    """Return a probe as the rater sees it."""
    activations = task.shows.activations == "scaled"
    return Item(
        id=identifier,
        rubric=task.id,
        contexts=tuple(
            _piece(question, contexts[question.context], probe.scale if activations else None)
            for question in probe.questions
        ),
        description=probe.described.text if probe.described else None,
        effects=probe.effects,
    )


def _piece(question: Question, context: Context, scale: float | None) -> ItemContext:
    shown = slice(question.first, question.last)
    levels = None
    if scale is not None:
        levels = tuple(LOUDEST * a / scale for a in context.activations[shown])
    return ItemContext(
        tokens=context.tokens[shown],
        activations=levels,
        focus=None if question.mark is None else question.mark - question.first,
        split=context.split,
        silent=False,  # what is true is not the rater's to know
    )


def is_probed(rubric: Rubric) -> bool:
    """Return whether items of this rubric are probes: tasks, and rubrics about a description."""
    return isinstance(rubric, Task) or rubric.shows.description
