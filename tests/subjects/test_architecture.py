"""Sites are found in models of many architectures, or refused with what there is."""

from __future__ import annotations

import pytest
import torch
from support.tiny_language_models import (
    D_MODEL,
    MIXTURES,
    VOCABULARY,
    built,
    hooked,
    tokenizer,
    window,
)

from autointerp.errors import SubjectError
from autointerp.subjects.language_model import HookedLanguageModel

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("kind", list(MIXTURES))
def test_neurons_of_a_mixture_of_experts_are_refused_and_its_output_is_not(kind: str) -> None:
    model = built(kind)
    with pytest.raises(SubjectError, match=r"mixture of experts.*use layers\.1\.mlp"):
        hooked(model, "layers.1.mlp.neurons")
    assert hooked(model, "layers.1.mlp").activations(*window()).shape == (3, 11, D_MODEL)


def test_a_raw_module_path_is_a_site() -> None:
    model = built("gpt2")
    norm = hooked(model, "transformer.h.1.ln_2")
    torch.testing.assert_close(
        norm.activations(*window()), hooked(model, "layers.1.mlp.input").activations(*window())
    )
    before = hooked(model, "transformer.h.1.mlp.c_proj.input")
    neurons = hooked(model, "layers.1.mlp.neurons")
    torch.testing.assert_close(before.activations(*window()), neurons.activations(*window()))


@pytest.mark.parametrize(
    ("site", "message"),
    [
        ("layers.9.mlp", "tiny has layers 0 to 2"),
        ("layers.1.mlp.neuron", r"did you mean 'layers\.1\.mlp\.neurons'.*layers\.0–2\.residual"),
        ("nowhere", "no site 'nowhere' in tiny"),
    ],
)
def test_a_wrong_site_is_refused_with_the_sites_there_are(site: str, message: str) -> None:
    with pytest.raises(SubjectError, match=message):
        hooked(built("gpt2"), site)


def test_a_model_that_keeps_the_parts_of_its_layers_in_lists_is_refused() -> None:
    config = transformers.XLMConfig(vocab_size=VOCABULARY, emb_dim=8, n_layers=2, n_heads=2)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with pytest.raises(SubjectError, match="no list of 2 layers"):
        HookedLanguageModel(model, tokenizer(), "layers.0.residual")
