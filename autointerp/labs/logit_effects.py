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
    effects_of, without = logit_effects(run, units, "lab logit-effects", options["tokens"])
    source_of = {
        unit_id: source for source, members in run.by_source(units).items() for unit_id in members
    }
    for unit_id in units:
        effects = effects_of.get(unit_id)
        yield {
            "unit_id": unit_id,
            "promoted": list(effects.promoted) if effects else [],
            "suppressed": list(effects.suppressed) if effects else [],
            "outcome": "ok" if effects else without[source_of[unit_id]],
        }


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
    subject = subject_again(run, option)
    written = None if subject.loaded is None else subject.loaded.writes
    effects_of: dict[int, LogitEffects] = {}
    without: dict[str, str] = {}
    for name, source, units in sources_again(run, subject, unit_ids):
        if not isinstance(source, Directed):
            without[name] = "they are no directions in the model"
            continue
        try:
            are_hidden = getattr(source, "are_hidden", False)
            model = (subject.hidden if are_hidden else None) or subject.model
            readout = model.readout(source.transcodes, written)
            numbers = numbers_again(run, name, source, units)
            for begin in range(0, len(units), UNITS):
                part = slice(begin, begin + UNITS)
                effects = readout.effects(source.written(numbers[part]))
                effects_of |= zip(units[part], strongest(effects, subject, count), strict=True)
        except SubjectError as error:
            without[name] = str(error)
    if not effects_of:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in without.items())
        raise BadInput(f"{option}: no unit has any ({reasons})")
    return effects_of, without


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
