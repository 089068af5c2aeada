"""A mark of punctuation, or a family of marks."""

from __future__ import annotations

import numpy as np

from autointerp.questions.kinds import Rule, pick
from autointerp.questions.labelled_text import LabelledText

LEVEL = 1
HELD_BACK = True
FAMILIES = [
    ("semicolons", ";"), ("colons", ":"), ("question and exclamation marks", "?!"),
    ("opening brackets", "([{"), ("closing brackets", ")]}"), ("quotation marks", "\"“”„«»"),
    ("dashes", "–—"), ("slashes", "/\\"), ("equals signs", "="), ("underscores", "_"),
    ("percent signs", "%"), ("dollar signs", "$"), ("apostrophes", "'’"), ("asterisks", "*"),
    ("angle brackets", "<>"), ("hash signs", "#"), ("at signs", "@"), ("braces", "{}"),
]  # fmt: skip


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    said, marks = pick(FAMILIES, rng)
    wanted = set(marks)
    return Rule(said, text.of_vocabulary(bool(wanted & set(t)) for t in text.texts))
