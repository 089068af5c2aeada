"""Descriptions → how well they predict firing: each scorer's questions, asked and counted.

    explanation + held-out contexts → trials → any rater → answers → a score a unit

Every score has its control on the same path: the description of another unit of the source, where
the right answers are chance. A scorer that does not fall to chance there is broken.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from autointerp.questions.explain import Explanation, check_held_out, eligible_units, explanations
from autointerp.questions.forms import Task, answers_in
from autointerp.questions.scorers import (
    Answered,
    Chosen,
    HeldOut,
    Scorer,
    Tried,
    scorer,
    scorer_names,
)
from autointerp.questions.trials import (
    COLUMNS,
    QUERY,
    Described,
    Piece,
    Trial,
    add_trials,
    trial_of,
    trial_rng,
)
from autointerp.records import Context, Reply
from autointerp.store.run import Run

HardContexts = Mapping[int, Mapping[int, tuple[Context, str]]]


@dataclass(frozen=True)
class Design:
    """How descriptions are tried.

    Attributes:
        count: Questions of each kind about a unit, at most.
        permuted: Units of each source that are tried with another unit's description as well.
        hard: Whether half of what is silent is to look as if the unit fired; see `hardening`.
    """

    count: int = 20
    permuted: int = 50
    hard: bool = False

    def __str__(self) -> str:
        return f"{self.count} of each kind" + (
            ", half of the silent ones hard" if self.hard else ""
        )


@dataclass(frozen=True)
class Plan:
    """What a scorer will ask.

    Attributes:
        units: Units that have questions; those of `untried` have none, for the reason given.
    """

    scorer: Scorer
    trials: tuple[Trial, ...]
    units: int
    untried: dict[int, str]


@dataclass(frozen=True)
class UnitScore:
    """What became of one unit under one scorer.

    Attributes:
        permuted: With another unit's description, or contexts of no unit in common.
        score: 0 to 1, chance 0.5; None unless `outcome` is `ok`.
        outcome: `ok`, or why there is no score: `unknown` (the explainer found nothing to say),
            `not explained`, `too few silent contexts`, `no answers …`, …
        questions, answered: Contexts asked about, and those that an answer came for.
        statuses: Of the calls; `pending` were not made yet.
    """

    unit_id: int
    source: str
    is_control: bool
    scorer: str
    explainer: str | None
    rater: str
    design: str
    permuted: bool
    score: float | None
    outcome: str
    questions: int = 0
    answered: int = 0
    statuses: Mapping[str, int] = field(default_factory=dict)
    more: Mapping[str, float] = field(default_factory=dict)


# ------------------------------------------------------------------------------- questions


def plan(
    run: Run,
    name: str,
    explained: Sequence[Explanation],
    design: Design,
    hard: HardContexts | None = None,
) -> Plan:
    """Return what scorer `name` asks about units, each with its own and another's description.

    `hard`: by unit, contexts in which it is silent though they look otherwise. Raises UnknownName
    if there is no such scorer.
    """
    module = scorer(name)
    asked = [one for one in explained if one.says_something or not _describes(module)]
    by_unit = {one.unit_id: one for one in explained}
    partners: dict[int, int] = {}
    if _describes(module):
        for explainer in sorted({one.explainer for one in asked}):
            by_unit |= {one.unit_id: one for one in explanations(run, explainer)}
        partners = _partners(run, name, str(design), asked, by_unit, design.permuted)
    trials: list[Trial] = []
    untried: dict[int, str] = {}
    count = 0
    for unit_id, held_out in _held_out(run, module, [one.unit_id for one in asked], hard or {}):
        chosen = module.choose(held_out, design.count, design.hard)
        if chosen.outcome:
            untried[unit_id] = chosen.outcome
            continue
        count += 1
        trials += _trials(module, unit_id, held_out.scale, chosen, by_unit, partners, str(design))
    check_held_out(run, trials)
    return Plan(module, tuple(trials), count, untried)


def _describes(module: Scorer) -> bool:
    return module.TASK.about == "description"


def _trials(
    module: Scorer,
    unit_id: int,
    scale: float,
    chosen: Chosen,
    by_unit: Mapping[int, Explanation],
    partners: Mapping[int, int],
    design: str,
) -> Iterator[Trial]:
    def trial(pieces: tuple[Piece, ...], described: Described | None, permuted: bool) -> Trial:
        task = module.TASK
        return Trial(task.id, task.digest, design, unit_id, scale, pieces, described, permuted)

    if not _describes(module):
        yield from (trial(pieces, None, False) for pieces in chosen.calls)
        yield from (trial(pieces, None, True) for pieces in chosen.control)
        return
    for whose in [unit_id, *([partners[unit_id]] if unit_id in partners else [])]:
        one = by_unit[whose]
        described = Described(one.explainer, whose, one.text or "")
        yield from (trial(pieces, described, whose != unit_id) for pieces in chosen.calls)


def _partners(
    run: Run,
    task: str,
    design: str,
    asked: Sequence[Explanation],
    explained: Mapping[int, Explanation],
    most: int,
) -> dict[int, int]:
    """Return unit → the unit of the same source whose description it is tried with as a control.

    The first `most` units of each source get one; a unit keeps its own when others are added or
    fewer are asked about: `explained` are the descriptions of all. Where all units of a source
    have one description there is none.
    """
    kept = dict(
        run.rows(
            "SELECT DISTINCT unit_id, described FROM probe"
            " WHERE task = ? AND design = ? AND permuted AND described IS NOT NULL",
            [task, design],
        )
    )
    by_source: dict[str, list[Explanation]] = {}
    order = {unit: place for place, unit in enumerate(eligible_units(run))}
    for one in sorted(asked, key=lambda e: order[e.unit_id]):
        by_source.setdefault(one.source, []).append(one)
    partners = {}
    for source, units in by_source.items():
        rng = np.random.default_rng([run.settings.seed, *source.encode(), 0x7065726D])
        ring = [units[place] for place in rng.permutation(len(units))]
        place_of = {one.unit_id: place for place, one in enumerate(ring)}
        for one in units[:most]:
            partner = kept.get(one.unit_id)
            other = explained.get(partner) if partner is not None else None
            if other is None or not other.says_something or other.text == one.text:
                place = place_of[one.unit_id]
                turn = [*ring[place + 1 :], *ring[:place]]
                partner = next((o.unit_id for o in turn if o.text != one.text), None)
            if partner is not None:
                partners[one.unit_id] = partner
    return partners


def _held_out(
    run: Run, module: Scorer, unit_ids: Sequence[int], hard: HardContexts
) -> Iterator[tuple[int, HeldOut]]:
    columns = {
        row[0]: row[1:]
        for row in run.rows("SELECT unit_id, source, peak, density, interval_tokens FROM unit")
    }
    needs_others = getattr(module, "NEEDS_OTHERS", False)
    others = _one_of_each(run) if needs_others else {}
    for begin in range(0, len(unit_ids), 100):
        part = list(unit_ids[begin : begin + 100])
        for unit_id, contexts in run.contexts(part).items():
            source, peak, density, intervals = columns[unit_id]
            strange = [n for other, n in others.get(source, {}).items() if other != unit_id]
            yield (
                unit_id,
                HeldOut(
                    contexts={n: c for n, c in contexts.items() if c.split == "score"},
                    others=run.contexts_numbered(strange) if needs_others else {},
                    hard=hard.get(unit_id, {}),
                    scale=peak,
                    density=density,
                    interval_tokens=tuple(intervals),
                    rng=trial_rng(run.settings.seed, unit_id, module.TASK.id),
                ),
            )


def _one_of_each(run: Run, most: int = 50) -> dict[str, dict[int, int]]:
    """Return source → unit → one held-out context in which it fires, of up to `most` units."""
    by_source: dict[str, dict[int, int]] = {}
    for source, unit_id, number in run.rows(
        "SELECT source, unit_id, min(context_id) FROM context JOIN unit USING (unit_id)"
        " WHERE split = 'score' AND draw = 'interval' GROUP BY ALL ORDER BY ALL"
    ):
        units = by_source.setdefault(source, {})
        if len(units) < most:
            units[unit_id] = number
    return by_source


def store_plan(run: Run, planned: Plan, design: Design) -> list[str]:
    """Store what a scorer asks, and which units it has no questions about; return the ids."""
    name = planned.scorer.TASK.id
    ids = add_trials(run, planned.trials)
    with run.transaction():
        run.insert(
            "unprobed",
            [
                {"task": name, "design": str(design), "unit_id": unit, "outcome": outcome}
                for unit, outcome in planned.untried.items()
            ],
            ignore=True,
        )
    return sorted(set(ids))


# -------------------------------------------------------------------------------- counting


def unit_scores(run: Run) -> list[UnitScore]:
    """Return the scores of all units under all scorers, and what became of those without one."""
    found: list[UnitScore] = []
    asked = run.rows(
        "SELECT DISTINCT p.task, p.design, p.explainer, r.rater FROM probe p"
        " JOIN current_rating r USING (item_id)"
        " WHERE p.task <> 'explain' AND r.repeat = 0 ORDER BY ALL"
    )
    known = scorer_names()
    for name, design, explainer, rater in asked:
        if name in known:
            found += _scores(run, name, design, explainer, rater)
    return found


def _scores(
    run: Run, name: str, design: str, explainer: str | None, rater: str
) -> Iterator[UnitScore]:
    module = scorer(name)
    units = {
        row[0]: row[1:]
        for row in run.rows(
            "SELECT unit_id, source, is_control, peak, density, interval_tokens"
            " FROM unit JOIN source USING (source) WHERE outcome = 'eligible'"
        )
    }
    trials = _answered(run, name, design, explainer, rater)
    contexts = run.contexts_numbered(
        sorted({p.context for trial, *_ in trials for p in trial.pieces})
    )
    groups: dict[tuple[int, bool], list[tuple[Trial, str, Reply | None]]] = {}
    for trial, status, reply in trials:
        groups.setdefault((trial.unit_id, trial.permuted), []).append((trial, status, reply))
    for (unit_id, permuted), calls in sorted(groups.items()):
        source, is_control, peak, density, intervals = units[unit_id]
        asked = [
            one
            for number, (trial, status, reply) in enumerate(calls)
            for one in _read(module.TASK, trial, number, status, reply, contexts)
        ]
        figures = module.measure(Tried(asked, peak, density, tuple(intervals)))
        yield UnitScore(
            unit_id, source, is_control, name, explainer, rater, design, permuted,
            figures.score, figures.outcome, len(asked),
            sum(one.answer is not None for one in asked),
            dict(Counter(status for _, status, _ in calls)), figures.more,
        )  # fmt: skip
    without = _without_questions(run, name, design, explainer)
    for unit_id, outcome in sorted(without.items()):
        if (unit_id, False) not in groups and unit_id in units:
            source, is_control, *_ = units[unit_id]
            yield UnitScore(
                unit_id, source, is_control, name, explainer, rater, design, False, None, outcome
            )


def _answered(
    run: Run, name: str, design: str, explainer: str | None, rater: str
) -> list[tuple[Trial, str, Reply | None]]:
    """Return the trials about present descriptions, with the calls' fates and replies."""
    rows = run.rows(
        f"WITH asked AS ({QUERY}) SELECT a.*, r.status, c.reply, c.details FROM asked a"
        " LEFT JOIN current_rating r ON r.item_id = a.item_id AND r.rater = ? AND r.repeat = 0"
        " LEFT JOIN (SELECT call_key, arg_max(reply, attempt) AS reply,"
        "  arg_max(details, attempt) AS details FROM call WHERE stop = 'end' GROUP BY call_key"
        " ) c ON c.call_key = r.call_key"
        " WHERE a.task = ? AND a.design = ? AND a.explainer IS NOT DISTINCT FROM ?"
        " AND (a.description IS NULL OR EXISTS (SELECT 1 FROM explanation e WHERE"
        "  e.unit_id = a.described AND e.explainer = a.explainer"
        "  AND e.description = a.description))"
        " ORDER BY a.unit_id, a.item_id",
        [rater, name, design, explainer],
    )
    found: list[tuple[Trial, str, Reply | None]] = []
    for row in rows:
        _, trial = trial_of(row)
        status, text, details = row[COLUMNS:]
        reply = None
        if status == "ok":
            reply = Reply(text, details=json.loads(details) if details else {})
        found.append((trial, status or "pending", reply))
    return found


def _read(
    task: Task,
    trial: Trial,
    call: int,
    status: str,
    reply: Reply | None,
    contexts: Mapping[int, Context],
) -> Iterator[Answered]:
    answers = {} if reply is None else answers_in(task, reply)
    if task.form == "choose" and 1 <= next(iter(answers), 0) <= len(trial.pieces):
        answers = {place: place in answers for place in range(1, len(trial.pieces) + 1)}
    elif task.form == "choose":
        answers = {}  # a context that does not exist was chosen
    if task.form == "predict" and reply is not None:
        answers = _expected(answers, reply.details.get("expected_activations"))
    for place, piece in enumerate(trial.pieces, 1):
        yield Answered(piece, contexts[piece.context], call, place, answers.get(place))


def _expected(
    answers: dict[int, dict[int, float]], expected: list[float] | None
) -> dict[int, dict[int, float]]:
    """Return the answers with activations by probability, where the rater gave as many.

    Both stand in the order of the reply.
    """
    if expected is None or len(expected) != sum(map(len, answers.values())):
        return answers
    left = iter(expected)
    return {context: {token: next(left) for token in levels} for context, levels in answers.items()}


def _without_questions(run: Run, name: str, design: str, explainer: str | None) -> dict[int, str]:
    """Return unit → why it was never asked about."""
    without = dict(
        run.rows(
            "SELECT unit_id, outcome FROM unprobed WHERE task = ? AND design = ?", [name, design]
        )
    )
    if explainer is not None:
        for one in explanations(run, explainer):
            if one.status != "ok":
                without[one.unit_id] = f"not explained: {one.status}"
            elif not one.says_something:
                without[one.unit_id] = "unknown"
    return without
