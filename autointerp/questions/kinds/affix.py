"""Words that begin or end with the same two to four letters."""

from __future__ import annotations

import numpy as np

from autointerp.questions.kinds import Rule, pick
from autointerp.questions.labelled_text import LabelledText

LEVEL = 1
HELD_BACK = True
LEAST_WORDS = 6


def _long_words(text: LabelledText) -> list[str]:
    return sorted(w for w, n in text.word_counts.items() if len(w) >= 5 and n >= 20)


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    word = pick(text.once(_long_words), rng)
    length, at_end = int(rng.integers(2, 5)), bool(rng.integers(2))
    affix = word[-length:] if at_end else word[:length]

    has = str.endswith if at_end else str.startswith
    words = [other for other in text.word_counts if has(other, affix) and len(other) > length + 1]
    counts = [text.word_counts[other] for other in words]
    if len(counts) < LEAST_WORDS or max(counts) > sum(counts) / 3:  # one word in fact
        return None
    holds = text.ends_of(words) if at_end else text.begins_of(words)
    return Rule(f"words that {'end' if at_end else 'begin'} with '{affix}'", holds)
