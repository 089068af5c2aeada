"""Gemma Scope and Gemma Scope 2: what paths, config.json and tensors say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.sae_files import (
    B_DEC,
    B_ENC,
    D_SAE,
    PRE,
    RAW,
    W_DEC,
    W_ENC,
    X,
    beside,
    encodes,
    written,
)
from torch.nn.functional import relu

from autointerp.errors import SubjectError
from autointerp.subjects.formats import load_sae

SMALL = {
    "w_enc": W_ENC, "w_dec": W_DEC, "b_enc": B_ENC, "b_dec": B_DEC,
    "threshold": torch.full((D_SAE,), 0.5),
}  # fmt: skip
FIRES = RAW * (PRE > 0.5)


def scope_2(folder: Path, part: str, tensors: dict[str, Any] = SMALL, **config: Any) -> Path:
    place = folder / f"gemma-scope-2-4b-pt/{part}/layer_7_width_16k_l0_small"
    written(place / "params.safetensors", tensors)
    if config:
        beside(place / "x", "config.json", **config)
    return place


@pytest.mark.parametrize(
    ("part", "site"),
    [
        ("resid_post", "layers.7.residual"),
        ("mlp_out", "layers.7.mlp.added"),
        ("attn_out", "layers.7.attention.heads"),
        ("transcoder", "layers.7.mlp.input"),
    ],
)
def test_a_path_names_the_site_whatever_the_model_calls_its_layers(
    part: str, site: str, tmp_path: Path
) -> None:
    loaded = encodes(scope_2(tmp_path, part), FIRES)
    assert (loaded.site, loaded.model) == (site, "google/gemma-3-4b-pt")
    assert loaded.sae.transcodes == (part == "transcoder")


def test_the_transcoders_of_gemma_2_read_the_norm_without_its_weight(tmp_path: Path) -> None:
    place = tmp_path / "gemma-scope-2b-pt-transcoders/layer_5/width_16k/average_l0_30"
    large = {name.replace("w_", "W_"): tensor for name, tensor in SMALL.items()}
    loaded = load_sae(written(place / "params.safetensors", large), format="gemma-scope")
    assert (loaded.site, loaded.writes) == ("layers.5.mlp.normalised", "layers.5.mlp.added")


def test_the_embeddings_sae_was_trained_before_gemma_scales_the_embedding(tmp_path: Path) -> None:
    place = tmp_path / "gemma-scope-2b-pt-res/embedding/width_4k/average_l0_6"
    path = written(place / "params.safetensors", SMALL)
    pre = (X / 6**0.5) @ W_ENC + B_ENC
    assert encodes(path, relu(pre) * (pre > 0.5)).site == "layers.0.input"


def test_config_json_says_what_the_path_does_not(tmp_path: Path) -> None:
    config = {
        "architecture": "jump_relu", "model_name": "gemma-v3-4b-pt", "width": D_SAE, "l0": 12,
        "hf_hook_point_in": "model.layers.7.output", "hf_hook_point_out": "model.layers.7.output",
        "affine_connection": False, "type": "sae",
    }  # fmt: skip
    path = written(tmp_path / "params.safetensors", SMALL)
    loaded = encodes(beside(path, "config.json", **config), FIRES)
    found = (loaded.model, loaded.site, loaded.l0)
    assert found == ("google/gemma-3-4b-pt", "layers.7.residual", 12)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "topk"}, "architecture 'topk' is not that of Gemma Scope"),
        ({"width": 99}, "says width 99, params.safetensors has 16 latents"),
        ({"input_norm": "unit"}, 'says input_norm = "unit"'),
    ],
)
def test_what_config_json_contradicts_is_refused(
    config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SubjectError, match=message):
        load_sae(scope_2(tmp_path, "resid_post", **config))


def test_a_tensor_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match="says tensor log_scale"):
        load_sae(scope_2(tmp_path, "resid_post", {**SMALL, "log_scale": torch.ones(D_SAE)}))


def test_a_layer_of_a_cross_layer_transcoder_adds_up_what_it_writes(tmp_path: Path) -> None:
    decoders = torch.stack([W_DEC, W_DEC, W_DEC], dim=1)
    path = written(
        tmp_path / "gemma-scope-2-1b-pt/clt/width_16k_l0_small/layer_7.safetensors",
        {**SMALL, "w_dec": decoders},
    )
    loaded = encodes(path, FIRES)
    assert (loaded.site, loaded.reconstructs) == ("layers.7.mlp.input", False)
    torch.testing.assert_close(loaded.sae.W_dec, 3 * W_DEC)
    assert "the encoder of one layer of a cross-layer transcoder" in loaded.notes[0]


@pytest.mark.parametrize("decoder", [W_DEC, torch.stack([W_DEC, W_DEC], dim=1)])
def test_a_layer_of_a_crosscoder_is_refused_by_its_folder(
    decoder: torch.Tensor, tmp_path: Path
) -> None:
    folder = tmp_path / "gemma-scope-2-4b-pt/crosscoder/layer_9_17_22_29_width_65k_l0_medium"
    path = written(folder / "params_layer_0.safetensors", {**SMALL, "w_dec": decoder})
    with pytest.raises(SubjectError, match=r"is a crosscoder \(as its folder says\): each of its"):
        load_sae(path)
