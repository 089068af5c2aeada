"""What stands in quotation marks or brackets, in a list, a heading or an indented block."""

from __future__ import annotations

import numpy as np

from autointerp.questions.kinds import BROAD, Rule
from autointerp.questions.kinds.code import COMMENTS, long_words
from autointerp.questions.labelled_text import LabelledText, Mask

LEVEL = 2


def rule(text: LabelledText, rng: np.random.Generator) -> Rule | None:
    words = text.once(long_words)
    form = int(rng.integers(5))

    def having(marks: str) -> Mask:
        return text.of_vocabulary(any(mark in t for mark in marks) for t in text.texts)

    if form == 0:
        holds = text.since(having("("), having(")") | text.breaks)
        return Rule("words in round brackets", holds & words, BROAD)
    if form == 1:
        holds = text.since(having("["), having("]") | text.breaks)
        return Rule("words in square brackets", holds & words, BROAD)
    if form == 2:
        quotes = having('"')
        line = np.cumsum(text.breaks | (text.position == 0))
        seen = np.cumsum(quotes)
        before_line = np.zeros(line[-1] + 1, dtype=np.int64)
        first = np.flatnonzero(text.breaks | (text.position == 0))
        before_line[line[first]] = seen[first] - quotes[first]
        odd = (seen - before_line[line]) % 2 == 1
        return Rule("words in double quotation marks", odd & ~quotes & words, BROAD)
    begins = text.line_begins
    if form == 3:
        bullets = begins & text.of_vocabulary(t.strip() in {"-", "*", "•"} for t in text.texts)
        return Rule("the first word of a list's item", text.after(bullets))
    stops = text.of_vocabulary(t.strip()[-1:] in set(".,;:?!{}();") for t in text.texts)
    line = np.cumsum(text.breaks | (text.position == 0)) - 1
    length = np.bincount(line)
    stopped = np.bincount(line, weights=stops) > 0
    alone = (length[line] < 10) & ~stopped[line]
    blank = np.zeros(line[-1] + 1, dtype=bool)
    blank[line[text.blank_lines]] = True  # the break before a line is its first token
    holds = alone & blank[line] & words & ~text.within(COMMENTS)
    return Rule("words of a heading", holds)
