"""What files record is used, or known not to matter, or named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import SubjectError
from autointerp.subjects.formats._recorded import (
    Recorded,
    activation_named,
    is_bookkeeping,
    is_off,
    read_yaml,
    refused,
)

HERE = Path("cfg.json")

# Of the configurations that SAELens 2 to 6, sparsify and dictionary_learning write.
TRAINING = [
    "lr",
    "l1_coefficient",
    "l1_warm_up_steps",
    "train_batch_size_tokens",
    "dataset_path",
    "is_dataset_tokenized",
    "n_batches_in_buffer",
    "training_tokens",
    "act_store_device",
    "seed",
    "dtype",
    "device",
    "wandb_project",
    "log_to_wandb",
    "wandb_log_frequency",
    "eval_every_n_wandb_logs",
    "n_checkpoints",
    "checkpoint_path",
    "verbose",
    "autocast_lm",
    "compile_llm",
    "adam_beta1",
    "dead_feature_threshold",
    "dead_feature_window",
    "mse_loss_normalization",
    "scale_sparsity_penalty_by_decoder_norm",
    "jumprelu_init_threshold",
    "use_ghost_grads",
    "neuronpedia_id",
    "sae_lens_version",
    "auxk_alpha",
    "warmup_steps",
    "bandwidth",
    "p_end",
    "max_grad_norm",
    "threshold_beta",
    "target_l0",
    "sparsity_penalty",
    "resample_steps",
    "group_fractions",
    "multi_topk",
    "wandb_name",
    "decoder_heuristic_init",
    "init_encoder_as_decoder_transpose",
    "store_batch_size_prompts",
]
# What an SAE could do besides.
COMPUTING = [
    "log_threshold",
    "input_scale",
    "activation_fn",
    "pre_bias",
    "tied_weights",
    "input_mean",
    "gate_bias",
    "whiten",
    "normalize_inputs",
    "post_activation",
    "latent_multiplier",
    "output_affine",
    "use_rotary",
    "center_inputs",
    "softmax_temperature",
    "clamp_latents",
    "topk_mode",
    "residual_scale",
    "zscore",
    "use_glu_encoder",
]


@pytest.mark.parametrize("name", TRAINING)
def test_a_key_of_the_training_does_not_matter(name: str) -> None:
    assert is_bookkeeping(name)


@pytest.mark.parametrize("name", COMPUTING)
def test_a_key_of_the_computation_does(name: str) -> None:
    assert not is_bookkeeping(name)
    recorded = Recorded({name: 1.5, "lr": 1e-3}, HERE)
    assert recorded.left_over() == [f"{name} = 1.5"]
    recorded.take(name)
    assert recorded.left_over() == []


@given(st.text(st.characters(categories=["L", "Nd"], include_characters="_"), min_size=1))
def test_a_word_that_nobody_knows_is_named(name: str) -> None:
    recorded = Recorded({f"{name}_qqq_threshold": 1}, HERE)
    assert len(recorded.left_over()) == 1


@pytest.mark.parametrize("value", [None, False, 0, "", "none", "None", [], [None, None], {}, "off"])
def test_what_is_switched_off_does_not_matter(value: Any) -> None:
    assert is_off(value)
    assert Recorded({"input_mean": value}, HERE).left_over() == []


@pytest.mark.parametrize("value", [True, 1, "layer", [0, 1], {"a": 2}])
def test_what_is_switched_on_does(value: Any) -> None:
    assert not is_off(value)


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("ReLU", "relu"), ("TopK", "topk"), ("jump_relu", "jumprelu"), ("JumpReLU", "jumprelu"),
        ("BatchTopKSAE", "batchtopk"), ("standard", "relu"), ("gated", "gated"), (None, None),
        ("vanilla", "relu"), ("MatryoshkaBatchTopKSAE", "batchtopk"),
        ("global-matryoshka-topk", "batchtopk"),
    ],
)  # fmt: skip
def test_an_activation_is_known_by_any_of_its_names(name: Any, activation: Any) -> None:
    assert activation_named(name, HERE) == activation


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu6", "abs_topk", "leaky_relu"])
def test_another_activation_is_refused(name: str) -> None:
    with pytest.raises(SubjectError, match=f"activation '{name}' is not supported"):
        activation_named(name, HERE)


def test_left_overs_are_an_error_or_a_note() -> None:
    assert refused([], HERE, strict=True) == ()
    with pytest.raises(SubjectError, match=r"cfg\.json says a = 1, .*subject\.check_sae = false"):
        refused(["a = 1"], HERE, strict=True)
    assert refused(["a = 1"], HERE, strict=False) == ("cfg.json says a = 1, which was passed over",)


@pytest.mark.parametrize("text", ["- 1\n", "a: [", "3", "a: !!python/object:os.system x\n"])
def test_a_file_that_is_no_yaml_mapping_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(SubjectError, match=r"config\.yaml is not") as error:
        read_yaml(tmp_path / "config.yaml")
    assert "\n" not in str(error.value)


def test_the_values_of_weights_and_biases_are_unwrapped(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("k:\n  desc: null\n  value: 3\nlr: 0.1\n")
    assert read_yaml(tmp_path / "config.yaml") == {"k": 3, "lr": 0.1}
