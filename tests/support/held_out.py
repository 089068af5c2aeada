"""What tests of scorers share: contexts of a unit that fires on ` cat`, and answers by rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from autointerp.questions.scorers import Answered, HeldOut
from autointerp.questions.trials import Piece
from autointerp.records import Context

WORDS = [
    "",
    "the",
    "a",
    "dog",
    "ran",
    "to",
    "old",
    "red",
    "tree",
    ",",
    ".",
    "in",
    "it",
    "was",
    "Paris",
    "12",
]


def make_context(
    rng: np.random.Generator,
    fires: bool,
    draw: str = "interval",
    interval: int | None = 5,
    document: int = 0,
    length: int = 21,
) -> Context:
    """Return a window of random words; if it `fires`, ` cat` stands at its middle."""
    tokens = [" " + str(word) for word in rng.choice(WORDS[1:], length)]
    activations = [0.0] * length
    if fires:
        tokens[length // 2], activations[length // 2] = " cat", (interval or 10) / 10
    return Context(
        tuple(tokens), tuple(activations), length // 2, draw,  # type: ignore[arg-type]
        interval if fires else None, "score", not fires, document, length // 2,
    )  # fmt: skip


def lab_rows(lab: str | None) -> list[dict[str, Any]]:
    """Return rows as a lab that a scorer chooses from gives them of one unit; [] without one."""
    if lab == "promoted-tokens":
        kinds = {"promoted": "cat", "random": "dog"}
        tokens = {name: [f" {word}{n}" for n in range(50)] for name, word in kinds.items()}
        return [{**tokens, "outcome": "ok"}]
    if lab == "clamped-texts":
        return [
            {
                "clamped": name, "tokens": [f" {word}", f" {n}", "."], "prompt": f"It {n}",
                "value": 4.0, "norm": 1.0, "perplexity": 9.0, "outcome": "ok",
            }
            for name, word in (("unit", "cat"), ("random direction", "dog"))
            for n in range(12)
        ]  # fmt: skip
    return []


@pytest.fixture
def make_held_out() -> Callable[..., HeldOut]:
    def make(firing: int = 50, silent: int = 40, seed: int = 0, scorer: Any = None) -> HeldOut:
        rng = np.random.default_rng(seed)
        contexts = [
            make_context(rng, True, "interval", 1 + n % 10, document=n) for n in range(firing)
        ]
        contexts += [make_context(rng, False, "random", document=1000 + n) for n in range(silent)]
        others = {10_000 + n: make_context(rng, True, document=5000 + n) for n in range(8)}
        return HeldOut(
            contexts=dict(enumerate(contexts)),
            others=others,
            hard={},
            scale=1.0,
            density=0.01,
            interval_tokens=(100.0,) * 10,
            rng=np.random.default_rng(seed),
            measured=lab_rows(getattr(scorer, "LAB", None)) if firing > 2 and silent else (),
        )

    return make


def contexts_of(passages: Mapping[int, Sequence[str]]) -> dict[int, Context]:
    """Return texts that are no contexts as a run gives them back."""
    return {
        number: Context(
            tuple(tokens), (0.0,) * len(tokens), 0, "random", None, "score", False, -1, 0
        )
        for number, tokens in passages.items()
    }


def answered(
    held_out: HeldOut,
    calls: Sequence[Sequence[Piece]],
    answer: Callable[[Piece, Context], object],
    passages: Mapping[int, Sequence[str]] | None = None,
) -> list[Answered]:
    """Return every piece of every call with what `answer` says to it."""
    known = {**held_out.contexts, **held_out.others, **contexts_of(passages or {})}
    return [
        Answered(
            piece,
            known[piece.context],
            call,
            place,
            answer(piece, known[piece.context]),
            max(known[piece.context].activations[piece.first : piece.last], default=0.0),
        )
        for call, pieces in enumerate(calls)
        for place, piece in enumerate(pieces, 1)
    ]
