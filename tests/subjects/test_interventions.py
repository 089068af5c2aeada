"""Units set to a value: against splicing by hand, over every kind of SAE and site."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_language_models import (
    DENSE,
    HYBRIDS,
    MIXTURES,
    VOCABULARY,
    built,
    hooked,
)

from autointerp.errors import SubjectError
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.interventions import (
    ablate,
    changeable,
    clamp,
    continuing,
    gradient_at_site,
    moved_at,
    moved_logits,
)
from autointerp.subjects.language_model import CHANGEABLE
from autointerp.subjects.one_layer import OneLayerConfig, OneLayerSite, OneLayerTransformer
from autointerp.units.levers import levers_of
from autointerp.units.sources import Calibration, Matched
from autointerp.units.sources.features import Features
from autointerp.units.sources.neurons import Neurons
from autointerp.units.sources.random import RandomDirections

LATENTS = 24
IDS = torch.tensor([[5, 40, 17, 99, 23, 61], [8, 8, 130, 2, 77, 14]])
ATTENTION = torch.ones_like(IDS, dtype=torch.bool)
KINDS: dict[str, dict[str, Any]] = {
    "relu": {},
    "topk": {"activation": "topk", "k": 6},
    "jumprelu": {"activation": "jumprelu", "threshold": torch.full((LATENTS,), 0.2)},
    "gated": {
        "activation": "gated",
        "b_gate": torch.linspace(-0.3, 0.3, LATENTS),
        "r_mag": torch.linspace(-0.2, 0.2, LATENTS),
    },
    "batchtopk": {"activation": "batchtopk", "threshold": torch.tensor(0.1), "k": 6},
    "groupmax": {"activation": "groupmax", "k": 6},
    "layer norm": {"normalisation": "layer_norm"},
    "constant norm": {"normalisation": "constant_norm", "subtract_b_dec": False},
}
SITES = ["layers.1.residual", "layers.1.input", "layers.1.mlp", "layers.1.mlp.neurons",
         "layers.1.attention", "layers.1.attention.heads"]  # fmt: skip


def autoencoder(width: int, kind: str) -> SparseAutoencoder:
    generator = torch.Generator().manual_seed(3)
    W_enc = torch.randn(width, LATENTS, generator=generator)
    W_dec = torch.randn(LATENTS, width, generator=generator) / width**0.5
    b_dec = 0.1 * torch.randn(width, generator=generator)
    return SparseAutoencoder(W_enc, torch.zeros(LATENTS), W_dec, b_dec, **KINDS[kind])


@pytest.fixture(scope="module")
def gpt() -> Any:
    return built("gpt_neox")


def one_layer() -> OneLayerSite:
    config = OneLayerConfig(VOCABULARY, d_model=16, heads=2, d_mlp=32, context=16)
    model = OneLayerTransformer(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return OneLayerSite(model)


def subject_model(gpt: Any, site: str) -> Any:
    return one_layer() if site == "one layer" else hooked(gpt, site)


def firing_unit(sae: SparseAutoencoder, x: torch.Tensor) -> int:
    return int(sae.encode(x).flatten(0, 1).mean(0).argmax())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("site", [*SITES, "one layer"])
def test_a_clamped_feature_is_sae_of_x_with_the_latent_set_plus_the_sae_s_error(gpt, site, kind):
    model = subject_model(gpt, site)
    x = model.activations(IDS, ATTENTION)
    sae = autoencoder(x.shape[-1], kind)
    unit = firing_unit(sae, x)
    latents = sae.encode(x)
    assert (latents[..., unit] > 0).any()
    levers = levers_of(Features(sae), np.array([unit]))
    plain = model.logits(IDS, ATTENTION)

    for value in (0.0, 7.5, -3.0):
        changed = latents.clone()
        changed[..., unit] = value
        error = x - sae.decode(latents, x)
        spliced = model.logits(IDS, ATTENTION, lambda _, y=sae.decode(changed, x) + error: y)
        clamped = model.logits(IDS, ATTENTION, clamp(levers, torch.tensor([value])))
        assert (clamped - spliced).abs().max() < 1e-4
        assert (clamped - plain).abs().max() > 1e-3  # so that it could have been wrong
    ablated = model.logits(IDS, ATTENTION, ablate(levers))
    assert torch.equal(ablated, model.logits(IDS, ATTENTION, clamp(levers, torch.zeros(1))))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("site", [*SITES, "one layer"])
def test_clamping_at_the_natural_value_changes_nothing(gpt, site, kind):
    model = subject_model(gpt, site)
    x = model.activations(IDS, ATTENTION)
    sae = autoencoder(x.shape[-1], kind)
    unit = firing_unit(sae, x)
    levers = levers_of(Features(sae), np.array([unit]))
    own = sae.encode(x)[..., unit]  # [rows, tokens]
    plain = model.logits(IDS, ATTENTION)
    for row in range(len(IDS)):
        for position in range(IDS.shape[1]):
            here = replace(levers, activations=lambda x, p=position: levers.activations(x)[:, [p]])
            kept = torch.zeros(1, IDS.shape[1], 1)
            kept[:, position] = 1

            def natural(x: torch.Tensor, here=here, kept=kept, value=own[row, position]):
                return x + kept * (clamp(here, value[None])(x) - x)

            logits = model.logits(IDS[row : row + 1], ATTENTION[:1], natural)
            assert (logits - plain[row]).abs().max() <= 1e-4


@pytest.mark.parametrize("kind", [*KINDS, "neurons", "random"])
@pytest.mark.parametrize("site", [*SITES, "one layer"])
def test_rows_clamped_together_are_those_clamped_one_by_one(gpt, site, kind):
    model = subject_model(gpt, site)
    x = model.activations(IDS, ATTENTION)
    width = x.shape[-1]
    source: Any
    if kind == "neurons":
        source = Neurons(width, signed=True)
    else:
        source = a_direction(x)[0] if kind == "random" else Features(autoencoder(width, kind))
    levers = levers_of(source, np.array([1]))
    values = torch.tensor([[4.0], [-4.0]])
    together = model.logits(IDS, ATTENTION, clamp(levers, values))
    for row in range(2):
        alone = model.logits(IDS[row : row + 1], ATTENTION[:1], clamp(levers, values[row]))
        assert (together[row] - alone[0]).abs().max() < 1e-4
    kept = model.logits(IDS, ATTENTION, clamp(levers, torch.tensor([[4.0], [float("nan")]])))
    assert torch.equal(kept[1], model.logits(IDS, ATTENTION)[1])
    assert not torch.equal(kept[0], model.logits(IDS, ATTENTION)[0])


@pytest.mark.parametrize("site", [*SITES, "one layer"])
def test_a_neuron_set_to_zero_is_zeroed_and_its_other_half_stays(gpt, site):
    model = subject_model(gpt, site)
    x = model.activations(IDS, ATTENTION)
    signed = bool((x < 0).any())
    width = x.shape[-1]
    halves = [(7, 1.0), (width + 7, -1.0)] if signed else [(7, 1.0)]
    for number, sign in halves:
        levers = levers_of(Neurons(width, signed), np.array([number]))
        by_hand = x.clone()
        by_hand[..., 7] = -sign * (-sign * x[..., 7]).clamp_min(0)
        expected = model.logits(IDS, ATTENTION, lambda _, y=by_hand: y)
        found = model.logits(IDS, ATTENTION, ablate(levers))
        assert (found - expected).abs().max() < 1e-5


def a_direction(x: torch.Tensor) -> tuple[RandomDirections, Any]:
    """Return random directions of which unit 1 fires on 5 of the 12 tokens, and unit 1 by hand:
    the function x, value -> x with the unit at that value.
    """
    width = x.shape[-1]
    directions = torch.randn(width, 2, generator=torch.Generator().manual_seed(4))
    directions /= directions.norm(dim=0)
    flat = x.flatten(0, 1)
    matched = Matched("features", np.arange(2), [np.ones(5, np.float32)] * 2)
    source = RandomDirections(directions, Calibration(flat, IDS.flatten()), matched, size=2)
    own = directions[:, 1]
    threshold = float((flat @ own).sort(descending=True).values[5])

    def by_hand(y: torch.Tensor, value: float) -> torch.Tensor:
        return y + (value - (y @ own - threshold).clamp_min(0))[..., None] * own

    return source, by_hand


@pytest.mark.parametrize("site", [*SITES, "one layer"])
def test_a_random_direction_is_set_as_by_hand_and_ablated_at_0(gpt, site):
    model = subject_model(gpt, site)
    x = model.activations(IDS, ATTENTION)
    source, by_hand = a_direction(x)
    levers = levers_of(source, np.array([1]))
    assert int((levers.activations(x) > 0).sum()) == 5
    plain = model.logits(IDS, ATTENTION)
    for value in (0.0, 6.0):
        spliced = model.logits(IDS, ATTENTION, lambda _, y=by_hand(x, value): y)
        clamped = model.logits(IDS, ATTENTION, clamp(levers, torch.tensor([value])))
        assert (clamped - spliced).abs().max() < 1e-4
        assert (clamped - plain).abs().max() > 1e-3  # so that it could have been wrong
    ablated = model.logits(IDS, ATTENTION, ablate(levers))
    assert torch.equal(ablated, model.logits(IDS, ATTENTION, clamp(levers, torch.zeros(1))))


@pytest.mark.parametrize("source", ["neurons", "random"])
@pytest.mark.parametrize("site", [*SITES, "one layer"])
def test_neurons_and_random_directions_at_their_natural_values_change_nothing(gpt, site, source):
    model = subject_model(gpt, site)
    x = model.activations(IDS, ATTENTION)
    signed = bool((x < 0).any())
    units = Neurons(x.shape[-1], signed) if source == "neurons" else a_direction(x)[0]
    levers = levers_of(units, np.arange(units.size))
    own = levers.activations(x)
    assert (own > 0).any()
    plain = model.logits(IDS, ATTENTION)
    # One unit after another at each position: of a signed neuron both halves are never active.
    for row, position in ((0, 1), (1, 5)):
        for unit in {int(own[row, position].argmax()), int(own[row, position].argmin())}:
            one = levers_of(units, np.array([unit]))
            value = own[row, position, [unit]]

            def natural(y, one=one, value=value, position=position):
                kept = torch.zeros_like(y[..., :1])
                kept[:, position] = 1
                return y + kept * (clamp(one, value)(y) - y)

            logits = model.logits(IDS[row : row + 1], ATTENTION[:1], natural)
            assert (logits - plain[row]).abs().max() <= 1e-4


@pytest.mark.parametrize("kind", DENSE)
def test_every_architecture_can_be_changed_at_every_site_that_it_has(kind):
    model = built(kind)
    tried, refusals = 0, []
    for part in CHANGEABLE:
        try:
            at = changeable(hooked(model, f"layers.1.{part}"), "tiny")
        except SubjectError as error:
            refusals.append(str(error))
            continue
        width = at.activations(IDS, ATTENTION).shape[-1]
        levers = levers_of(Neurons(width, signed=True), np.array([1]))
        plain = at.logits(IDS, ATTENTION)
        nothing = at.logits(IDS, ATTENTION, clamp(levers, torch.tensor([float("nan")])))
        assert (nothing - plain).abs().max() <= 1e-4
        moved = at.logits(IDS, ATTENTION, clamp(levers, torch.tensor([5.0])))
        assert (moved - plain).abs().max() > 1e-4
        tried += 1
    assert tried >= 8
    # Granite multiplies what its layers add outside of any module, so `added` is no place there.
    assert all("before it adds it" in text for text in refusals), refusals


@pytest.mark.parametrize(
    "site",
    ["layers.1.middle", "layers.1.mlp.stream", "layers.1.mlp.normalised",
     "layers.1.attention.normalised", "gpt_neox.layers.1.input_layernorm.input",
     "gpt_neox.embed_in", "gpt_neox.final_layer_norm"],
)  # fmt: skip
def test_a_site_whose_readers_would_not_all_see_the_change_is_refused_by_name(site):
    model = built("gpt_neox", use_parallel_residual=False)
    with pytest.raises(SubjectError, match=r"no site at which a unit can be set; units of layers"):
        changeable(hooked(model, site), "tiny")


def test_the_gradient_is_that_of_differences(gpt):
    for model in (hooked(gpt, "layers.1.residual"), one_layer()):

        def metric(logits: torch.Tensor) -> torch.Tensor:
            return (logits[0, -1, 9] - logits[0, -1, 4]).double()

        x, gradient = gradient_at_site(model, IDS[:1], ATTENTION[:1], metric)
        direction = torch.randn(x.shape[-1], generator=torch.Generator().manual_seed(0))
        for position in (0, 3, 5):
            step = 1e-2 * direction / direction.norm()
            ends = [
                metric(model.logits(IDS[:1], ATTENTION[:1], moved_at(torch.tensor([position]), y)))
                for y in (step[None], -step[None])
            ]
            slope = float(ends[0] - ends[1]) / 2
            assert slope == pytest.approx(float(gradient[0, position] @ step), abs=2e-5, rel=0.02)


def test_a_row_is_moved_at_its_own_position_alone():
    x = torch.zeros(2, 3, 4)
    out = moved_at(torch.tensor([2, 0]), torch.tensor([[1.0] * 4, [2.0] * 4]))(x)
    assert out[..., 0].tolist() == [[0, 0, 1], [2, 0, 0]]
    assert not x.any()


def test_a_model_that_cannot_be_changed_is_refused():
    with pytest.raises(SubjectError, match="cannot be changed"):
        changeable(object(), "tiny")


@pytest.mark.parametrize("architecture", [*DENSE, *MIXTURES, *HYBRIDS])
def test_kept_keys_and_values_change_no_logits_of_a_changed_model(architecture):
    model = hooked(built(architecture), "layers.1.residual")
    width = model.d_site
    levers = levers_of(Features(autoencoder(width, "topk")), np.array([2]))
    change = clamp(levers, torch.tensor([[6.0], [float("nan")]]))
    behind = continuing(model, change)
    ids = IDS[:, :3]
    for _ in range(4):
        kept = behind(ids)
        whole = model.logits(ids, torch.ones_like(ids, dtype=torch.bool), change)[:, -1]
        assert (kept - whole).abs().max() < 1e-4
        ids = torch.cat([ids, whole.argmax(-1, keepdim=True)], dim=1)
    seen = []

    def look(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.shape[1])
        return x

    _, cache = model.next_logits(ids[:, :5], None, look)
    model.next_logits(ids[:, :6], cache, look)
    assert seen == ([5, 1] if cache is not None else [5, 6])
    assert (cache is None) == (architecture in HYBRIDS)  # whose state is no such thing


def test_a_one_layer_model_is_continued_by_reading_all_of_it():
    model = one_layer()
    levers = levers_of(Features(autoencoder(32, "relu")), np.array([2]))
    change = clamp(levers, torch.tensor([3.0]))
    behind = continuing(model, change)
    for length in (2, 4):
        ids = IDS[:, :length]
        whole = model.logits(ids, ATTENTION[:, :length], change)[:, -1]
        assert torch.allclose(behind(ids), whole, atol=1e-5)


@pytest.mark.parametrize("architecture", [*DENSE, *MIXTURES])
@pytest.mark.parametrize("at_once", [1, 3])
def test_rows_moved_at_their_positions_are_those_of_the_whole_text(architecture, at_once):
    model = hooked(built(architecture), "layers.1.residual")
    ids = IDS[0, :6]
    positions = torch.tensor([4, 0, 2, 5, 2, 2, 5, 2])
    generator = torch.Generator().manual_seed(0)
    changes = torch.randn(len(positions), model.d_site, generator=generator)
    read = []
    plain = model.next_logits

    def counted(ids, kept=None, intervention=None):
        length = 0 if kept is None else kept.get_seq_length()
        read.append(len(ids) * (ids.shape[1] - length))
        return plain(ids, kept, intervention)

    model.next_logits = counted
    found = torch.full((len(positions), model.vocabulary), float("nan"))
    for rows, logits in moved_logits(model, ids, positions, changes, lambda _: at_once):
        assert len(rows) <= at_once
        found[rows] = logits
    many = ids.expand(len(positions), -1)
    attention = torch.ones_like(many, dtype=torch.bool)
    whole = model.logits(many, attention, moved_at(positions, changes))[:, -1]
    assert (found - whole).abs().max() < 1e-4
    # Of each row the tokens from its position on, and once the five before the last position.
    assert sum(read) == sum(len(ids) - place for place in positions.tolist()) + 5


@pytest.mark.parametrize("architecture", HYBRIDS)
def test_a_model_whose_layers_keep_a_state_is_read_from_the_start(architecture):
    model = hooked(built(architecture), "layers.1.residual")
    ids = IDS[0, :6]
    positions = torch.tensor([4, 2, 2, 5])
    changes = torch.randn(4, model.d_site, generator=torch.Generator().manual_seed(0))
    found = torch.full((4, model.vocabulary), float("nan"))
    for rows, logits in moved_logits(model, ids, positions, changes, lambda _: 3):
        found[rows] = logits
    many = ids.expand(4, -1)
    whole = model.logits(
        many, torch.ones_like(many, dtype=torch.bool), moved_at(positions, changes)
    )
    assert (found - whole[:, -1]).abs().max() < 1e-4


def test_rows_of_a_model_that_keeps_nothing_are_moved_alike():
    model = one_layer()
    ids = IDS[0, :5]
    positions = torch.tensor([4, 0, 4])
    changes = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    parts = list(moved_logits(model, ids, positions, changes, lambda _: 2))
    assert [rows for rows, _ in parts] == [[0, 1], [2]]
    many = ids.expand(3, -1)
    whole = model.logits(many, torch.ones_like(many, dtype=torch.bool),
                         moved_at(positions, changes))[:, -1]  # fmt: skip
    assert torch.allclose(torch.cat([logits for _, logits in parts]), whole, atol=1e-5)
