"""Descriptions → how well they predict firing: each scorer's questions, asked and counted.

    explanation + held-out contexts → trials → any rater → answers → a score a unit

Every score has its control on the same path: the description of another unit of the source, where
the right answers are chance. A scorer that does not fall to chance there is broken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autointerp.questions.contexts import held_out
from autointerp.questions.explain import Explanation, check_held_out, eligible_units, explanations
from autointerp.questions.scorers import (
    Chosen,
    HeldOut,
    Scorer,
    scorer,
)
from autointerp.questions.trials import (
    Described,
    Piece,
    Trial,
    add_trials,
    trial_rng,
)
from autointerp.records import Context
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
    count = without_control = 0
    for unit_id, apart in _held_out(run, module, [one.unit_id for one in asked], hard or {}):
        chosen = module.choose(apart, design.count, design.hard)
        if chosen.outcome:
            untried[unit_id] = chosen.outcome
            continue
        count += 1
        without_control += not _describes(module) and not chosen.control
        trials += _trials(module, unit_id, apart.scale, chosen, by_unit, partners, str(design))
    check_held_out(run, trials)
    return Plan(module, tuple(trials), count, untried, without_control)


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
        for row in run.rows("SELECT unit_id, peak, density, interval_tokens FROM unit")
    }
    needs_others = getattr(module, "NEEDS_OTHERS", False)
    for begin in range(0, len(unit_ids), 100):
        part = list(unit_ids[begin : begin + 100])
        elsewhere = run.silent_elsewhere(part) if needs_others else {}
        for unit_id, contexts in run.contexts(part).items():
            peak, density, intervals = columns[unit_id]
            one_of_each = dict(reversed(elsewhere.get(unit_id, [])))  # the first of each owner
            others = run.contexts_numbered(sorted(one_of_each.values()))
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
                {"task": name, "design": str(design), "unit_id": unit, "outcome": outcome}
                for unit, outcome in planned.untried.items()
            ],
            ignore=True,
        )
    return sorted(set(ids))
