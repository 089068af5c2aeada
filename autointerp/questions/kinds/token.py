"""One word, in any case."""

from __future__ import annotations

import numpy as np

from autointerp.questions.kinds import Rule, pick
from autointerp.questions.labelled_text import LabelledText

LEVEL = 1
LEAST = 240


def common_words(text: LabelledText) -> list[str]:
    """Return words of two letters or more that occur often enough, sorted."""
    return text.once(_common_words)


def _common_words(text: LabelledText) -> list[str]:
    return sorted(w for w, n in text.word_counts.items() if len(w) > 1 and n >= LEAST)


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    word = pick(common_words(text), rng)
    return Rule(f"the word '{word}'", text.ends_of([word]))
