"""Which of two descriptions was steered? Judged from what the model then wrote, alone.

The model continues prompts from the corpus with the unit clamped at three times its maximum, and
with a random direction of the same norm pushed by the same amounts. A call has two descriptions in
random order and the texts of both units; a blind judge says which texts were written under either.
The score is 0.5 + what the own description gets, the unit's texts against those of the random
direction, less what the other description gets on the very same texts: whoever reads no
description, or goes by how broken a text is, has 0.5. `right of two` beside it is the share of
the unit's texts that go to its own description and not to the other, undecided ones half.

Source: Templeton et al. 2024, "Scaling Monosemanticity"; the output side of faithfulness in Puri et
al. 2025, "FADE: Why Bad Descriptions Happen to Good Features".
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from autointerp.questions.forms import LETTERS, make_task
from autointerp.questions.scorers import (
    LEAST,
    Chosen,
    Figures,
    HeldOut,
    Tried,
    above_others,
    passage_piece,
)

LAB = "clamped-texts"
COUNT = 12
PER_CALL = len(LETTERS)
TOGETHER = 2
TASK = make_task(
    "steering",
    1,
    "Which of two descriptions was steered?",
    "match",
    """
A unit of a language model responds to something in texts, and when it is turned up by force the \
model writes more of what belongs to it. You get descriptions of two units, and texts that the \
model wrote. Some were written with the first unit turned up, some with the second, and some with \
something else turned up that is not described. Texts begin in the middle of a sentence and may be \
broken. Say for each description which texts were written with its unit turned up, going by the \
texts alone.

{shown}

How to judge

- Look for what a text has more of than other texts: words, pieces of words, topics, forms.
- That a text is broken tells nothing: so are those with something else turned up.

{reply}""",
)


def choose(held_out: HeldOut, count: int, hard: bool) -> Chosen:
    """Return up to `count` texts written with the unit clamped, and as many of the control."""
    rows = [row for row in held_out.measured if row["outcome"] == "ok"]
    if not rows:
        reasons = [f"nothing to clamp: {row['outcome']}" for row in held_out.measured]
        return Chosen(outcome=reasons[0] if reasons else "too few texts measured")
    written = {
        name: [row["tokens"] for row in rows if row["clamped"] == name and any(row["tokens"])]
        for name in ("unit", "random direction")
    }
    size = min(count, *map(len, written.values()))
    if size < LEAST:
        return Chosen(outcome="too few texts that are not empty")
    pieces, passages = [], {}
    for name, texts in written.items():
        for tokens in texts[:size]:
            kind = "steered" if name == "unit" else name
            piece = passage_piece(tokens, name == "unit", kind)
            pieces.append(piece)
            passages[piece.context] = tuple(tokens)
    return Chosen((tuple(pieces),), passages=passages)


def measure(tried: Tried) -> Figures:
    """Return what the own description gets above the other of the call."""
    figures = above_others(tried)
    own = {one.piece: one.answer for one in tried.asked if one.piece.truth}
    won = [
        0.5 + 0.5 * np.sign(float(own[one.piece]) - float(one.answer))
        for asked in tried.beside.values()
        for one in asked
        if one.answer is not None and own.get(one.piece) is not None
    ]
    if figures.score is None or not won:
        return figures
    return replace(figures, more={**figures.more, "right of two": float(np.mean(won))})
