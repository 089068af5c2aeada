from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from autointerp.errors import SubjectError
from autointerp.subjects import top_k as top_k_module
from autointerp.subjects.autoencoder import Activation, SparseAutoencoder, load_autoencoder

D_IN, D_SAE, K = 12, 200, 5
ACTIVATIONS: tuple[Activation, ...] = (
    "relu", "jumprelu", "batchtopk", "gated", "topk", "groupmax",
)  # fmt: skip


def sae_of(activation: Activation, **changes: Any) -> SparseAutoencoder:
    rng = torch.Generator().manual_seed(0)
    of = {"jumprelu": (D_SAE,), "batchtopk": ()}
    sizes = of.get(activation)
    gated = activation == "gated"
    parts: dict[str, Any] = {
        "W_enc": torch.randn(D_IN, D_SAE, generator=rng),
        "b_enc": torch.randn(D_SAE, generator=rng) * 0.2,
        "W_dec": torch.randn(D_SAE, D_IN, generator=rng),
        "b_dec": torch.randn(D_IN, generator=rng),
        "threshold": None if sizes is None else torch.rand(sizes, generator=rng),
        "b_gate": torch.randn(D_SAE, generator=rng) if gated else None,
        "r_mag": torch.randn(D_SAE, generator=rng) if gated else None,
        "k": K if activation in {"topk", "groupmax"} else None,
    }
    return SparseAutoencoder(**{**parts, "activation": activation, **changes})


def inputs(rows: int = 70) -> Tensor:
    return torch.randn(rows, D_IN, generator=torch.Generator().manual_seed(1)) * 2


def by_definition(sae: SparseAutoencoder, x: Tensor) -> Tensor:
    """Return the latents one token at a time, as the class's docstring states them."""
    rows = []
    for token in x:
        pre = (token - sae.b_dec if sae.subtract_b_dec else token) @ sae.W_enc
        if sae.activation == "gated":
            assert sae.r_mag is not None
            assert sae.b_gate is not None
            value = (pre * sae.r_mag.exp() + sae.b_enc).clamp_min(0) * (pre + sae.b_gate > 0)
        else:
            value = (pre + sae.b_enc).clamp_min(0)
        if sae.threshold is not None:
            value = value * (pre + sae.b_enc > sae.threshold)
        if sae.activation == "topk":
            assert sae.k is not None
            kept = value.topk(sae.k).indices
            value = torch.zeros_like(value).index_copy(0, kept, value[kept])
        if sae.activation == "groupmax":
            size = D_SAE // K
            for first in range(0, D_SAE, size):
                group = value[first : first + size]
                others = torch.arange(size) != group.argmax()
                group[others] = 0
        rows.append(value)
    return torch.stack(rows)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("subtract", [True, False])
def test_all_latents_and_chosen_ones_are_as_defined(activation: Activation, subtract: bool) -> None:
    sae = sae_of(activation, subtract_b_dec=subtract)
    x = inputs()
    expected = by_definition(sae, x)
    assert 0 < (expected > 0).float().mean() < 0.7
    torch.testing.assert_close(sae.encode(x), expected, atol=1e-5, rtol=1e-5)
    columns = torch.tensor([199, 3, 3, 50, 0])
    chosen = sae.encode(x.reshape(7, 10, D_IN), columns)
    torch.testing.assert_close(chosen, expected[:, columns].reshape(7, 10, 5), atol=1e-5, rtol=1e-5)
    again = sae.encoder(columns)
    torch.testing.assert_close(again(x), chosen.flatten(0, 1))


@pytest.mark.parametrize("chunk", [1 << 17, 64, 60, 7])
@pytest.mark.parametrize("k", [1, 5, 40, 200])
def test_top_k_is_the_same_in_chunks_of_any_size(
    chunk: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top_k_module, "CHUNK", chunk)
    sae = sae_of("topk", k=k)
    x = inputs(300)
    expected = by_definition(sae, x)
    torch.testing.assert_close(sae.encode(x), expected, atol=1e-5, rtol=1e-5)
    columns = torch.randperm(D_SAE, generator=torch.Generator().manual_seed(3))[:30]
    torch.testing.assert_close(sae.encode(x, columns), expected[:, columns], atol=1e-5, rtol=1e-5)


def test_k_largest_finds_those_that_the_division_into_groups_leaves_over() -> None:
    # 1003 values, k = 4: groups of 16 leave 1003 - 62·16 = 11 over; the largest are put there.
    values = torch.rand(3, 1003, generator=torch.Generator().manual_seed(0))
    values[:, -2:] = torch.tensor([5.0, 6.0])
    assert top_k_module.k_largest(values, 4)[:, :2].tolist() == [[6.0, 5.0]] * 3
    torch.testing.assert_close(top_k_module.k_largest(values, 4), values.topk(4).values)


def test_a_token_with_fewer_than_k_positive_latents_keeps_those() -> None:
    sae = replace(sae_of("topk", subtract_b_dec=False), b_enc=torch.full((D_SAE,), -1.0))
    # A zero input has no positive latent, and the k-th largest is negative.
    assert not sae.encode(torch.zeros(2, D_IN)).any()
    assert not sae.encode(torch.zeros(2, D_IN), torch.arange(D_SAE)).any()


def test_only_architectures_without_competition_encode_columns_alone() -> None:
    alone = [name for name in ACTIVATIONS if sae_of(name).encodes_columns_alone]
    assert alone == ["relu", "jumprelu", "batchtopk", "gated"]


def test_normalised_inputs_are_undone_in_the_reconstruction() -> None:
    # With an encoder and decoder that pass everything on, layer_norm goes in and comes out again.
    both = torch.cat([torch.eye(D_IN), -torch.eye(D_IN)], 1)
    for normalisation in ("layer_norm", "constant_norm"):
        sae = SparseAutoencoder(
            both, torch.zeros(24), both.T, torch.zeros(D_IN), normalisation=normalisation
        )
        x = inputs() * 40 + 3
        torch.testing.assert_close(sae.encode(x), sae.encode(x * 7), atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(sae.decode(sae.encode(x), x), x, atol=1e-3, rtol=1e-4)
        assert sae.encode(torch.zeros(1, D_IN)).isfinite().all()
        with pytest.raises(ValueError, match="latents and input"):
            sae.decode(sae.encode(x))


def test_a_transcoder_adds_its_skip_connection() -> None:
    skip = torch.randn(D_IN, 7)
    sae = sae_of(
        "relu",
        subtract_b_dec=False,
        W_dec=torch.zeros(D_SAE, 7),
        b_dec=torch.ones(7),
        W_skip=skip,
        transcodes=True,
    )
    x = inputs()
    torch.testing.assert_close(sae.decode(sae.encode(x), x), x @ skip + 1)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_is_saved_comes_back(activation: Activation, tmp_path: Path) -> None:
    sae = sae_of(activation, subtract_b_dec=False, normalisation="constant_norm")
    sae.save(tmp_path / "sae.safetensors")
    found = load_autoencoder(tmp_path / "sae.safetensors")
    assert torch.equal(found.encode(inputs()), sae.encode(inputs()))
    sae.save(tmp_path / "half.safetensors", half=True)
    half = load_autoencoder(tmp_path / "half.safetensors")
    assert half.W_enc.dtype == torch.float32
    torch.testing.assert_close(half.W_enc, sae.W_enc, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"b_enc": torch.zeros(3)}, r"b_enc is \(3,\), expected \(200,\)"),
        ({"activation": "jumprelu"}, "jumprelu SAE needs threshold"),
        ({"activation": "topk"}, "topk SAE needs k"),
        ({"activation": "topk", "k": 201}, "k = 201 is not from 1 to its 200"),
        ({"activation": "groupmax", "k": 3}, "200 latents are not 3 equal groups"),
        ({"W_dec": torch.zeros(D_SAE, 7), "b_dec": torch.zeros(7)}, "b_dec"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SubjectError, match=message):
        replace(sae_of("relu"), **changes)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sae.safetensors"
    sae_of("relu").save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SubjectError, match="not a complete safetensors file"):
        load_autoencoder(path)
    with pytest.raises(SubjectError, match="no SAE at"):
        load_autoencoder(tmp_path / "none")


@pytest.mark.parametrize("activation", ["relu", "topk", "gated", "jumprelu"])
@pytest.mark.parametrize("subtract", [True, False])
def test_an_sae_of_centred_inputs_takes_their_mean_away_by_itself(
    activation: Any, subtract: bool
) -> None:
    sae = sae_of(activation, subtract_b_dec=subtract)
    x = torch.randn(20, sae.d_in, generator=torch.Generator().manual_seed(4)) + 2.0
    expected = sae.encode(x - x.mean(1, keepdim=True))
    torch.testing.assert_close(sae.centred().encode(x), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("part", "wrong"),
    [("W_enc", torch.tensor(0.5)), ("W_dec", torch.zeros(2, 2, 2)), ("W_enc", torch.zeros(0))],
)
def test_weights_without_two_axes_are_refused(part: str, wrong: Tensor) -> None:
    with pytest.raises(SubjectError, match="expected two axes"):
        sae_of("relu", **{part: wrong})


def test_weights_that_are_no_real_numbers_are_refused(tmp_path: Path) -> None:
    whole = {
        "W_enc": torch.ones(4, 6, dtype=torch.int8),
        "b_enc": torch.zeros(6, dtype=torch.int8),
        "W_dec": torch.ones(6, 4, dtype=torch.int8),
        "b_dec": torch.zeros(4, dtype=torch.int8),
    }
    save_file(whole, tmp_path / "sae.safetensors")
    with pytest.raises(SubjectError, match="int8"):
        load_autoencoder(tmp_path / "sae.safetensors")


@pytest.mark.parametrize("active", [0, 3, 120])
def test_a_reconstruction_is_the_product_however_few_latents_are_active(active: int) -> None:
    sae = sae_of("relu")
    latents = torch.zeros(2, 7, D_SAE)
    latents[..., :active] = torch.rand(2, 7, active, generator=torch.Generator().manual_seed(0))
    latents[0, 3] = 0  # a token without any
    wanted = latents.double() @ sae.W_dec.double() + sae.b_dec.double()
    torch.testing.assert_close(sae.decode(latents).double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", [1, 7])
def test_a_narrow_product_made_some_tokens_at_a_time_is_that_made_at_once(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top_k_module, "TOKENS_AT_ONCE", 16)
    weight = torch.randn(D_IN, width, requires_grad=True)
    bias = torch.randn(width)
    x = inputs().view(7, 10, D_IN)
    expected = top_k_module.affine(x, weight, bias)
    assert expected.requires_grad  # with gradients it is made at once
    with torch.no_grad():
        found = top_k_module.affine(x, weight, bias)
    torch.testing.assert_close(found, expected.detach())


def test_a_token_s_latents_do_not_hang_on_how_many_stand_beside_it() -> None:
    """In parts of 512, the last of 513 tokens was a product of one row, with other last bits."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1024, 64, generator=generator)
    weight, bias = torch.randn(64, 20, generator=generator), torch.zeros(20)
    with torch.no_grad():
        every = top_k_module.affine(x, weight, bias)
        for tokens in (511, 512, 513, 515):
            assert torch.equal(top_k_module.affine(x[:tokens], weight, bias), every[:tokens])
