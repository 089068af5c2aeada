"""An SAE's figures against a direct calculation of them, with all tokens in one matrix."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autointerp.errors import SubjectError
from autointerp.units import dictionary_sums
from autointerp.units.dictionary_sums import (
    DictionarySums,
    KeptTokens,
    losses_recovered,
)
from autointerp.units.sources.features import Features
from autointerp.units.stream import at_site, quiet_torch, readings, site_batches


@pytest.fixture(scope="module")
def activations(subject, settings):
    """[tokens, d_site] of the whole corpus."""
    with quiet_torch():
        return torch.cat(
            [batch.activations[batch.kept] for batch, _, _ in
             site_batches(subject, settings.harvest, 0)]
        )  # fmt: skip


def taken(subject, settings):
    sums = DictionarySums(subject.sae, settings.harvest.fires)
    with quiet_torch():
        for reading in readings(subject, settings.harvest):
            batch = at_site(subject, reading, 0)
            sums.take(batch, KeptTokens.of(batch, reading))
    return sums


def unasked(subject, settings):
    return losses_recovered({"": subject}, settings, 0)[""]


def test_l0_and_dead_features_are_those_of_all_latents_of_all_tokens(
    subject, settings, activations, monkeypatch
):
    monkeypatch.setattr(dictionary_sums, "VALUES_AT_ONCE", 7 * subject.sae.d_sae)  # in many pieces
    sums = taken(subject, settings)
    fires = subject.sae.encode(activations) > settings.harvest.fires
    found = sums.figures(unasked(subject, settings))
    assert found.tokens == len(activations)
    assert found.l0.value == pytest.approx(float(fires.sum(1).double().mean()))
    assert sums.fired.tolist() == fires.sum(0).tolist()
    assert found.dead == int((fires.sum(0) == 0).sum()) >= 1
    assert found.dead_share.value == pytest.approx(found.dead / subject.sae.d_sae)
    assert found.l0.low < found.l0.value < found.l0.high
    assert found.loss_recovered.note == "not asked for"


def test_a_latent_that_is_no_number_is_refused_whoever_draws_it(subject, settings):
    bias = subject.sae.b_enc.clone()
    bias[3] = torch.nan
    broken = replace(subject, sae=replace(subject.sae, b_enc=bias))
    with pytest.raises(
        SubjectError, match=r"1 of \d+ latents of the SAE are not finite, features/3"
    ):
        taken(broken, settings)


def test_columns_are_those_of_the_features_and_0_where_no_token_is_kept(
    subject, settings, monkeypatch
):
    monkeypatch.setattr(dictionary_sums, "VALUES_AT_ONCE", 7 * subject.sae.d_sae)  # in many pieces
    numbers = np.array([5, 0, subject.sae.d_sae - 1])
    sums = DictionarySums(subject.sae, settings.harvest.fires)
    ours, alone = sums.block(numbers), Features(subject.sae).block(numbers)
    fired = 0
    with quiet_torch():
        for reading in readings(subject, settings.harvest):
            batch = at_site(subject, reading, 0)
            sums.take(batch, KeptTokens.of(batch, reading))
            expected = alone(batch) * batch.kept[..., None]
            torch.testing.assert_close(ours(batch), expected, rtol=1e-4, atol=1e-5)
            assert not ours(batch)[~batch.kept].any()
            fired += int((expected > 0).sum())
    assert fired > 100


def test_variance_explained_is_one_less_residual_over_total_where_every_token_is_decoded(
    subject, settings, activations, monkeypatch
):
    monkeypatch.setattr(dictionary_sums, "DECODED", 1)
    found = taken(subject, settings).figures(unasked(subject, settings)).variance_explained
    x = activations.double()
    residual = (x - subject.sae.decode(subject.sae.encode(activations)).double()).square().sum()
    total = (x - x.mean(0)).square().sum()
    assert found.n == (len(x),)
    assert found.value == pytest.approx(float(1 - residual / total))


def test_an_sae_that_reconstructs_all_recovers_all_of_the_loss_and_one_that_gives_0_none(
    subject, settings
):

    width = subject.sae.d_in
    same = torch.eye(width)
    zeros = torch.zeros(width)
    whole = replace(subject.sae, W_enc=same, b_enc=zeros, W_dec=same, b_dec=zeros)
    nothing = replace(whole, W_dec=0 * same)
    found = losses_recovered(
        {
            "whole": replace(subject, sae=whole),  # the site is behind a ReLU
            "nothing": replace(subject, sae=nothing),
            "own": subject,
        },
        settings,
        3_000,
    )
    assert found["whole"].value == pytest.approx(1, abs=1e-5)
    assert found["nothing"].value == pytest.approx(0, abs=1e-5)
    assert found["own"].value is not None
    assert found["own"].value < 1
    assert found["own"].low < found["own"].value < found["own"].high


def test_the_loss_is_that_of_next_tokens_within_windows(subject, settings):
    # A direct calculation, window by window, of the clean loss and that without the site.

    width = subject.sae.d_in
    half = torch.eye(width) / 2
    halving = replace(subject.sae, W_enc=torch.eye(width), b_enc=torch.zeros(width),
                      W_dec=half, b_dec=torch.zeros(width))  # fmt: skip
    losses = {"clean": [], "zero": [], "half": []}
    changes = {"clean": lambda x: x, "zero": torch.zeros_like, "half": lambda x: x / 2}
    read = 0
    with quiet_torch():
        for reading in readings(subject, settings.harvest):
            ids, mask = reading.windows.ids, reading.windows.attention
            for row in range(len(ids)):
                if read + reading.kept[row].sum() > 2_000:
                    break
                read += reading.kept[row].sum()
                kept = np.flatnonzero(reading.kept[row])
                one = torch.from_numpy(ids[row : row + 1]), torch.from_numpy(mask[row : row + 1])
                where = torch.from_numpy(reading.kept[row])[None, :, None]
                for name, change in changes.items():
                    logits = subject.model.logits(
                        *one, lambda x, c=change, w=where: torch.where(w, c(x), x)
                    )[0].log_softmax(-1)
                    losses[name] += [
                        -float(logits[at, ids[row, at + 1]]) for at in kept if at + 1 in kept
                    ]
            break
    clean, zero, spliced = (np.mean(losses[name]) for name in ("clean", "zero", "half"))
    found = losses_recovered({"half": replace(subject, sae=halving)}, settings, int(read))["half"]
    assert found.n == (len(losses["clean"]),)
    assert found.value == pytest.approx((zero - spliced) / (zero - clean), abs=1e-4)


def test_a_transcoder_has_no_loss_and_says_why(subject, settings):

    transcoder = replace(subject.sae, transcodes=True, subtract_b_dec=False)
    found = losses_recovered({"t": replace(subject, sae=transcoder)}, settings, 1_000)["t"]
    assert found.value is None
    assert "transcoder" in found.note
