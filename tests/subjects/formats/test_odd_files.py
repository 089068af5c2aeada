"""Configurations and tensors of other types, sizes and numbers than any library writes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.sae_files import B_DEC, B_ENC, D_IN, D_SAE, LINEAR, PLAIN, W_DEC, W_ENC, X, written

from autointerp.errors import SubjectError
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.formats import Flags, load_sae

THRESHOLD = torch.full((D_SAE,), 0.5)
METADATA = {
    "model_name": "tiny", "hook_name": "blocks.1.hook_resid_post", "prepend_bos": True,
    "context_size": 64,
}  # fmt: skip
COMMON = {"d_in": D_IN, "d_sae": D_SAE, "normalize_activations": "none", "metadata": METADATA}
# format: its configuration's name and content, and its weights' name and tensors
FORMATS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "saelens topk": (
        "cfg.json", {"architecture": "topk", "k": 4, "apply_b_dec_to_input": True, **COMMON},
        "sae_weights.safetensors", PLAIN,
    ),
    "saelens jumprelu": (
        "cfg.json", {"architecture": "jumprelu", **COMMON},
        "sae_weights.safetensors", {**PLAIN, "threshold": THRESHOLD},
    ),
    "saelens before 6": (
        "cfg.json",
        {
            "d_in": D_IN, "d_sae": D_SAE, "hook_point": "blocks.1.hook_resid_post",
            "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}, "seqpos_slice": [None],
        },
        "sae_weights.safetensors", PLAIN,
    ),
    "sparsify": (
        "cfg.json",
        {
            "activation": "topk", "k": 4, "num_latents": D_SAE, "d_in": D_IN, "transcode": False,
            "expansion_factor": 32, "normalize_decoder": True, "signed": False,
        },
        "sae.safetensors",
        {"encoder.weight": W_ENC.T, "encoder.bias": B_ENC, "W_dec": W_DEC, "b_dec": B_DEC},
    ),
    "dictionary_learning": (
        "config.json",
        {
            "trainer": {
                "dict_class": "AutoEncoderTopK", "k": 4, "layer": 1, "lm_name": "tiny",
                "activation_dim": D_IN, "dict_size": D_SAE,
            },
            "buffer": {"ctx_len": 64, "io": "out"},
        },
        "ae.pt",
        {
            "encoder.weight": W_ENC.T, "encoder.bias": B_ENC, "decoder.weight": W_DEC.T,
            "b_dec": B_DEC, "k": torch.tensor(4),
        },
    ),
    "gemma_scope": (
        "config.json",
        {
            "model_name": "google/gemma-3-1b-pt", "hf_hook_point_in": "model.layers.1.output",
            "architecture": "jump_relu", "width": D_SAE, "l0": 5, "affine_connection": False,
            "type": "sae",
        },
        "params.safetensors",
        {
            "w_enc": W_ENC, "w_dec": W_DEC, "b_enc": B_ENC, "b_dec": B_DEC, "threshold": THRESHOLD,
        },
    ),
    "openmoss": (
        "config.json",
        {
            "d_model": D_IN, "d_sae": D_SAE, "hook_point_in": "blocks.1.hook_resid_post",
            "act_fn": "jumprelu", "jump_relu_threshold": 0.5, "norm_activation": "dataset-wise",
            "dataset_average_activation_norm": {"in": 4.0, "out": 2.0}, "top_k": 4,
            "sparsity_include_decoder_norm": True, "use_decoder_bias": True,
        },
        "sae_weights.safetensors", LINEAR,
    ),
    "raw_state_dict": (
        "hparams.json",
        {
            "activation": "topk", "k": 4, "d_in": D_IN, "normalize": False, "model_name": "tiny",
            "apply_b_dec_to_input": True, "hook_name": "blocks.1.hook_resid_post",
        },
        "weights.pt", LINEAR,
    ),
}  # fmt: skip
# JSON that a library might write by mistake; the last has more digits than a float.
ODD = [True, -1, 2.5, float("nan"), float("inf"), "x", [1], {"a": 1}, 10**400]


def keys(config: dict[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in config.items():
        yield (*before, name)
        if isinstance(value, dict):
            yield from keys(value, (*before, name))


def folder_of(folder: Path, format: str, config: Any = None, tensors: Any = None) -> Path:
    """Write an SAE, with another configuration or other tensors; return what is loaded."""
    name, usual, weights, its_tensors = FORMATS[format]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(usual if config is None else config))
    if tensors is not None or not (folder / weights).exists():
        written(folder / weights, its_tensors if tensors is None else tensors)
    return folder / weights if format == "raw_state_dict" else folder


@pytest.mark.parametrize("format", FORMATS)
def test_a_recorded_value_of_any_kind_is_used_or_refused_in_one_line(format: str, tmp_path: Path):
    config = FORMATS[format][1]
    expected = load_sae(folder_of(tmp_path, format)).sae.encode(X)
    assert bool((expected > 0).any())
    for place in keys(config):
        for odd in ODD:
            changed = copy.deepcopy(config)
            table = changed
            for name in place[:-1]:
                table = table[name]
            table[place[-1]] = odd
            refusal = ""
            try:
                loaded = load_sae(folder_of(tmp_path, format, changed))
            except SubjectError as error:
                refusal = str(error)
            if refusal:
                assert "\n" not in refusal, (place, odd)
                continue
            assert loaded.l0 is None or 0 < loaded.l0 < float("inf"), (place, odd)
            assert loaded.sae.encode(X).shape == expected.shape


KINDS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "whole numbers": lambda tensor: (10 * tensor).to(torch.int8),
    "truths": lambda tensor: tensor > 0,
    "complex numbers": lambda tensor: tensor.to(torch.complex64),
    "one number": lambda tensor: tensor.flatten()[0],
    "nothing": lambda tensor: tensor[:0],
    "a row less": lambda tensor: tensor[:-1],
    "an axis more": lambda tensor: tensor[None],
}


@pytest.mark.parametrize("format", FORMATS)
def test_tensors_that_are_no_weights_are_refused_in_one_line(format: str, tmp_path: Path):
    tensors = FORMATS[format][3]
    for name, tensor in tensors.items():
        if not tensor.dim():
            continue
        for kind, change in KINDS.items():
            if "threshold" in name and kind == "one number":
                continue  # the same for all latents
            changed = {**tensors, name: change(tensor)}
            with pytest.raises(SubjectError) as raised:
                load_sae(folder_of(tmp_path, format, tensors=changed))
            assert "\n" not in str(raised.value), (name, kind)


@pytest.mark.parametrize(
    ("format", "changes", "message"),
    [
        ("saelens jumprelu", {"architecture": "standard", "k": 4}, "standard and k = 4"),
        ("saelens before 6", {"k": 3}, "says k 3 and k 4"),
        ("gemma_scope", {"affine_connection": True}, "has no affine_skip_connection"),
        ("gemma_scope", {"type": "adapter"}, "type 'adapter' is not supported"),
        ("openmoss", {"act_fn": None}, "has no act_fn"),
        ("openmoss", {"norm_activation": None}, "no norm_activation"),
        ("raw_state_dict", {"k": 2.5}, "k is 2.5, not a whole number"),
        ("raw_state_dict", {"model": {"k": 4}}, "model is .*, not a text"),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(
    format: str, changes: dict[str, Any], message: str, tmp_path: Path
):
    config = {**FORMATS[format][1], **changes}
    if format == "raw_state_dict":
        config.pop("model_name")
    tensors = dict(FORMATS[format][3])
    if changes.get("architecture") == "standard":
        tensors.pop("threshold")
    with pytest.raises(SubjectError, match=message):
        load_sae(folder_of(tmp_path, format, config, tensors))


def test_a_key_that_stands_twice_is_refused(tmp_path: Path):
    folder = folder_of(tmp_path, "saelens topk")
    text = (folder / "cfg.json").read_text()
    (folder / "cfg.json").write_text('{"k": 3, ' + text[1:])
    with pytest.raises(SubjectError, match="key 'k' is there twice"):
        load_sae(folder, format="saelens")


def test_a_byte_order_mark_before_a_configuration_is_no_part_of_it(tmp_path: Path):
    folder = folder_of(tmp_path, "saelens topk")
    (folder / "cfg.json").write_bytes(b"\xef\xbb\xbf" + (folder / "cfg.json").read_bytes())
    assert load_sae(folder).l0 == 4


def test_weights_called_ae_beside_another_configuration_are_a_state_dict(tmp_path: Path):
    file = written(tmp_path / "ae.pt", LINEAR)
    (tmp_path / "config.json").write_text('{"activation": "topk", "k": 4}')
    loaded = load_sae(file, flags=Flags(subtract_b_dec=True))
    assert (loaded.format, loaded.sae.activation, loaded.sae.k) == ("raw_state_dict", "topk", 4)


def test_an_sae_reads_and_writes_as_many_activations_unless_it_transcodes():
    parts = {"W_enc": W_ENC[:-1], "W_dec": W_DEC, "b_enc": B_ENC, "b_dec": B_DEC}
    with pytest.raises(SubjectError, match="reads 5 activations and W_dec writes 6"):
        SparseAutoencoder(**parts, subtract_b_dec=False)
    SparseAutoencoder(**parts, subtract_b_dec=False, transcodes=True)


@pytest.mark.parametrize(
    "metadata", [{"k": "x"}, {"k": "9" * 5000}, {"k": "-1"}, {"apply_b_dec_to_input": "true"}]
)
def test_what_our_own_format_cannot_mean_is_refused(metadata: dict[str, str], tmp_path: Path):
    whole = {"architecture": "topk", "apply_b_dec_to_input": "True", "k": "4", **metadata}
    tensors = {name: tensor.contiguous() for name, tensor in PLAIN.items()}
    save_file(tensors, tmp_path / "sae.safetensors", metadata=whole)
    with pytest.raises(SubjectError, match=f"{next(iter(metadata))} is "):
        load_sae(tmp_path / "sae.safetensors")
