"""Words of a certain length, with a doubled or rare letter, or joined by a mark."""

from __future__ import annotations

import numpy as np

from autointerp.questions.kinds import Rule, pick
from autointerp.questions.labelled_text import LabelledText

LEVEL = 1
JOINTS = ["_", "-", ".", "/", "::", "->"]


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    form = int(rng.integers(4))
    if form == 0:
        length = int(rng.integers(11, 16))
        said = f"words of {length} letters or more"
        return Rule(said, text.word_ends(len(w) >= length for w in text.words))
    if form == 1:
        letter = pick(list("bcdefglmnoprst"), rng)
        said = f"words with a doubled {letter}"
        return Rule(said, text.word_ends(2 * letter in w.lower() for w in text.words))
    if form == 2:
        letter = pick(list("jkqvwxz"), rng)
        said = f"words of five letters or more with a {letter}"
        return Rule(said, text.word_ends(len(w) > 4 and letter in w.lower() for w in text.words))
    joint = pick(JOINTS, rng)
    words = text.every_word_ends
    joints = text.of_vocabulary(t == joint for t in text.texts) & text.after(words)
    begins = text.every_word_begins
    return Rule(f"the beginning of a word after '{joint}'", text.after(joints) & begins)
