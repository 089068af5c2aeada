"""Tokens that a unit promotes and suppresses by its direct path to the logits.

Only where a unit is a direction that is added to the model's activations: dictionary vectors,
neurons, random directions. What fires by a rule of the text, or at random, adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from autointerp.errors import BadInput
from autointerp.labs import Options, Row
from autointerp.labs._readouts import Keep, effects_in_parts, no_effects, with_text
from autointerp.records import LogitEffects
from autointerp.store.run import Run
from autointerp.subjects import Subject

TOKENS = 10  # promoted, and as many suppressed

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
    keep = _keep(options["tokens"])
    for name, members, effects_of, reason in effects_in_parts(
        run, units, "lab logit-effects", keep
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
        raise no_effects("lab logit-effects", reasons)


def logit_effects(
    run: Run, unit_ids: Sequence[int]
) -> tuple[dict[int, LogitEffects], dict[str, str]]:
    """Return the effects by unit, and why a source's units have none, by source.

    `TOKENS` tokens are promoted, and as many suppressed, where the vocabulary has them. The run's
    subject is loaded for it. Raises BadInput if no unit has any, RunMismatch if the subject is
    not the run's.
    """
    option = "--logit-effects"
    effects_of: dict[int, LogitEffects] = {}
    without: dict[str, str] = {}
    for name, _, effects, reason in effects_in_parts(run, unit_ids, option, _keep(TOKENS)):
        effects_of |= effects
        if reason:
            without[name] = reason
    if not effects_of:
        raise no_effects(option, without)
    return effects_of, without


def _keep(count: int) -> Keep[LogitEffects]:
    return lambda effects, subject, _: strongest(effects, subject, count)


def strongest(effects: Tensor, subject: Subject, count: int = TOKENS) -> list[LogitEffects]:
    """Return the tokens that stand out in effects [units, vocabulary], special ones left out.

    No token is in both lists, however small the vocabulary.
    """
    texts = subject.token_texts
    texts_only = with_text(subject, effects.device)
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
