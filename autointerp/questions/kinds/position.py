"""A place in the document, paragraph, line or sentence, whatever stands there."""

from __future__ import annotations

import numpy as np

from autointerp.questions.kinds import Rule
from autointerp.questions.labelled_text import LabelledText

LEVEL = 2
HELD_BACK = True


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    form, place = int(rng.integers(6)), int(rng.integers(2, 5))
    begins = text.line_begins
    if form == 0:
        least = int(rng.integers(8, 20))
        first = (text.position < least) & ~text.breaks
        return Rule(f"the first {least} tokens of a document", first)
    if form == 1:
        return Rule("the first word of a paragraph", begins & text.after(text.blank_lines))
    if form == 2:
        return Rule(f"the {place}. token of a line", text.after(begins, place - 1) & ~text.breaks)
    if form == 3:
        return Rule("the last token of a paragraph", text.before(text.blank_lines))
    stops = text.of_vocabulary(t.strip() in {".", "?", "!"} for t in text.texts)
    words = text.every_word_begins
    if form == 4:
        return Rule("the first word of a sentence", text.after(stops) & words)
    return Rule(f"the {place}. token of a sentence", text.after(stops, place))
