"""Do texts of the corpus that a judge finds to fit the description make the unit fire?

A call has the descriptions of several units and texts of all of them, half of which were drawn
because one of the units fires in them and half at random from all tokens of the corpus; the judge
draws from these what fits each description. The run's model then reads every text alone, for every
unit of the call, and the score compares the unit's largest activation on texts that fit with that
on texts that do not: the AUROC, ties half, above what the other descriptions of the call get on the
very same texts. So a rater that does not read descriptions has 0.5, see the top of this folder.
`purity` turns the same answers round, and asks nothing of its own.

Source: Puri et al. 2025, "FADE: Why Bad Descriptions Happen to Good Features"; its Gini coefficient
is twice the AUROC less 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autointerp.questions.contexts import over_intervals, unique_texts
from autointerp.questions.cuts import cut
from autointerp.questions.forms import LETTERS, make_task
from autointerp.questions.scorers import (
    LEAST,
    Answered,
    Chosen,
    Figures,
    HeldOut,
    Tried,
    above_other_descriptions,
    activation_auc,
)

COUNT = 10
PER_CALL = len(LETTERS)
TOGETHER = True
RESPONDS = True
TASK = make_task(
    "responsiveness",
    1,
    "Which texts of the corpus fit the description?",
    "match",
    """
You get descriptions of what several units of a language model respond to, and pieces of text from \
a corpus. Say for each description which texts contain what it describes.

{shown}

How to judge

- Take a description at its word: a text fits if what is described is in it, however short.
- Do not ask whether a unit would respond to a text, only whether the description fits it.
- Judge each description by itself: several may fit a text, or none. Most texts fit none.

{reply}""",
)


def choose(held_out: HeldOut, count: int, hard: bool) -> Chosen:
    """Return pieces of `count` contexts over all intervals and of `count` drawn at random."""
    contexts, rng = held_out.contexts, held_out.rng
    firing = over_intervals({n: c for n, c in contexts.items() if c.draw == "interval"}, count)
    drawn = unique_texts(contexts, [n for n, c in contexts.items() if c.draw == "random"])
    random = [drawn[place] for place in rng.permutation(len(drawn))][:count]
    if min(len(firing), len(random)) < LEAST:
        lack = "firing" if len(firing) < LEAST else "random"
        return Chosen(outcome=f"too few {lack} contexts")
    pieces = [cut(n, contexts[n], rng, True, "firing", mark=False) for n in firing]
    for number in random:
        piece = cut(number, contexts[number], rng, None, "random", mark=False)
        fires = any(level > 0 for level in contexts[number].activations[piece.first : piece.last])
        pieces.append(replace(piece, truth=fires))
    return Chosen((tuple(pieces),))


def measure(tried: Tried) -> Figures:
    """Return what the own description gets above the others of the call."""
    return above_other_descriptions(tried, lambda asked: responsiveness(asked, tried.scale))


def responsiveness(asked: Sequence[Answered], scale: float) -> Figures:
    """Return P(the unit fires more strongly on a text that fits a description), ties half.

    0.5 where all texts fit or none does: nothing was drawn.
    """
    given = [one for one in asked if one.answer is not None and one.activation is not None]
    if not given:
        return Figures(None, "no answers on texts that were measured")
    fits = [one for one in given if one.answer > 0.5]
    rest = [one for one in given if one.answer <= 0.5]
    share = {"share that fits": len(fits) / len(given)}
    if not fits or not rest:
        return Figures(0.5, "ok", share)
    figures = activation_auc(fits, rest, scale, ("fitting", "rest"))
    fires = np.mean([one.activation > 0 for one in fits if one.activation is not None])
    return replace(figures, more={**figures.more, **share, "fires on what fits": float(fires)})
