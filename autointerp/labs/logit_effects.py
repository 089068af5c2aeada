"""Logit effects: the tokens that a unit promotes and suppresses on the direct path.

Only where a unit is a direction that is added to the model's activations: dictionary vectors,
neurons, random directions. What fires by a rule of the text, or at random, adds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autointerp.errors import BadInput, SubjectError
from autointerp.records import LogitEffects
from autointerp.store.run import Run
from autointerp.subjects import Subject
from autointerp.units.reopen import numbers_again, sources_again, subject_again
from autointerp.units.sources import Directed

TOKENS = 10  # promoted, and as many suppressed
UNITS = 32  # whose effects on the full vocabulary are held at a time


def logit_effects(
    run: Run, unit_ids: Sequence[int], option: str = "--logit-effects"
) -> tuple[dict[int, LogitEffects], dict[str, str]]:
    """Return the effects by unit, and why a source's units have none, by source.

    The run's subject is loaded for it. Raises BadInput if no unit has any, RunMismatch if the
    subject is not the run's.
    """
    subject = subject_again(run, option)
    effects_of: dict[int, LogitEffects] = {}
    without: dict[str, str] = {}
    for name, source, units in sources_again(run, subject, unit_ids):
        if not isinstance(source, Directed):
            without[name] = "they are no directions in the model"
            continue
        try:
            readout = subject.model.readout(source.transcodes)
            numbers = numbers_again(run, name, source, units)
            for begin in range(0, len(units), UNITS):
                part = slice(begin, begin + UNITS)
                effects = readout.effects(source.written(numbers[part]))
                effects_of |= zip(units[part], strongest(effects, subject), strict=True)
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
