"""Is what makes the unit fire what the description says? `responsiveness` turned round.

The texts of the calls of `responsiveness` in the order of the unit's largest activation: how near
to the top are those that fit the description? The score is the average precision, set to 0.5 at
what a random order has in expectation and to 1 where all that fits comes first, above what the
other descriptions of the call get on the very same texts. A unit that fires for several reasons
has a low purity under a description of one. It reads the answers of `responsiveness` and asks
nothing of its own: whoever asks for one has both.

Source: Puri et al. 2025, "FADE: Why Bad Descriptions Happen to Good Features", which gives the
average precision itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from autointerp.questions.scorers import Answered, Figures, Tried, above_other_descriptions
from autointerp.questions.scorers.responsiveness import (
    COUNT,
    PER_CALL,
    RESPONDS,
    TASK,
    TOGETHER,
    choose,
)
from autointerp.stats.ranks import average_precision

__all__ = ["COUNT", "PER_CALL", "RESPONDS", "TASK", "TOGETHER", "choose", "measure"]


def measure(tried: Tried) -> Figures:
    """Return what the own description gets above the others of the call."""
    return above_other_descriptions(tried, purity)


def purity(asked: Sequence[Answered]) -> Figures:
    """Return the average precision, 0.5 at chance; 0.5 where all texts fit or none does."""
    given = [one for one in asked if one.answer is not None and one.activation is not None]
    if not given:
        return Figures(None, "no answers on texts that were measured")
    levels = [one.activation or 0.0 for one in given]
    fits = [one.answer > 0.5 for one in given]
    if all(fits) or not any(fits):
        return Figures(0.5, "ok", {"share that fits": float(all(fits))})
    found = average_precision(levels, fits)
    chance = average_precision([0.0] * len(fits), fits)  # all tied: of a random order
    score = 0.5 + 0.5 * (found - chance) / (1 - chance)
    more = {"average precision": found, "share that fits": sum(fits) / len(fits)}
    return Figures(max(0.0, score), "ok", more)
