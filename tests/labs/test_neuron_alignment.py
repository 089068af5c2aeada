"""Neurons behind a unit: an identity dictionary has one neuron a feature, by construction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autointerp.errors import BadInput
from autointerp.labs import options_of
from autointerp.labs._bench import open_bench
from autointerp.labs.neuron_alignment import measure
from autointerp.store.run import open_run
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.units.sources.features import Features

OPTIONS = options_of("neuron-alignment", {"threshold": "0.2", "quantile": "0.9"})


@pytest.fixture(scope="module")
def bench(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as opened:
        units = [opened.sampled(s, 1)[0].unit_id for s in ("features", "neurons", "random")]
        yield open_bench(opened, units, "test")


def test_shares_weights_and_neurons_that_are_on_are_those_by_hand(bench):
    unit_id = next(iter(bench.units))
    unit, subject = bench.units[unit_id], bench.subject
    (row,) = measure(bench, unit_id, OPTIONS)
    vector = subject.sae.W_dec[unit.number].double().numpy()
    shares = np.sort(vector**2 / (vector**2).sum())[::-1]
    for k in (1, 3, 10):
        assert row[f"share_{k}"] == pytest.approx(shares[:k].sum())
    windows = bench.windows(unit_id, 10)
    at_peaks = np.stack(
        [
            subject.model.transformer.site_activations(torch.tensor([w.ids]))[0, -1].numpy()
            for w in windows
        ]
    )
    usual = np.quantile(bench.calibration.activations.numpy(), 0.9, axis=0)
    assert row["examples"] == len(windows)
    assert row["on"] == (at_peaks.min(0) > 0.2).sum()
    unusual = (at_peaks.min(0) > usual) & (at_peaks.min(0) > 0)
    assert row["unusual"] == unusual.sum()
    listed = {entry["neuron"]: entry for entry in row["neurons"]}
    assert {f"neurons/{n}" for n in np.flatnonzero(unusual)} <= set(listed)
    (stored,) = bench.run.units_numbered([unit_id])
    for name, entry in listed.items():
        n = int(name.removeprefix("neurons/"))
        assert entry["weight"] == pytest.approx(vector[n] * stored.summary.peak, rel=1e-5)
        assert entry["least"] == pytest.approx(at_peaks[:, n].min(), abs=1e-5)
        assert entry["quantile"] == pytest.approx(usual[n], abs=1e-5)
        assert entry["unusual"] == unusual[n]
    every = subject.sae.W_dec.double().numpy() ** 2
    largest = (every / every.sum(1, keepdims=True)).max(1)
    assert row["dictionary_1"] == pytest.approx(np.quantile(largest, np.linspace(0, 1, 11)))


def test_a_neuron_is_one_neuron_and_a_random_direction_is_many(bench):
    _, neuron, random = bench.units
    (row,) = measure(bench, neuron, OPTIONS)
    assert (row["share_1"], row["share_10"]) == (1, 1)
    assert row["neurons"][0]["neuron"] == bench.units[neuron].name
    (row,) = measure(bench, random, OPTIONS)
    assert row["share_1"] < 0.5
    # All but the least and the most likely tenth of such directions have this much.
    assert row["random_1"][0] <= row["share_1"] <= row["random_1"][-1]


def test_a_dictionary_that_learned_the_identity_has_one_neuron_a_feature(bench):
    unit_id, *_ = bench.units
    width = bench.subject.d_site
    eye = torch.eye(width)
    identity = SparseAutoencoder(eye, torch.zeros(width), eye, torch.zeros(width))
    unit = replace(bench.units[unit_id], source=Features(identity), number=5)
    changed = replace(bench, subject=replace(bench.subject, sae=identity), units={unit_id: unit})
    (row,) = measure(changed, unit_id, OPTIONS)
    assert row["share_1"] == 1
    assert row["dictionary_1"] == [1] * 11
    assert row["neurons"][0]["neuron"] == "neurons/5"


def test_a_transcoder_s_directions_are_no_combination_of_the_neurons_that_it_reads(bench):
    unit_id, *_ = bench.units
    sae = replace(bench.subject.sae, transcodes=True)
    unit = replace(bench.units[unit_id], source=Features(sae))
    changed = replace(bench, subject=replace(bench.subject, sae=sae), units={unit_id: unit})
    (row,) = measure(changed, unit_id, OPTIONS)
    assert (row["share_1"], row["dictionary_1"]) == (None, None)
    assert row["on"] is not None  # which neurons are on where it fires is known all the same


def test_options_that_mean_nothing_are_refused(bench):
    unit_id, *_ = bench.units
    for name, value in (("examples", 0), ("quantile", 1.0), ("threshold", float("nan"))):
        with pytest.raises(BadInput, match=f"--option {name}="):
            list(measure(bench, unit_id, {**OPTIONS, name: value}))
