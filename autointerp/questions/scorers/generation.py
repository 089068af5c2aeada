"""Does text that a model writes to the description make the unit fire? Against other descriptions'.

A language model writes eight texts to each description; the run's model reads them, and the score
is the probability that the unit fires more strongly on a text for its own description than on one
for another unit's, by the strongest token of each (AUROC, ties half). So a description that is too
narrow does well here and too broad does not, the other way round than in `detection`. The control
are the texts for one other unit's description against those for the others.

Source: "clarity" in Puri et al. 2025, "FADE: Why Bad Descriptions Happen to Good Features", which
compares with natural text; its Gini coefficient is twice this score less 1.
"""

from __future__ import annotations

from autointerp.questions.forms import WRITTEN, make_task
from autointerp.questions.scorers import Chosen, Figures, HeldOut, Tried, activation_auc

COUNT = WRITTEN
PER_CALL = 1
TASK = make_task(
    "generation",
    1,
    "What text makes the unit fire?",
    "write",
    f"""
A unit of a language model is a number that the model computes at every token of a text; it fires \
on some tokens and is silent on the others. You get a description of what one unit responds to. \
Write {WRITTEN} short texts on which this unit fires as strongly as possible.

{{shown}}

How to write

- Each text has 10 to 40 words and stands alone. What the description names occurs in each, in the \
very form that it names, and not at the very beginning: the model reads from left to right.
- Write what would stand in a book, on a web page or in a program. If the description is of code \
or of another language, write that.
- Let the texts differ in all that the description leaves open. Never mention the description.

{{reply}}""",
)


def choose(held_out: HeldOut, count: int, hard: bool) -> Chosen:
    """Return one call, which shows no text."""
    return Chosen(((),))


def measure(tried: Tried) -> Figures:
    """Return P(it fires more strongly on a text for this description than on one for another)."""
    return activation_auc(
        [one for one in tried.asked if one.piece.truth],
        [one for one in tried.asked if not one.piece.truth],
        tried.scale,
        ("own", "others"),
    )
