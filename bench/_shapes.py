"""Language models and SAEs of a shape, with weights drawn at random, and a harvest of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autointerp.settings import HarvestSettings
from autointerp.subjects import Subject
from autointerp.subjects.autoencoder import Activation, SparseAutoencoder
from autointerp.subjects.language_model import HookedLanguageModel
from autointerp.units.in_memory import _Numbers
from autointerp.units.passes import Part, Wanted, harvested_units, parts_of, places_of, take_in
from autointerp.units.sources.features import Features
from autointerp.units.sources.neurons import Neurons
from autointerp.units.stream import at_site, quiet_torch, readings

PYTHIA_70M = {
    "vocab_size": 50_304,
    "hidden_size": 512,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
    "max_position_embeddings": 2048,
}
QUANTILE = 2.33  # of a normal distribution: 1 % lies over it
K = 32  # latents a token of a TopK SAE


def random_model(
    config: Mapping[str, int],
    site: str,
    name: str,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> HookedLanguageModel:
    """Return a GPT-NeoX of random weights, made on `device`, to be read at `site`."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    with torch.device(device):
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**config)).to(dtype)
    return HookedLanguageModel(model, _Numbers(model), site, name)


def sae_on(
    x: Tensor, latents: int, activation: Activation, dtype: torch.dtype = torch.float32
) -> SparseAutoencoder:
    """Return an SAE of random directions on the device of `x` [tokens, d_in].

    A ReLU latent fires on about 1 % of `x`; of TopK, 32 latents fire a token.
    """
    W_enc = torch.randn(x.shape[1], latents, device=x.device) / x.shape[1] ** 0.5
    bias, k = torch.zeros(latents, device=x.device), None
    if activation == "topk":
        k = K
    else:
        pre = (x - x.mean(0)) @ W_enc
        bias = -(pre.mean(0) + QUANTILE * pre.std(0))
    W_enc = W_enc.to(dtype)
    return SparseAutoencoder(
        W_enc,
        bias.to(dtype),
        W_enc.T.contiguous(),
        x.mean(0).to(dtype),
        activation=activation,
        k=k,
    )


def wanted(subject: Subject, features: int, neurons: int) -> list[Wanted]:
    """Return the first `features` of the SAE and the first `neurons` of the site."""
    assert subject.sae is not None
    sources = (("features", Features(subject.sae), features),
               ("neurons", Neurons(subject.d_site, True), neurons))  # fmt: skip
    return [
        Wanted(name, source, np.arange(count), np.arange(count))
        for name, source, count in sources
        if count
    ]


def stream(subject: Subject, parts: list[Part], settings: HarvestSettings) -> int:
    """Read the corpus into `parts`; return how many tokens it has."""
    total = 0
    with quiet_torch():
        for number, reading in enumerate(readings(subject, settings)):
            batch = at_site(subject, reading, 0)
            take_in(parts, batch, places_of(reading, settings, 0, number == 0))
            total += int(reading.kept.sum())
    return total


def make_units(subject: Subject, parts: list[Part], tokens: int) -> None:
    """Make every unit of `parts`, and let each go when it is made, as storing them does."""
    for _ in harvested_units(subject, parts, tokens, 1e-4, 1.0):
        pass


def harvest(subject: Subject, wants: list[Wanted], settings: HarvestSettings) -> None:
    """Harvest the units, and keep none."""
    parts = parts_of(wants, settings, 0)
    make_units(subject, parts, stream(subject, parts, settings))


def figure(name: str, value: Any, unit: str, note: str) -> dict[str, Any]:
    """Return a figure as `python -m bench` prints it."""
    return {"figure": name, "value": value, "unit": unit, "note": note}
