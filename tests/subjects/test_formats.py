"""Fixtures are written by hand from the published layouts; test_parity_with_libraries.py holds
what is loaded against the libraries themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.sae_files import (
    B_DEC,
    B_ENC,
    D_IN,
    D_SAE,
    PLAIN,
    RAW,
    SUBTRACTED,
    W_DEC,
    W_ENC,
    X,
    encodes,
    top,
)
from torch import Tensor
from torch.nn.functional import relu

from autointerp.errors import MissingSetting, SubjectError, UnknownName
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.formats import (
    AdaptedEncoder,
    Flags,
    LoadedAutoencoder,
    check_activations,
    load_sae,
)

LINEAR = {"encoder.weight": W_ENC.T, "encoder.bias": B_ENC, "decoder.weight": W_DEC.T}


def save(tensors: dict[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    if path.suffix == ".safetensors":
        save_file(contiguous, path)
    elif path.suffix == ".npz":
        arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
        np.savez(path, **arrays)
    else:
        torch.save(contiguous, path)


def saelens(folder: Path, tensors: dict[str, Tensor] = PLAIN, **config: Any) -> Path:
    save(tensors, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"d_in": D_IN, "d_sae": D_SAE, **config}))
    return folder


def sparsify(folder: Path, tensors: dict[str, Tensor] | None = None, **config: Any) -> Path:
    parts = {**LINEAR, "W_dec": W_DEC, "b_dec": B_DEC}
    del parts["decoder.weight"]
    save(tensors or parts, folder / "sae.safetensors")
    full = {"activation": "topk", "k": 3, "num_latents": D_SAE, "d_in": D_IN, **config}
    (folder / "cfg.json").write_text(json.dumps(full))
    return folder


def dictionary(folder: Path, name: str, tensors: dict[str, Tensor], **trainer: Any) -> Path:
    save(tensors, folder / "ae.pt")
    trainer = {"dict_class": name, "layer": 2, "lm_name": "EleutherAI/pythia-70m", **trainer}
    buffer = {"ctx_len": 128}
    (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": buffer}))
    return folder


def gemma(folder: Path, tensors: dict[str, Tensor] | None = None) -> Path:
    place = folder / "gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71"
    save(tensors or {**PLAIN, "threshold": torch.full((D_SAE,), 0.5)}, place / "params.npz")
    return place


def test_saelens_since_6_says_model_site_and_context(tmp_path: Path) -> None:
    metadata = {
        "model_name": "gpt2",
        "hook_name": "blocks.7.hook_resid_pre",
        "context_size": 128,
        "prepend_bos": False,
        "sae_lens_version": "6.0.0",
    }
    saelens(tmp_path, architecture="topk", k=3, metadata=metadata)
    loaded = encodes(tmp_path, top(SUBTRACTED, 3))
    assert loaded.format == "saelens"
    found = (loaded.model, loaded.site, loaded.layer, loaded.context_size, loaded.prepend_bos)
    assert found == ("gpt2", "layers.7.input", 7, 128, False)
    assert loaded.l0 == 3
    assert load_sae(tmp_path / "cfg.json").format == "saelens"


def test_saelens_before_6_is_a_topk_where_its_activation_says_so(tmp_path: Path) -> None:
    old: dict[str, Any] = {"hook_point": "blocks.3.hook_mlp_out", "activation_fn_str": "topk"}
    saelens(tmp_path, **old, activation_fn_kwargs={"k": 4}, model_name="gpt2")
    loaded = encodes(tmp_path, top(SUBTRACTED, 4))
    assert (loaded.site, loaded.l0) == ("layers.3.mlp.added", 4)


def test_the_l0_that_saelens_measured_is_what_its_files_promise(tmp_path: Path) -> None:
    assert load_sae(saelens(tmp_path / "a", metadata={"l0": 5.5})).l0 == 5.5
    topk = saelens(tmp_path / "b", architecture="topk", k=3, metadata={"num_dead_features": 2})
    assert load_sae(topk).l0 == 3


def test_saelens_keeps_its_bias_convention(tmp_path: Path) -> None:
    encodes(saelens(tmp_path, architecture="standard", apply_b_dec_to_input=False), RAW)


def test_saelens_jumprelu_is_zero_up_to_its_threshold(tmp_path: Path) -> None:
    saelens(tmp_path, {**PLAIN, "threshold": torch.ones(D_SAE)}, architecture="jumprelu")
    encodes(tmp_path, SUBTRACTED * (SUBTRACTED > 1))


def test_scaled_inputs_without_the_scale_are_refused_and_with_it_are_folded(
    tmp_path: Path,
) -> None:
    saelens(tmp_path, normalize_activations="expected_average_only_in")
    with pytest.raises(SubjectError, match="give it as input_scale"):
        load_sae(tmp_path)
    expected = relu((X * 0.5 - B_DEC) @ W_ENC + B_ENC)
    loaded = encodes(tmp_path, expected, Flags(input_scale=0.5))
    # The decoder's answer is on the scale of the raw input.
    torch.testing.assert_close(loaded.sae.decode(expected), (expected @ W_DEC + B_DEC) / 0.5)
    (tmp_path / "activation_scaler.json").write_text('{"scaling_factor": 0.5}')
    encodes(tmp_path, expected)


def test_saelens_matrices_may_be_written_either_way(tmp_path: Path) -> None:
    turned = {**PLAIN, "W_enc": W_ENC.T, "W_dec": W_DEC.T}
    encodes(saelens(tmp_path, turned), SUBTRACTED)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "temporal"}, "'temporal' is not supported: a token's latents depend on"),
        ({"architecture": "abstopk", "k": 3}, "'abstopk' is not supported: its latents may be bel"),
        ({"activation_fn_str": "tanh-relu"}, "'tanh-relu' is not supported"),
        ({"normalize_activations": "covariance_whitening"}, "fold it and save it again"),
        ({"architecture": "topk"}, "does not say the k of its TopK, latents a token; give k"),
        ({"activation_fn_str": "topk"}, "does not say the k of its TopK"),  # it is no ReLU
        ({"architecture": "topk", "k": "many"}, "k is 'many', not a whole number over 0"),
        ({"architecture": "topk", "k": 2.5}, "k is 2.5, not a whole number over 0"),
        ({"metadata": [1]}, r"metadata is \[1\], not an object"),
        ({"activation_fn_kwargs": 3}, "activation_fn_kwargs is 3, not an object"),
        ({"architecture": "gated"}, "no tensor b_mag"),
    ],
)
def test_saelens_that_cannot_be_reproduced_is_refused(
    config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SubjectError, match=message):
        load_sae(saelens(tmp_path, **config))


def test_what_cfg_json_leaves_null_is_not_said(tmp_path: Path) -> None:
    empty = {"hook_name": None, "model_name": None, "context_size": None}
    loaded = encodes(saelens(tmp_path, architecture="standard", metadata=empty), SUBTRACTED)
    assert (loaded.site, loaded.model, loaded.hook, loaded.context_size) == (None,) * 4


def test_a_configuration_that_is_damaged_or_missing_is_named(tmp_path: Path) -> None:
    (saelens(tmp_path / "a") / "cfg.json").write_text("{")
    with pytest.raises(SubjectError, match=r"cfg\.json is not valid JSON"):
        load_sae(tmp_path / "a")
    (saelens(tmp_path / "b") / "cfg.json").unlink()
    with pytest.raises(SubjectError, match=r"no cfg\.json in "):
        load_sae(tmp_path / "b")


def test_a_k_that_the_files_do_not_say_can_be_given(tmp_path: Path) -> None:
    flags = Flags(k=4)
    encodes(saelens(tmp_path / "a", architecture="topk"), top(SUBTRACTED, 4), flags)
    encodes(sparsify(tmp_path / "b", k=None), top(SUBTRACTED, 4), flags)
    tensors = {**LINEAR, "b_dec": B_DEC}
    encodes(dictionary(tmp_path / "c", "AutoEncoderTopK", tensors), top(SUBTRACTED, 4), flags)
    for name in "abc":
        with pytest.raises(MissingSetting, match="does not say the k of its TopK") as refused:
            load_sae(tmp_path / name)
        assert refused.value.setting == "k"


def test_a_flag_that_contradicts_the_files_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    topk, relu_ = sparsify(tmp_path / "a", k=3), saelens(tmp_path / "b", architecture="standard")
    assert load_sae(topk, flags=Flags(subtract_b_dec=True, k=3)).sae.k == 3
    with pytest.raises(SubjectError, match="says that its k is 3; leave k out"):
        load_sae(topk, flags=Flags(k=4))
    with pytest.raises(SubjectError, match="is relu, not a TopK; leave k out"):
        load_sae(relu_, flags=Flags(k=4))
    with pytest.raises(SubjectError, match="says that it takes its decoder bias from the input"):
        load_sae(relu_, flags=Flags(subtract_b_dec=False))
    (tmp_path / "cfg.json").write_text("{}")
    with pytest.raises(SubjectError, match="normalises each input by itself"):
        load_sae(
            saelens(tmp_path / "c", normalize_activations="layer_norm"),
            flags=Flags(input_scale=2.0),
        )


def test_the_input_scale_of_a_training_is_put_into_any_format(tmp_path: Path) -> None:
    scaled = relu((X * 0.5 - B_DEC) @ W_ENC + B_ENC)
    encodes(sparsify(tmp_path / "a"), top(scaled, 3), Flags(input_scale=0.5))
    dictionary(tmp_path / "b", "AutoEncoder", {**LINEAR, "bias": B_DEC})
    encodes(tmp_path / "b", scaled, Flags(input_scale=0.5))


def test_a_decoder_that_dictionary_learnings_loader_would_scale_is_said(tmp_path: Path) -> None:
    tensors = {**LINEAR, "bias": B_DEC}
    dictionary(tmp_path / "long", "AutoEncoder", tensors)
    (note,) = load_sae(tmp_path / "long").notes
    assert note.startswith("its decoder vectors are not of length 1: activations are as stored")
    decoder = tensors["decoder.weight"]  # [d_in, d_sae]
    unit = {**tensors, "decoder.weight": decoder / decoder.norm(dim=0)}
    dictionary(tmp_path / "unit", "AutoEncoder", unit)
    assert load_sae(tmp_path / "unit").notes == ()
    dictionary(tmp_path / "gated", "GatedAutoEncoder", {
        "encoder.weight": LINEAR["encoder.weight"], "decoder.weight": decoder, "r_mag": B_ENC,
        "mag_bias": B_ENC, "gate_bias": B_ENC, "decoder_bias": B_DEC,
    })  # fmt: skip
    assert load_sae(tmp_path / "gated").notes == ()  # which it loads as it is


def test_a_weights_file_stands_for_its_folder(tmp_path: Path) -> None:
    assert load_sae(saelens(tmp_path / "a") / "sae_weights.safetensors").format == "saelens"
    assert load_sae(sparsify(tmp_path / "b") / "sae.safetensors").format == "sparsify"
    dictionary(tmp_path / "c", "AutoEncoder", {**LINEAR, "bias": B_DEC})
    assert load_sae(tmp_path / "c" / "ae.pt").format == "dictionary_learning"


def test_another_weights_file_in_the_folder_is_the_one_that_is_read(tmp_path: Path) -> None:
    other = {**PLAIN, "b_enc": B_ENC + 1}
    file = saelens(tmp_path) / "before.safetensors"
    save(other, file)
    loaded = load_sae(file, format="saelens")
    torch.testing.assert_close(loaded.sae.b_enc, B_ENC + 1)
    assert loaded.beside == (file,)


def test_a_folder_of_two_formats_asks_which(tmp_path: Path) -> None:
    sparsify(tmp_path)
    saelens(tmp_path, architecture="topk", k=3)
    with pytest.raises(SubjectError, match="could be saelens or sparsify; say which with sae_for"):
        load_sae(tmp_path)
    assert load_sae(tmp_path, format="saelens").format == "saelens"


def test_sparsify_takes_its_site_from_the_folder(tmp_path: Path) -> None:
    loaded = encodes(sparsify(tmp_path / "layers.3.mlp"), top(SUBTRACTED, 3))
    assert (loaded.format, loaded.site, loaded.l0) == ("sparsify", "layers.3.mlp", 3)
    assert load_sae(sparsify(tmp_path / "layers.5")).site == "layers.5.residual"


def test_one_of_several_seeds_of_sparsify_is_of_the_folder_above(tmp_path: Path) -> None:
    folder = sparsify(tmp_path / "layers.3.mlp" / "seed12")
    (tmp_path / "config.json").write_text('{"model": "gpt2", "dataset": "c4", "ctx_len": 256}')
    loaded = load_sae(folder)
    found = (loaded.site, loaded.hook, loaded.model, loaded.context_size)
    assert found == ("layers.3.mlp", "layers.3.mlp", "gpt2", 256)


def test_a_sparsify_transcoder_reads_the_plain_input_and_skips(tmp_path: Path) -> None:
    skip = torch.randn(D_IN, D_IN)
    parts = {**LINEAR, "W_dec": W_DEC, "b_dec": B_DEC, "W_skip": skip}
    del parts["decoder.weight"]
    folder = sparsify(tmp_path / "layers.3.mlp", parts, transcode=True, skip_connection=True)
    loaded = encodes(folder, top(RAW, 3))
    assert loaded.site == "layers.3.mlp.input"
    decoded = top(RAW, 3) @ W_DEC + B_DEC + X @ skip.T
    torch.testing.assert_close(loaded.sae.decode(top(RAW, 3), X), decoded, atol=1e-5, rtol=1e-5)


def test_groupmax_keeps_the_largest_of_each_group(tmp_path: Path) -> None:
    grouped = SUBTRACTED.view(-1, 4, 4)
    expected = (grouped * (grouped == grouped.amax(2, keepdim=True))).flatten(1)
    encodes(sparsify(tmp_path, activation="groupmax", k=4), expected)


DICTIONARIES: list[tuple[str, dict[str, Tensor], Tensor]] = [
    ("AutoEncoder", {**LINEAR, "bias": B_DEC}, SUBTRACTED),
    ("AutoEncoderNew", {**LINEAR, "decoder.bias": B_DEC}, RAW),
    ("AutoEncoderTopK", {**LINEAR, "b_dec": B_DEC, "k": torch.tensor(3)}, top(SUBTRACTED, 3)),
    (
        "BatchTopKSAE",
        {**LINEAR, "b_dec": B_DEC, "k": torch.tensor(3), "threshold": torch.tensor(0.9)},
        SUBTRACTED * (SUBTRACTED > 0.9),
    ),
    ("JumpReluAutoEncoder", {**PLAIN, "threshold": torch.ones(D_SAE)}, RAW * (RAW > 1)),
    ("JumpReluAutoEncoder", {**PLAIN, "threshold": -torch.ones(D_SAE)}, RAW),  # it has a ReLU too
]


@pytest.mark.parametrize(("name", "tensors", "expected"), DICTIONARIES)
def test_each_dictionary_learning_class_keeps_its_bias_convention(
    name: str, tensors: dict[str, Tensor], expected: Tensor, tmp_path: Path
) -> None:
    loaded = encodes(dictionary(tmp_path, name, tensors), expected)
    found = (loaded.format, loaded.model, loaded.layer, loaded.context_size)
    assert found == ("dictionary_learning", "EleutherAI/pythia-70m", 2, 128)


def test_a_batchtopk_that_was_never_calibrated_is_a_topk_with_a_note(tmp_path: Path) -> None:
    tensors = {**LINEAR, "b_dec": B_DEC, "k": torch.tensor(3), "threshold": torch.tensor(-1.0)}
    loaded = encodes(dictionary(tmp_path, "BatchTopKSAE", tensors), top(SUBTRACTED, 3))
    assert "never calibrated" in loaded.notes[0]


@pytest.mark.parametrize(("name", "tensors", "expected"), DICTIONARIES)
def test_a_checkpoint_of_dictionary_learning_is_of_its_trainers_class(
    name: str, tensors: dict[str, Tensor], expected: Tensor, tmp_path: Path
) -> None:
    folder = dictionary(tmp_path, name, {key: 2 * value for key, value in tensors.items()})
    save(tensors, folder / "checkpoints" / "ae_30.pt")
    loaded = encodes(folder / "checkpoints" / "ae_30.pt", expected)
    assert (loaded.format, loaded.layer) == ("dictionary_learning", 2)
    assert loaded.beside == (folder / "checkpoints" / "ae_30.pt",)  # it is part of the digest
    save(tensors, folder / "other.pt")
    encodes(folder / "other.pt", expected)


@pytest.mark.parametrize(("name", "tensors", "expected"), DICTIONARIES)
def test_a_backup_of_dictionary_learning_is_scaled_as_it_would_have_been_saved(
    name: str, tensors: dict[str, Tensor], expected: Tensor, tmp_path: Path
) -> None:
    """training.py multiplies biases and thresholds by the norm of the inputs when it saves."""
    scaled = ("bias", "encoder.bias", "decoder.bias", "b_enc", "b_dec", "threshold")
    dictionary(tmp_path, name, tensors, lr=0.1)
    trainer = json.loads((tmp_path / "config.json").read_text())["trainer"]
    state = {key: v / 4 if key in scaled else v for key, v in tensors.items()}
    backup = {
        "step": 20, "ae": state, "optimizer": {"state": {}}, "norm_factor": 4.0,
        "config": {**trainer, "norm_factor": 4.0},
    }  # fmt: skip
    torch.save(backup, tmp_path / "ae.pt")
    loaded = encodes(tmp_path, expected)
    assert loaded.notes[0] == "a backup of a training that did not come to its end"
    # Of a file that does not say that it is a backup it is not known whether it was folded.
    torch.save({"state_dict": state, "norm_factor": 4.0}, tmp_path / "ae.pt")
    with pytest.raises(SubjectError, match=r"norm_factor = 4\.0"):
        load_sae(tmp_path)


def test_a_dictionary_of_one_attention_head_is_refused(tmp_path: Path) -> None:
    dictionary(tmp_path, "AutoEncoder", {**LINEAR, "bias": B_DEC})
    config = json.loads((tmp_path / "config.json").read_text())
    config["buffer"] = {"layer": 2, "n_ctxs": 300, "ctx_len": 128, "device": "cuda"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SubjectError, match="trained on one attention head alone"):
        load_sae(tmp_path)


def test_an_unknown_dictionary_class_is_named(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match="dict_class 'Other' is not supported"):
        load_sae(dictionary(tmp_path / "a", "Other", LINEAR))
    with pytest.raises(SubjectError, match=r"is a crosscoder .*reads several layers or models"):
        load_sae(dictionary(tmp_path / "b", "CrossCoder", LINEAR))


def test_gemma_scope_reads_model_layer_site_and_l0_from_its_path(tmp_path: Path) -> None:
    loaded = encodes(gemma(tmp_path), RAW * (RAW > 0.5))
    found = (loaded.format, loaded.model, loaded.site, loaded.l0)
    assert found == ("gemma_scope", "google/gemma-2-2b", "layers.20.residual", 71)


def test_gemma_scope_without_its_path_says_what_cannot_be_checked(tmp_path: Path) -> None:
    save({**PLAIN, "threshold": torch.full((D_SAE,), 0.5)}, tmp_path / "params.npz")
    loaded = encodes(tmp_path, RAW * (RAW > 0.5))
    assert (loaded.model, loaded.site, loaded.layer, loaded.l0) == (None,) * 4
    assert "names no Gemma Scope repository" in loaded.notes[0]


def test_gemma_scope_2_has_small_letters_and_a_skip(tmp_path: Path) -> None:
    skip = torch.randn(D_IN, D_IN)
    lower = {"w_enc": W_ENC, "w_dec": W_DEC, "b_enc": B_ENC, "b_dec": B_DEC}
    place = tmp_path / "gemma-scope-2-1b-pt/transcoder/layer_7_width_16k"
    extra = {"threshold": torch.full((D_SAE,), 0.5), "affine_skip_connection": skip}
    save({**lower, **extra}, place / "params.safetensors")
    loaded = encodes(place, RAW * (RAW > 0.5))
    assert (loaded.model, loaded.site) == ("google/gemma-3-1b-pt", "layers.7.mlp.input")
    latents = RAW * (RAW > 0.5)
    decoded = latents @ W_DEC + B_DEC + X @ skip
    torch.testing.assert_close(loaded.sae.decode(latents, X), decoded, atol=1e-5, rtol=1e-5)


def test_a_bare_state_dict_asks_for_its_bias_convention(tmp_path: Path) -> None:
    state = {**LINEAR, "decoder.bias": B_DEC}
    torch.save({"model_state_dict": state, "step": 5}, tmp_path / "sae.pt")
    with pytest.raises(SubjectError, match=r"does not say whether decoder\.bias .*subtract_b_dec"):
        load_sae(tmp_path / "sae.pt")
    encodes(tmp_path / "sae.pt", SUBTRACTED, Flags(subtract_b_dec=True))
    encodes(tmp_path / "sae.pt", RAW, Flags(subtract_b_dec=False))
    encodes(tmp_path / "sae.pt", top(RAW, 3), Flags(subtract_b_dec=False, k=3))
    save(LINEAR, tmp_path / "unbiased.pt")
    loaded = encodes(tmp_path / "unbiased.pt", RAW)
    assert "names no activation" in loaded.notes[0]


def test_our_own_file_is_recognised(tmp_path: Path) -> None:
    SparseAutoencoder(**PLAIN).save(tmp_path / "sae.safetensors")
    assert encodes(tmp_path / "sae.safetensors", SUBTRACTED).format == "autointerp"
    assert encodes(tmp_path, SUBTRACTED).format == "autointerp"


def test_code_in_a_torch_file_is_not_run(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "sae.pt")
    with pytest.raises(SubjectError, match="holds Python objects, which are not loaded"):
        load_sae(tmp_path / "sae.pt", format="raw-state-dict")


WRITERS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "saelens": (saelens, "sae_weights.safetensors"),
    "sparsify": (sparsify, "sae.safetensors"),
    "dictionary-learning": (
        lambda folder: dictionary(folder, "AutoEncoder", {**LINEAR, "bias": B_DEC}), "ae.pt",
    ),
    "gemma-scope": (gemma, "params.npz"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(WRITERS))
def test_a_cut_off_file_is_one_line(name: str, tmp_path: Path) -> None:
    write, file = WRITERS[name]
    folder = write(tmp_path)
    (folder / file).write_bytes((folder / file).read_bytes()[:-300])
    with pytest.raises(SubjectError, match="damaged or incomplete") as error:
        load_sae(folder)
    assert "\n" not in str(error.value)


def test_a_missing_tensor_is_named_with_those_there_are(tmp_path: Path) -> None:
    parts = {name: tensor for name, tensor in PLAIN.items() if name != "b_dec"}
    with pytest.raises(SubjectError, match=r"no tensor b_dec \(it has: W_dec, W_enc, b_enc\)"):
        load_sae(saelens(tmp_path, parts))


@pytest.mark.parametrize("missing", ["W_enc", "W_dec", "b_enc", "b_dec", "threshold"])
def test_each_tensor_that_gemma_scope_lacks_is_named(missing: str, tmp_path: Path) -> None:
    whole = {**PLAIN, "threshold": torch.full((D_SAE,), 0.5)}
    place = gemma(tmp_path, {name: part for name, part in whole.items() if name != missing})
    with pytest.raises(SubjectError, match=rf"params\.npz has no tensor {missing} \(it has"):
        load_sae(place)


def test_matrices_that_fit_no_width_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match="no axis has the 16 latents"):
        load_sae(saelens(tmp_path, {**PLAIN, "W_enc": W_ENC[:, :5]}))


def test_a_folder_of_saes_lists_them(tmp_path: Path) -> None:
    sparsify(tmp_path / "layers.0.mlp")
    alone = r"holds a folder that may be an SAE; give that: layers\.0\.mlp$"
    with pytest.raises(SubjectError, match=alone):
        load_sae(tmp_path)
    sparsify(tmp_path / "layers.1.mlp")
    with pytest.raises(SubjectError, match=r"give one of them: layers\.0\.mlp, layers\.1\.mlp"):
        load_sae(tmp_path)


def test_what_is_no_sae_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match="no SAE at"):
        load_sae(tmp_path / "none")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SubjectError, match=r"it holds: notes\.txt; formats: autointerp"):
        load_sae(tmp_path)
    with pytest.raises(UnknownName, match="unknown format 'saelenz'; did you mean 'saelens'"):
        load_sae(tmp_path, format="saelenz")


def test_a_hub_id_with_a_folder_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sparsify(tmp_path / "layers.3")
    asked = []

    def snapshot_download(repo: str, allow_patterns: list[str], local_files_only: bool) -> str:
        asked.append((repo, allow_patterns))
        assert not local_files_only
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr("autointerp.subjects.formats.out_of_reach", lambda: None)
    assert load_sae("EleutherAI/sae-pythia-70m-32k/layers.3").format == "sparsify"
    assert asked == [("EleutherAI/sae-pythia-70m-32k", ["layers.3/*", "layers.3"])]


def test_with_a_file_of_the_hub_comes_what_is_said_of_it() -> None:
    from autointerp.subjects.formats import _fetched

    asked = _fetched("a/checkpoints/final.safetensors")
    assert {"a/checkpoints/final.safetensors", "a/checkpoints/*.json", "a/*.json"} <= {*asked}
    assert {"config.yaml", "W_dec_3.safetensors", "W_enc_3.safetensors"} <= {
        name
        for name in ("config.yaml", "W_dec_3.safetensors", "W_enc_3.safetensors", "W_dec_4.x")
        if any(fnmatch(name, pattern) for pattern in _fetched("W_enc_3.safetensors"))
    }


def test_a_hub_id_out_of_reach_is_one_line() -> None:
    with pytest.raises(SubjectError, match=r"no nobody/nothing here.*\(HF_HUB_OFFLINE is set\)"):
        load_sae("nobody/nothing")


def l0_notes(loaded: LoadedAutoencoder) -> list[str]:
    """Return what casts doubt on the number of latents a token alone, whatever it reconstructs."""
    return check_activations(replace(loaded, strict=False, reconstructs=False), X)


def test_the_measured_l0_is_held_against_what_is_promised(tmp_path: Path) -> None:
    topk = load_sae(sparsify(tmp_path / "a", k=3))
    assert l0_notes(topk) == []
    with pytest.raises(SubjectError, match="says architecture standard and k = 1"):
        load_sae(saelens(tmp_path / "b", architecture="standard", k=1))
    wrong = load_sae(tmp_path / "b", flags=Flags(strict=False))
    assert wrong.l0 == 1
    assert "was read as plain ReLU" in str(l0_notes(wrong))
    dense = load_sae(saelens(tmp_path / "c"))
    assert "not sparse" in str(l0_notes(dense))
    promised = load_sae(gemma(tmp_path / "d"))
    assert "its files say 71" in str(l0_notes(promised))
    silent = load_sae(saelens(tmp_path / "e", {**PLAIN, "b_enc": torch.full((D_SAE,), -1e3)}))
    assert "no latent fires on any of 50 tokens" in str(l0_notes(silent))
    few = load_sae(sparsify(tmp_path / "f", k=15))
    assert "so few are positive" in str(l0_notes(few))


class Dense:
    d_in = D_IN

    def encode(self, x: Tensor) -> Tensor:
        return relu(x @ W_ENC)


class Sparse:
    cfg = SimpleNamespace(d_in=D_IN, num_latents=D_SAE)

    def encode(self, x: Tensor) -> Any:
        acts, indices = relu(x @ W_ENC).topk(3)
        return SimpleNamespace(top_acts=acts, top_indices=indices)


@pytest.mark.parametrize("wrapped", [Dense(), Sparse()])
def test_any_object_with_encode_is_an_encoder(wrapped: Any) -> None:
    adapted = AdaptedEncoder(wrapped)
    assert (adapted.d_in, adapted.d_sae) == (D_IN, D_SAE)
    full = relu(X @ W_ENC)
    expected = full if isinstance(wrapped, Dense) else top(full, 3)
    torch.testing.assert_close(adapted.encode(X.view(5, 10, D_IN)), expected.view(5, 10, D_SAE))
    columns = torch.tensor([4, 1])
    torch.testing.assert_close(adapted.encoder(columns)(X), expected[:, columns])


def test_an_object_that_does_not_encode_is_refused() -> None:
    with pytest.raises(SubjectError, match="has no method `encode`"):
        AdaptedEncoder(object())


class Returning:
    """An encoder that returns what a function makes of its latents."""

    d_in, d_sae = D_IN, D_SAE

    def __init__(self, make: Callable[[Tensor], Any]) -> None:
        self.make = make

    def encode(self, x: Tensor) -> Any:
        return self.make(relu(x @ W_ENC))


class Named(NamedTuple):
    mean: Tensor
    feature_acts: Tensor


@pytest.mark.parametrize(
    "make",
    [
        lambda latents: {"pre": latents - 1, "latents": latents},
        lambda latents: Named(latents.mean(1), latents),
        lambda latents: SimpleNamespace(hidden_pre=latents - 1, acts=latents),
        lambda latents: (latents,),
        lambda latents: latents.to_sparse(),
    ],
)
def test_latents_are_taken_by_their_name_among_what_encode_returns(make: Any) -> None:
    torch.testing.assert_close(AdaptedEncoder(Returning(make)).encode(X), relu(X @ W_ENC))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda latents: (latents.mean(1), latents), "a tuple of 2 without names"),
        (lambda latents: (latents, {"mu": 0}), "a tuple of 2 without names"),
        (lambda latents: [latents, latents], "a list of 2 without names"),
        (lambda latents: {"pre": latents, "post": latents}, "dict with pre, post"),
        (lambda latents: {"acts": latents, "latents": latents}, "both latents and acts"),
        (lambda latents: latents.numpy(), "returned ndarray"),
        (lambda latents: None, "returned NoneType"),
        (lambda latents: latents[:, :4], "returned 4 latents and says that it has 16"),
        (lambda latents: latents.sum(0), r"returned \(16,\) for \(1, 6\)"),
    ],
)
def test_what_is_not_known_to_be_the_latents_is_refused(make: Any, message: str) -> None:
    with pytest.raises(SubjectError, match=message) as refused:
        AdaptedEncoder(Returning(make))
    assert "\n" not in str(refused.value)


def test_latents_below_0_are_refused_with_the_way_round() -> None:
    encoder = AdaptedEncoder(Returning(lambda latents: torch.where(latents > 1, -latents, latents)))
    with pytest.raises(SubjectError, match=r"returned latents below 0, .* both halves"):
        encoder.encode(X)


def test_latents_that_depend_on_the_batch_are_refused() -> None:
    def of_batch(latents: Tensor) -> Tensor:  # as SAELens' BatchTopK encodes while it is trained
        flat = latents.flatten()
        return torch.where(latents >= flat.topk(3 * len(latents)).values[-1], latents, 0)

    encoder = AdaptedEncoder(Returning(of_batch))
    encoder.encode(X[:1])  # too few to tell
    with pytest.raises(SubjectError, match="other latents among others than alone, as a BatchTopK"):
        encoder.encode(X)
    AdaptedEncoder(Returning(lambda latents: top(latents, 3))).encode(X)


def test_an_object_that_wants_attention_heads_apart_is_refused() -> None:
    wrapped: Any = Dense()
    wrapped.hook_z_reshaping_mode = True
    with pytest.raises(SubjectError, match=r"call turn_off_forward_pass_hook_z_reshaping\(\)"):
        AdaptedEncoder(wrapped)


def test_an_object_that_does_not_scale_its_own_inputs_is_refused() -> None:
    wrapped: Any = Dense()
    wrapped.cfg = SimpleNamespace(normalize_activations="expected_average_only_in")
    with pytest.raises(SubjectError, match=r"fold it in first"):
        AdaptedEncoder(wrapped)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"input_gain": 3.0}, "says input_gain = 3.0, which this version does not know"),
        ({"metadata": {"hook_head_index": 4}}, "trained on attention head 4 alone"),
        ({"reshape_activations": "hook_q"}, "reshape_activations 'hook_q'"),
        ({"activation_fn_kwargs": {"signed": True}}, "activation_fn_kwargs.signed = true"),
        ({"finetuning_scaling_factor": True}, "declares a finetuning_scaling_factor"),
        ({"d_sae": 99}, "says d_sae 99, the tensors have 16"),
        (
            {"hook_name": "blocks.3.hook_resid_pre", "hook_layer": 4},
            "says hook blocks.3.hook_resid_pre and hook_layer 4",
        ),
        (
            {"hook_name": "blocks.3.ln2.hook_normalized", "hook_name_out": "blocks.3.hook_mlp_out"},
            "is a transcoder, but its architecture says otherwise",
        ),
    ],
)
def test_what_saelens_records_of_the_computation_is_used_or_refused(
    config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SubjectError, match=message):
        load_sae(saelens(tmp_path, **config))


def test_a_tensor_that_saelens_does_not_know_is_refused(tmp_path: Path) -> None:
    parts = {**PLAIN, "log_threshold": torch.ones(D_SAE)}
    with pytest.raises(SubjectError, match="says tensor log_threshold"):
        load_sae(saelens(tmp_path / "a", parts, architecture="standard"))
    # Of a JumpReLU in training, it is its threshold.
    encodes(
        saelens(tmp_path / "b", parts, architecture="jumprelu"),
        SUBTRACTED * (SUBTRACTED > 2.7182818),
    )


def test_a_finetuned_saelens_sae_scales_what_its_decoder_gets(tmp_path: Path) -> None:
    factor = torch.linspace(0.5, 2, D_SAE)
    for name in ("scaling_factor", "finetuning_scaling_factor"):
        folder = tmp_path / name
        saelens(folder, {**PLAIN, name: factor}, finetuning_scaling_factor=True)
        loaded = encodes(folder, SUBTRACTED)
        torch.testing.assert_close(
            loaded.sae.decode(SUBTRACTED), (SUBTRACTED * factor) @ W_DEC + B_DEC
        )


def test_saelens_records_how_the_model_was_processed(tmp_path: Path) -> None:
    kwargs = {"center_writing_weights": True, "fold_ln": False, "revision": "step1000"}
    saelens(tmp_path, metadata={"model_from_pretrained_kwargs": kwargs, "hook_name": "blocks.1.x"})
    loaded = load_sae(tmp_path)
    assert (loaded.centres, loaded.processed, loaded.revision) == (True, (), "step1000")
    assert (loaded.site, loaded.hook) == (None, "blocks.1.x")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"input_gain": 3.0}, "says input_gain = 3.0"),
        ({"num_latents": 99}, "says num_latents 99, the tensors have 16"),
        ({"skip_connection": True}, "declares a skip connection"),
    ],
)
def test_what_sparsify_records_is_used_or_refused(
    config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SubjectError, match=message):
        load_sae(sparsify(tmp_path, **config))


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"input_gain": 3.0}, "says input_gain = 3.0"),
        ({"dict_size": 99}, "says dict_size 99, the tensors have 16"),
        ({"k": 5}, "says k 5, ae.pt 3"),
        ({"apply_b_dec_to_input": False}, "with apply_b_dec_to_input False is unknown"),
    ],
)
def test_what_dictionary_learning_records_is_used_or_refused(
    trainer: dict[str, Any], message: str, tmp_path: Path
) -> None:
    tensors = {**LINEAR, "b_dec": B_DEC, "k": torch.tensor(3)}
    with pytest.raises(SubjectError, match=message):
        load_sae(dictionary(tmp_path, "AutoEncoderTopK", tensors, **trainer))


def test_dictionary_learnings_jumprelu_takes_its_bias_from_the_input_where_it_says_so(
    tmp_path: Path,
) -> None:
    tensors = {**PLAIN, "threshold": torch.ones(D_SAE)}
    dictionary(tmp_path, "JumpReluAutoEncoder", tensors, apply_b_dec_to_input=True)
    encodes(tmp_path, SUBTRACTED * (SUBTRACTED > 1))


def test_our_own_file_with_more_in_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sae.safetensors"
    metadata = {"apply_b_dec_to_input": "True", "architecture": "standard"}
    save_file({**PLAIN, "gain": torch.ones(D_SAE)}, path, metadata=metadata)
    with pytest.raises(SubjectError, match="says tensor gain, which this version does not know"):
        load_sae(path)
    save_file(PLAIN, path, metadata={**metadata, "input_norm": "unit"})
    with pytest.raises(SubjectError, match="says input_norm"):
        load_sae(path)
