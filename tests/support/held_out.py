"""What tests of scorers share: contexts of a unit that fires on ` cat`, and answers by rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


@pytest.fixture
def make_held_out() -> Callable[..., HeldOut]:
    def make(firing: int = 50, silent: int = 40, seed: int = 0) -> HeldOut:
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
        )

    return make


def answered(
    held_out: HeldOut,
    calls: Sequence[Sequence[Piece]],
    answer: Callable[[Piece, Context], object],
) -> list[Answered]:
    """Return every piece of every call with what `answer` says to it."""
    known = {**held_out.contexts, **held_out.others}
    return [
        Answered(
            piece,
            known[piece.context],
            call,
            place,
            answer(piece, known[piece.context]),
        )
        for call, pieces in enumerate(calls)
        for place, piece in enumerate(pieces, 1)
    ]
