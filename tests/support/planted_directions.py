"""Directions of the embedded subject whose effect is known, and answers by one who applies it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import Tensor

from autointerp.questions.explain import Explanation
from autointerp.questions.forms import LETTERS
from autointerp.questions.score import calls_together
from autointerp.questions.scorers import Chosen, Scorer
from autointerp.questions.trials import Trial
from autointerp.raters._apply import any_of, matches
from autointerp.records import Context
from autointerp.settings import SubjectSettings
from autointerp.subjects import Subject
from autointerp.subjects.load import load_subject
from autointerp.units.sources.promoters import promoting
from support.held_out import contexts_of

WORDS = ("string", "water", "return", "shall", "letter", "value", "error", "their")

Calls = list[tuple[Trial, Mapping[int, Context]]]


def planted_directions() -> tuple[Subject, Tensor]:
    """Return the embedded subject, and directions [WORDS, width] that promote one word each."""
    subject = load_subject(SubjectSettings())
    words, directions = promoting(subject, groups_of(subject, WORDS))
    assert tuple(words) == WORDS
    return subject, directions.T


def groups_of(subject: Subject, words: Sequence[str]) -> dict[str, list[int]]:
    """Return the tokens that are each word, in any case."""
    texts = [text.strip().lower() for text in subject.token_texts]
    return {word: [n for n, text in enumerate(texts) if text == word] for word in words}


def strongest_of(subject: Subject, effects: Tensor, count: int) -> str:
    """Return the tokens with the largest effects [vocabulary] as a rule: a direction's truth."""
    ranked = effects.argsort(descending=True).tolist()
    return any_of([subject.token_texts[n] for n in ranked if n not in subject.special][:count])


def shared_calls(module: Scorer, chosen: Sequence[Chosen], said: Sequence[str]) -> Calls:
    """Return the calls that units share, by what was chosen and what is said of each."""
    pieces = {number: one.calls[0] for number, one in enumerate(chosen)}
    members = [Explanation(n, "promoters", "truth", "ok", text, ()) for n, text in enumerate(said)]
    most = {True: 8}.get(module.TOGETHER, module.TOGETHER)  # type: ignore[attr-defined]
    contexts = {n: c for one in chosen for n, c in contexts_of(one.passages).items()}
    return [
        (trial, contexts)
        for begin in range(0, len(members), most)
        for part in [members[begin : begin + most]]
        for trial in calls_together(module, "", part, part, pieces, np.random.default_rng(begin))
    ]


def by_truth(calls: Calls) -> Callable[..., list[set[int]]]:
    """Return what answers the calls in turn by applying each description: for each text the
    numbers of those that fit.
    """
    replies = []
    for trial, contexts in calls:
        texts = [{"tokens": contexts[p.context].tokens, "focus": None} for p in trial.pieces]
        listed = json.loads(matches(texts, [one.text for one in trial.candidates]) or "")
        replies.append(
            [
                {int(number) for number, letters in listed.items() if letter in letters.split()}
                for letter in LETTERS[: len(texts)]
            ]
        )
    turns = iter(replies)
    return lambda seen, descriptions: next(turns)
