"""Copies of a text that begin elsewhere: on one side of a unit's split, or on neither."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autointerp.records import Context
from autointerp.settings import HarvestSettings
from autointerp.subjects.passages import share_passages
from autointerp.subjects.windows import Windows
from autointerp.units.columns import Chunk, Columns, Places, WindowTexts
from autointerp.units.contents import token_hashes, window_hashes
from autointerp.units.draws import unit_salts

SETTINGS = replace(HarvestSettings(), top=4, per_interval=2, random=6, intervals=4)
VOCABULARY = [f" w{number}" for number in range(300)]
TEXTS, LENGTH, UNITS = 24, 44, 70  # units: more than are looked at together


def kept_contexts(rows: np.ndarray, split: np.ndarray) -> tuple[list[list[Context]], np.ndarray]:
    """Return the contexts of units that fire by the token, and how many were left out."""
    rng = np.random.default_rng(3)
    strength = np.maximum(rng.normal(size=(len(VOCABULARY), UNITS)) - 0.5, 0).astype(np.float32)
    whole = np.ones(rows.shape, dtype=bool)
    document = np.arange(len(rows))
    zeros = np.zeros(len(rows), np.int64)
    contents = window_hashes(token_hashes(VOCABULARY), rows, whole, SETTINGS.each_side, 0)
    chunk = Chunk(
        whole,
        Windows(rows, whole, document, zeros, document.astype(np.uint64)),
        np.tile(np.arange(rows.shape[1]), (len(rows), 1)),
        contents,
        split,
        SETTINGS.each_side,
    )
    columns = Columns("features", unit_salts("features", np.arange(UNITS), 0), SETTINGS)
    columns.add(torch.from_numpy(strength[rows]), Places(chunk))
    contexts, _, _ = columns.contexts(WindowTexts(VOCABULARY))
    return contexts, columns.near_copies


def tokens_of(contexts: list[Context], split: str) -> list[tuple[str, ...]]:
    return [context.tokens for context in contexts if context.split == split]


@pytest.mark.parametrize("shift", [1, 6])
def test_a_document_that_comes_again_with_an_offset_is_on_one_side_of_each_unit(shift):
    rng = np.random.default_rng(1)
    texts = rng.integers(0, len(VOCABULARY), (TEXTS, LENGTH))
    copies = np.roll(texts, shift, axis=1)
    copies[:, :shift] = rng.integers(0, len(VOCABULARY), (TEXTS, shift))
    rows = np.concatenate([texts, copies])
    # A text is in one split and its copy, with other words before it, in the other.
    split = np.arange(len(rows)) // TEXTS
    by_unit, left_out = kept_contexts(rows, split)
    for contexts in by_unit:
        explain, score = tokens_of(contexts, "explain"), tokens_of(contexts, "score")
        assert explain
        assert score  # the bits of a passage say which side has it: neither has all
        assert not share_passages(score, explain).any()
    assert (left_out > 0).all()


def test_texts_that_share_no_passage_are_drawn_as_they_were():
    rng = np.random.default_rng(2)
    rows = rng.integers(0, len(VOCABULARY), (2 * TEXTS, LENGTH))
    by_unit, left_out = kept_contexts(rows, np.arange(len(rows)) % 2)
    assert not left_out.any()
    for contexts in by_unit:
        for split in ("explain", "score"):
            drawn = [c.draw for c in contexts if c.split == split]
            assert (drawn.count("top"), drawn.count("random")) == (4, 6)


def test_one_text_that_is_in_every_document_leaves_one_side_without_it():
    rng = np.random.default_rng(4)
    notice = rng.integers(0, len(VOCABULARY), 30)
    texts = rng.integers(0, len(VOCABULARY), (TEXTS, LENGTH))
    rows = np.concatenate([texts, np.tile(notice, (TEXTS, 1))], axis=1)
    by_unit, _ = kept_contexts(rows, np.arange(TEXTS) % 2)
    for contexts in by_unit:
        explain, score = tokens_of(contexts, "explain"), tokens_of(contexts, "score")
        assert not share_passages(score, explain).any()
        assert explain
        assert score
