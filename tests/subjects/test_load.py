import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from autointerp.errors import SettingsError, SubjectError
from autointerp.settings import HarvestSettings, RunSettings, SubjectSettings, load_settings
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.load import load_subject
from autointerp.units.sample import doubts
from autointerp.units.stream import calibrate


@pytest.mark.parametrize(
    ("device", "remedy"),
    [("cuda:99", "write 'cpu'"), ("no-such-device", "must be cpu"), ("cpu:x", "must be cpu")],
)
def test_a_device_that_is_not_there_is_named_before_anything_is_loaded(device: str, remedy: str):
    with pytest.raises(SettingsError, match=f"subject.device = '{device}'.*{remedy}"):
        load_subject(SubjectSettings(device=device))


def test_what_is_no_subject_table_is_refused():
    for given in ("autointerp.toml", RunSettings()):
        with pytest.raises(SettingsError, match=r"give load_settings\(PATH\)\.subject"):
            load_subject(given)


def test_an_sae_of_a_one_layer_model_is_checked_on_activations_like_any_other(
    tiny_subject: Path, tmp_path: Path
):
    # All 32 latents fire on each token: x̂ = x·1 - (the decoder's bias), which is far from x.
    width = 32
    sae = SparseAutoencoder(torch.eye(width), torch.full((width,), 9.0), torch.eye(width),
                            torch.zeros(width), subtract_b_dec=False)  # fmt: skip
    sae.save(tmp_path / "sae.safetensors")
    settings = replace(
        load_settings(tiny_subject / "autointerp.toml").subject,
        sae=str(tmp_path / "sae.safetensors"),
    )
    subject = load_subject(settings)
    calibration = calibrate(subject, HarvestSettings(), seed=0)
    # The file alone promises nothing, so its 32 of 32 latents are a note.
    [note] = doubts(subject, calibration)
    assert "32.0 of 32 latents fire on a token, which is not sparse" in note
    # The record of a training beside it promises a reconstruction, and 5.55 latents a token.
    record = {
        "version": 1,
        "model": {"name": "tiny"},
        "recipe": {"features": width},
        "measures": {"l0": 5.5502},
    }
    (tmp_path / "training.json").write_text(json.dumps(record))
    message = r"32\.0 of 32 latents fire on a token, its files say 5\.55: .*check_sae = false"
    with pytest.raises(SubjectError, match=message):
        doubts(load_subject(settings), calibration)
    unchecked = load_subject(replace(settings, check_sae=False))
    [note] = doubts(unchecked, calibration)
    assert "its files say 5.55" in note
    # Of a file by another name the record says nothing.
    sae.save(tmp_path / "other.safetensors")
    other = load_subject(replace(settings, sae=str(tmp_path / "other.safetensors")))
    assert "which is not sparse" in doubts(other, calibration)[0]


def test_the_embedded_subject_passes_the_check_of_its_sae():
    subject = load_subject(SubjectSettings())
    assert subject.loaded is not None
    assert (subject.loaded.has_training, subject.loaded.l0) == (True, 17.3)
    assert doubts(subject, calibrate(subject, HarvestSettings(tokens=4_000), seed=0)) == []


def test_an_sae_of_recorded_activations_is_checked(tmp_path: Path):
    x = np.random.default_rng(0).standard_normal((2000, 4)).astype(np.float32)
    np.savez(tmp_path / "a.npz", activations=x)
    silent = SparseAutoencoder(torch.eye(4), torch.full((4,), -99.0), torch.eye(4), torch.zeros(4))
    silent.save(tmp_path / "sae.safetensors")
    settings = SubjectSettings(
        str(tmp_path / "a.npz"), site="recorded", sae=str(tmp_path / "sae.safetensors")
    )
    subject = load_subject(settings)
    calibration = calibrate(subject, HarvestSettings(), seed=0)
    with pytest.raises(SubjectError, match="no latent fires on any of 2000 tokens"):
        doubts(subject, calibration)
