"""How well a description predicts firing. A file here is a scorer: `--scorer NAME`.

A scorer module has a first docstring line that `autointerp score --help` prints, and

    TASK                            its question, made by `forms.make_task`; `TASK.id` is its name
    COUNT                           how many questions of each kind it asks about a unit, at most,
                                    unless told otherwise
    PER_CALL                        how many pieces of text it asks about in a call, at most
    TOGETHER = True                 if units share calls, each description being tried on the texts
                                    of all (form `match`); False if left out
    TOGETHER = 2                    likewise, where a call has so many descriptions at most
    NEEDS_OTHERS = True             if it asks about contexts of other units; False if left out
    LAB = "promoted-tokens"         a lab whose rows of a unit it chooses from: the package has it
                                    measure units before they are asked about; left out if none
    RESPONDS = True                 if `measure` is to know how strongly units fire on each text:
                                    the package measures that once the answers are there; False if
                                    left out, but for the form `write`, whose texts are new
    choose(held_out, count, hard)   → the pieces to ask about of one unit, or why there are none
    measure(tried)                  → figures from the answers; `score` first

All scores are on one scale: 1 is perfect, 0.5 what one gets without knowing anything.

Units that share a call: descriptions stand in random order, so that a rater that does not read
them cannot know which belongs to which texts, whatever it makes of these. All that it gains, by
what texts have in common or by their looks, it gains in expectation for each description of the
call alike. So a unit's score is 0.5 + what its own description gets on its texts - what the others
get on the very same texts, and exactly 0.5 for such a rater.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np

from autointerp import extensions
from autointerp.errors import BadInput
from autointerp.questions.contexts import over_intervals, silent_contexts
from autointerp.questions.cuts import cut, look_of, matched_decoys, token_counts
from autointerp.questions.explain import EXPLAINING
from autointerp.questions.forms import DESCRIPTIONS, Task
from autointerp.questions.question import Question
from autointerp.questions.rubric_files import load_rubric
from autointerp.questions.trials import Piece, passage_number
from autointerp.records import Context
from autointerp.stats.ranks import auc

EACH_HAS = ("TASK", "COUNT", "PER_CALL", "choose", "measure")  # every file here
LEAST = 3  # of either kind; fewer are no measurement


@dataclass(frozen=True)
class HeldOut:
    """What there is to try a description of one unit on: `score` contexts alone.

    Attributes:
        contexts: The unit's own, by number.
        others: Contexts of other units of the same source in which those units fire and this one
            is silent, as computed, by number, one a unit; they serve no other unit's control.
            Empty unless the scorer says `NEEDS_OTHERS`, where a run does not hold what is silent,
            and for units beyond those that are to have a control.
        hard: Contexts of other units in which this one is silent, as computed, by number; with
            why they are hard: `same token` or `neighbour`.
        scale: The unit's largest activation.
        density: Share of tokens on which it fires.
        interval_tokens: Tokens on which it fires, by interval.
        rng: The unit's own.
        measured: Rows of the unit by the lab that the scorer names.
    """

    contexts: Mapping[int, Context]
    others: Mapping[int, Context]
    hard: Mapping[int, tuple[Context, str]]
    scale: float
    density: float
    interval_tokens: tuple[float, ...]
    rng: np.random.Generator
    measured: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Chosen:
    """The questions about a unit, in the order of the calls, or why there are none.

    Attributes:
        calls: Questions of each call, see `in_pairs`; where units share calls, all that there are
            in one.
        control: Calls whose right answers are chance, for scorers that show no description.
        outcome: Empty if there are questions.
        passages: Tokens of texts that are no contexts, by the number by which pieces name them.
    """

    calls: tuple[tuple[Piece, ...], ...] = ()
    control: tuple[tuple[Piece, ...], ...] = ()
    outcome: str = ""
    passages: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Answered:
    """A question with its answer.

    Attributes:
        call: Which of the calls it was in.
        place: Its number in the call, from 1.
        answer: As `forms.answers_in` has it, by log probabilities where the rater gives them; of
            a description on a piece, True or False, or the probability of yes; None if none came.
        activation: The unit's largest on the text, in the subject's units; None where the scorer
            does not ask for it.
    """

    piece: Piece
    context: Context
    call: int
    place: int
    answer: Any
    activation: float | None = None


@dataclass(frozen=True)
class Tried:
    """A unit's answers, with what weighs them.

    Attributes:
        asked: Every question, answered or not.
        beside: The same questions with the descriptions of other units of the call, by unit.
    """

    asked: Sequence[Answered]
    scale: float
    density: float = 0.0
    interval_tokens: tuple[float, ...] = ()
    beside: Mapping[int, Sequence[Answered]] = field(default_factory=dict)


@dataclass(frozen=True)
class Figures:
    """A unit's score, 0 to 1 with chance at 0.5; None without enough answers, `outcome` says why.

    Attributes:
        more: Further figures by name.
        others: What each other description of the call gets on the unit's texts, by its unit;
            empty where units share no calls.
    """

    score: float | None
    outcome: str = "ok"
    more: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[int, float] = field(default_factory=dict)


class Scorer(Protocol):
    """What a module in this folder has."""

    TASK: Task
    COUNT: int
    PER_CALL: int

    choose: Callable[[HeldOut, int, bool], Chosen]
    measure: Callable[[Tried], Figures]


def scorer(name: str) -> Scorer:
    """Return the scorer called `name`. Raises UnknownName, listing what there is."""
    module: ModuleType = extensions.load(sys.modules[__name__], "scorer", name)
    if not isinstance(module.TASK, Task):
        raise BadInput(f"{module.__file__}: TASK must be made by make_task; see docs/extending.md")
    return cast(Scorer, module)


def scorer_names() -> list[str]:
    """Return the names of the scorers, sorted."""
    return extensions.names(sys.modules[__name__])


def load_question(name: str) -> Question:
    """Return the task or the rubric called `name`; a rubric may be the path of its file.

    Raises UnknownName if there is none.
    """
    tasks = {task.id: task for task in EXPLAINING}
    if name in tasks:
        return tasks[name]
    return scorer(name).TASK if name in scorer_names() else load_rubric(name)


# ---------------------------------------------------------------------- what scorers share


def firing_and_silent(
    held_out: HeldOut, count: int, hard: bool
) -> tuple[list[int], list[tuple[int, str]], str]:
    """Return as many firing as silent contexts, at most `count` of each, and why there are none.

    Firing contexts come from all intervals of activation alike. With `hard`, half of the silent
    ones are hard, where there are so many.
    """
    firing = over_intervals(held_out.contexts, count)
    silent = [(n, "silent") for n in silent_contexts(held_out.contexts)]
    silent = [silent[place] for place in held_out.rng.permutation(len(silent))]
    if hard:
        harder = [(n, why) for n, (_, why) in held_out.hard.items()]
        harder = [harder[place] for place in held_out.rng.permutation(len(harder))]
        silent = [*harder[: count // 2], *silent]
    size = min(count, len(firing), len(silent))
    if size < LEAST:
        lack = "silent" if len(silent) < LEAST else "firing"
        return [], [], f"too few {lack} contexts"
    # Turns go from strong to weak, so the first ones would be the strong ones.
    kept = np.linspace(0, len(firing) - 1, size).round().astype(int)
    return [firing[place] for place in kept], silent[:size], ""


def unmarked_texts(
    held_out: HeldOut, count: int, hard: bool
) -> tuple[list[Piece], list[Piece | None], str]:
    """Return `count` pieces in which the unit fires, as many silent ones, and why there are none.

    The token on which it fires may stand anywhere, as does the one that a silent text is cut
    round, which is like it in kind, length and frequency: else what stands near the middle would
    tell. These tokens are marked, and the n-th pieces are alike; a silent one is None where there
    is none like it.
    """
    firing, silent, lack = firing_and_silent(held_out, count, hard)
    if lack:
        return [], [], lack
    rng = held_out.rng
    own = held_out.contexts
    shown = [cut(n, own[n], rng, True, "firing", mark=True) for n in firing]
    hidden: list[Piece | None] = [
        cut(n, held_out.hard[n][0], rng, False, why, mark=True)
        for n, why in silent
        if why != "silent"
    ]
    hidden += matched_decoys(
        [look_of(own[p.context], p) for p in shown[len(hidden) :]],
        {n: own[n] for n in silent_contexts(own)},
        token_counts(own.values()),
        rng,
        "silent",
    )
    return shown, hidden, ""


def passage_piece(tokens: Sequence[str], truth: bool, kind: str) -> Piece:
    """Return a piece that is all of a text which is no context."""
    return Piece(passage_number(tokens), 0, len(tokens), None, truth, kind)


def descriptions_a_call(module: Scorer) -> int:
    """Return of how many units a scorer shows the descriptions in one call; 1 if of one alone."""
    together = getattr(module, "TOGETHER", False)
    return DESCRIPTIONS if together is True else int(together) or 1


def needs_responses(module: Scorer) -> bool:
    """Return whether units are to be measured on the texts that a scorer asks about or for."""
    return bool(getattr(module, "RESPONDS", False)) or module.TASK.form == "write"


def unmarked(pieces: Sequence[Piece | None]) -> list[Piece]:
    """Return the pieces that there are, without their marks."""
    return [replace(piece, mark=None) for piece in pieces if piece is not None]


def texts_of_equal_length(held_out: HeldOut, count: int, hard: bool) -> Chosen:
    """Return unmarked pieces, `count` firing and `count` silent ones, as many tokens in either.

    For scorers that compare numbers over all calls: a rater's number may grow with a text, and
    silent contexts are longer or shorter than others, by how often the unit fires.
    """
    shown, hidden, lack = unmarked_texts(held_out, count, hard)
    if lack:
        return Chosen(outcome=lack)
    alike = [(one, other) for one, other in zip(shown, hidden, strict=True) if other is not None]
    if len(alike) < LEAST:
        return Chosen(outcome="too few silent contexts")
    firing, silent = [], []
    for one, other in alike:
        length = min(one.last - one.first, other.last - other.first)
        firing.append(_shortened(one, length))
        silent.append(_shortened(other, length))
    return Chosen(in_pairs(unmarked(firing), unmarked(silent), held_out.rng))


def _shortened(piece: Piece, length: int) -> Piece:
    """Return `length` tokens of a piece, the marked one among them."""
    assert piece.mark is not None
    last = max(piece.first + length, piece.mark + 1)
    return replace(piece, first=last - length, last=last)


# What texts of a call have in common must not give the unit away: a rater that compares them would
# find what repeats without reading the description.


def in_pairs(
    firing: Sequence[Piece], silent: Sequence[Piece], rng: np.random.Generator
) -> tuple[tuple[Piece, ...], ...]:
    """Return calls of one piece of each kind, in random order; pieces left over stand alone.

    No call has two texts that were drawn because the unit fires in them.
    """
    paired = min(len(firing), len(silent))
    one, other = (
        [pieces[place] for place in rng.permutation(len(pieces))] for pieces in (firing, silent)
    )
    comes_first = rng.permutation(paired) % 2  # each kind in half of the calls
    order = rng.permutation(max(len(one), len(other)))
    if paired % 2 and rng.integers(2):
        comes_first = 1 - comes_first  # of an odd number, either kind may come first once more
    calls: list[tuple[Piece, ...]] = [
        (a, b) if is_first else (b, a)
        for a, b, is_first in zip(one, other, comes_first, strict=False)
    ]
    calls += [(piece,) for piece in (*one[paired:], *other[paired:])]
    return tuple(calls[place] for place in order)


def above_others(tried: Tried) -> Figures:
    """Return 0.5 + what the own description gets on the unit's texts - what the others get there.

    What a description gets is the area under the ROC curve of its answers, yes where the unit fires
    against yes where it is silent: of plain yes and no, their balanced accuracy. Others that have
    no answers of either kind are left out; without any there is no score.
    """
    return above_other_descriptions(tried, separation)


def above_other_descriptions(
    tried: Tried, gets: Callable[[Sequence[Answered]], Figures]
) -> Figures:
    """Return 0.5 + what the own description `gets` - what the others get, from their answers."""
    own = gets(tried.asked)
    others = mean_of_others(tried, gets)
    if own.score is None or others.score is None:
        return own if own.score is None else others
    score = float(np.clip(0.5 + own.score - others.score, 0, 1))
    more = {"with others": others.score, "uncorrected": own.score, **own.more}
    return Figures(score, "ok", more, others.others)


def mean_of_others(tried: Tried, gets: Callable[[Sequence[Answered]], Figures]) -> Figures:
    """Return the mean of what the other descriptions of a call get on the unit's texts."""
    found = {unit: gets(asked).score for unit, asked in tried.beside.items()}
    scores = {unit: score for unit, score in found.items() if score is not None}
    if not scores:
        return Figures(None, "no answers about other descriptions")
    return Figures(float(np.mean(list(scores.values()))), others=scores)


def separation(asked: Sequence[Answered]) -> Figures:
    """Return how well answers, yes or no or the probability of yes, tell true from false questions.

    The area under the ROC curve. Whatever is the same for all questions gets 0.5, whatever the
    counts. Questions without an answer do not count; without any of one kind there is no score.
    """
    given = {
        truth: [o.answer for o in asked if o.piece.truth is truth and o.answer is not None]
        for truth in (True, False)
    }
    for truth, answers in given.items():
        if not answers:
            return Figures(None, f"no answers where the truth is {'yes' if truth else 'no'}")
    more = {
        "sensitivity": _share([answer > 0.5 for answer in given[True]]),
        "specificity": _share([answer <= 0.5 for answer in given[False]]),
    }
    false = {one.piece.kind for one in asked if one.piece.truth is False}
    for kind in sorted(false - {"wrong"}):
        of_kind = [o.answer for o in asked if o.piece.kind == kind and o.answer is not None]
        if of_kind:
            more[f"specificity, {kind}"] = _share([answer <= 0.5 for answer in of_kind])
    return Figures(auc(given[True], given[False]), "ok", more)


def _share(right: Sequence[bool]) -> float:
    """Return the share that is True, of a few: `np.mean` takes ten times as long."""
    return sum(right) / len(right)


def balanced_accuracy(asked: Sequence[Answered]) -> Figures:
    """Return the mean of the shares answered rightly among true and among false questions.

    A rater that answers `all` or `none`, or at random, gets 0.5, whatever the counts. Questions
    without an answer count in neither share; without any answer in one of them there is no score.
    """
    shares = {}
    for truth in (True, False):
        given = [one.answer for one in asked if one.piece.truth is truth and one.answer is not None]
        if not given:
            return Figures(None, f"no answers where the truth is {'yes' if truth else 'no'}")
        shares[truth] = _share([answer is truth for answer in given])
    more = {"sensitivity": shares[True], "specificity": shares[False]}
    for kind in sorted({one.piece.kind for one in asked} - {"firing", "right", "wrong"}):
        given = [o.answer for o in asked if o.piece.kind == kind and o.answer is not None]
        if given:
            more[f"specificity, {kind}"] = _share([answer is False for answer in given])
    return Figures((shares[True] + shares[False]) / 2, "ok", more)


def activation_auc(
    here: Sequence[Answered], there: Sequence[Answered], scale: float, names: tuple[str, str]
) -> Figures:
    """Return P(the unit fires more strongly on a text of the first kind), ties half, and beside it
    the mean activation on either, as shares of the unit's largest in the corpus.

    Without a measured text of either kind there is no score.
    """
    given = [
        [one.activation for one in kind if one.activation is not None] for kind in (here, there)
    ]
    for levels, name in zip(given, names, strict=True):
        if not levels:
            return Figures(None, f"no answers: no text of {name} was measured")
    more = {
        f"activation, {name}": float(np.mean(levels)) / scale
        for levels, name in zip(given, names, strict=True)
        if scale > 0
    }
    return Figures(auc(*given), "ok", more)


def area_under_roc(asked: Sequence[Answered]) -> Figures:
    """Return P(a text in which the unit fires has a higher answer than a silent one), ties half.

    Answers are numbers that are compared over all calls of a unit. Whoever answers the same
    everywhere, or at random, gets 0.5. Questions without an answer count in neither group;
    without any answer in one of them there is no score.
    """
    given: dict[bool, list[float]] = {}
    for truth in (True, False):
        given[truth] = [
            one.answer for one in asked if one.piece.truth is truth and one.answer is not None
        ]
        if not given[truth]:
            return Figures(None, f"no answers where the truth is {'yes' if truth else 'no'}")
    more = {
        "mean, firing": float(np.mean(given[True])),
        "mean, silent": float(np.mean(given[False])),
    }
    for kind in sorted({one.piece.kind for one in asked} - {"firing"}):
        of_kind = [o.answer for o in asked if o.piece.kind == kind and o.answer is not None]
        if of_kind and len(of_kind) < len(given[False]):
            more[f"against {kind}"] = auc(given[True], of_kind)
    return Figures(auc(given[True], given[False]), "ok", more)
