"""Which units a logit difference comes from: every active unit of a source, two ways."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autointerp.errors import BadInput
from autointerp.labs import design_of, options_of
from autointerp.labs._prompts import token_strings
from autointerp.labs.attribution import Effect, Question, effects_of, question_of, row_of
from autointerp.pipeline.events import Ablating, On, Step, ignore
from autointerp.pipeline.job import say_opened
from autointerp.pipeline.lab import SAVE_EVERY_S
from autointerp.records import Unit
from autointerp.stats.ranks import spearman
from autointerp.stats.results import or_none, too_few
from autointerp.store.run import RUNS, Run, open_run
from autointerp.subjects import Subject
from autointerp.subjects.interventions import ChangeableModel
from autointerp.text import count
from autointerp.units.levers import model_of
from autointerp.units.reopen import numbers_again, sources_again, subject_again
from autointerp.units.sources import DirectedElsewhere, Source

LAB = "attribution"


@dataclass(frozen=True)
class RankedEffect:
    """What a unit adds to the logit difference at a position.

    Attributes:
        unit: Its name, such as `features/12`; in the run or not.
        description: What an explainer wrote of it last; empty where none did.
        attribution, ablation: To first order, and exactly.
        attribution_rank, ablation_rank: Among all of its source, by size without sign, from 1.
    """

    unit: str
    position: int
    token: str
    activation: float
    attribution: float
    ablation: float
    attribution_rank: int
    ablation_rank: int
    description: str


@dataclass(frozen=True)
class SourceEffects:
    """The effects of all active units of a source, largest ablation first.

    Attributes:
        pearson, spearman: Of attribution and ablation over units and positions; None where fewer
            than 5 are active or either does not vary.
        stored: How many are of units that the run holds, which are stored in it.
    """

    source: str
    effects: tuple[RankedEffect, ...]
    pearson: float | None
    spearman: float | None
    stored: int


@dataclass(frozen=True)
class Attribution:
    """What was asked of a prompt, and the effects by source."""

    run: str
    prompt: str
    target: str
    against: str
    sources: tuple[SourceEffects, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return asdict(self)


def attribute(
    prompt: str,
    target: str = "",
    against: str = "",
    run: str = "main",
    sources: Sequence[str] = (),
    runs: Path | str = RUNS,
    on: On = ignore,
) -> Attribution:
    """Measure every active unit of the sources on a prompt, and store what was found.

    All is in the tables `attributed` and `attributed_unit`; units of the run have rows of the lab
    `attribution`, too. Without a target the model's own likeliest tokens are compared, the same
    two in all sources. Empty `sources` means `features`, or `neurons` where the run has none. What
    is computed is kept in the run as it comes: if it is stopped, the same call goes on, to the same
    result. Raises BadInput if a target is not one token, the prompt is empty, or units of a source
    cannot be ablated.
    """
    if not prompt:
        raise BadInput("--prompt '': give a text, after which the logits are compared")
    options = {"prompt": prompt, "target": target, "against": against}
    with open_run(run, folder=Path(runs)) as opened:
        say_opened(opened, on)
        held = list(opened.sources())
        names = (
            list(dict.fromkeys(sources)) or [n for n in ("features", "neurons") if n in held][:1]
        )
        for name in names or ["features"]:
            if name not in held:
                raise BadInput(
                    f"run '{run}' has no units of source '{name}' (it has: "
                    f"{', '.join(held) or 'none'}); add some with `autointerp rate`"
                )
        units = [unit.unit_id for name in names for unit in opened.units(name)]
        subject = subject_again(opened, "attribute")
        design = design_of(LAB, options_of(LAB, options), units)
        measured = []
        parts = [
            (name, source, members, model_of(subject, name, source))
            for name, source, members in sources_again(opened, subject, units)
        ]  # one that cannot be ablated is refused before any is
        question = question_of(subject, _asked(parts), prompt, options)
        for name, source, members, model in parts:

            def tell(done: int, total: int, name: str = name) -> None:
                on(Ablating(name, done, total))

            known = opened.ablated(design, name)
            if known:
                on(Step(f"{name} has {count(len(known), 'ablation')} already and goes on"))
            with _kept(opened, design, name) as keep:
                effects = effects_of(
                    subject, model, source, question, opened.settings.harvest, None, tell, known,
                    keep,
                )  # fmt: skip
            on(Step(f"{name} is active {count(len(effects), 'time')} in the prompt"))
            unit_of = {effect.number: source.unit(effect.number) for effect in effects}
            numbers = numbers_again(opened, name, source, members).tolist()
            rows = [
                row_of(subject, unit_id, prompt, question, effect)
                for unit_id, number in zip(members, numbers, strict=True)
                for effect in effects
                if effect.number == number
            ]
            opened.replace_lab_rows(LAB, members, rows, design)
            described = _descriptions(opened, dict(zip(numbers, members, strict=True)))
            shown = _ranked(subject, question, effects, unit_of, described)
            linear = [effect.attribution for effect in effects]
            exact = [effect.ablation for effect in effects]
            found = SourceEffects(
                name, shown, _correlation(linear, exact),
                None if too_few(len(exact)) else or_none(spearman(linear, exact)), len(rows),
            )  # fmt: skip
            _store(opened, subject, question, prompt, found)
            measured.append(found)
        opened.drop_ablated()
        opened.log("measured", lab=LAB, options=options, units=len(units))
        texts = subject.token_texts
    return Attribution(
        run, prompt, texts[question.target], texts[question.against], tuple(measured)
    )


def _asked(parts: Sequence[tuple[str, Source, list[int], ChangeableModel]]) -> ChangeableModel:
    """Return the model whose likeliest tokens are compared in all sources where none are named:
    the run's own, unless all units are read in another.
    """
    own = (model for _, source, _, model in parts if not isinstance(source, DirectedElsewhere))
    return next(own, parts[0][-1])


def _store(
    run: Run, subject: Subject, question: Question, prompt: str, found: SourceEffects
) -> None:
    """Store what was found of a source, units that the run has not harvested included."""
    asked = json.dumps([question.ids, question.target, question.against])
    texts = subject.token_texts
    about = {
        "prompt": prompt, "target": texts[question.target], "against": texts[question.against],
        "pearson": found.pearson, "spearman": found.spearman,
    }  # fmt: skip
    rows = [
        {name: value for name, value in asdict(effect).items() if name != "description"}
        for effect in found.effects
    ]
    digest = hashlib.sha256(asked.encode()).hexdigest()
    run.replace_attributed(digest, found.source, about, rows)


@contextmanager
def _kept(
    run: Run, design: str, source: str
) -> Iterator[Callable[[Mapping[tuple[int, int], float]], None]]:
    """Give a function that keeps ablations in the run, some at a time, whatever ends the block."""
    pending: dict[tuple[int, int], float] = {}
    saved_at = time.monotonic()

    def save() -> None:
        nonlocal saved_at
        if pending:
            run.add_ablated(design, source, pending)
            pending.clear()
        saved_at = time.monotonic()

    def keep(ablated: Mapping[tuple[int, int], float]) -> None:
        pending.update(ablated)
        if time.monotonic() - saved_at >= SAVE_EVERY_S:
            save()

    try:
        yield keep
    finally:
        save()


def _ranked(
    subject: Subject,
    question: Question,
    effects: Sequence[Effect],
    unit_of: Mapping[int, Unit],
    described: Mapping[int, str],
) -> tuple[RankedEffect, ...]:
    by_linear = _ranks([effect.attribution for effect in effects])
    by_exact = _ranks([effect.ablation for effect in effects])
    ranked = [
        RankedEffect(
            str(unit_of[effect.number]), effect.position,
            token_strings(subject, [question.ids[effect.position]])[0],
            effect.activation, effect.attribution, effect.ablation, linear, exact,
            described.get(effect.number, ""),
        )
        for effect, linear, exact in zip(effects, by_linear, by_exact, strict=True)
    ]  # fmt: skip
    return tuple(sorted(ranked, key=lambda one: one.ablation_rank))


def _ranks(values: Sequence[float]) -> list[int]:
    """Return the rank of each value by size without sign, from 1; ties by their order."""
    order = np.argsort(-np.abs(np.array(values)), kind="stable")
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = np.arange(1, len(values) + 1)
    return ranks.tolist()


def _correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return Pearson's correlation; None for fewer than 5 pairs, or if either does not vary."""
    if too_few(len(x)) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _descriptions(run: Run, units: Mapping[int, int]) -> dict[int, str]:
    """Return the newest description of each unit that has one, by its number in its source."""
    texts = dict(
        run.rows(
            "SELECT unit_id, arg_max(description, made_at) FROM explanation"
            " WHERE status = 'ok' AND unit_id IN (SELECT unnest(?::INTEGER[])) GROUP BY unit_id",
            [list(units.values())],
        )
    )
    return {number: texts[unit_id] for number, unit_id in units.items() if unit_id in texts}
