"""Words of one spoken language."""

from __future__ import annotations

import numpy as np

from autointerp.questions.kinds import BROAD, Rule, pick
from autointerp.questions.labelled_text import LabelledText

LEVEL = 3
SPOKEN = ("czech", "dutch", "finnish", "polish", "portuguese", "swedish", "turkish")


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    present = [name for name in SPOKEN if name in text.domains]
    if not present:
        return None
    language = pick(present, rng)
    inside = text.within([language])
    if rng.integers(2):
        words = text.word_ends(len(word) > 1 for word in text.words)
        return Rule(f"words in {language.title()}", inside & words, BROAD)
    said = f"words of eight letters or more in {language.title()}"
    return Rule(said, inside & text.word_ends(len(word) >= 8 for word in text.words), BROAD)
