"""A small made-up corpus with what rules are planted on: common words, endings, topics."""

from __future__ import annotations

from functools import cache
from itertools import chain

import numpy as np

from autointerp.questions.labelled_text import LabelledText
from autointerp.questions.planter import PlantedUnit, Planter
from autointerp.records import Item, ItemContext

ONSETS = ["b", "br", "c", "cl", "d", "fl", "g", "gr", "h", "l", "m", "n", "pl", "r", "s", "tr", "w"]
VOWELS = ["a", "e", "i", "o", "u", "ai", "ea", "oo"]
CODAS = ["b", "ck", "d", "g", "ll", "m", "n", "nd", "p", "r", "rt", "sh", "st", "t", "x"]
ENDINGS = ["ing", "ed", "ness", "ous", "ment", "ly", "er", "able"]
COMMON = [" the", " of", " and", " to", " in", " a", " is", " that", " it", " for", " was", " on"]
KINDS = ("affix", "predecessor", "token", "topic")
TOPICS, TOPIC_WORDS, DOCUMENTS, LENGTH = 30, 15, 240, 300


@cache
def small_corpus() -> Planter:
    """Return 240 documents of 300 tokens over some 850 token texts."""
    rng = np.random.default_rng(7)

    def stem() -> str:
        return str(rng.choice(ONSETS)) + str(rng.choice(VOWELS)) + str(rng.choice(CODAS))

    derived = sorted({f" {stem()}{ending}" for ending in ENDINGS for _ in range(40)})
    plain = sorted({f" {stem()}" for _ in range(120)})
    topical = [[f" {stem()}{stem()}" for _ in range(TOPIC_WORDS)] for _ in range(TOPICS)]
    marks = [",", ".", " (", ")", "\n"]
    texts = [*dict.fromkeys([*COMMON, *marks, *derived, *plain, *chain(*topical)])]
    number = {text: index for index, text in enumerate(texts)}
    kinds = [COMMON, marks, derived, plain]
    shares = np.array([0.35, 0.12, 0.3, 0.23])
    likely = [1 / (np.arange(len(kind)) + 3) for kind in kinds]
    likely = [p / p.sum() for p in likely]
    documents = []
    for _ in range(DOCUMENTS):
        topic = topical[rng.integers(TOPICS)]
        kind = rng.choice(4, LENGTH, p=shares)
        words = [kinds[k][rng.choice(len(kinds[k]), p=likely[k])] for k in kind]
        begin = int(rng.integers(LENGTH - 100))
        for place in range(begin, begin + 100):  # a passage on the topic
            if rng.random() < 0.25:
                words[place] = topic[rng.integers(TOPIC_WORDS)]
        documents.append([number[word] for word in words])
    tokens = np.array([*chain(*documents)], dtype=np.int64)
    starts = np.arange(DOCUMENTS + 1, dtype=np.int64) * LENGTH
    domain = ("speech",) * DOCUMENTS
    return Planter(LabelledText(tokens, starts, tuple(texts), domain), KINDS)


def planted_item(unit: PlantedUnit, identifier: str, rubric: str) -> Item:
    """Return the unit as an item that carries all its contexts, scaled to 0–10."""
    peak = max(max(context.activations) for context in unit.contexts)
    return Item(
        id=identifier,
        rubric=rubric,
        contexts=tuple(
            ItemContext(
                tokens=context.tokens,
                activations=tuple(10 * a / peak for a in context.activations),
                focus=context.focus,
                split=context.split,
                silent=context.silent,
            )
            for context in unit.contexts
        ),
    )
