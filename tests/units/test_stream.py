from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from autointerp.errors import CorpusError, SubjectError
from autointerp.settings import HarvestSettings, load_settings
from autointerp.subjects import Subject
from autointerp.subjects.load import load_subject
from autointerp.units.stream import CALIBRATION_TOKENS, calibrate, readings, window_length

SEED = 0
SETTINGS = HarvestSettings()


@pytest.fixture(scope="module")
def subject(tiny_settings: Path) -> Subject:
    return load_subject(load_settings(str(tiny_settings)).subject)


def test_readings_hold_exactly_the_token_budget_whatever_the_batch(subject: Subject) -> None:
    for rows in (1, 5):
        settings = replace(SETTINGS, tokens=3001, rows=rows)
        parts = list(readings(subject, settings))
        assert sum(int(part.kept.sum()) for part in parts) == 3001
        for part in parts:
            assert part.kept.shape == part.position.shape == part.windows.ids.shape
            assert part.kept.shape[0] <= rows
            assert part.kept.shape[1] <= window_length(subject, settings)


def test_a_reading_goes_on_only_where_the_corpus_has_more_than_the_budget(subject: Subject) -> None:
    for rows in (16, 64):
        whole = [int(part.kept.sum()) for part in readings(subject, replace(SETTINGS, rows=rows))]
        total, first = sum(whole), whole[0]
        # Beyond the corpus, all of it, one token less, and where a batch ends.
        for tokens in {0, total + 1, total, total - 1, first}:
            parts = list(readings(subject, replace(SETTINGS, tokens=tokens, rows=rows)))
            goes_on = [part.goes_on for part in parts]
            assert not any(goes_on[:-1])
            assert goes_on[-1] == (0 < tokens < total)


def test_a_calibration_is_the_first_tokens_at_the_site_in_order(subject: Subject) -> None:
    calibration = calibrate(subject, replace(SETTINGS, tokens=3001), SEED)
    assert calibration.activations.shape == (3001, subject.d_site)
    assert len(calibration.ids) <= CALIBRATION_TOKENS
    first = next(readings(subject, SETTINGS))
    ids = first.windows.ids[first.kept]
    assert calibration.ids[: len(ids)].tolist() == np.asarray(ids).tolist()[:3001]


def test_a_corpus_too_short_is_refused_with_its_length(subject: Subject) -> None:
    with pytest.raises(CorpusError, match="has 150 tokens; at least 2000"):
        calibrate(subject, replace(SETTINGS, tokens=150), SEED)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_activations_that_are_no_numbers_are_refused(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    real = subject.model.activations

    def spoilt(_: object, ids: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
        activations = real(ids, attention).clone()
        activations[0, 5, 1] = wrong
        return activations

    monkeypatch.setattr(type(subject.model), "activations", spoilt)
    with pytest.raises(SubjectError, match=r"are not finite on \d+ of [\d,]+ tokens; give dtype"):
        calibrate(subject, SETTINGS, SEED)
