"""Tokens of ranks 11 to 60 by what a unit adds to their logits, beside tokens drawn at random.

By the direct path, as in `logit-effects`, whose ten strongest are left out: an explainer may have
seen them. The scorer `logits` asks which of these 100 tokens the unit promotes.
Source: Bricken et al. 2023, "Towards Monosemanticity" (SEEDS §2, logit-effect task).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from autointerp.labs import Options, Row
from autointerp.labs._readouts import effects_in_parts, no_effects, with_text
from autointerp.labs.logit_effects import TOKENS
from autointerp.store.run import Run
from autointerp.subjects import Subject

LAST = 60  # rank of the last that counts as promoted
DRAWN = LAST - TOKENS

COLUMNS = {
    "promoted": "tokens of ranks 11 to 60 by the logit that the unit adds, the strongest first",
    "random": "as many tokens drawn at random among all others but the ten strongest",
    "outcome": "`ok`, or why the unit has no such tokens",
}


def run(run: Run, units: Sequence[int], options: Options) -> Iterator[Row]:
    """Yield one row a unit."""
    reasons = {}
    has_any = any(row["outcome"] == "ok" for row in run.lab_rows("promoted-tokens"))

    def keep(effects: Tensor, subject: Subject, ids: Sequence[int]) -> list[dict[str, Any]]:
        return [
            promoted(row, subject, np.random.default_rng([run.settings.seed, unit, 0x6C6F6769]))
            for row, unit in zip(effects, ids, strict=True)
        ]

    for name, members, found, reason in effects_in_parts(run, units, "lab promoted-tokens", keep):
        has_any |= bool(found)
        if reason:
            reasons[name] = reason
        for unit_id in members:
            without = {"promoted": [], "random": [], "outcome": reason}
            yield {"unit_id": unit_id, **found.get(unit_id, without)}
    if not has_any:
        raise no_effects("lab promoted-tokens", reasons)


def promoted(effects: Tensor, subject: Subject, rng: np.random.Generator) -> dict[str, Any]:
    """Return the columns of a unit with these effects [vocabulary].

    Tokens with the same text count once, as the strongest of them.
    """
    ids = with_text(subject, effects.device)
    ranked = ids[effects[ids].argsort(descending=True, stable=True)].tolist()
    texts = list(dict.fromkeys(subject.token_texts[index] for index in ranked))
    if len(texts) < LAST + DRAWN:
        return {
            "promoted": [],
            "random": [],
            "outcome": f"too few tokens in the vocabulary, {len(texts)}",
        }
    others = texts[LAST:]
    drawn = rng.choice(len(others), DRAWN, replace=False)
    return {
        "promoted": texts[TOKENS:LAST],
        "random": [others[place] for place in drawn.tolist()],
        "outcome": "ok",
    }
