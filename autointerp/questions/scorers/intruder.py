"""Which context does not belong? Four in which the unit fires and one where it is silent.

No description is needed. The intruder stands at each of the five places equally often, so that
always choosing one of them is right in one of five: (1 + (share - 1/5) / (4/5)) / 2 is the score,
0.5 by chance. Marks stand at random places of what is shown; the intruder's on a token like those
on which the unit fires, in kind, length and frequency. The control takes the four from four
different units, in which this one is silent: what can be told apart then gives the intruder away
without the unit.
"""

from __future__ import annotations

from autointerp.questions.contexts import over_intervals, silent_contexts
from autointerp.questions.cuts import cut, decoys_like
from autointerp.questions.forms import make_task
from autointerp.questions.scorers import LEAST, Chosen, Figures, HeldOut, Tried
from autointerp.questions.trials import Piece

SIZE = 5
PER_CALL = SIZE
NEEDS_OTHERS = True  # for the control
TASK = make_task(
    "intruder",
    2,
    "Which context does not belong?",
    "choose",
    """
A unit of a language model is a number that the model computes at every token of a text; it fires \
where that number is above zero. You get five contexts with one token marked in each. In four of \
them one and the same unit fires on the marked token; in one of them it is silent. Find that one.

{shown}

How to judge

- Look for what four marked tokens, or the texts round them, have in common: form, grammar, \
meaning, subject, kind of text, what stands just before. The one that lacks it is the intruder.
- There is exactly one. If you cannot tell, choose the likeliest.

{reply}""",
    description=False,
    mark=True,
)


def choose(held_out: HeldOut, count: int, hard: bool) -> Chosen:
    """Return up to `count` questions of five contexts, in whole rounds of five; see above."""
    contexts = held_out.contexts
    firing = over_intervals(contexts, (SIZE - 1) * count)
    silent = silent_contexts(contexts)
    if len(firing) < SIZE - 1:
        return Chosen(outcome="too few firing contexts")
    if len(silent) < LEAST:
        return Chosen(outcome="too few silent contexts")
    rng = held_out.rng
    rounds = max(1, min(count, len(firing) // (SIZE - 1), len(silent)) // SIZE) * SIZE
    decoys = decoys_like([contexts[n] for n in firing], contexts.values())
    others = [n for n, c in held_out.others.items() if c.draw == "interval"]
    calls, control = [], []
    for number in range(rounds):
        odd = silent[number % len(silent)]
        intruder = decoys.mark(odd, contexts[odd], rng, True, "intruder")
        drawn = rng.choice(len(firing), SIZE - 1, replace=False)
        own = [(firing[place], contexts[firing[place]]) for place in drawn]
        fellows = [cut(n, c, rng, False, "fellow", mark=True) for n, c in own]
        calls.append(_placed(fellows, intruder, number % SIZE))
        if len(others) >= SIZE - 1:
            strange = rng.choice(len(others), SIZE - 1, replace=False)
            mixed = [(others[place], held_out.others[others[place]]) for place in strange]
            strangers = [cut(n, c, rng, False, "other", mark=True) for n, c in mixed]
            control.append(_placed(strangers, intruder, number % SIZE))
    return Chosen(tuple(calls), tuple(control))


def _placed(fellows: list[Piece], intruder: Piece, place: int) -> tuple[Piece, ...]:
    return (*fellows[:place], intruder, *fellows[place:])


def measure(tried: Tried) -> Figures:
    """Return the share of intruders found, set to 0.5 at chance."""
    calls: dict[int, list[bool]] = {}
    for one in tried.asked:
        if one.answer is not None:
            calls.setdefault(one.call, []).append(bool(one.answer and one.piece.truth))
    if not calls:
        return Figures(None, "no answers")
    share = sum(any(chosen) for chosen in calls.values()) / len(calls)
    chance = 1 / SIZE
    return Figures((1 + (share - chance) / (1 - chance)) / 2, "ok", {"found": share})
