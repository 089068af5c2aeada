"""Whatever a bare state dict, or a file beside it, says of the computation is used or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.sae_files import (
    B_DEC,
    B_ENC,
    D_SAE,
    LINEAR,
    PLAIN,
    PRE,
    RAW,
    SUBTRACTED,
    W_DEC,
    W_ENC,
    X,
    beside,
    encodes,
    top,
    written,
)
from torch.nn.functional import relu

from autointerp.errors import MissingSetting, SubjectError
from autointerp.subjects.formats import Flags, load_sae

PLAIN_INPUT = Flags(subtract_b_dec=False)
RAISED = torch.linspace(-1.0, 2.0, D_SAE)  # thresholds, some of them negative


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"k": torch.tensor(3)}, top(RAW, 3)),
        ({"k": 3}, top(RAW, 3)),
        ({"cfg": {"k": 3}}, top(RAW, 3)),
        ({"config": {"activation": "topk", "top_k": 3}}, top(RAW, 3)),
        ({"activation": "TopK", "activation_state_dict": {"k": 3}}, top(RAW, 3)),
        ({"threshold": torch.full((D_SAE,), 0.5)}, RAW * (PRE > 0.5)),
        ({"threshold": torch.tensor(0.5)}, RAW * (PRE > 0.5)),
        ({"threshold": RAISED}, RAW * (PRE > RAISED)),
        (  # SAELens' BatchTopK while it is trained
            {
                "topk_threshold": torch.tensor(0.5).double(),
                "cfg": {"architecture": "batchtopk", "k": 3},
            },
            RAW * (PRE > 0.5),
        ),
        ({"log_threshold": torch.full((D_SAE,), 0.5)}, RAW * (PRE > 0.5**0.0 * 1.6487213)),
        ({"log_jumprelu_threshold": RAISED}, RAW * (RAISED.exp() < PRE)),
        ({"k": 3, "threshold": torch.tensor(-1.0)}, top(RAW, 3)),  # was never calibrated
        ({"hyperparameters": {"jump_relu_threshold": 0.5}}, RAW * (PRE > 0.5)),
        ({"activation": "ReLU"}, RAW),
        ({"step": 5, "optimizer": {"lr": 1e-3}, "config": {"lr": 0.1, "l1_coefficient": 2}}, RAW),
        ({"num_batches_not_active": torch.ones(D_SAE)}, RAW),
    ],
)
def test_what_the_file_says_decides_what_fires(
    extra: dict[str, Any], expected: torch.Tensor, tmp_path: Path
) -> None:
    encodes(written(tmp_path / "sae.pt", {**LINEAR, **extra}), expected, PLAIN_INPUT)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", '{"activation": "topk", "k": 3, "apply_b_dec_to_input": true}'),
        ("cfg.json", '{"activation_fn": "topk", "activation_fn_kwargs": null, "k": 3,'
                     ' "subtract_b_dec": true}'),
        ("sae_cfg.json", '{"act_fn": "TopK", "top_k": 3, "apply_b_dec_to_input": true}'),
        ("config.yaml", "act_fn: topk\nk: 3\napply_b_dec_to_input: true\n"),
        ("hyperparams.json", '{"sae": {"activation": "topk", "k": 3, "use_pre_bias": true}}'),
    ],
)  # fmt: skip
def test_a_configuration_beside_the_weights_is_read(
    name: str, content: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "sae.safetensors", PLAIN)
    (tmp_path / name).write_text(content)
    loaded = encodes(path, top(SUBTRACTED, 3))
    assert loaded.beside == (tmp_path / name,)


def test_a_language_models_configuration_is_not_taken_for_the_saes(tmp_path: Path) -> None:
    path = written(tmp_path / "sae.safetensors", PLAIN)
    beside(path, "config.json", model_type="llama", architectures=["X"], hidden_act="silu")
    assert encodes(path, RAW, PLAIN_INPUT).beside == ()


def test_what_the_configuration_records_of_the_training_is_kept(tmp_path: Path) -> None:
    path = beside(
        written(tmp_path / "sae.safetensors", PLAIN), "cfg.json", hook_name="blocks.3.hook_mlp_out",
        model_name="gpt2", context_size=64, prepend_bos=False, apply_b_dec_to_input=False,
        d_in=6, d_sae=16, training_tokens=10_000,
    )  # fmt: skip
    loaded = encodes(path, RAW)
    found = (loaded.model, loaded.site, loaded.layer, loaded.context_size, loaded.prepend_bos)
    assert found == ("gpt2", "layers.3.mlp.added", 3, 64, False)
    assert loaded.has_training


def test_a_bias_whose_name_says_that_it_is_taken_from_the_input_is(tmp_path: Path) -> None:
    parts = {name: tensor for name, tensor in LINEAR.items() if name != "decoder.bias"}
    for name in ("pre_bias", "tied_bias"):
        encodes(written(tmp_path / f"{name}.pt", {**parts, name: B_DEC}), SUBTRACTED)
    # Beside a bias of the decoder: (x − pre) W + b, and the decoder adds its own.
    both = written(tmp_path / "both.pt", {**LINEAR, "pre_bias": 2 * B_DEC})
    expected = relu((X - 2 * B_DEC) @ W_ENC + B_ENC)
    loaded = encodes(both, expected)
    torch.testing.assert_close(loaded.sae.decode(expected), expected @ W_DEC + B_DEC)


def test_openais_topk_normalises_its_inputs(tmp_path: Path) -> None:
    state = {
        "pre_bias": B_DEC, "latent_bias": B_ENC, "encoder.weight": W_ENC.T,
        "decoder.weight": W_DEC.T, "stats_last_nonzero": torch.zeros(D_SAE),
        "latents_activation_frequency": torch.ones(D_SAE), "activation": "TopK",
        "latents_mean_square": torch.zeros(D_SAE),
        "activation_state_dict": {"k": 4, "postact_fn": "ReLU"},
    }  # fmt: skip
    # sparse_autoencoder/model.py: LN(x) = (x − mean) / (std + 1e-5), std with Bessel's correction.
    x = (X - X.mean(1, keepdim=True)) / (X.std(1, keepdim=True) + 1e-5)
    expected = top(relu((x - B_DEC) @ W_ENC + B_ENC), 4)
    encodes(written(tmp_path / "v5.pt", state), expected)
    # As torch of today writes it: the activation is a module of the autoencoder.
    of_module = {"activation.k": 4, "activation.postact_fn": "ReLU"}
    encodes(written(tmp_path / "again.pt", {**state, **of_module}), expected)
    state["activation_state_dict"] = {"k": 4, "postact_fn": "Identity"}
    with pytest.raises(SubjectError, match="TopK with Identity behind it is not supported"):
        load_sae(written(tmp_path / "v6.pt", state))


def test_tied_weights_are_tied_only_where_the_file_says_so(tmp_path: Path) -> None:
    parts = {name: tensor for name, tensor in PLAIN.items() if name != "W_dec"}
    tied = written(tmp_path / "tied.pt", {**parts, "tied_weights": True})
    loaded = encodes(tied, RAW, PLAIN_INPUT)
    torch.testing.assert_close(loaded.sae.W_dec, W_ENC.T)
    with pytest.raises(SubjectError, match="no tensor W_dec"):
        load_sae(written(tmp_path / "lacking.pt", parts))


def test_names_before_the_names_and_other_libraries_names_are_known(tmp_path: Path) -> None:
    goodfire = {name.replace(".", "_linear."): tensor for name, tensor in LINEAR.items()}
    encodes(written(tmp_path / "a.pth", goodfire), RAW, PLAIN_INPUT)
    compiled = {f"_orig_mod.{name}": tensor for name, tensor in LINEAR.items()}
    encodes(written(tmp_path / "b.pt", {"model": compiled}), RAW, PLAIN_INPUT)
    half = {name: tensor.half() for name, tensor in LINEAR.items()}
    loaded = load_sae(written(tmp_path / "c.pt", half), flags=PLAIN_INPUT)
    torch.testing.assert_close(loaded.sae.encode(X), RAW, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"W_gate": torch.ones(D_SAE)}, "says tensor W_gate, which this version does not know"),
        ({"input_mean": torch.ones(6)}, "tensor input_mean"),
        ({"threshold": RAISED, "log_threshold": RAISED}, "has threshold and log_threshold"),
        ({"activation": "tanh"}, "activation 'tanh' is not supported"),
        ({"activation": "Identity"}, "activation 'Identity' is not supported"),
        ({"activation": "jumprelu"}, "says jumprelu, and sae.pt has no threshold"),
        ({"activation": "relu", "k": 4}, "says relu, and sae.pt has k = 4"),
        ({"activation": "relu", "threshold": RAISED}, "says relu, and sae.pt has a threshold"),
        ({"config": {"normalize_activations": "zscore"}}, "zscore.* not known here"),
        ({"config": {"input_transform": "x / 3"}}, "input_transform = \"x / 3\""),
        ({"config": {"latent_multiplier": 2.0}}, "latent_multiplier = 2.0"),
        ({"config": {"d_sae": 32}}, "says d_sae 32, the tensors have 16"),
        ({"config": {"site": "resid_pre", "layer": 8}}, 'says site = "resid_pre"'),
        ({"k": torch.tensor(3), "cfg": {"k": 4}}, "k is 3 and 4"),
        ({"k": 3, "cfg": {"subtract_b_dec": "perhaps"}}, "not true or false"),
        ({"encoder.weight": torch.ones(2, 6, D_SAE)}, "is a crosscoder"),
    ],
)  # fmt: skip
def test_what_is_not_known_or_contradicts_is_refused_by_name(
    extra: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "sae.pt", {**LINEAR, **extra})
    with pytest.raises(SubjectError, match=message) as refused:
        load_sae(path, flags=PLAIN_INPUT)
    assert "\n" not in str(refused.value)


def test_what_is_not_known_is_a_note_where_checks_are_off(tmp_path: Path) -> None:
    path = written(tmp_path / "sae.pt", {**LINEAR, "W_gate": torch.ones(D_SAE)})
    loaded = encodes(path, RAW, Flags(subtract_b_dec=False, strict=False))
    assert "tensor W_gate, which was passed over" in loaded.notes[-1]


@pytest.mark.parametrize(
    ("extra", "setting"),
    [
        ({"k": 3, "threshold": torch.tensor(0.5)}, "k"),  # a TopK's, or a BatchTopK's
        ({"config": {"activation": "topk"}}, "k"),
        ({"config": {"norm_factor": 3.0}}, "input_scale"),
        ({"config": {"normalize_activations": "dataset-wise"}}, "input_scale"),
    ],
)
def test_what_stays_open_is_asked_for(extra: dict[str, Any], setting: str, tmp_path: Path) -> None:
    path = written(tmp_path / "sae.pt", {**LINEAR, **extra})
    with pytest.raises(MissingSetting) as missing:
        load_sae(path, flags=PLAIN_INPUT)
    assert missing.value.setting == setting
    answers = {"k": Flags(False, k=3), "input_scale": Flags(False, input_scale=0.5)}
    assert load_sae(path, flags=answers[setting]).sae.d_sae == D_SAE


def square(seed: int = 5) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    W_enc, W_dec = (torch.randn(6, 6, generator=g) for _ in "ed")
    return {"W_enc": W_enc, "W_dec": W_dec, "b_enc": torch.randn(6, generator=g)}


def test_square_matrices_are_never_turned_by_a_guess(tmp_path: Path) -> None:
    parts = square()
    path = written(tmp_path / "sae.pt", parts)
    with pytest.raises(MissingSetting, match=r"matrices are square, \(6, 6\)") as missing:
        load_sae(path)
    assert missing.value.setting == "sae_layout"
    encodes(path, relu(X @ parts["W_enc"] + parts["b_enc"]), Flags(layout="in_out"))
    encodes(path, relu(X @ parts["W_enc"].T + parts["b_enc"]), Flags(layout="out_in"))
    # Dictionary vectors of norm 1 tell, whichever way they lie.
    rows = {**parts, "W_dec": torch.nn.functional.normalize(parts["W_dec"], dim=1)}
    expected = relu(X @ parts["W_enc"] + parts["b_enc"])
    loaded = encodes(written(tmp_path / "rows.pt", rows), expected)
    torch.testing.assert_close(loaded.sae.W_dec, rows["W_dec"])
    turned = {**rows, "W_enc": rows["W_enc"].T, "W_dec": rows["W_dec"].T}
    loaded = encodes(written(tmp_path / "columns.pt", turned), expected)
    torch.testing.assert_close(loaded.sae.W_dec, rows["W_dec"])
    # And so does the name of a torch.nn.Linear, which is [out, in].
    linear = {
        "encoder.weight": parts["W_enc"].T, "encoder.bias": parts["b_enc"],
        "decoder.weight": parts["W_dec"].T,
    }  # fmt: skip
    encodes(written(tmp_path / "linear.pt", linear), expected)


def test_qwen_scope_says_its_k_in_its_path_alone(tmp_path: Path) -> None:
    folder = tmp_path / "SAE-Res-Qwen3-1.7B-Base-W32K-L0_3"
    parts = {**PLAIN, "W_enc": W_ENC.T, "W_dec": W_DEC.T}
    loaded = encodes(written(folder / "layer7.sae.pt", parts), top(RAW, 3))
    assert (loaded.model, loaded.site) == ("Qwen/Qwen3-1.7B-Base", "layers.7.residual")


def test_two_state_dicts_in_one_file_are_not_chosen_between(tmp_path: Path) -> None:
    path = written(tmp_path / "two.pt", {"model": LINEAR, "sae": LINEAR})
    with pytest.raises(SubjectError, match=r"holds 2 state dicts \(model, sae\)"):
        load_sae(path, format="raw-state-dict")


def test_what_a_safetensors_file_says_of_itself_is_read(tmp_path: Path) -> None:
    metadata = {"k": "3", "activation": "topk", "apply_decoder_bias_to_pre_encoder": "False"}
    save_file(PLAIN, tmp_path / "sae.safetensors", metadata={**metadata, "format": "pt"})
    encodes(tmp_path / "sae.safetensors", top(RAW, 3))
    save_file(PLAIN, tmp_path / "odd.safetensors", metadata={**metadata, "input_gain": "3"})
    with pytest.raises(SubjectError, match='says input_gain = "3"'):
        load_sae(tmp_path / "odd.safetensors")


def test_a_threshold_beside_a_topk_that_is_said_to_be_one_is_noted(tmp_path: Path) -> None:
    said = {"activation": "topk", "k": 3, "threshold": torch.tensor(0.5)}
    loaded = encodes(written(tmp_path / "a.pt", {**LINEAR, **said}), top(RAW, 3), PLAIN_INPUT)
    assert "a threshold too, which a TopK does not use" in loaded.notes[0]


def normalised(x: torch.Tensor) -> torch.Tensor:
    x = x - x.mean(1, keepdim=True)
    return x / (x.std(1, keepdim=True) + 1e-5)


BUSSMANN = {
    "seed": 49, "lr": 3e-4, "max_grad_norm": 100000, "seq_len": 128, "dtype": "torch.float32",
    "model_name": "gpt2-small", "site": "resid_pre", "layer": 8, "act_size": 6, "dict_size": 16,
    "input_unit_norm": True, "top_k": 3, "top_k_aux": 512, "aux_penalty": 1 / 32,
    "bandwidth": 0.001, "hook_point": "blocks.8.hook_resid_pre", "n_batches_to_dead": 5,
}  # fmt: skip
CENTRED = relu((normalised(X) - B_DEC) @ W_ENC + B_ENC)
NOT_CENTRED = relu(normalised(X) @ W_ENC + B_ENC)
PLAIN_RAISED = NOT_CENTRED * (RAISED.exp() < NOT_CENTRED)


@pytest.mark.parametrize(
    ("kind", "tensors", "expected", "l0"),
    [
        ("vanilla", {}, CENTRED, None),
        ("topk", {}, top(CENTRED, 3), 3),
        ("jumprelu", {"jumprelu.log_threshold": RAISED}, PLAIN_RAISED, None),
        ("batch-topk", {"threshold": torch.tensor(0.7)}, CENTRED * (CENTRED > 0.7), 3),
        ("global-matryoshka-topk", {"threshold": torch.tensor(0.7)}, CENTRED * (CENTRED > 0.7), 3),
    ],
)
def test_bussmanns_types_say_what_is_taken_from_the_input_and_normalise_where_told(
    kind: str, tensors: dict[str, Any], expected: torch.Tensor, l0: float | None, tmp_path: Path
) -> None:
    path = beside(
        written(tmp_path / "sae.pt", {**PLAIN, **tensors}),
        "config.json", **BUSSMANN, sae_type=kind,
    )  # fmt: skip
    loaded = encodes(path, expected)
    found = (loaded.site, loaded.model, loaded.context_size, loaded.l0)
    assert found == ("layers.8.input", "gpt2-small", 128, l0)
    assert loaded.notes == ()
    beside(path, "config.json", **BUSSMANN | {"act_size": 8}, sae_type=kind)
    with pytest.raises(SubjectError, match="says act_size 8, the tensors have 6"):
        load_sae(path)


def test_a_batchtopk_without_a_threshold_is_a_topk_with_a_note(tmp_path: Path) -> None:
    path = beside(written(tmp_path / "sae.pt", LINEAR), "config.json", sae_type="batchtopk", k=3)
    loaded = encodes(path, top(RAW, 3), PLAIN_INPUT)
    assert loaded.notes == (
        "a BatchTopK without a calibrated threshold, whose latents depend on the batch: read as "
        "TopK with the same k",
    )


def test_the_hook_of_nandas_autoencoders_is_read(tmp_path: Path) -> None:
    said = {
        "seq_len": 128, "enc_dtype": "fp32", "site": "z", "reinit": "reinit", "head": "cat",
        "anthropic_neuron_resample_scale": 0.2, "resample_factor": 0.01, "sched_lr_factor": 0.1,
        "sched_type": "cosine_warmup", "act_name": "blocks.7.attn.hook_z", "act_size": 6,
    }  # fmt: skip
    path = beside(written(tmp_path / "v9.pt", PLAIN), "v9_cfg.json", **said)
    loaded = encodes(path, SUBTRACTED, Flags(subtract_b_dec=True))
    assert (loaded.site, loaded.layer) == ("layers.7.attention.heads", 7)


def test_a_state_dict_that_writes_another_hook_is_a_transcoder(tmp_path: Path) -> None:
    said = {"activation": "topk", "k": 3, "hook_point_in": "blocks.2.mlp.hook_in"}
    file = written(tmp_path / "sae.pt", LINEAR)
    path = beside(file, "config.json", **said, hook_point_out="blocks.2.hook_mlp_out")
    loaded = encodes(path, top(RAW, 3), PLAIN_INPUT)
    found = (loaded.sae.transcodes, loaded.reconstructs, loaded.site, loaded.writes)
    assert found == (True, False, "layers.2.mlp.input", "layers.2.mlp.added")
    beside(file, "config.json", **said, hook_point_out=said["hook_point_in"])
    assert not load_sae(path, flags=PLAIN_INPUT).sae.transcodes
