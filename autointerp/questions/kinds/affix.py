"""Words that begin or end with the same two to four letters."""

from __future__ import annotations

import numpy as np

from autointerp.questions.kinds import Rule, pick
from autointerp.questions.labelled_text import LabelledText

LEVEL = 1
HELD_BACK = True
LEAST_WORDS = 6


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    word = pick(sorted(w for w, n in text.word_counts.items() if len(w) >= 5 and n >= 20), rng)
    length, at_end = int(rng.integers(2, 5)), bool(rng.integers(2))
    affix = word[-length:] if at_end else word[:length]

    def has(other: str) -> bool:
        longer = len(other) > length + 1
        return longer and (other.endswith(affix) if at_end else other.startswith(affix))

    counts = [n for other, n in text.word_counts.items() if has(other)]
    if len(counts) < LEAST_WORDS or max(counts) > sum(counts) / 3:  # one word in fact
        return None
    member = (has(other.lower()) for other in text.words)
    holds = text.word_ends(member) if at_end else text.word_begins(member)
    return Rule(f"words that {'end' if at_end else 'begin'} with '{affix}'", holds)
