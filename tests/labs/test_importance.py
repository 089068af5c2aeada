"""Importance of units over a corpus, against latents whose gradients autograd gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.tiny_subject import make_tiny_twin

from autointerp import Job, harvest
from autointerp.errors import BadInput
from autointerp.labs import Read, importance
from autointerp.labs.importance import run
from autointerp.pipeline.attribute import attribute
from autointerp.pipeline.events import Harvesting
from autointerp.pipeline.lab import run_lab
from autointerp.store.run import open_run
from autointerp.subjects.load import load_subject
from autointerp.units.stream import readings

OPTIONS = {"tokens": 50_000, "metric": "loss"}


def by_hand(opened, metric, untrained=False):
    """Return the mean |attribution|, the mean attribution and the share of firing tokens of every
    latent, from gradients with respect to the latents themselves."""
    subject = load_subject(opened.settings.subject)
    read = subject.untrained() if untrained else subject
    model, sae = read.model.transformer, read.sae
    size, net, fired, tokens = *(torch.zeros(sae.d_sae) for _ in range(3)), 0
    for reading in readings(subject, opened.settings.harvest):
        ids = torch.from_numpy(reading.windows.ids)
        with torch.no_grad():
            residual = model.residual_before_mlp(ids)
            neurons = model.neurons(residual)
            latents = sae.encode(neurons)
            error = neurons - sae.decode(latents)
        latents = latents.clone().requires_grad_()
        logits = model.logits(residual, sae.decode(latents) + error)
        inside = torch.from_numpy(reading.windows.attention)
        ahead = inside[:, :-1] & inside[:, 1:]
        chances = torch.log_softmax(logits, -1) if metric == "loss" else logits
        own = chances[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
        total = (own * ahead).sum() * (-1 if metric == "loss" else 1)
        (gradient,) = torch.autograd.grad(total, latents)
        kept = torch.from_numpy(reading.kept)
        moved = (latents.detach() * gradient)[kept]
        size += moved.abs().sum(0)
        net += moved.sum(0)
        fired += (latents.detach()[kept] > 1e-5).sum(0)
        tokens += int(kept.sum())
    return size / tokens, net / tokens, fired / tokens, tokens


def rows_of(yielded):
    return [row for row in yielded if not isinstance(row, Read)]


@pytest.mark.parametrize("metric", ["loss", "logit"])
def test_it_is_the_mean_of_activation_times_gradient_of_the_latent(own_runs, metric, monkeypatch):
    monkeypatch.setattr(importance, "LOGITS", 32 * 420 * 5)  # a few windows at a time
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        units = {u.unit_id: u.summary.unit.index for u in opened.units("features")}
        rows = rows_of(run(opened, list(units), {**OPTIONS, "metric": metric}))
        size, net, fired, tokens = by_hand(opened, metric)
    assert [row["unit_id"] for row in rows] == list(units)
    for row in rows:
        index = units[row["unit_id"]]
        assert row["importance"] == pytest.approx(float(size[index]), rel=1e-3, abs=1e-7)
        assert row["net"] == pytest.approx(float(net[index]), rel=1e-2, abs=1e-6)
        assert row["fires"] == pytest.approx(float(fired[index]))
        if row["fires"]:
            assert row["per_firing"] == pytest.approx(row["importance"] / row["fires"])
        assert (row["tokens"], row["metric"], row["outcome"]) == (tokens, metric, "ok")
    assert max(row["importance"] for row in rows) > 0


def test_a_neuron_matters_as_much_as_its_axis_says_and_a_control_by_the_same_code(own_runs):
    rows = run_lab("importance", "tiny", ("neurons", "random", "planted"), 3, runs=own_runs,
                   options={"tokens": "2000"}).rows  # fmt: skip
    by_source = {name: [r for r in rows if r["source"] == name] for name in ("neurons", "random")}
    assert all(row["importance"] >= abs(row["net"]) for part in by_source.values() for row in part)
    assert {row["tokens"] for part in by_source.values() for row in part} == {2_000}
    for row in rows:
        if row["source"] == "planted":
            assert row["importance"] is None
            assert row["outcome"].startswith("units of planted are no directions")
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        subject = load_subject(opened.settings.subject)
        one = by_source["neurons"][0]
        index = next(
            u.summary.unit.index for u in opened.units("neurons") if u.unit_id == one["unit_id"]
        )
        settings = opened.settings.harvest
    total, tokens = 0.0, 0
    for reading in readings(subject, settings):
        for row in range(len(reading.kept)):
            # One window at a time, the neuron's own gradient.
            if tokens >= 2_000:
                break
            ids = torch.from_numpy(reading.windows.ids[row : row + 1])
            inside = torch.from_numpy(reading.windows.attention[row : row + 1])
            model = subject.model.transformer
            residual = model.residual_before_mlp(ids).detach()
            neurons = model.neurons(residual).detach().clone().requires_grad_()
            chances = torch.log_softmax(model.logits(residual, neurons), -1)
            own = chances[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
            (gradient,) = torch.autograd.grad(-(own * inside[:, 1:]).sum(), neurons)
            moved = (neurons.detach() * gradient)[0, :, index].abs().numpy()
            places = np.flatnonzero(reading.kept[row])[: 2_000 - tokens]
            total += float(moved[places].sum())
            tokens += len(places)
    assert one["importance"] == pytest.approx(total / 2_000, rel=1e-3)


@pytest.fixture(scope="module")
def twins(tiny_subject, tmp_path_factory):
    """The folder of a run of features and untrained features."""
    folder = tmp_path_factory.mktemp("twins")
    settings = make_tiny_twin(tiny_subject, folder / "twin")
    harvest(Job(sources=("features", "untrained"), n=8, run="twins", subject=str(settings),
                controls=0, runs=folder / "runs"))  # fmt: skip
    return folder / "runs"


def test_untrained_features_matter_to_their_own_model(twins):
    events = []
    rows = run_lab("importance", "twins", runs=twins, on=events.append).rows
    with open_run("twins", folder=twins, read_only=True) as opened:
        index = {u.unit_id: u.summary.unit.index for n in opened.sources() for u in opened.units(n)}
        sizes = {
            name: by_hand(opened, "loss", name == "untrained")[0]
            for name in ("features", "untrained")
        }
    assert {row["source"] for row in rows} == {"features", "untrained"}
    for row in rows:
        expected = float(sizes[row["source"]][index[row["unit_id"]]])
        assert row["outcome"] == "ok"
        assert row["importance"] == pytest.approx(expected, rel=1e-3, abs=1e-7)
    assert max(row["importance"] for row in rows if row["source"] == "untrained") > 0
    read = [event for event in events if isinstance(event, Harvesting)]
    assert read[-1].tokens == read[-1].total == rows[0]["tokens"]
    assert str(read[-1]).startswith(f"importance {len(rows)} units: ")


def test_untrained_features_are_ablated_and_read_out_in_their_own_model(twins):
    prompt = "The old cat saw the river in the"
    rows = run_lab("attribution", "twins", ("untrained",), runs=twins,
                   options={"prompt": prompt}).rows  # fmt: skip
    effects = run_lab("logit-effects", "twins", ("untrained",), runs=twins).rows
    with open_run("twins", folder=twins, read_only=True) as opened:
        subject = load_subject(opened.settings.subject)
        index = {u.unit_id: u.summary.unit.index for u in opened.units("untrained")}
    twin = subject.untrained()
    model, sae = twin.model.transformer, twin.sae
    ids = torch.tensor([[0, *subject.tokenise([prompt])[0]]])
    residual = model.residual_before_mlp(ids)
    neurons = model.neurons(residual)
    latents = sae.encode(neurons)
    found = [row for row in rows if row["outcome"] == "ok"]
    assert found
    target, against = model(ids)[0, -1].topk(2).indices.tolist()
    for row in found:
        written = torch.zeros_like(neurons)
        unit, position = index[row["unit_id"]], row["position"]
        written[0, position] = latents[0, position, unit] * sae.W_dec[unit]
        lost = model.logits(residual, neurons) - model.logits(residual, neurons - written)
        assert row["ablation"] == pytest.approx(
            float(lost[0, -1, target] - lost[0, -1, against]), rel=1e-3, abs=2e-5
        )
    assert {row["unit_id"] for row in effects} == set(index)


def test_untrained_features_are_asked_about_the_tokens_that_the_others_are(twins):
    prompt = "The old cat saw the river in the"
    found = attribute(prompt, run="twins", runs=twins, sources=("untrained", "features"))
    with open_run("twins", folder=twins, read_only=True) as opened:
        subject = load_subject(opened.settings.subject)
        pairs = opened.rows("SELECT DISTINCT source, target, against FROM attributed ORDER BY ALL")
    logits = [m.model.transformer(torch.tensor([[0, *subject.tokenise([prompt])[0]]]))[0, -1]
              for m in (subject, subject.untrained())]  # fmt: skip
    likeliest, twins_own = (
        [subject.token_texts[i] for i in own.topk(2).indices.tolist()] for own in logits
    )
    assert likeliest != twins_own  # so that it could have been wrong
    assert [found.target, found.against] == likeliest
    assert pairs == [(name, *likeliest) for name in ("features", "untrained")]


def test_what_cannot_be_measured_is_refused(own_runs):
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        features = [u.unit_id for u in opened.units("features")]
        planted = [u.unit_id for u in opened.units("planted")]
        for options, units, message in (
            ({"metric": "entropy"}, features, "give loss or logit"),
            ({"tokens": 0}, features, "at least 1 token"),
            ({}, planted, r"no unit can be attributed \(planted: "),
        ):
            with pytest.raises(BadInput, match=message):
                list(run(opened, units, {**OPTIONS, **options}))
