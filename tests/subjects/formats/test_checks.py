"""A loaded SAE on activations, held against what its files record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from autointerp.errors import SubjectError
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.formats import LoadedAutoencoder, check_activations
from autointerp.subjects.formats._checks import measured

D = 8


def exact(k: int = D, **changes: Any) -> LoadedAutoencoder:
    """An SAE of 2·D latents, the axes and their opposites, that reconstructs D axes exactly."""
    axes = torch.cat([torch.eye(D), -torch.eye(D)])
    sae = SparseAutoencoder(
        axes.T.contiguous(), torch.zeros(2 * D), axes, torch.zeros(D), False, "topk", k=k
    )
    return LoadedAutoencoder(sae, "saelens", Path("sae"), **changes)


def activations(n: int = 400) -> Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(2))


def test_an_sae_that_reconstructs_raises_no_doubt() -> None:
    loaded = exact(has_training=True, unit_decoder=True)
    found = measured(loaded.sae, activations())
    assert (found.tokens, found.l0, found.explained) == (400, D, pytest.approx(1.0))
    assert check_activations(loaded, activations()) == []


def test_the_explained_variance_is_that_of_the_definition() -> None:
    loaded = exact(k=3)
    x = activations()
    kept = x.abs().topk(3, dim=1).indices
    rebuilt = torch.zeros_like(x).scatter(1, kept, x.gather(1, kept))
    # 1 − residual over total sum of squares round the mean.
    expected = 1 - (x - rebuilt).pow(2).sum() / (x - x.mean(0)).pow(2).sum()
    assert measured(loaded.sae, x).explained == pytest.approx(float(expected), abs=1e-5)


def test_a_trained_sae_that_does_worse_than_the_mean_is_an_error() -> None:
    loaded = exact(has_training=True)
    shuffled = loaded.sae.W_dec[torch.randperm(2 * D, generator=torch.Generator().manual_seed(0))]
    wrong = replace(loaded, sae=replace(loaded.sae, W_dec=shuffled))
    with pytest.raises(SubjectError, match=r"explains -80% of the variance, worse than the mean"):
        check_activations(wrong, activations())
    [note] = check_activations(replace(wrong, strict=False), activations())
    assert "it was never trained; check site, layer, model" in note
    # Nothing says that it was ever trained: random SAEs are studied, too.
    [note] = check_activations(replace(wrong, has_training=False), activations())
    assert "worse than the mean" in note


def test_another_reading_that_reconstructs_is_named() -> None:
    x = activations() * 0.1 + 5.0
    bias = torch.full((D,), 5.0)
    loaded = exact()
    subtracts = replace(loaded, sae=replace(loaded.sae, b_dec=bias, subtract_b_dec=True))
    assert check_activations(subtracts, x) == []
    plain = replace(loaded, sae=replace(loaded.sae, b_dec=bias, subtract_b_dec=False))
    with pytest.raises(SubjectError, match="with subtract_b_dec = yes it explains 100%"):
        check_activations(plain, x)


def test_an_input_scale_that_is_missing_is_named() -> None:
    # Trained on inputs of norm √8, with a bias of its decoder on that scale.
    x = activations() * 0.01
    axes = torch.cat([torch.eye(D), -torch.eye(D)])
    sae = SparseAutoencoder(
        axes.T.contiguous(), torch.full((2 * D,), -0.02), axes, torch.full((D,), 0.02), False
    )
    loaded = LoadedAutoencoder(sae, "raw_state_dict", Path("sae"))
    with pytest.raises(SubjectError, match=r"with input_scale = \d+ it explains (9\d|100)%"):
        check_activations(loaded, x)


@pytest.mark.parametrize(
    ("promised", "told"),
    [(8.0, "nothing"), (3.0, "note"), (2.0, "error"), (20.0, "note"), (30.0, "error")],
)
def test_more_than_three_times_the_promised_latents_are_an_error(
    promised: float, told: str
) -> None:
    relu = replace(exact().sae, activation="relu", k=None)  # of ± each axis, one fires: 8 a token
    loaded = replace(exact(), sae=relu, l0=promised)
    if told == "error":
        with pytest.raises(SubjectError, match=f"its files say {promised:g}.*check_sae = false"):
            check_activations(loaded, activations())
        loaded = replace(loaded, strict=False)
    assert len(check_activations(loaded, activations())) == (told != "nothing")


def test_an_sae_that_never_fires_is_an_error() -> None:
    loaded = exact()
    silent = replace(loaded, sae=replace(loaded.sae, b_enc=torch.full((2 * D,), -1e3)))
    with pytest.raises(SubjectError, match="no latent fires on any of 400 tokens"):
        check_activations(silent, activations())


def test_a_transcoder_is_not_asked_to_reconstruct_what_it_reads() -> None:
    loaded = exact(has_training=True, reconstructs=False)
    odd = replace(loaded, sae=replace(loaded.sae, W_dec=loaded.sae.W_dec * 100))
    assert check_activations(odd, activations()) == []


def test_dictionary_vectors_of_another_length_than_recorded_are_noted() -> None:
    loaded = exact(unit_decoder=True)
    assert check_activations(loaded, activations()) == []
    halves = replace(loaded.sae, W_enc=loaded.sae.W_enc / 3, W_dec=loaded.sae.W_dec * 3)
    [note] = check_activations(replace(loaded, sae=halves), activations())
    assert "have a norm of 3, its files say 1" in note


def test_a_reconstruction_that_misses_by_far_is_told_in_times_the_variance() -> None:
    loaded = exact(has_training=True)
    far = replace(loaded, sae=replace(loaded.sae, W_dec=loaded.sae.W_dec * 10))
    # (10 x − x)² is 81 times x², and the mean is nearly 0.
    with pytest.raises(SubjectError, match=r"misses by 8[\d.]+ times the variance, where the mean"):
        check_activations(far, activations())
