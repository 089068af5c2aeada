"""Which tokens does the unit promote? 50 of ranks 11 to 60 by logit weight, 50 at random.

From the description alone: no text is shown in which the unit fires. A unit is what it writes as
much as what it reads, and a description of contexts alone misses units that are there for their
output. The ten tokens of the highest ranks are left out, since an explainer with logit effects has
seen them. Calls are shared as in `detection`: what promoted tokens have in common gives nothing
away, since they stand among those of other units, whose descriptions are tried on them too.
`accuracy` beside the score is the published figure, the share of right answers.

Source: Bricken et al. 2023, "Towards Monosemanticity" (features 74 %, neurons 58 %).
"""

from __future__ import annotations

from dataclasses import replace

from autointerp.questions.forms import LETTERS, make_task
from autointerp.questions.scorers import (
    Chosen,
    Figures,
    HeldOut,
    Tried,
    above_others,
    passage_piece,
)

LAB = "promoted-tokens"
COUNT = 50
PER_CALL = len(LETTERS)
TOGETHER = True
TASK = make_task(
    "logits",
    1,
    "Which tokens does the unit promote?",
    "match",
    """
A unit of a language model responds to some texts, and where it responds it makes some tokens more \
likely to come next. You get descriptions of what several units respond to or bring about, and \
single tokens of the model's vocabulary. Say for each description which tokens its unit makes more \
likely, going by the description alone. In what follows each text is one token.

{shown}

How to judge

- A unit often makes likelier what belongs to its description, or what would come next in such a \
text.
- Judge each description by itself: several may fit a token, or none.

{reply}""",
)


def choose(held_out: HeldOut, count: int, hard: bool) -> Chosen:
    """Return up to `count` tokens that the unit promotes, and as many at random."""
    if not held_out.measured:
        return Chosen(outcome="too few tokens measured")
    (row,) = held_out.measured
    if row["outcome"] != "ok":
        return Chosen(outcome=f"no logit effects: {row['outcome']}")
    pieces, passages = [], {}
    for name, truth in (("promoted", True), ("random", False)):
        texts = row[name]
        # Of all ranks alike, where fewer are asked about.
        places = [len(texts) * place // count for place in range(count)]
        for text in [texts[place] for place in places] if count < len(texts) else texts:
            piece = passage_piece((text,), truth, name)
            pieces.append(piece)
            passages[piece.context] = (text,)
    return Chosen((tuple(pieces),), passages=passages)


def measure(tried: Tried) -> Figures:
    """Return what the own description gets above the others of the call.

    `accuracy` beside it is the mean of the shares of right answers among tokens of either kind,
    of which there are as many.
    """
    figures = above_others(tried)
    if figures.score is None:
        return figures
    shares = [figures.more["sensitivity"], figures.more["specificity"]]
    return replace(figures, more={**figures.more, "accuracy": sum(shares) / 2})
