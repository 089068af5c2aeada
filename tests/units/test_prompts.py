from dataclasses import replace

import numpy as np
import pytest
import torch

from autointerp.units.prompts import activations_at, occurrences, prompt_batch, token_before
from autointerp.units.sources.features import Features
from autointerp.units.sources.neurons import create as neurons


def test_every_unit_is_read_at_one_token_as_the_model_has_it(tiny):
    _, subject = tiny
    ids = [subject.bos, *subject.tokenise(["The old king saw the cat"])[0]]
    with torch.inference_mode():
        row = torch.tensor([ids])
        x = subject.model.activations(row, torch.ones_like(row, dtype=torch.bool))
        expected = subject.sae.encode(x)[0, 3]
    found = activations_at(subject, Features(subject.sae), ids, 3)
    assert found == pytest.approx(expected.numpy(), abs=1e-6)
    assert (found > 0).any()
    of_neurons = activations_at(subject, neurons(subject, None, 0), ids, 3)
    assert of_neurons == pytest.approx(x[0, 3].numpy(), abs=1e-6)


def test_special_tokens_of_a_prompt_are_not_kept(tiny):
    _, subject = tiny
    ids = [subject.bos, *subject.tokenise(["cat"])[0]]
    assert prompt_batch(subject, ids).kept.tolist() == [[False] + [True] * (len(ids) - 1)]


@pytest.mark.parametrize(
    ("end", "place"), [(0, 0), (1, 0), (3, 0), (4, 1), (8, 1), (9, 3), (100, 3)]
)
def test_a_place_in_a_prompt_is_the_token_that_holds_the_character_before_it(end, place):
    assert token_before(["The", " king", "", " sat"], end) == place


def test_names_are_counted_as_whole_words_in_as_many_tokens_as_are_read(tiny):
    settings, subject = tiny
    whole, tokens = occurrences(subject, settings.harvest, ["king", "KING", "kin", "xyz"])
    assert whole[0] == whole[1] > 0
    assert whole[2:].tolist() == [0, 0]
    part, read = occurrences(subject, replace(settings.harvest, tokens=1000), ["king"])
    assert read == 1000 < tokens
    assert 0 < part[0] < whole[0]
    assert part.dtype == np.int64
