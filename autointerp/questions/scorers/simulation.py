"""How strongly does the unit fire on each token, 0 to 10? Predicted against true activations.

The score is (1 + rho) / 2, rho being Spearman's rank correlation over all tokens, with the length
of the tokens held constant (partial correlation): most units fire on long words rather than on
punctuation, and whoever says so of every text would be better than chance. A prediction that is the
same everywhere orders nothing: rho is 0 then, by convention. Beside it stand the plain correlation,
as published, the share of variance explained, and both again with Bricken's weights: a random
context weighs 1, one of an interval weighs the density times the interval's share of the firing.

A call has one text of an interval and one drawn at random: among several of an interval, what they
share would give the unit away to a rater that does not read the description.

Source: Bills et al. 2023, "Language models can explain neurons in language models"; Bricken et
al. 2023, "Towards Monosemanticity", appendix "Automated Interpretability".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from autointerp.questions.contexts import over_intervals, unique_texts
from autointerp.questions.cuts import cut, offsets
from autointerp.questions.forms import LOUDEST, make_task
from autointerp.questions.scorers import LEAST, Answered, Chosen, Figures, HeldOut, Tried, in_pairs
from autointerp.records import Context
from autointerp.stats.ranks import spearman
from autointerp.text import whole_characters

Floats = NDArray[np.float64]

COUNT = 20
PER_CALL = 2
TASK = make_task(
    "simulation",
    3,
    "How strongly does the unit fire on each token?",
    "predict",
    f"""
A unit of a language model is a number that the model computes at every token of a text; it fires \
where that number is above zero. You get a description of what one unit responds to, and pieces of \
text as lists of tokens. Predict the unit's activation on each token, going by the description \
alone: 0 is silent, {LOUDEST} is the strongest firing there is.

{{shown}}

How to predict

- The unit fires on a token, not on a text: choose the very tokens that fit the description. \
Whether it fires depends on that token and those before it, never on those after it.
- Most tokens of most texts are silent; many texts have none that fires. List only those above 0.

{{reply}}""",
)


def choose(held_out: HeldOut, count: int, hard: bool) -> Chosen:
    """Return pieces of `count` contexts over all intervals and of `count` at random places.

    The token for which a context was drawn may stand anywhere in its piece.
    """
    contexts = _uncut(held_out.contexts)
    firing = over_intervals({n: c for n, c in contexts.items() if c.draw == "interval"}, count)
    at_random = unique_texts(contexts, [n for n, c in contexts.items() if c.draw == "random"])
    random = [at_random[place] for place in held_out.rng.permutation(len(at_random))][:count]
    if min(len(firing), len(random)) < LEAST:
        lack = "firing" if len(firing) < LEAST else "random"
        return Chosen(outcome=f"too few {lack} contexts")
    rng = held_out.rng
    pieces = [cut(n, contexts[n], rng, None, "interval", mark=False) for n in firing]
    others = [cut(n, contexts[n], rng, None, "random", mark=False) for n in random]
    if hard:
        harder = [
            cut(number, context, rng, None, why, mark=False)
            for number, (context, why) in held_out.hard.items()
        ]
        others += [harder[i] for i in rng.permutation(len(harder))[: count // 2]]
    return Chosen(in_pairs(pieces, others, rng))


def _uncut(contexts: Mapping[int, Context]) -> Mapping[int, Context]:
    """Return the contexts whose focus may stand at every place of a piece at which others may.

    At an edge of a window or document a context is short, and a piece of it shows that the focus
    is near its beginning or end. Returns all contexts where too few of a draw are without edge.
    """
    places = max((len(offsets(context)) for context in contexts.values()), default=0)
    uncut = {n: c for n, c in contexts.items() if len(offsets(c)) == places}
    draws = [sum(c.draw == draw for c in uncut.values()) for draw in ("interval", "random")]
    return uncut if min(draws) >= LEAST else contexts


def measure(tried: Tried) -> Figures:
    """Return the score and the figures beside it; see the top of this file."""
    answered = [one for one in tried.asked if one.answer is not None]
    kinds = {one.piece.kind for one in answered}
    if not {"interval", "random"} <= kinds:
        lacking = sorted({"interval", "random"} - kinds)
        return Figures(None, f"no answers on {' and '.join(lacking)} contexts")
    tokens = list(map(_tokens, answered))
    true, predicted, lengths = (np.concatenate(parts) for parts in zip(*tokens, strict=True))
    true = true * LOUDEST / tried.scale
    plain = np.ones(len(true))
    weight = np.repeat(_weights(answered, tried), [len(levels) for levels, _, _ in tokens])
    if np.ptp(true) == 0:
        return Figures(None, "the unit is the same on every token")
    rho = _order(true, predicted)
    more = {
        "spearman": rho,
        "explained variance": explained_variance(true, predicted, plain),
        "spearman, weighted": _order(true, predicted, weight),
        "explained variance, weighted": explained_variance(true, predicted, weight),
    }
    partial = partial_correlation(rho, _order(true, lengths), _order(predicted, lengths))
    return Figures((1 + partial) / 2, "ok", {k: v for k, v in more.items() if np.isfinite(v)})


def _tokens(one: Answered) -> tuple[Floats, Floats, Floats]:
    """Return true and predicted activations, and lengths, of the tokens that count.

    What is not listed is 0. A length is that of the token without the spaces round it.

    Those count at whose place the strongest token may stand: where it never stands firing is
    rarer, and whoever guesses the other places would be right too often. The first ones are
    there for what comes before. Tokens that do not exist were no answer about any that does, and
    are passed over.
    """
    shown = slice(one.piece.first, one.piece.last)
    tokens = one.context.tokens[shown]
    # Raters see, and are asked about, whole characters.
    whole, levels, _ = whole_characters(tokens, one.context.activations[shown], None)
    assert levels is not None
    places = offsets(one.context)
    begins = [place for place, token in enumerate(tokens) if token]
    counted = [number for number, place in enumerate(begins) if place in places]
    if len(begins) < len(levels):  # all that is shown is inside one character
        counted = list(range(len(levels)))
    true = np.zeros(len(counted))
    if one.piece.kind not in ("same token", "neighbour"):  # else verified silent
        true[:] = [levels[number] for number in counted]
    predicted = np.array([one.answer.get(number + 1, 0) for number in counted], dtype=np.float64)
    lengths = np.array([len(whole[number].strip()) for number in counted], dtype=np.float64)
    return true, predicted, lengths


def partial_correlation(rho: float, first: float, second: float) -> float:
    """Return the correlation of two with a third held constant, which correlates so with each.

    0 where the third is all that there is to one of them.
    """
    left = (1 - first**2) * (1 - second**2)
    if left < 1e-12:
        return 0.0
    return float(np.clip((rho - first * second) / np.sqrt(left), -1, 1))


def _weights(answered: Sequence[Answered], tried: Tried) -> list[float]:
    total = sum(tried.interval_tokens)
    weights = []
    for one in answered:
        weight = 1.0
        interval = one.context.interval
        if one.piece.kind == "interval" and interval is not None and total:
            weight = tried.density * tried.interval_tokens[interval - 1] / total
        elif one.piece.kind not in ("interval", "random"):
            weight = 0.0  # hard ones are no sample of anything
        weights.append(weight)
    return weights


def _order(true: Floats, predicted: Floats, weight: Floats | None = None) -> float:
    """Return the rank correlation; 0 where a prediction, the same everywhere, orders nothing."""
    rho = spearman(true, predicted, weight)
    return 0.0 if np.isnan(rho) else rho


def explained_variance(true: Floats, predicted: Floats, weight: Floats) -> float:
    """Return 1 - (mean square error) / variance; negative where the mean would do better, NaN
    where nothing varies."""
    mean = np.average(true, weights=weight)
    variance = float(np.average((true - mean) ** 2, weights=weight))
    error = float(np.average((true - predicted) ** 2, weights=weight))
    return 1 - error / variance if variance > 0 else float("nan")
