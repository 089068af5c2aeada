"""How strongly units fire on texts: as the model reads each alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.planted_directions import groups_of

from autointerp.settings import HarvestSettings, SubjectSettings
from autointerp.subjects.load import load_subject
from autointerp.units.responses import responses
from autointerp.units.sources.features import Features
from autointerp.units.sources.planted import Planted

TEXTS = ["The old cat saw the dog.", "water", "", "return water; // the old water runs"]


@pytest.fixture(scope="module")
def subject():
    return load_subject(SubjectSettings())


def read(subject, source, numbers, texts, rows=64, seed=0):
    """Return tokens and activations by the place of the text."""
    settings = HarvestSettings(rows=rows)
    found = {}
    for batch in responses(subject, source, np.array(numbers), texts, settings, seed):
        for place, tokens, block in zip(batch.places, batch.tokens, batch.activations, strict=True):
            found[place] = (tokens, block)
    return found


def test_activations_are_those_of_the_text_alone_behind_bos_and_a_text_of_no_token_has_none(
    subject,
):
    numbers = [5, 900]
    found = read(subject, Features(subject.sae), numbers, TEXTS)
    assert sorted(found) == [0, 1, 3]
    for place, (tokens, block) in found.items():
        (ids,) = subject.tokenise([TEXTS[place]])
        assert "".join(tokens) == TEXTS[place]
        assert block.shape == (2, len(ids)) == (2, len(tokens))
        alone = torch.tensor([[subject.bos, *ids]])
        with torch.inference_mode():
            x = subject.model.activations(alone, torch.ones_like(alone, dtype=torch.bool))
            by_hand = subject.sae.encode(x)[0, 1:, numbers].T
        assert block == pytest.approx(by_hand.numpy(), abs=1e-5)


def test_batched_is_as_one_by_one_also_for_units_that_fire_by_draws(subject):
    words = ["the", "water", "return"]
    membership = torch.full((len(subject.token_texts),), -1)
    for number, ids in enumerate(groups_of(subject, words).values()):
        membership[ids] = number
    source = Planted(membership, words)
    numbers = list(range(source.size))
    together = read(subject, source, numbers, TEXTS)
    assert any(block.any() for _, block in together.values())
    for rows in (1, 2):
        alone = read(subject, source, numbers, TEXTS[::-1], rows)
        for place, (_, block) in together.items():
            assert np.array_equal(block, alone[len(TEXTS) - 1 - place][1])


def test_a_text_longer_than_the_model_reads_is_cut(subject):
    ((tokens, block),) = read(subject, Features(subject.sae), [5], ["water " * 500]).values()
    assert block.shape == (1, subject.longest - 1) == (1, len(tokens))
