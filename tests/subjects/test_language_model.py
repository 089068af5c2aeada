"""Every architecture is built from its configuration with about 20,000 parameters; no network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.tiny_language_models import (
    D_MLP,
    D_MODEL,
    DENSE,
    HYBRIDS,
    MIXTURES,
    RECTIFIED,
    VOCABULARY,
    built,
    hooked,
    tokenizer,
    window,
)

from autointerp.errors import SubjectError
from autointerp.subjects.language_model import HookedLanguageModel

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module", params=list(DENSE))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def dense(kind: str) -> Any:
    return built(kind)


def test_the_residual_is_the_hidden_state_that_the_model_itself_reports(dense: Any) -> None:
    ids, attention = window()
    with torch.no_grad():
        states = dense(input_ids=ids, output_hidden_states=True).hidden_states
    for layer in (0, 1):
        found = hooked(dense, f"layers.{layer}.residual").activations(ids, attention)
        torch.testing.assert_close(found, states[layer + 1], atol=1e-5, rtol=1e-5)
        next_input = hooked(dense, f"layers.{layer + 1}.input").activations(ids, attention)
        torch.testing.assert_close(next_input, states[layer + 1], atol=1e-5, rtol=1e-5)


def test_neurons_are_what_the_down_projection_reads(dense: Any, kind: str) -> None:
    ids, attention = window()
    neurons = hooked(dense, "layers.1.mlp.neurons")
    written = hooked(dense, "layers.1.mlp").activations(ids, attention)
    values = neurons.activations(ids, attention)
    assert neurons.d_site == D_MLP
    down = neurons._at.module
    torch.testing.assert_close(down(values), written, atol=1e-5, rtol=1e-5)
    assert neurons.signed == (kind not in RECTIFIED)
    assert bool((values < 0).any()) == neurons.signed


def test_attention_is_the_heads_projected(dense: Any) -> None:
    ids, attention = window()
    heads = hooked(dense, "layers.1.attention.heads")
    written = hooked(dense, "layers.1.attention")
    projected = heads._at.module(heads.activations(ids, attention))
    torch.testing.assert_close(projected, written.activations(ids, attention), atol=1e-5, rtol=1e-5)
    assert heads._at.module is written._at.module
    assert "mlp" not in heads._at.path


def test_padding_on_either_side_leaves_every_token_as_it_was(dense: Any) -> None:
    ids, attention = window(rows=1, length=7)
    model = hooked(dense, "layers.2.mlp.neurons")
    alone = model.activations(ids, attention)
    filler = torch.zeros(1, 4, dtype=torch.long)
    for side in ("right", "left"):
        parts = (ids, filler) if side == "right" else (filler, ids)
        masks = [torch.ones_like(part, dtype=torch.bool) & (part is ids) for part in parts]
        found = model.activations(torch.cat(parts, 1), torch.cat(masks, 1))
        kept = found[:, :7] if side == "right" else found[:, 4:]
        torch.testing.assert_close(kept, alone, atol=2e-5, rtol=1e-4)
        padding = found[:, 7:] if side == "right" else found[:, :4]
        assert not padding.any()


def test_intervening_changes_the_logits_as_the_changed_site_would(dense: Any) -> None:
    ids, attention = window()
    with torch.no_grad():
        expected = dense(input_ids=ids).logits.float()
    for part in ("residual", "mlp", "mlp.neurons", "attention", "attention.heads", "input"):
        model = hooked(dense, f"layers.1.{part}")
        same = model.logits(ids, attention, lambda x: x.clone())
        torch.testing.assert_close(same, expected, atol=1e-5, rtol=1e-5)
        changed = model.logits(ids, attention, lambda x: x * 0)
        assert not torch.allclose(changed, expected, atol=1e-4)
        torch.testing.assert_close(model.logits(ids, attention), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", [*DENSE, *MIXTURES, *HYBRIDS])
@pytest.mark.parametrize("part", ["residual", "mlp.input"])
def test_texts_behind_one_beginning_are_read_as_if_whole(architecture: str, part: str) -> None:
    if architecture == "mamba" and part != "residual":
        pytest.skip("it has no MLP")
    model = hooked(built(architecture), f"layers.1.{part}")
    text, _ = window()
    before, ids = text[0, :4], text[:, 4:6]
    whole = torch.cat([before.expand(len(ids), -1), ids], dim=1)
    expected = model.activations(whole, torch.ones_like(whole, dtype=torch.bool))
    for rows in (ids, ids[1:], ids[:, :1]):  # what is kept is not changed by its use
        found = model.activations_behind(before, rows)
        there = expected[-len(rows) :, 4 : 4 + rows.shape[1]]
        assert (found - there).abs().max() < 1e-4
    other = model.activations_behind(text[1, :3], ids)
    again = torch.cat([text[1, :3].expand(len(ids), -1), ids], dim=1)
    plain = model.activations(again, torch.ones_like(again, dtype=torch.bool))[:, 3:]
    assert (other - plain).abs().max() < 1e-4
    assert model.activations_behind(text[0, :0], ids).shape == (*ids.shape, model.d_site)


def test_nothing_after_the_site_is_computed(dense: Any) -> None:
    model = hooked(dense, "layers.0.mlp.neurons")
    calls: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
        for name, module in dense.named_modules()
        if "lm_head" in name or name.startswith(f"{model.architecture.layers_path}.1")
    ]
    ids, attention = window()
    model.activations(ids, attention)
    for handle in handles:
        handle.remove()
    assert len(handles) > 1
    assert calls == []


def test_what_fails_before_the_model_runs_leaves_no_hook(dense: Any) -> None:
    model = hooked(dense, "layers.1.residual")
    before = [len(module._forward_hooks) for module in dense.modules()]
    with pytest.raises(AttributeError):
        model.activations(window()[0], None)  # type: ignore[arg-type]
    assert [len(module._forward_hooks) for module in dense.modules()] == before


def test_a_gated_mlp_has_the_product_of_gate_and_up_as_neurons() -> None:
    model = built("llama")
    reads = hooked(model, "layers.1.mlp.input")
    neurons = hooked(model, "layers.1.mlp.neurons")
    mlp = model.model.layers[1].mlp
    x = reads.activations(*window())
    by_hand = torch.nn.functional.silu(mlp.gate_proj(x)) * mlp.up_proj(x)
    torch.testing.assert_close(neurons.activations(*window()), by_hand)


def test_an_sae_of_another_width_is_refused_with_both_numbers() -> None:
    model = hooked(built("gpt2"), "layers.1.mlp.neurons")
    model.check_width(D_MLP)
    with pytest.raises(
        SubjectError, match=r"reads 16 activations, layers\.1\.mlp\.neurons.* has 40"
    ):
        model.check_width(16)


def test_bos_of_id_0_is_a_special_id() -> None:
    model = hooked(built("gpt_neox"), "layers.1.residual")
    assert model.bos == 0
    assert model.special_ids == {0}


def test_the_digest_tells_other_weights_and_other_configurations() -> None:
    one, same, other = built("gpt2"), built("gpt2"), built("gpt2", layer_norm_epsilon=1e-3)
    digests = [hooked(model, "layers.1.residual").digest for model in (one, same, other)]
    assert digests[0] == digests[1] != digests[2]
    one.transformer.h[2].mlp.c_fc.weight.data += 1e-3
    assert hooked(one, "layers.1.residual").digest != digests[0]


def test_layers_that_return_a_list_are_read_and_changed() -> None:
    config = transformers.OpenAIGPTConfig(
        vocab_size=VOCABULARY, n_positions=16, n_embd=8, n_layer=2, n_head=2
    )
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    found = HookedLanguageModel(model, tokenizer(), "layers.0.residual")
    ids = torch.tensor([[3, 4, 5]])
    attention = torch.ones_like(ids, dtype=torch.bool)
    with torch.no_grad():
        states = model(ids, output_hidden_states=True).hidden_states
    assert torch.allclose(found.activations(ids, attention), states[1])
    assert not found.logits(ids, attention, lambda x: 0 * x).equal(found.logits(ids, attention))


def test_activations_that_are_not_rows_of_tokens_are_refused() -> None:
    config = transformers.XLNetConfig(
        vocab_size=VOCABULARY, d_model=8, n_layer=2, n_head=2, d_inner=16
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    with pytest.raises(SubjectError, match=r"\(2, 1, 8\) for 1 rows of 2 tokens"):
        HookedLanguageModel(model, tokenizer(), "layers.0.residual")


@pytest.mark.parametrize("part", ["residual", "mlp", "mlp.input", "attention", "input"])
def test_hidden_neurons_and_the_site_come_from_one_pass_as_from_two(dense: Any, part: str) -> None:
    ids, attention = window()
    attention[0, :3] = False  # padding
    both = HookedLanguageModel(dense, tokenizer(), f"layers.1.{part}", hidden=True)
    assert both.hidden is not None
    passes = 0

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1

    handle = both._inner.register_forward_pre_hook(count)
    at_site, neurons = both.with_hidden(ids, attention)
    handle.remove()
    assert passes == 1
    alone = hooked(dense, "layers.1.mlp.neurons")
    assert (both.hidden.site, both.hidden.d_site) == ("layers.1.mlp.neurons", alone.d_site)
    assert both.hidden.signed == alone.signed
    assert torch.equal(neurons, alone.activations(ids, attention))
    assert torch.equal(at_site, hooked(dense, f"layers.1.{part}").activations(ids, attention))


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "llama"])
def test_hidden_neurons_are_the_nonlinearity_computed_by_hand(kind: str) -> None:
    model = built(kind)
    ids, attention = window()
    both = HookedLanguageModel(model, tokenizer(), "layers.1.residual", hidden=True)
    read = HookedLanguageModel(model, tokenizer(), "layers.1.mlp.input")
    x = read.activations(ids, attention)
    layer = both.architecture.layers[1]
    with torch.no_grad():
        if kind == "gpt2":
            expected = torch.nn.functional.gelu(layer.mlp.c_fc(x), approximate="tanh")
        elif kind == "gpt_neox":
            expected = torch.nn.functional.gelu(layer.mlp.dense_h_to_4h(x))
        else:  # act(gate) · up
            expected = torch.nn.functional.silu(layer.mlp.gate_proj(x)) * layer.mlp.up_proj(x)
    torch.testing.assert_close(both.with_hidden(ids, attention)[1], expected, atol=1e-5, rtol=1e-5)


def test_a_hidden_neurons_path_to_the_logits_is_that_of_a_neuron() -> None:
    model = built("llama")
    both = HookedLanguageModel(model, tokenizer(), "layers.1.residual", hidden=True)
    assert both.hidden is not None
    axes = torch.eye(D_MLP)[:3]
    expected = hooked(model, "layers.1.mlp.neurons").readout().effects(axes)
    assert torch.equal(both.hidden.readout().effects(axes), expected)
    assert both.readout().width == D_MODEL
