"""What units add to a logit difference: to first order, and by ablation at each position.

The linear attribution of a unit at a position is its activation times the gradient of the logit
difference along its direction; the ablation is what the difference loses when the unit is set to 0
there, exactly. Without a prompt each unit is measured on its own strongest context, up to the token
on which it fires; without a target the model's likeliest next token stands against its second.
Source: Templeton et al. 2024 (SEEDS §3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch

from autointerp.errors import BadInput, SubjectError
from autointerp.labs import Options, Row
from autointerp.labs._bench import without
from autointerp.labs._prompts import as_batch, one_token, token_ids, token_strings
from autointerp.labs._refusals import none_measured
from autointerp.settings import HarvestSettings
from autointerp.store.run import Run
from autointerp.subjects import Subject
from autointerp.subjects.interventions import (
    ChangeableModel,
    gradient_at_site,
    last_logits,
    moved_logits,
)
from autointerp.units.levers import active_units, levers_of, model_of
from autointerp.units.reopen import numbers_again, sources_again, subject_again
from autointerp.units.sources import Source
from autointerp.units.stream import first_is_none

LOGITS = 2**25  # that are held at a time
TOKENS = 8_192  # that go through the model at a time
UNITS = 8_192  # and positions, whose directions are held at a time

COLUMNS = {
    "prompt": "text after which the logits are compared",
    "target": "token whose logit counts",
    "against": "token whose logit is taken from it",
    "position": "of the token, from 0, BOS included",
    "token": "on which the unit is active",
    "activation": "of the unit there, in the subject's units",
    "attribution": "activation x gradient of the logit difference along the unit's direction",
    "ablation": "logit difference less that with the unit at 0 there",
    "outcome": "`ok`, or why nothing was measured",
}
OPTIONS = {"prompt": "", "target": "", "against": ""}


@dataclass(frozen=True)
class Question:
    """A prompt and the two tokens that are compared after it, as ids."""

    ids: tuple[int, ...]
    target: int
    against: int


@dataclass(frozen=True)
class Effect:
    """What an active unit adds at a position; `number` is the unit's in its source."""

    number: int
    position: int
    activation: float
    attribution: float
    ablation: float


def run(run: Run, units: Sequence[int], options: Options) -> Iterator[Row]:
    """Yield a row a unit and position at which it is active; one with a reason if there is none."""
    subject = subject_again(run, "lab attribution")
    has_any = any(row["outcome"] == "ok" for row in run.lab_rows("attribution"))
    reasons: dict[str, str] = {}
    for name, source, members in list(sources_again(run, subject, units)):
        try:
            model = model_of(subject, name, source)
            numbers = numbers_again(run, name, source, members)
        except SubjectError as error:
            reasons[name] = str(error)
            yield from (without(unit_id, COLUMNS, str(error)) for unit_id in members)
            continue
        for unit_id, number in zip(members, numbers.tolist(), strict=True):
            prompt = options["prompt"] or strongest_prompt(run, unit_id)
            if not prompt:
                yield without(unit_id, COLUMNS, "the run holds no context on which it fires")
                continue
            question = question_of(subject, model, prompt, options)
            own = effects_of(subject, model, source, question, run.settings.harvest, [number])
            if not own:
                yield without(unit_id, COLUMNS, "it is active at no token of the prompt")
                continue
            has_any = True
            yield from (row_of(subject, unit_id, prompt, question, effect) for effect in own)
    if not has_any and reasons:
        refusal = "lab attribution: no unit can be ablated"
        raise none_measured(refusal, reasons, "name other sources", subject)


def question_of(
    subject: Subject, model: ChangeableModel, prompt: str, options: Options
) -> Question:
    """Return the question that the options ask after a prompt.

    Raises BadInput where a target is not one token, or both are the same.
    """
    ids = token_ids(subject, prompt)
    logits = model.logits(*as_batch(ids))[0, -1]
    first, second = logits.topk(2).indices.tolist()
    target = one_token(subject, options["target"], "--target") if options["target"] else None
    against = one_token(subject, options["against"], "--against") if options["against"] else None
    if target is None:
        target = first if first != against else second
    if against is None:
        against = first if first != target else second
    if target == against:
        raise BadInput(
            f"--target and --against are the same token, {options['target']!r}; give two"
        )
    return Question(tuple(ids), target, against)


def strongest_prompt(run: Run, unit_id: int) -> str:
    """Return a unit's strongest context up to the token on which it fires; empty if none."""
    contexts = run.contexts([unit_id])[unit_id].values()
    firing = [context for context in contexts if not context.silent]
    if not firing:
        return ""
    strongest = max(firing, key=lambda context: context.activation)
    return "".join(strongest.tokens[: strongest.focus + 1])


def effects_of(
    subject: Subject,
    model: ChangeableModel,
    source: Source,
    question: Question,
    settings: HarvestSettings,
    numbers: Sequence[int] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    known: Mapping[tuple[int, int], float] = MappingProxyType({}),
    keep: Callable[[Mapping[tuple[int, int], float]], None] = lambda ablated: None,
) -> list[Effect]:
    """Return the effects of all active units of a source, or of those with these `numbers`, at
    every token that is text, as the harvest counts them.

    Args:
        progress: Told how many of them are ablated.
        known: Logit differences with a unit at 0, by its number and position, from a time before;
            they are not computed again.
        keep: Given those that are, as they come.
    """
    ids, attention = as_batch(question.ids)

    def difference(logits: torch.Tensor) -> torch.Tensor:
        return (logits[:, -1, question.target] - logits[:, -1, question.against]).double()

    x, gradient = gradient_at_site(model, ids, attention, lambda logits: difference(logits).sum())
    left_out = [place for place, index in enumerate(question.ids) if index in subject.special]
    if first_is_none(subject, settings):
        left_out.append(0)
    active = [
        (position, number, activation)
        for position, number, activation in active_units(source, x[0], settings.fires, numbers)
        if position not in left_out
    ]
    tokens = torch.tensor(question.ids)
    whole = float(difference(last_logits(model, tokens[None])[:, None]))
    effects: list[Effect] = []
    for begin in range(0, len(active), UNITS):  # by units, so that a position's stand together
        part = active[begin : begin + UNITS]
        positions = torch.tensor([position for position, _, _ in part], device=x.device)
        amounts = torch.tensor([amount for _, _, amount in part], device=x.device)
        levers = levers_of(source, np.array([number for _, number, _ in part]))
        at = x[0, positions]
        written = levers.directions.to(x.device) * amounts[:, None]
        if levers.scale is not None:
            written = written * levers.scale(at)
        linear = (written * gradient[0, positions]).sum(-1).tolist()
        keys = [(number, position) for position, number, _ in part]
        ablated = {row: known[key] for row, key in enumerate(keys) if key in known}
        if ablated:
            progress(begin + len(ablated), len(active))
        for rows, logits in moved_logits(
            model, tokens, positions, -written, rows_of(subject), frozenset(ablated)
        ):
            computed = dict(zip(rows, difference(logits[:, None]).tolist(), strict=True))
            ablated |= computed
            keep({keys[row]: other for row, other in computed.items()})
            progress(begin + len(ablated), len(active))
        effects += [
            Effect(number, position, amount, one, whole - ablated[row])
            for row, ((position, number, amount), one) in enumerate(zip(part, linear, strict=True))
        ]
    return effects


def rows_of(subject: Subject) -> Callable[[int], int]:
    """Return how many rows of so many tokens are read at a time."""
    vocabulary = len(subject.token_texts)
    return lambda tokens: max(1, min(TOKENS // tokens, LOGITS // (tokens * vocabulary)))


def row_of(subject: Subject, unit_id: int, prompt: str, question: Question, effect: Effect) -> Row:
    """Return the row of one effect of a unit."""
    target, against = (subject.token_texts[one] for one in (question.target, question.against))
    return {
        "unit_id": unit_id,
        "prompt": prompt,
        "target": target,
        "against": against,
        "position": effect.position,
        "token": token_strings(subject, question.ids[effect.position : effect.position + 1])[0],
        "activation": effect.activation,
        "attribution": effect.attribution,
        "ablation": effect.ablation,
        "outcome": "ok",
    }
