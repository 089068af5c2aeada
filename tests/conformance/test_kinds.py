"""Every kind of concept: its draws say where they hold, and the kit's sides stay apart."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from support.conformance import modules_in

from autointerp.questions import kinds
from autointerp.questions.kinds import BROAD, SPARSE, is_held_back, kind_names, load_kind
from autointerp.questions.labelled_text import LabelledText, load_labelled_text
from autointerp.questions.planter import LEAST_PLACES

NAMES = modules_in(kinds)
FOLDER = Path(str(resources.files("autointerp.questions") / "kit_text"))


@cache
def side(name: str) -> LabelledText:
    return load_labelled_text(FOLDER / f"{name}.npz")


@pytest.mark.parametrize("name", NAMES)
def test_a_kind_says_how_hard_it_is_and_draws_concepts_that_hold_somewhere(name):
    kind = load_kind(name)
    assert kind.LEVEL in (1, 2, 3)
    text = side("test" if is_held_back(name) else "design")
    drawn = [kind.rule(text, np.random.default_rng([seed, 11])) for seed in range(12)]
    useful = [
        rule
        for rule in drawn
        if rule and LEAST_PLACES <= rule.holds.sum() <= rule.largest * len(text)
    ]
    assert len({rule.text for rule in useful}) >= 2
    for rule in useful:
        assert rule.holds.shape == (len(text),)
        assert rule.holds.dtype == bool
        assert rule.largest in (SPARSE, BROAD)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_draws_the_same_concept(name):
    text = side("test" if is_held_back(name) else "design")
    first, again = (load_kind(name).rule(text, np.random.default_rng(5)) for _ in range(2))
    assert (first is None) == (again is None)
    if first and again:
        assert first.text == again.text
        assert (first.holds == again.holds).all()


def test_a_third_of_the_kinds_is_held_back():
    held_back = set(kind_names(True)) - set(kind_names(False))
    assert 0.3 <= len(held_back) / len(NAMES) <= 0.4


def test_the_sides_have_no_document_in_common_and_no_language_of_the_other():
    design, test = side("design"), side("test")

    def documents(text):
        return {
            "".join(text.texts[token] for token in text.tokens[a:b])
            for a, b in zip(text.starts[:-1], text.starts[1:], strict=True)
        }

    assert not documents(design) & documents(test)
    assert set(design.domains) & set(test.domains) == {"documentation", "speech"}
    assert 0.8 < len(design) / len(test) < 1.25
