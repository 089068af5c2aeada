"""A token after a certain word, and nowhere else."""

from __future__ import annotations

import numpy as np

from autointerp.questions.kinds import Rule, pick
from autointerp.questions.kinds.token import common_words
from autointerp.questions.labelled_text import Ints, LabelledText

LEVEL = 2
LEAST = 260


def _pairs(text: LabelledText) -> tuple[Ints, Ints, list[int]]:
    """Return where tokens follow a common word, its number, and pairs of these that are common."""
    words = common_words(text)
    word = text.numbered({word: number for number, word in enumerate(words)})
    follows = np.flatnonzero((text.position > 0)[1:] & (word[:-1] >= 0)) + 1
    size = len(text.texts)
    pairs, counts = np.unique(word[follows - 1] * size + text.tokens[follows], return_counts=True)
    # Elsewhere the token is common too, or the word before it would not matter.
    chosen = pairs[(counts >= LEAST) & (counts < text.counts[pairs % size] / 3)]
    return follows, word[follows - 1], chosen.tolist()


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    follows, word, chosen = text.once(_pairs)
    if not chosen:
        return None
    before, token = divmod(pick(chosen, rng), len(text.texts))
    holds = np.zeros(len(text), dtype=bool)
    holds[follows] = (word == before) & (text.tokens[follows] == token)
    return Rule(f"{text.texts[token]!r} after '{common_words(text)[before]}'", holds)
