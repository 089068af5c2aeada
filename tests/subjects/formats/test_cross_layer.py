"""Cross-layer transcoders a layer at a time; transcoders of circuit-tracer; crosscoders refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.sae_files import (
    B_DEC,
    B_ENC,
    D_SAE,
    LINEAR,
    PLAIN,
    PRE,
    RAW,
    W_DEC,
    W_ENC,
    X,
    beside,
    encodes,
    top,
    written,
)

from autointerp.errors import SubjectError
from autointerp.subjects.formats import Flags, load_sae

SET = "model_name: google/gemma-2-2b\nfeature_input_hook: {}\nfeature_output_hook: hook_mlp_out\n"
DECODERS = torch.stack([W_DEC, 2 * W_DEC], dim=1)  # [latents, layers from here on, d_out]


def cross_layer(folder: Path, **extra: torch.Tensor) -> Path:
    for layer in (0, 3):
        tensors = {f"W_enc_{layer}": W_ENC.T, f"b_enc_{layer}": B_ENC, f"b_dec_{layer}": B_DEC}
        named = {f"{name}_{layer}": tensor for name, tensor in extra.items()}
        written(folder / f"W_enc_{layer}.safetensors", {**tensors, **named})
        written(folder / f"W_dec_{layer}.safetensors", {f"W_dec_{layer}": DECODERS})
    (folder / "config.yaml").write_text(SET.format("hook_resid_mid") + "model_kind: x\n")
    return folder


def test_the_encoder_of_one_layer_is_read_at_its_hook(tmp_path: Path) -> None:
    loaded = encodes(cross_layer(tmp_path) / "W_enc_3.safetensors", RAW)
    found = (loaded.format, loaded.model, loaded.site, loaded.writes, loaded.layer)
    assert found == ("cross_layer", "google/gemma-2-2b", "layers.3.middle", "layers.3.mlp.added", 3)
    assert not loaded.reconstructs
    assert "the encoder of one layer of a cross-layer transcoder" in loaded.notes[0]
    torch.testing.assert_close(loaded.sae.W_dec, 3 * W_DEC)  # W + 2 W, over the layers
    assert {file.name for file in loaded.beside} == {"W_dec_3.safetensors", "config.yaml"}


def test_a_threshold_of_the_layer_is_used(tmp_path: Path) -> None:
    place = cross_layer(tmp_path, threshold=torch.full((D_SAE,), 0.5))
    encodes(place / "W_enc_0.safetensors", RAW * (PRE > 0.5))


def test_negative_thresholds_of_circuit_tracer_are_refused(tmp_path: Path) -> None:
    # Its JumpReLU is x * (x > threshold), without a ReLU: latents would be negative.
    threshold = torch.full((D_SAE,), 0.5)
    threshold[3] = -0.5
    said = r"1 of 16 thresholds are negative.*choose another SAE"
    with pytest.raises(SubjectError, match=said):
        load_sae(cross_layer(tmp_path, threshold=threshold) / "W_enc_0.safetensors")
    tensors = {"W_enc": W_ENC.T, "W_dec": W_DEC, "b_enc": B_ENC, "b_dec": B_DEC}
    tensors["activation_function.threshold"] = threshold
    path = written(tmp_path / "set" / "layer_4.safetensors", tensors)
    (tmp_path / "set" / "config.yaml").write_text(SET.format("mlp.hook_in"))
    with pytest.raises(SubjectError, match=said):
        load_sae(path)


def test_all_layers_at_once_are_refused_with_the_files_there_are(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match=r"2 layers, such as W_enc_0\.safetensors.*one layer's"):
        load_sae(cross_layer(tmp_path))


def test_what_a_set_says_and_is_not_known_is_refused(tmp_path: Path) -> None:
    place = cross_layer(tmp_path, gain=torch.ones(D_SAE))
    with pytest.raises(SubjectError, match="says tensor gain_3"):
        load_sae(place / "W_enc_3.safetensors")


@pytest.mark.parametrize("name", ["model.safetensors", "sae_weights.safetensors"])
def test_a_crosscoder_is_refused_by_name(name: str, tmp_path: Path) -> None:
    # science-of-finetuning: encoder.weight is [layers, d_in, latents].
    stacked = {key: torch.stack([tensor, tensor]) for key, tensor in LINEAR.items()}
    path = written(tmp_path / name, stacked)
    beside(path, "config.json", activation_dim=6, dict_size=16, num_layers=2)
    for place in (path, tmp_path):
        with pytest.raises(SubjectError, match=r"is a crosscoder .*one site"):
            load_sae(place)


def test_a_crosscoder_in_a_torch_file_is_refused_by_name(tmp_path: Path) -> None:
    stacked = {key: torch.stack([tensor, tensor]) for key, tensor in PLAIN.items()}
    stacked["b_enc"] = B_ENC
    with pytest.raises(SubjectError, match=r"is a crosscoder \(W_enc is \(2, 6, 16\)\)"):
        load_sae(written(tmp_path / "0.pt", stacked))


def test_a_transcoder_of_a_set_has_the_sets_hooks(tmp_path: Path) -> None:
    skip = torch.randn(6, 6)
    tensors = {"W_enc": W_ENC.T, "W_dec": W_DEC, "b_enc": B_ENC, "b_dec": B_DEC, "W_skip": skip}
    path = written(tmp_path / "layer_4.safetensors", tensors)
    (tmp_path / "config.yaml").write_text(SET.format("mlp.hook_in"))
    loaded = encodes(path, RAW)
    found = (loaded.format, loaded.site, loaded.writes, loaded.layer)
    assert found == ("circuit_tracer", "layers.4.mlp.input", "layers.4.mlp.added", 4)
    # SingleLayerTranscoder.compute_skip: x @ W_skip.T
    expected = RAW @ W_DEC + B_DEC + X @ skip.T
    torch.testing.assert_close(loaded.sae.decode(RAW, X), expected)
    (tmp_path / "config.yaml").write_text(SET.format("mlp.hook_in") + "input_gain: 3\n")
    with pytest.raises(SubjectError, match="input_gain = 3"):
        load_sae(path)


@pytest.mark.parametrize(
    ("said", "tensors", "flags"),
    [
        ("activation: topk\nk: 3\n", {}, Flags()),
        ("activation: topk\n", {"k": torch.tensor(3)}, Flags()),
        ("", {"k": torch.tensor(3)}, Flags()),
        ("activation: topk\n", {}, Flags(k=3)),
    ],
)
def test_a_transcoder_of_a_set_may_be_a_topk(
    said: str, tensors: dict[str, torch.Tensor], flags: Flags, tmp_path: Path
) -> None:
    own = {"W_enc": W_ENC.T, "W_dec": W_DEC, "b_enc": B_ENC, "b_dec": B_DEC, **tensors}
    path = written(tmp_path / "layer_4.safetensors", own)
    (tmp_path / "config.yaml").write_text(SET.format("mlp.hook_in") + said)
    assert encodes(path, top(RAW, 3), flags).l0 == 3


def test_a_topk_transcoder_that_contradicts_its_set_is_refused(tmp_path: Path) -> None:
    own = {"W_enc": W_ENC.T, "W_dec": W_DEC, "b_enc": B_ENC, "b_dec": B_DEC, "k": torch.tensor(3)}
    path = written(tmp_path / "layer_4.safetensors", own)
    for said, message in (
        ("activation: topk\nk: 4\n", r"says k 4, layer_4\.safetensors 3; correct one"),
        ("activation: relu\n", "says relu, the tensors of layer_4.safetensors are topk"),
    ):
        (tmp_path / "config.yaml").write_text(SET.format("mlp.hook_in") + said)
        with pytest.raises(SubjectError, match=message):
            load_sae(path)


def test_a_set_may_have_the_configuration_of_its_training_alone(tmp_path: Path) -> None:
    own = {"W_enc": W_ENC.T, "W_dec": W_DEC, "b_enc": B_ENC, "b_dec": B_DEC}
    path = written(tmp_path / "layer_4.safetensors", own)
    (tmp_path / "wanb-config.yaml").write_text("d_model:\n  value: 6\nd_feature:\n  value: 16\n")
    loaded = encodes(path, RAW)
    assert (loaded.format, loaded.sae.transcodes, loaded.layer) == ("circuit_tracer", True, 4)
    assert (loaded.site, loaded.beside) == (None, ())
