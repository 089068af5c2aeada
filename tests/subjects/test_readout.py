"""The direct path to the logits, against what a model's own logits do when the site is moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.tiny_language_models import (
    D_MLP,
    D_MODEL,
    DENSE,
    MIXTURES,
    VOCABULARY,
    built,
    hooked,
)
from torch import nn

from autointerp.errors import SubjectError
from autointerp.subjects.language_model import HookedLanguageModel
from autointerp.subjects.one_layer import OneLayerConfig, OneLayerSite, OneLayerTransformer
from autointerp.subjects.readout import linear, norm

LAST = 2


@pytest.fixture(scope="module", params=list(DENSE))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def dense(kind: str) -> Any:
    return built(kind)


def root_mean_square(x: torch.Tensor) -> torch.Tensor:
    return x.pow(2).mean(-1, keepdim=True).sqrt()


def spread_about_mean(x: torch.Tensor) -> torch.Tensor:
    return x.std(-1, correction=0, keepdim=True)


def frozen(module: nn.Module, scales: list[torch.Tensor]) -> Any:
    """Hold a norm's scale at what it was in the first pass, by multiplying it out again."""
    bias = getattr(module, "bias", None)
    shift = torch.zeros(()) if bias is None else bias

    def hook(_: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        moved = output - module(args[0] + 1)
        centres = moved.abs().max() < 1e-3 * output.abs().max()
        scale = (spread_about_mean if centres else root_mean_square)(args[0])
        scales.append(scale)
        return (output - shift) * scale / scales[0] + shift

    handle: list[Any] = []

    def once(*args: Any) -> torch.Tensor:
        handle[0].remove()  # the hook asks the norm itself
        changed = hook(*args)
        handle[0] = module.register_forward_hook(once)
        return changed

    handle.append(module.register_forward_hook(once))
    return handle


def moved_logits(model: HookedLanguageModel, directions: torch.Tensor) -> torch.Tensor:
    """Return by finite differences what each direction adds to the logits at one token, norms'
    scales held; less the mean. [units, vocabulary]"""
    ids = torch.tensor([[5, 17, 40, 81, 33]])
    attention = torch.ones_like(ids, dtype=torch.bool)
    after = model.architecture.norms_after(*model.architecture.layer_and_part(model._at))
    parent = model.model.get_submodule(model.architecture.layers_path.rpartition(".")[0])
    final = [m for n, m in parent.named_children() if n in ("norm", "ln_f", "norm_f")
             or n in ("final_layernorm", "final_layer_norm")]  # fmt: skip
    rows = []
    for direction in directions:
        handles = [frozen(module, []) for module in (*after, *final)]
        step = 1e-3
        there, back = (
            model.logits(ids, attention, lambda x, added=added: x + added)[0, -1]
            for added in (0 * direction, step * direction)
        )
        for handle in handles:
            handle[0].remove()
        rows.append((back - there) / step)
    found = torch.stack(rows)
    return found - found.mean(-1, keepdim=True)


def assert_parallel(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Each row is the other up to one positive factor."""
    assert found.shape == expected.shape
    assert torch.cosine_similarity(found, expected, dim=-1).min() > 0.9999


@pytest.mark.parametrize("part", ["residual", "mlp", "mlp.neurons"])
def test_effects_are_what_the_last_layer_s_site_does_to_the_logits(dense: Any, part: str) -> None:
    dense = dense.double()
    model = hooked(dense, f"layers.{LAST}.{part}")
    directions = torch.randn(3, model.d_site, generator=torch.Generator().manual_seed(1))
    assert_parallel(model.readout().effects(directions), moved_logits(model, directions).float())


@pytest.mark.parametrize("part", ["attention", "attention.heads"])
def test_attention_writes_past_the_mlp_where_they_stand_side_by_side(part: str) -> None:
    model = hooked(built("gpt_neox").double(), f"layers.{LAST}.{part}")
    directions = torch.randn(3, model.d_site, generator=torch.Generator().manual_seed(1))
    assert_parallel(model.readout().effects(directions), moved_logits(model, directions).float())


def test_one_layer_effects_are_what_its_neurons_do_to_the_logits() -> None:
    sizes = OneLayerConfig(vocabulary=60, d_model=16, heads=2, d_mlp=24, context=16)
    model = OneLayerTransformer(sizes).double().eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(generator=generator)
    residual = model.residual_before_mlp(torch.tensor([[3, 14, 15]]))
    neurons = model.neurons(residual)
    found = OneLayerSite(model).readout().effects(torch.eye(24))
    step = 1e-4
    rows = []
    for neuron in torch.eye(24, dtype=torch.float64):
        handle = frozen(model.norm_final, [])
        there, moved = (model.logits(residual, neurons + e * neuron)[0, -1] for e in (0.0, step))
        handle[0].remove()
        rows.append((moved - there) / step)
    expected = torch.stack(rows)
    assert_parallel(found, (expected - expected.mean(-1, keepdim=True)).float())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_norm_is_asked_for_its_weights_whatever_it_calls_them(dtype: torch.dtype) -> None:
    weight = torch.linspace(-1, 2, 8).to(dtype)

    class OneMore(nn.Module):
        """As in Gemma: the weight is kept less 1."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(weight - 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1 + self.weight)

    centring = nn.LayerNorm(8, dtype=dtype)
    centring.weight.data, centring.bias.data = weight, weight + 1
    rms = nn.RMSNorm(8, eps=1e-6, dtype=dtype)
    rms.weight.data = weight
    x = torch.arange(8.0).pow(2)
    held = weight.float()
    close = 0.02 if dtype == torch.bfloat16 else 1e-4
    for module, expected in (
        (OneMore(), x * held),
        (rms, x * held),
        (centring, (x - x.mean()) * held),
        (nn.LayerNorm(8, elementwise_affine=False), x - x.mean()),
    ):
        torch.testing.assert_close(norm(module, 8)(x), expected, rtol=close, atol=close)


@pytest.mark.parametrize("module", [nn.Linear(8, 8), nn.Identity(), nn.LayerNorm(6)])
def test_what_is_no_norm_over_the_width_is_refused(module: nn.Module) -> None:
    with pytest.raises(SubjectError, match="is no norm over 8 entries"):
        norm(module, 8)


def test_a_linear_layer_acts_without_its_bias_in_float32_whatever_its_form() -> None:
    plain = nn.Linear(6, 20_000, dtype=torch.bfloat16)  # more rows than are turned at a time
    x = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(linear(plain)(x), x @ plain.weight.float().T)

    class Turned(nn.Module):
        """As in GPT-2: the weight lies the other way."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight + 1

    turned = Turned()
    torch.testing.assert_close(linear(turned)(x), x @ turned.weight.detach())


def test_other_layers_and_the_mixture_s_output_have_effects_too() -> None:
    model = built("llama")
    first, last = (hooked(model, f"layers.{n}.residual").readout() for n in (0, LAST))
    x = torch.randn(2, D_MODEL, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(first.effects(x), last.effects(x))  # what is between is left out
    torch.testing.assert_close(
        hooked(model, "layers.1.input").readout().effects(x), last.effects(x)
    )
    for kind in MIXTURES:
        found = hooked(built(kind), "layers.1.mlp").readout().effects(x)
        assert found.shape == (2, VOCABULARY)
        assert found.mean(-1).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("model.layers.1", "layers.1.residual"),
        ("model.layers.1.mlp", "layers.1.mlp"),
        ("model.layers.1.mlp.down_proj.input", "layers.1.mlp.neurons"),
        ("model.layers.1.self_attn", "layers.1.attention"),
    ],
)
def test_a_module_s_path_is_read_out_as_the_site_that_it_is(path: str, named: str) -> None:
    model = built("llama")
    one, other = (hooked(model, site).readout() for site in (path, named))
    x = torch.randn(2, one.width, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(one.effects(x), other.effects(x))


@pytest.mark.parametrize(
    ("site", "reason"),
    [
        (
            "model.layers.1.input_layernorm",
            "no path from .* to the logits is defined; choose one of",
        ),
        ("model.embed_tokens", "no path from .* to the logits is defined; choose one of"),
        ("layers.1.mlp.input", "is what the MLP reads, not written"),
    ],
)
def test_a_site_that_writes_nothing_is_refused(site: str, reason: str) -> None:
    with pytest.raises(SubjectError, match=reason):
        hooked(built("llama"), site).readout()


def test_a_transcoder_writes_what_the_mlp_would() -> None:
    model = built("gemma2")  # there with a norm on the way
    x = torch.randn(2, D_MODEL, generator=torch.Generator().manual_seed(0))
    written = hooked(model, "layers.1.mlp").readout().effects(x)
    found = hooked(model, "layers.1.mlp.input").readout(transcodes=True).effects(x)
    torch.testing.assert_close(found, written)
    residual = hooked(model, "layers.1.residual").readout().effects(x)
    assert not torch.allclose(residual, written)
    added = hooked(model, "layers.1.mlp.added").readout().effects(x)
    torch.testing.assert_close(added, residual)
    transcoder = hooked(model, "layers.1.mlp.normalised")
    found = transcoder.readout(transcodes=True, writes="layers.1.mlp.added").effects(x)
    torch.testing.assert_close(found, residual)
    with pytest.raises(
        SubjectError, match=r"defined only for one that reads layers\.N\.mlp\.input"
    ):
        hooked(model, "layers.1.residual").readout(transcodes=True)


def test_a_model_without_a_final_norm_that_is_known_is_refused() -> None:
    model = built("llama")
    model.model.odd, model.model.norm = model.model.norm, None
    model.model.forward = lambda *args, **kwargs: None  # it is not run
    site = HookedLanguageModel.__new__(HookedLanguageModel)
    site.__dict__ |= hooked(built("llama"), "layers.1.residual").__dict__ | {"model": model}
    with pytest.raises(SubjectError, match="no final norm is found in tiny"):
        site.readout()


def test_directions_of_another_width_are_refused() -> None:
    readout: Callable[..., Any] = hooked(built("llama"), "layers.1.mlp.neurons").readout().effects
    assert readout(torch.eye(D_MLP)).shape == (D_MLP, VOCABULARY)
    with pytest.raises(SubjectError, match="directions 7 wide, where 40 are written"):
        readout(torch.eye(7))
