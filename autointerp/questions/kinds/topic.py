"""Content words where the passage is about one topic."""

from __future__ import annotations

import numpy as np

from autointerp.questions.kinds import Rule, pick
from autointerp.questions.labelled_text import Ints, LabelledText

LEVEL = 3
LEXICON = 20  # words of a topic
PASSAGE = 100  # tokens
NEAR = 30  # tokens before, three of which name the topic
LEAST = 30
ENGLISH = ("documentation", "speech", "verse")


def _content_words(text: LabelledText) -> tuple[list[str], list[int], Ints]:
    """Return the words that topics are of, the numbers of those a topic may begin with, and
    [tokens] the number of the word that ends there in English, or -1."""
    counts = text.word_counts
    common = sorted(counts.values())[-max(10, len(counts) // 100)]
    listed = sorted(word for word, n in counts.items() if len(word) >= 4 and n < common)
    seeds = [place for place, word in enumerate(listed) if counts[word] >= LEAST]
    number = {word: place for place, word in enumerate(listed)}
    # In another language a topic would be the language.
    return listed, seeds, np.where(text.within(ENGLISH), text.numbered(number), -1)


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    listed, seeds, where = text.once(_content_words)
    if not seeds:
        return None
    seed = pick(seeds, rng)
    passage = np.cumsum(text.position % PASSAGE == 0) - 1
    seeded = np.zeros(passage[-1] + 1, dtype=bool)
    seeded[passage[where == seed]] = True
    named = where >= 0
    inside = np.bincount(where[named & seeded[passage]], minlength=len(listed))
    overall = np.bincount(where[named], minlength=len(listed)) / max(1, named.sum())
    share = inside / max(1, inside.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(inside >= 4, share * np.log(share / overall), 0)
    lexicon = np.argsort(-gain, kind="stable")[:LEXICON]
    lexicon = lexicon[gain[lexicon] > 0]
    if len(lexicon) < LEXICON // 2:
        return None
    names = np.isin(where, lexicon)
    total = np.concatenate([[0], np.cumsum(names)])
    place = np.arange(len(text)) + 1
    near = total[place] - total[np.maximum(place - NEAR, place - 1 - text.position)]
    said = ", ".join(listed[word] for word in lexicon[:4])
    return Rule(f"talk of {said}", (near >= 3) & named)
