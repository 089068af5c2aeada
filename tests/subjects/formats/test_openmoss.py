"""Llama Scope and its successors, as their own library for inference computes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.sae_files import (
    B_DEC,
    B_ENC,
    D_IN,
    D_SAE,
    LINEAR,
    RAW,
    W_DEC,
    W_ENC,
    X,
    beside,
    encodes,
    top,
    written,
)
from torch import Tensor
from torch.nn.functional import relu

from autointerp.errors import MissingSetting, SubjectError
from autointerp.subjects.formats import Flags, load_sae

NORMS = {"in": 4.0, "out": 4.0}
SCALE = D_IN**0.5 / 4.0
LENGTH = W_DEC.norm(dim=1)
LLAMA: dict[str, Any] = {
    "d_model": D_IN, "d_sae": D_SAE, "hook_point_in": "blocks.1.hook_resid_post",
    "hook_point_out": "blocks.1.hook_resid_post", "act_fn": "jumprelu", "jump_relu_threshold": 0.8,
    "norm_activation": "dataset-wise", "dataset_average_activation_norm": NORMS, "top_k": 4,
    "sparsity_include_decoder_norm": True, "use_decoder_bias": True, "expansion_factor": 8 / 3,
    "apply_decoder_bias_to_pre_encoder": False, "l1_coefficient": 8e-5, "lp": 1, "tp_size": 1,
}  # fmt: skip
NEW = {"W_E": W_ENC, "b_E": B_ENC, "W_D": W_DEC, "b_D": B_DEC}


def llama(folder: Path, tensors: dict[str, Tensor] = LINEAR, **changes: Any) -> Path:
    place = folder / "Llama3_1-8B-Base-L1R-8x"
    written(place / "checkpoints" / "final.safetensors", tensors)
    beside(place / "x", "hyperparams.json", **{**LLAMA, **changes})
    return place


def later(folder: Path, tensors: dict[str, Tensor] = NEW, **changes: Any) -> Path:
    written(folder / "sae_weights.safetensors", tensors)
    kept = {k: v for k, v in LLAMA.items() if k not in ("jump_relu_threshold", "d_sae")}
    beside(folder / "x", "config.json", **{**kept, "sae_type": "sae", **changes})
    return folder


def on_raw_scale(pre: Tensor) -> Tensor:
    """Return a pre-activation of scaled inputs on the raw scale, for dictionary vectors of 1."""
    return pre / SCALE * LENGTH


# standardize_parameters_of_dataset_activation_scaling, then transform_to_unit_decoder_norm: the
# threshold is compared with (x W + b / scale)·‖d‖.
PRE = on_raw_scale((X * SCALE) @ W_ENC + B_ENC)


def test_llama_scope_scales_its_inputs_and_has_one_threshold(tmp_path: Path) -> None:
    place = llama(tmp_path)
    for path in (place, place / "checkpoints" / "final.safetensors"):
        loaded = encodes(path, relu(PRE) * (PRE > 0.8))
        found = (loaded.format, loaded.site, loaded.layer, loaded.l0)
        assert found == ("openmoss", "layers.1.residual", 1, 4.0)
    latents = loaded.sae.encode(X)
    # What the latents add, on the scale of the raw inputs.
    expected = ((latents / LENGTH * SCALE) @ W_DEC + B_DEC) / SCALE
    torch.testing.assert_close(loaded.sae.decode(latents, X), expected)


def test_a_threshold_that_was_trained_is_on_the_scale_of_the_training(tmp_path: Path) -> None:
    logs = torch.linspace(-1, 1, D_SAE)
    # Their encode, on inputs that were scaled: the pre-activation times ‖d‖ over the threshold.
    trained = ((X * SCALE) @ W_ENC + B_ENC) * LENGTH
    expected = relu(PRE) * (trained > logs.exp())
    place = later(tmp_path, {**NEW, "activation_function.log_jumprelu_threshold": logs})
    assert encodes(place, expected).l0 is None  # its top_k is a default that nothing used


def test_the_norms_may_stand_among_the_tensors(tmp_path: Path) -> None:
    hook = "blocks.1.hook_resid_post"
    norms = {f"dataset_average_activation_norm.{hook}": torch.tensor(4.0)}
    changes = {"act_fn": "topk", "dataset_average_activation_norm": None}
    encodes(later(tmp_path, {**NEW, **norms}, **changes), top(relu(PRE), 4))


def test_a_scale_that_no_file_says_is_asked_for(tmp_path: Path) -> None:
    place = later(tmp_path, act_fn="relu", dataset_average_activation_norm=None)
    with pytest.raises(MissingSetting, match="do not say by what factor") as missing:
        load_sae(place)
    assert missing.value.setting == "input_scale"
    expected = relu((X * 0.5) @ W_ENC + B_ENC) * LENGTH
    encodes(place, expected, Flags(input_scale=0.5))


def test_what_was_folded_is_read_as_it_is(tmp_path: Path) -> None:
    changes = {"act_fn": "relu", "sparsity_include_decoder_norm": False}
    encodes(later(tmp_path, norm_activation="inference", **changes), RAW)


def test_each_token_may_be_normalised_by_itself(tmp_path: Path) -> None:
    changes = {"act_fn": "relu", "sparsity_include_decoder_norm": False}
    x = X * D_IN**0.5 / X.norm(dim=1, keepdim=True)
    encodes(later(tmp_path, norm_activation="token-wise", **changes), relu(x @ W_ENC + B_ENC))


def test_a_transcoder_writes_another_hook(tmp_path: Path) -> None:
    hooks = {"hook_point_in": "blocks.2.ln2.hook_normalized", "act_fn": "topk",
             "hook_point_out": "blocks.2.hook_mlp_out"}  # fmt: skip
    loaded = load_sae(later(tmp_path, **hooks))
    assert (loaded.site, loaded.writes) == ("layers.2.mlp.normalised", "layers.2.mlp.added")
    assert loaded.sae.transcodes
    assert not loaded.reconstructs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm_activation": "batch-wise"}, "depends on the batch"),
        ({"act_fn": "batchtopk"}, "would depend on the batch"),
        ({"act_fn": "jumprelu"}, "no threshold is recorded"),
        ({"use_glu_encoder": True}, "use_glu_encoder"),
        ({"sae_type": "lorsa"}, "sae_type 'lorsa' is not supported"),
        ({"sae_type": "crosscoder", "hook_points": ["a", "b"]}, "is a crosscoder"),
        ({"sae_type": "clt", "hook_points_in": ["a", "b"]}, "is a cross-layer transcoder"),
        ({"d_model": 7}, "says d_model 7"),
        ({"expansion_factor": 4.0}, "says d_sae 24, sae_weights.safetensors has 16"),
        ({"use_rotary": True, "act_fn": "relu"}, "says use_rotary = true"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SubjectError, match=message):
        load_sae(later(tmp_path, **changes))


def test_a_tensor_that_is_not_known_is_refused(tmp_path: Path) -> None:
    place = later(tmp_path, {**NEW, "W_E_glu": W_ENC}, act_fn="relu")
    with pytest.raises(SubjectError, match="says tensor W_E_glu"):
        load_sae(place)


def test_a_scale_that_the_files_record_is_not_given_twice(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match=r"records the norms .*leave input_scale out"):
        load_sae(llama(tmp_path), flags=Flags(input_scale=0.5))
