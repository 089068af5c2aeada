"""Words by the grammatical class of the words round them."""

from __future__ import annotations

import numpy as np

from autointerp.questions.kinds import Rule, pick
from autointerp.questions.labelled_text import LabelledText

LEVEL = 2
CLASSES = {
    "a determiner": "the a an this that these those each every no any some",
    "a possessive": "my your his her its our their",
    "a preposition": "of in on at by for with from to into upon over under between through",
    "a modal verb": "will would can could shall should may might must",
    "a form of 'to be'": "is are was were be been being am",
    "a form of 'to have'": "has have had having",
    "a pronoun": "i you he she it we they who which",
    "a conjunction": "and or but nor yet",
    "a subordinator": "if when while because although unless until that as than",
    "a negation": "not never no nor without",
    "an adverb of degree": "very more most less so too much only also",
}


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    before, behind = (pick(sorted(CLASSES), rng) for _ in range(2))
    follows = text.next_word(text.ends_of(CLASSES[before].split()))
    if rng.integers(2):
        stands = follows & text.previous_word(text.ends_of(CLASSES[behind].split()))
        return Rule(f"the word between {before} and {behind}", stands)
    second = text.next_word(follows & ~text.ends_of(" ".join(CLASSES.values()).split()))
    stands = second & text.ends_of(CLASSES[behind].split())
    return Rule(f"{behind} two words after {before}", stands)
