"""Descriptions → how well they predict firing: each scorer's questions, asked and counted.

    explanation + held-out contexts → trials → any rater → answers → a score a unit

Every score has its control on the same path: the description of another unit of the source, where
the right answers are chance. A scorer that does not fall to chance there is broken. Where units
share calls, the other descriptions of the call are the control, and nothing is asked for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autointerp import extensions
from autointerp.questions.contexts import held_out
from autointerp.questions.explain import Explanation, check_held_out, eligible_units, explanations
from autointerp.questions.forms import Task
from autointerp.questions.scorers import (
    Chosen,
    HeldOut,
    Scorer,
    descriptions_a_call,
    scorer,
)
from autointerp.questions.trials import (
    QUERY,
    Described,
    Piece,
    Trial,
    add_trials,
    trial_of,
    trial_rng,
)
from autointerp.records import Context
from autointerp.settings import plain_fields
from autointerp.store.run import Run

STRANGERS = 5  # contexts of others in a control
LOOKED_AT = 40  # of which those are taken that look like the unit's silent ones
ALONE = "no other description to be tried beside"
HardContexts = Mapping[int, Mapping[int, tuple[Context, str]]]


@dataclass(frozen=True)
class Design:
    """How descriptions are tried.

    Attributes:
        count: Questions of each kind about a unit, at most; None for the scorer's own `COUNT`.
        permuted: Units of each source that are tried with another unit's description as well,
            where that takes calls of its own.
        hard: Whether half of what is silent is to look as if the unit fired; see `hardening`.
    """

    count: int | None = None
    permuted: int = 50
    hard: bool = False

    def __post_init__(self) -> None:
        plain_fields(self)

    def of(self, name: str) -> Design:
        """Return the design with the count that scorer `name` asks with."""
        module = scorer(name)
        asks_for_as_many = module.TASK.form == "write"  # whatever is wanted
        if self.count is not None and not asks_for_as_many:
            return self
        return replace(self, count=module.COUNT)

    def __str__(self) -> str:
        return f"{self.count} of each kind" + (
            ", half of the silent ones hard" if self.hard else ""
        )


@dataclass(frozen=True)
class Plan:
    """What a scorer will ask.

    Attributes:
        units: Units that have questions; those of `untried` have none, for the reason given.
        without_control: Units of a scorer that brings a control of its own, for which there are
            too few contexts of other units in which they are known to be silent.
    """

    scorer: Scorer
    trials: tuple[Trial, ...]
    units: int
    untried: dict[int, str]
    without_control: int = 0


# ------------------------------------------------------------------------------- questions


def plan(
    run: Run,
    name: str,
    explained: Sequence[Explanation],
    design: Design,
    hard: HardContexts | None = None,
) -> Plan:
    """Return what scorer `name` asks about units, each with its own and another's description.

    Texts that are no contexts are stored, so that trials can name them.
    `hard`: by unit, contexts in which it is silent though they look otherwise. Raises UnknownName
    if there is no such scorer.
    """
    module = scorer(name)
    design = design.of(name)
    most = design.count or 0
    together = getattr(module, "TOGETHER", False)
    asked = [one for one in explained if one.says_something or not _describes(module)]
    by_unit = {one.unit_id: one for one in explained}
    partners: dict[int, int] = {}
    if _describes(module):
        for explainer in sorted({one.explainer for one in asked}):
            by_unit |= {one.unit_id: one for one in explanations(run, explainer)}
    if _describes(module) and not together and module.TASK.form != "write":
        partners = _partners(run, name, str(design), asked, by_unit, design.permuted)
    trials: list[Trial] = []
    passages: dict[int, tuple[str, ...]] = {}
    untried: dict[int, str] = {}
    pieces: dict[int, tuple[Piece, ...]] = {}  # of units that share calls
    count = without_control = 0
    strangers = Strangers.of(run, module, str(design), design.permuted)
    unit_ids = [one.unit_id for one in asked]
    for unit_id, apart in _held_out(run, module, unit_ids, hard or {}, strangers):
        chosen = extensions.returned(
            module.choose(apart, most, design.hard), Chosen, f"scorer '{name}': choose()"
        )
        strangers.take(chosen.control)
        if chosen.outcome:
            untried[unit_id] = chosen.outcome
            continue
        passages |= chosen.passages
        count += 1
        without_control += unit_id in strangers.lacking
        if together:
            (pieces[unit_id],) = chosen.calls
            continue
        trials += _trials(module, unit_id, apart.scale, chosen, by_unit, partners, str(design))
    if together:
        trials = shared_trials(run, module, str(design), pieces, by_unit)
        shared = {owner for trial in trials for owner in trial.owners}
        untried |= {unit_id: ALONE for unit_id in pieces if unit_id not in shared}
        count = len(shared & set(pieces))
    check_held_out(run, trials)
    run.add_passages(passages)
    return Plan(module, tuple(trials), count, untried, without_control)


def lab_of(module: Scorer) -> str | None:
    """Return the lab whose rows a scorer chooses from; None where it needs none."""
    return getattr(module, "LAB", None)


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


def shared_trials(
    run: Run,
    module: Scorer,
    design: str,
    pieces: Mapping[int, Sequence[Piece]],
    by_unit: Mapping[int, Explanation],
) -> list[Trial]:
    """Return trials about units that share calls: each with descriptions and texts of several.

    Units of one source and explainer are together, in the source's random order, no two with the
    same description. The last ones, if they are few, have descriptions beside them of units that
    were with others, of their own source or else of another. Units that were asked about before
    keep their calls as long as none of the descriptions has changed. A unit has no trial where
    nobody described anything else.
    """
    kept = _still_valid(run, module.TASK, design, by_unit)
    trials = [trial for trial in kept if set(trial.owners) & set(pieces)]
    placed = {owner for trial in trials for owner in trial.owners}
    order = {unit: place for place, unit in enumerate(eligible_units(run))}
    pending: dict[tuple[str, str], list[Explanation]] = {}
    for one in sorted((by_unit[unit] for unit in pieces), key=lambda one: order[one.unit_id]):
        if one.unit_id not in placed:
            pending.setdefault((one.explainer, one.source), []).append(one)
    for (explainer, source), units in pending.items():
        written = [e for e in by_unit.values() if e.explainer == explainer and e.says_something]
        most = descriptions_a_call(module)
        for members in _groups(units, most):
            rng = trial_rng(run.settings.seed, members[0].unit_id, f"{module.TASK.id} together")
            others = [written[place] for place in rng.permutation(len(written))]
            others.sort(key=lambda one: one.source != source)  # stable: its own source first
            candidates = _distinct([*members, *others])[:most]
            if len(candidates) > 1:
                trials += calls_together(module, design, members, candidates, pieces, rng)
    return trials


def _groups(units: Sequence[Explanation], most: int) -> list[list[Explanation]]:
    """Return units in groups of `most`, as share a call, no description twice in one."""
    groups: list[list[Explanation]] = []
    left = list(units)
    while left:
        group = _distinct(left)[:most]
        groups.append(group)
        left = [one for one in left if one not in group]
    return groups


def _distinct(explained: Sequence[Explanation]) -> list[Explanation]:
    """Return the first of each description."""
    first: dict[str | None, Explanation] = {}
    for one in explained:
        first.setdefault(one.text, one)
    return list(first.values())


def calls_together(
    module: Scorer,
    design: str,
    members: Sequence[Explanation],
    candidates: Sequence[Explanation],
    pieces: Mapping[int, Sequence[Piece]],
    rng: np.random.Generator,
) -> Iterator[Trial]:
    """Yield trials on all pieces of the members, as few as hold them, each with pieces of all."""
    task = module.TASK
    calls = -(-sum(len(pieces[one.unit_id]) for one in members) // module.PER_CALL)
    # Units take turns, so that calls have pieces of all and are as even as can be.
    dealt = [
        (one.unit_id, pieces[one.unit_id][place])
        for one in members
        for place in rng.permutation(len(pieces[one.unit_id]))
    ]
    for number in range(calls):
        pairs = dealt[number::calls]
        pairs = [pairs[place] for place in rng.permutation(len(pairs))]
        shown = [candidates[place] for place in rng.permutation(len(candidates))]
        yield Trial(
            task.id,
            task.digest,
            design,
            members[0].unit_id,
            1.0,  # no activation is shown
            tuple(piece for _, piece in pairs),
            owners=tuple(owner for owner, _ in pairs),
            candidates=tuple(
                Described(one.explainer, one.unit_id, one.text or "") for one in shown
            ),
        )


def _still_valid(
    run: Run, task: Task, design: str, by_unit: Mapping[int, Explanation]
) -> list[Trial]:
    """Return the trials that were made before and show present descriptions alone."""
    present = {(e.explainer, e.unit_id): e.text for e in by_unit.values()}
    rows = run.rows(
        f"{QUERY} WHERE task = ? AND task_digest = ? AND design = ? AND candidates IS NOT NULL"
        " ORDER BY made_at, item_id",
        [task.id, task.digest, design],
    )
    return [
        trial
        for _, trial in map(trial_of, rows)
        if all(present.get((d.explainer, d.unit_id)) == d.text for d in trial.candidates)
    ]


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


@dataclass
class Strangers:
    """Contexts of other units, of which each serves the control of one unit alone.

    Units that shared them would have scores that go up and down together, and an interval that
    counts units would be too narrow.

    Attributes:
        seed: The run's.
        wanted: Units that are to have a control: the first of each source.
        kept: By unit, the contexts that its stored control shows: it keeps them when others are
            added.
        taken: Contexts that serve a unit.
        lacking: Units that are to have a control, and are known to be silent in too few contexts
            of others, whoever else needs them.
    """

    seed: int
    wanted: set[int]
    kept: dict[int, set[int]]
    taken: set[int]
    lacking: set[int]

    @classmethod
    def of(cls, run: Run, module: Scorer, design: str, most: int) -> Strangers:
        """Return those of a run for a scorer; empty unless it says `NEEDS_OTHERS`."""
        if not getattr(module, "NEEDS_OTHERS", False):
            return cls(0, set(), {}, set(), set())
        kept: dict[int, set[int]] = {}
        for unit_id, contexts, kinds in run.rows(
            "SELECT unit_id, contexts, kinds FROM probe"
            " WHERE task = ? AND task_digest = ? AND design = ? AND permuted",
            [module.TASK.id, module.TASK.digest, design],
        ):
            shown = {n for n, kind in zip(contexts, kinds, strict=True) if kind == "other"}
            kept.setdefault(unit_id, set()).update(shown)
        wanted = set(eligible_units(run, n=most)) if most else set()
        taken = {number for shown in kept.values() for number in shown}
        return cls(run.settings.seed, wanted, kept, taken, set())

    def candidates(self, unit_id: int, silent: Sequence[tuple[int, int]]) -> list[int]:
        """Return the contexts that may serve a unit, one of each owner, in random order.

        `silent`: owners and numbers of all contexts of others in which it is silent.
        """
        if unit_id in self.kept:
            return sorted(self.kept[unit_id])
        if unit_id not in self.wanted:
            return []
        if len({owner for owner, _ in silent}) < STRANGERS:
            self.lacking.add(unit_id)
        rng = np.random.default_rng([self.seed, unit_id, 0x6F746865])
        one_of_each: dict[int, int] = {}
        for place in rng.permutation(len(silent)):
            owner, number = silent[place]
            if number not in self.taken:
                one_of_each.setdefault(owner, number)
        return list(one_of_each.values())[:LOOKED_AT]

    def take(self, control: Sequence[Sequence[Piece]]) -> None:
        """Note what serves the control of a unit."""
        self.taken |= {piece.context for call in control for piece in call if piece.kind == "other"}


def _held_out(
    run: Run,
    module: Scorer,
    unit_ids: Sequence[int],
    hard: HardContexts,
    strangers: Strangers,
) -> Iterator[tuple[int, HeldOut]]:
    columns = {
        row[0]: row[1:]
        for row in run.rows("SELECT unit_id, peak, density, interval_tokens FROM unit")
    }
    needs_others = getattr(module, "NEEDS_OTHERS", False)
    if needs_others:  # who comes first chooses first, in whatever order they are asked about
        turn = {unit_id: place for place, unit_id in enumerate(eligible_units(run))}
        unit_ids = sorted(unit_ids, key=turn.__getitem__)
    measured: dict[int, list[dict[str, Any]]] = {}
    lab = lab_of(module)
    for row in [] if lab is None else run.lab_rows(lab):
        measured.setdefault(row["unit_id"], []).append(row)
    for begin in range(0, len(unit_ids), 100):
        part = list(unit_ids[begin : begin + 100])
        elsewhere = run.silent_elsewhere(part) if needs_others else {}
        for unit_id, contexts in run.contexts(part).items():
            peak, density, intervals = columns[unit_id]
            numbers = strangers.candidates(unit_id, elsewhere.get(unit_id, ()))
            stored = run.contexts_numbered(numbers) if numbers else {}
            others = {number: stored[number] for number in numbers}
            harder = {n: context for n, (context, _) in hard.get(unit_id, {}).items()}
            yield (
                unit_id,
                HeldOut(
                    contexts=held_out(
                        contexts, {n: c for n, c in contexts.items() if c.split == "score"}
                    ),
                    others=held_out(contexts, others),
                    hard={
                        n: (context, hard[unit_id][n][1])
                        for n, context in held_out(contexts, harder).items()
                    },
                    scale=peak,
                    density=density,
                    interval_tokens=tuple(intervals),
                    rng=trial_rng(run.settings.seed, unit_id, module.TASK.id),
                    measured=measured.get(unit_id, ()),
                ),
            )


def store_plan(run: Run, planned: Plan, design: Design) -> list[str]:
    """Store what a scorer asks, and which units it has no questions about; return the ids."""
    name = planned.scorer.TASK.id
    ids = add_trials(run, planned.trials)
    with run.transaction():
        run.insert(
            "unprobed",
            [
                {"task": name, "design": str(design.of(name)), "unit_id": unit, "outcome": outcome}
                for unit, outcome in planned.untried.items()
            ],
            ignore=True,
        )
    return sorted(set(ids))
