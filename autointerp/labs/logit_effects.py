"""Tokens that a unit promotes and suppresses by its direct path to the logits.

Only where a unit is a direction that is added to the model's activations: dictionary vectors,
neurons, random directions. What fires by a rule of the text, or at random, adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from autointerp.errors import BadInput, SubjectError
from autointerp.labs import Options, Row
from autointerp.records import LogitEffects
from autointerp.store.run import Run
from autointerp.subjects import Subject
from autointerp.units.reopen import numbers_again, sources_again, subject_again
from autointerp.units.sources import Directed

TOKENS = 10  # promoted, and as many suppressed
UNITS = 32  # whose effects on the full vocabulary are held at a time

COLUMNS = {
    "promoted": "tokens whose logits the unit raises most, the strongest first",
    "suppressed": "tokens whose logits it lowers most, the strongest first",
    "outcome": "`ok`, or why the unit has no effects",
}
OPTIONS = {"tokens": TOKENS}


def run(run: Run, units: Sequence[int], options: Options) -> Iterator[Row]:
    """Yield one row a unit."""
    if options["tokens"] < 1:
        raise BadInput(f"--option tokens={options['tokens']}: ask for at least 1 token")
    reasons = {}
    has_any = any(row["outcome"] == "ok" for row in run.lab_rows("logit-effects"))
    for name, members, effects_of, reason in _in_parts(
        run, units, "lab logit-effects", options["tokens"]
    ):
        has_any |= bool(effects_of)
        if reason:
            reasons[name] = reason
        for unit_id in members:
            effects = effects_of.get(unit_id)
            yield {
                "unit_id": unit_id,
                "promoted": list(effects.promoted) if effects else [],
                "suppressed": list(effects.suppressed) if effects else [],
                "outcome": reason or "ok",
            }
    if not has_any:
        raise _nothing("lab logit-effects", reasons)


def logit_effects(
    run: Run,
    unit_ids: Sequence[int],
    option: str = "--logit-effects",
    count: int = TOKENS,
) -> tuple[dict[int, LogitEffects], dict[str, str]]:
    """Return the effects by unit, and why a source's units have none, by source.

    `count` tokens are promoted, and as many suppressed, where the vocabulary has them. The run's
    subject is loaded for it. Raises BadInput if no unit has any, RunMismatch if the subject is
    not the run's.
    """
    effects_of: dict[int, LogitEffects] = {}
    without: dict[str, str] = {}
    for name, _, effects, reason in _in_parts(run, unit_ids, option, count):
        effects_of |= effects
        if reason:
            without[name] = reason
    if not effects_of:
        raise _nothing(option, without)
    return effects_of, without


def _nothing(option: str, reasons: dict[str, str]) -> BadInput:
    texts = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    return BadInput(f"{option}: no unit has any ({texts})")


def _in_parts(
    run: Run, unit_ids: Sequence[int], option: str, count: int
) -> Iterator[tuple[str, Sequence[int], dict[int, LogitEffects], str]]:
    """Yield source, units and their effects, some units at a time, and why they have none."""
    subject = subject_again(run, option)
    written = None if subject.loaded is None else subject.loaded.writes
    for name, source, units in sources_again(run, subject, unit_ids):
        if not isinstance(source, Directed):
            yield name, units, {}, "they are no directions in the model"
            continue
        begin = 0
        try:
            are_hidden = getattr(source, "are_hidden", False)
            model = (subject.hidden if are_hidden else None) or subject.model
            readout = model.readout(source.transcodes, written)
            numbers = numbers_again(run, name, source, units)
            for begin in range(0, len(units), UNITS):
                part = units[begin : begin + UNITS]
                effects = readout.effects(source.written(numbers[begin : begin + UNITS]))
                yield (
                    name,
                    part,
                    dict(zip(part, strongest(effects, subject, count), strict=True)),
                    "",
                )
        except SubjectError as error:
            yield name, units[begin:], {}, str(error)


def strongest(effects: Tensor, subject: Subject, count: int = TOKENS) -> list[LogitEffects]:
    """Return the tokens that stand out in effects [units, vocabulary], special ones left out.

    No token is in both lists, however small the vocabulary.
    """
    texts = subject.token_texts
    texts_only = torch.tensor(
        [index for index, text in enumerate(texts) if text and index not in subject.special],
        device=effects.device,
    )
    count = min(count, len(texts_only) // 2)
    values = effects[:, texts_only]
    sides = [
        texts_only[values.topk(count, largest=largest).indices].tolist()
        for largest in (True, False)
    ]
    return [
        LogitEffects(tuple(texts[i] for i in promoted), tuple(texts[i] for i in suppressed))
        for promoted, suppressed in zip(*sides, strict=True)
    ]
