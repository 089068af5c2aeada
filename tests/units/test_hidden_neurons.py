"""Two sites in one harvest: features at a site, neurons at the hidden layer beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_language_models import D_MLP, D_MODEL, VOCABULARY, built, tokenizer

from autointerp.errors import BadInput
from autointerp.settings import HarvestSettings
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.units.in_memory import harvest

SETTINGS = HarvestSettings(window=50, per_interval=3, random=5, top=4)


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    g = torch.Generator().manual_seed(0)
    weights = torch.randn(D_MODEL, 24, generator=g)
    sae = SparseAutoencoder(
        W_enc=weights, b_enc=torch.full((24,), -4.0), W_dec=weights.T.contiguous(),
        b_dec=torch.zeros(D_MODEL),
    )  # fmt: skip
    tokens = np.random.default_rng(1).integers(1, VOCABULARY - 4, (60, 50))
    return {"model": built("llama"), "tokens": tokens, "sae": sae, "tokenizer": tokenizer()}


def test_features_are_what_a_harvest_of_their_site_alone_gives(parts: dict[str, Any]) -> None:
    both = harvest(
        **parts, site="layers.1.mlp", neurons="hidden", units={"features": 12, "neurons": 12},
        settings=SETTINGS,
    )  # fmt: skip
    alone = harvest(**parts, site="layers.1.mlp", units={"features": 12}, settings=SETTINGS)
    hidden = {**parts, "sae": None}
    neurons = harvest(
        **hidden, site="layers.1.mlp.neurons", units={"neurons": 12}, settings=SETTINGS
    )
    assert [u for u in both if u.summary.unit.source == "features"] == alone
    assert [u for u in both if u.summary.unit.source == "neurons"] == neurons
    assert max(u.summary.unit.index for u in neurons) >= D_MODEL  # of 40, not of the stream's 16


def test_both_arms_have_contexts_of_the_same_windows(parts: dict[str, Any]) -> None:
    units = harvest(
        **parts, site="layers.1.residual", neurons="hidden", units={"features": 8, "neurons": 8},
        settings=SETTINGS,
    )  # fmt: skip
    tokens_at: dict[tuple[int, int], set[tuple[str, ...]]] = {}
    for unit in units:
        assert unit.summary.tokens == 60 * 50
        for context in unit.contexts:
            tokens_at.setdefault((context.document, context.position), set()).add(context.tokens)
    assert all(len(tokens) == 1 for tokens in tokens_at.values())


def test_without_an_sae_controls_are_matched_to_the_hidden_neurons(parts: dict[str, Any]) -> None:
    without = {**parts, "sae": None}
    units = {"neurons": list(range(2 * D_MLP)), "random": 20, "shuffled": 20}
    found = harvest(
        **without, site="layers.1.mlp", neurons="hidden", units=units,
        settings=replace(SETTINGS, fires=1e-5),
    )  # fmt: skip
    density = {str(u.summary.unit): u.summary.density for u in found}
    notes = [u.summary for u in found if u.summary.unit.source in ("random", "shuffled")]
    assert all(" neurons/" in one.note for one in notes)
    shuffled = [one for one in notes if one.unit.source == "shuffled"]
    models = [one.note.split("activations of ")[1].split(",")[0] for one in shuffled]
    assert max(int(name.split("/")[1]) for name in models) >= D_MODEL
    # 3,000 tokens, about half of which fire: 0.5 ± 0.01, twice.
    for one, name in zip(shuffled, models, strict=True):
        assert one.density == pytest.approx(density[name], abs=0.05)


def test_a_word_that_is_no_basis_is_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="give 'hidden', or leave it out"):
        harvest(**parts, site="layers.1.mlp", neurons="both")
