"""Recorded activations as a subject: what is read is what was written."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.sae_files import beside, written

from autointerp.errors import SettingsError, SubjectError
from autointerp.settings import HarvestSettings, SubjectSettings
from autointerp.subjects.load import load_subject
from autointerp.subjects.recorded import load_recording
from autointerp.subjects.training.clusters import train_on_points
from autointerp.units.stream import at_site, readings

RECORDED = {"site": "recorded"}


def test_each_row_is_a_token_at_its_place_in_its_document(tmp_path):
    x = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    np.savez(tmp_path / "a.npz", activations=x, starts=[0, 3, 3, 7], texts=[*"abcdefg"])
    subject = load_subject(SubjectSettings(str(tmp_path / "a.npz"), **RECORDED))
    (reading,) = readings(subject, HarvestSettings())
    batch = at_site(subject, reading, 0)
    kept = reading.kept
    assert batch.activations.numpy()[kept].tolist() == x.tolist()
    assert (batch.activations.numpy()[~kept] == 0).all()
    assert reading.windows.document.tolist() == [0, 2]
    assert reading.position[kept].tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert [subject.token_texts[i] for i in reading.windows.ids[kept]] == [*"abcdefg"]
    assert (subject.signed, subject.d_site, subject.longest) == (True, 3, 4)


def test_without_starts_each_row_is_a_document_and_without_texts_it_is_numbered(tmp_path):
    np.savez(tmp_path / "a.npz", activations=np.ones((3, 2), np.float16))
    recording = load_recording(tmp_path / "a.npz")
    assert recording.starts.tolist() == [0, 1, 2, 3]
    assert recording.texts == ("row 0", "row 1", "row 2")
    assert not load_subject(SubjectSettings(str(tmp_path / "a.npz"), **RECORDED)).signed


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": [[1.0]]}, "is to hold `activations`"),
        ({"activations": [1.0]}, "is to hold `activations`"),
        ({"activations": np.zeros((0, 2))}, "is to hold `activations`"),
        ({"activations": [["a"]]}, "not a finite number"),
        ({"activations": [[np.nan]]}, "not a finite number"),
        ({"activations": [[1e300]]}, "not a finite number"),
        ({"activations": [[1.0]], "starts": [0.0, 1.0]}, "whole numbers"),
        ({"activations": [[1.0]], "starts": [0]}, "whole numbers"),
        ({"activations": [[1.0]], "starts": [0, 2]}, "rise from 0 to its 1 rows"),
        ({"activations": [[1.0]] * 2, "starts": [0, 2, 1, 2]}, "rise from 0 to its 2 rows"),
        ({"activations": [[1.0]], "texts": ["a", "b"]}, "a text for each of its 1 rows"),
        ({"activations": [[1.0]], "texts": [3]}, "a text for each of its 1 rows"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(SubjectError, match=message):
        load_recording(tmp_path / "a.npz")


def test_a_file_that_is_missing_or_cut_is_refused(tmp_path):
    with pytest.raises(SubjectError, match="no recorded activations at"):
        load_recording(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", activations=np.ones((50, 2)))
    content = (tmp_path / "a.npz").read_bytes()
    for end in (0, 10, len(content) // 2, len(content) - 10):
        (tmp_path / "a.npz").write_bytes(content[:end])
        with pytest.raises(SubjectError, match="not a complete npz"):
            load_recording(tmp_path / "a.npz")


def test_settings_that_recorded_activations_do_not_take_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", activations=np.ones((3, 2)))
    path = str(tmp_path / "a.npz")
    with pytest.raises(SettingsError, match="write site = 'recorded'"):
        load_subject(SubjectSettings(path))
    for setting in ({"corpus": "text.txt"}, {"bos": "no"}, {"dtype": "float16"}):
        with pytest.raises(SettingsError, match="recorded activations do not take it"):
            load_subject(SubjectSettings(path, **RECORDED, **setting))


def test_an_sae_in_a_folder_is_known_by_its_content(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", activations=rng.standard_normal((5, 2)))
    folder = tmp_path / "sae"
    config = {"d_in": 2, "d_sae": 3, "architecture": "standard", "apply_b_dec_to_input": True}
    settings = SubjectSettings(str(tmp_path / "a.npz"), sae=str(folder), **RECORDED)
    digests = []
    for seed in (0, 1, 0):
        rng = np.random.default_rng(seed)
        shapes = {"W_enc": (2, 3), "W_dec": (3, 2), "b_enc": 3, "b_dec": 2}
        written(
            folder / "sae_weights.safetensors",
            {
                name: torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
                for name, shape in shapes.items()
            },
        )
        beside(folder / "sae_weights.safetensors", "cfg.json", **config)
        digests.append(load_subject(settings).digests["sae"])
    assert digests[0] == digests[2] != digests[1]


def test_an_sae_of_another_width_is_refused_and_what_needs_a_model_too(tmp_path):
    np.savez(tmp_path / "a.npz", activations=np.ones((3, 3)))
    points = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    train_on_points(points, 3).save(tmp_path / "sae.safetensors")
    settings = SubjectSettings(str(tmp_path / "a.npz"), **RECORDED)
    with pytest.raises(SubjectError, match=r"reads 2 activations, .* has 3"):
        load_subject(SubjectSettings(settings.model, sae=str(tmp_path / "sae.safetensors"),
                                     **RECORDED))  # fmt: skip
    with pytest.raises(SubjectError, match="there are no logits"):
        load_subject(settings).model.readout()
