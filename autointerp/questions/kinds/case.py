"""Words written in capitals, with a capital at the beginning, or with one inside."""

from __future__ import annotations

import re

import numpy as np

from autointerp.questions.kinds import Rule, pick
from autointerp.questions.labelled_text import LabelledText, Mask

LEVEL = 1
INSIDE = re.compile(r".*[a-z][A-Z]")


def mid_sentence(text: LabelledText) -> Mask:
    """Return [tokens] whether the token ends a word that follows another one after a space."""
    return text.next_word(text.every_word_ends)


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    least = int(rng.integers(2, 7))
    form = int(rng.integers(4))
    if form == 0:
        said = f"words in capitals of {least} letters or more"
        return Rule(said, text.word_ends(w.isupper() and len(w) >= least for w in text.words))
    if form == 1:
        return Rule(
            f"words of {least + 3} letters or more with a capital inside",
            text.word_ends(bool(INSIDE.match(w)) and len(w) >= least + 3 for w in text.words),
        )
    letter = pick(list("ABCDEFGHIJKLMNOPRSTUVW"), rng)
    if form == 2:
        capitalised = text.word_ends(w.istitle() and w[0] == letter for w in text.words)
        return Rule(f"words that begin with a capital {letter}, amid a sentence",
                    capitalised & mid_sentence(text))  # fmt: skip
    small = text.next_word(text.word_ends(w.islower() for w in text.words))
    capitalised = text.word_ends(w.istitle() and len(w) > least + 2 for w in text.words)
    return Rule(
        f"words of more than {least + 2} letters with a capital after a word without", small
        & capitalised
    )  # fmt: skip
