"""What planted units of the kit are about. A file here is a kind of concept.

A kind's module has a first docstring line that says what it is, and

    LEVEL                how hard it is: 1 on the token itself, 2 by its place or neighbours,
                         3 by its meaning
    HELD_BACK = True     if raters are tried on it but not designed on it; False if left out
    rule(text, rng)      → one concept of the kind, drawn at random; None where the draw gives none

Kinds that are held back are planted on the kit's test side alone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Protocol, TypeVar, cast

import numpy as np

from autointerp import extensions
from autointerp.questions.labelled_text import LabelledText, Mask

T = TypeVar("T")

EACH_HAS = ("LEVEL", "rule")  # every file here
SPARSE, BROAD = 0.02, 0.15  # largest share of tokens, of a concept and of a passage's character


@dataclass(frozen=True)
class Rule:
    """A rule for where a unit fires.

    Attributes:
        text: The rule in words.
        holds: [tokens] whether it holds at each token.
        largest: Share of tokens above which the rule is of no use.
    """

    text: str
    holds: Mask
    largest: float = SPARSE


class Kind(Protocol):
    """What a file of this folder offers."""

    LEVEL: int

    def rule(self, text: LabelledText, rng: np.random.Generator) -> Rule | None: ...


def _package() -> ModuleType:
    return sys.modules[__name__]


@cache
def kind_names(held_back: bool) -> tuple[str, ...]:
    """Return the kinds, sorted, with or without those that are held back."""
    names = extensions.names(_package())
    return tuple(name for name in names if held_back or not is_held_back(name))


@cache
def is_held_back(name: str) -> bool:
    return bool(getattr(load_kind(name), "HELD_BACK", False))


def load_kind(name: str) -> Kind:
    """Return a kind. Raises UnknownName if there is no such file."""
    return cast(Kind, extensions.load(_package(), "kind", name))


def pick(options: list[T], rng: np.random.Generator) -> T:
    """Return one of the options, each as likely."""
    return options[int(rng.integers(len(options)))]
