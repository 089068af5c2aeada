"""Code of one programming language, or its comments."""

from __future__ import annotations

import numpy as np

from autointerp.questions.kinds import BROAD, Rule, pick
from autointerp.questions.labelled_text import LabelledText, Mask

LEVEL = 3
HELD_BACK = True
COMMENTS = {
    "erlang": "%", "lua": "--", "php": "//", "ruby": "#", "scss": "//", "tcl": "#",
    "typescript": "//",
}  # fmt: skip


def long_words(text: LabelledText) -> Mask:
    """Return [tokens] whether the token ends a word of two letters or more."""
    return text.word_ends(len(word) > 1 for word in text.words)


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    present = [name for name in sorted(COMMENTS) if name in text.domains]
    if not present:
        return None
    language = pick(present, rng)
    inside = text.within([language])
    marks = text.of_vocabulary(t.strip().startswith(COMMENTS[language]) for t in text.texts)
    comments = inside & text.since(marks, text.breaks)
    words = text.once(long_words)
    form = int(rng.integers(3))
    if form == 0:
        return Rule(f"words in comments of {language.title()}", comments & words, BROAD)
    if form == 1:
        return Rule(f"words of code in {language.title()}", inside & ~comments & words, BROAD)
    begins = text.line_begins & inside & ~comments
    return Rule(f"the beginning of a line of code in {language.title()}", begins, BROAD)
