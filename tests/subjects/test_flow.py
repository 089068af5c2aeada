"""A layer's norms are found by what flows through it; test_parity_with_libraries.py holds the sites
that follow from them against TransformerLens."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.tiny_language_models import DENSE, VOCABULARY, built, hooked, tokenizer
from torch import Tensor, nn

from autointerp.errors import SubjectError
from autointerp.subjects.flow import LayerFlow, normalised
from autointerp.subjects.pretrained import look_at_language_model

# Granite multiplies what is added; the OPT of tests has its norms before, as all but one have.
ADDING = sorted(set(DENSE) - {"granite"})
PARALLEL = {"gptj", "codegen", "gpt_neox", "phi", "falcon", "cohere"}


def read(model: Any, site: str) -> Tensor:
    ids = torch.randint(1, VOCABULARY - 4, (2, 9), generator=torch.Generator().manual_seed(3))
    return hooked(model, site).activations(ids, torch.ones_like(ids, dtype=torch.bool))


@pytest.mark.parametrize("kind", ADDING)
def test_what_attention_and_mlp_add_is_what_a_layer_changes(kind: str) -> None:
    model = built(kind)
    parts = ("input", "attention.added", "mlp.added")
    total = torch.stack([read(model, f"layers.1.{part}") for part in parts]).sum(0)
    torch.testing.assert_close(read(model, "layers.1.residual"), total, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ADDING)
def test_the_stream_before_the_mlp_is_the_middle_or_the_layers_input(kind: str) -> None:
    model = built(kind)
    stream = read(model, "layers.1.mlp.stream")
    entry = read(model, "layers.1.input")
    if kind in PARALLEL:
        torch.testing.assert_close(stream, entry)
        with pytest.raises(SubjectError, match="work side by side, so there is no residual stream"):
            hooked(model, "layers.1.middle")
    else:
        middle = entry + read(model, "layers.1.attention.added")
        torch.testing.assert_close(stream, middle, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(read(model, "layers.1.middle"), stream)


@pytest.mark.parametrize("kind", sorted({*ADDING} - {"olmo2"}))
def test_a_norm_without_its_weight_makes_what_the_mlp_reads_but_for_the_weight(kind: str) -> None:
    model = built(kind)
    before, read_by_mlp = (read(model, f"layers.1.mlp.{part}") for part in ("normalised", "input"))
    torch.testing.assert_close(before.pow(2).mean(-1), torch.ones(2, 9), atol=1e-2, rtol=1e-2)
    # One weight and one bias per axis explain what the MLP reads, on all tokens.
    flat, other = before.flatten(0, 1), read_by_mlp.flatten(0, 1)
    for axis in range(flat.shape[1]):
        design = torch.stack([flat[:, axis], torch.ones(len(flat))], dim=1)
        fitted = design @ torch.linalg.lstsq(design, other[:, axis : axis + 1]).solution
        torch.testing.assert_close(fitted[:, 0], other[:, axis], atol=1e-4, rtol=1e-4)


def test_a_site_has_the_plainer_name_where_no_norm_follows() -> None:
    llama, gemma = built("llama"), built("gemma2")
    assert hooked(llama, "layers.1.mlp.added").site == "layers.1.mlp"
    assert hooked(llama, "layers.1.mlp.module").site == "layers.1.mlp"
    assert hooked(llama, "layers.1.attention.added").site == "layers.1.attention"
    assert hooked(gemma, "layers.1.mlp.added").site == "layers.1.mlp.added"
    assert hooked(built("gpt_neox"), "layers.1.mlp.stream").site == "layers.1.input"
    assert hooked(llama, "layers.1.mlp.stream").site == "layers.1.middle"


def test_what_an_mlp_module_returns_with_the_residual_in_it_has_its_modules_name() -> None:
    bloom = built("bloom")
    assert hooked(bloom, "layers.1.mlp.module").site == "transformer.h.1.mlp"
    torch.testing.assert_close(read(bloom, "layers.1.mlp.module"), read(bloom, "layers.1.residual"))
    assert hooked(built("opt"), "layers.1.mlp.module").site == "layers.1.mlp"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("gemma2", ["layers.1.mlp.added", "model.layers.1.post_feedforward_layernorm"]),
        ("gemma2", ["layers.1.attention.added", "model.layers.1.post_attention_layernorm.output"]),
        ("gemma2", ["layers.1.mlp.input", "model.layers.1.pre_feedforward_layernorm.output"]),
        ("llama", ["layers.1.mlp", "layers.1.mlp.added", "model.layers.1.mlp.down_proj"]),
        ("llama", ["layers.1.middle", "model.layers.1.post_attention_layernorm.input"]),
        ("llama", ["layers.1.mlp.input", "model.layers.1.post_attention_layernorm"]),
        ("llama", ["layers.1.input", "model.layers.1.input_layernorm.input", "layers.0.residual"]),
        ("olmo2", ["layers.1.middle", "layers.1.mlp.input", "layers.1.mlp.stream"]),
        ("gpt_neox", ["layers.1.input", "gpt_neox.layers.1.post_attention_layernorm.input"]),
        ("phi", ["layers.1.mlp.input", "model.layers.1.input_layernorm"]),
    ],
)
def test_several_names_of_one_place_are_one_place(kind: str, names: list[str]) -> None:
    model = built(kind)
    values = [read(model, name) for name in names]
    for name, value in zip(names, values, strict=True):
        torch.testing.assert_close(value, values[0])
        for other in names:
            assert hooked(model, name).is_at(other), (name, other)


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("gemma2", "layers.1.mlp", "layers.1.mlp.added"),
        ("gemma2", "layers.1.attention", "layers.1.attention.added"),
        ("gemma2", "layers.1.mlp.input", "layers.1.mlp.normalised"),
        ("gemma2", "layers.1.mlp.stream", "layers.1.mlp.input"),
        ("llama", "layers.1.mlp.stream", "layers.1.mlp.input"),
        ("llama", "layers.1.middle", "layers.1.input"),
        ("llama", "layers.1.mlp.normalised", "layers.1.middle"),
        ("bloom", "layers.1.mlp", "layers.1.mlp.module"),
    ],
)
def test_places_that_differ_are_told_apart(kind: str, one: str, other: str) -> None:
    model = built(kind)
    assert not hooked(model, one).is_at(other)
    assert not hooked(model, other).is_at(one)
    assert not torch.allclose(read(model, one), read(model, other))


def test_a_part_that_is_multiplied_outside_of_any_module_is_refused() -> None:
    granite = built("granite", residual_multiplier=0.5)
    with pytest.raises(SubjectError, match=r"residual_multiplier = 0.5.*use layers\.1\.mlp, which"):
        hooked(granite, "layers.1.mlp.added")
    assert hooked(built("granite"), "layers.1.mlp.added").site == "layers.1.mlp"


def test_a_norm_that_is_not_there_is_refused() -> None:
    with pytest.raises(SubjectError, match="no norm stands before the mlp of tiny"):
        hooked(built("olmo2"), "layers.1.mlp.normalised")


def test_nothing_can_be_put_inside_a_norm() -> None:
    model = hooked(built("llama"), "layers.1.mlp.normalised")
    ids = torch.ones(1, 3, dtype=torch.long)
    with pytest.raises(SubjectError, match="inside a norm, where nothing can be changed"):
        model.logits(ids, ids.bool(), lambda value: value)


def test_a_model_without_weights_has_the_same_norms(tmp_path: Any) -> None:
    for kind in ("gemma2", "gpt_neox"):
        model = built(kind)
        model.save_pretrained(tmp_path / kind)
        tokenizer().save_pretrained(tmp_path / kind)
        looked = look_at_language_model(str(tmp_path / kind), "layers.1.mlp.added")
        assert looked.architecture.flow(1) == hooked(model, "layers.1.residual").architecture.flow(
            1
        )
        assert isinstance(looked.architecture.flow(1), LayerFlow)
        assert looked.is_at("layers.1.mlp.added")


def test_a_module_that_is_no_norm_has_nothing_before_its_weight() -> None:
    with pytest.raises(SubjectError, match="Linear is no norm whose scale is known"):
        normalised(nn.Linear(2, 2))


def test_a_layer_norm_centres_and_an_rms_norm_does_not() -> None:
    x = torch.tensor([[3.0, 1.0]])
    # Mean 2, so ±1 over a standard deviation of 1; mean square 5, so over √5.
    torch.testing.assert_close(normalised(nn.LayerNorm(2, eps=0.0))(x), torch.tensor([[1.0, -1.0]]))
    torch.testing.assert_close(normalised(nn.RMSNorm(2, eps=0.0))(x), x / 5**0.5)
