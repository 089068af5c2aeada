"""Whatever token stands one or two places after a word."""

from __future__ import annotations

import numpy as np

from autointerp.questions.kinds import Rule, pick
from autointerp.questions.kinds.token import common_words
from autointerp.questions.labelled_text import LabelledText

LEVEL = 2


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    word, offset = pick(common_words(text), rng), int(rng.integers(1, 3))
    said = f"any token {'' if offset == 1 else f'{offset} places '}after '{word}'"
    return Rule(said, text.after(text.ends_of([word]), offset))
