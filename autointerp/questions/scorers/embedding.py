"""Is the description nearer to texts in which the unit fires? Cosines of embeddings, as an AUROC.

The score is the probability that a text in which the unit fires has a higher cosine with the
description than a silent one. Each text is embedded by itself, so nothing that texts share can
tell. It needs a rater that embeds: `embed:FOLDER` or `openai-embeddings:MODEL`.

Source: EleutherAI's delphi, `delphi/scorers/embedding`, which takes whole contexts and leaves the
figure to the reader; here texts are cut and matched as those of `detection` are.
"""

from __future__ import annotations

from autointerp.questions.forms import make_task
from autointerp.questions.scorers import (
    Figures,
    Tried,
    area_under_roc,
    texts_of_equal_length,
)

PER_CALL = 2
COUNT = 20
TASK = make_task(
    "embedding", 1, "How near is the description to each text?", "embed", "{description}"
)


choose = texts_of_equal_length


def measure(tried: Tried) -> Figures:
    """Return the AUROC of the cosines."""
    return area_under_roc(tried.asked)
