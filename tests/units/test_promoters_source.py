"""Planted directions: each raises the logits of its own word most, by construction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.planted_directions import groups_of

from autointerp.errors import SubjectError
from autointerp.pipeline.job import sources_by_role
from autointerp.settings import SubjectSettings
from autointerp.subjects.load import load_subject
from autointerp.units.sources import only_if_named
from autointerp.units.sources.promoters import promoting

WORDS = ("string", "water", "return", "shall")


@pytest.fixture(scope="module")
def subject():
    return load_subject(SubjectSettings())


def test_a_direction_raises_the_logits_of_its_word_above_those_of_all_other_tokens(subject):
    groups = groups_of(subject, WORDS)
    words, directions = promoting(subject, groups)
    assert words == list(WORDS)
    assert directions.norm(dim=0).numpy() == pytest.approx(np.ones(len(WORDS)), rel=1e-5)
    # By hand: the one-layer model's output projection, the final norm's weight, the unembedding.
    one_layer = subject.model.transformer
    for word, direction in zip(words, directions.T, strict=True):
        with torch.no_grad():
            written = one_layer.down.weight @ direction
            seen = one_layer.norm_final.weight * (written - written.mean())
            logits = one_layer.unembedding.weight @ seen
        assert int(logits.argmax()) in groups[word]


def test_a_word_that_is_not_promoted_most_is_left_out_and_none_at_all_is_an_error(subject):
    assert promoting(subject, {"special": [0], **groups_of(subject, ["water"])})[0] == ["water"]
    with pytest.raises(SubjectError, match="promotes one word above all others; harvest without"):
        promoting(subject, {"special": [0]})


def test_it_takes_part_only_where_it_is_named():
    assert only_if_named("promoters")
    assert "promoters" not in sources_by_role(controls=True)
