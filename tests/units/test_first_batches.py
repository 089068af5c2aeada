"""What calibration has read is not computed again, and is what the model gives, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from autointerp.settings import RunSettings
from autointerp.store.run import open_run
from autointerp.subjects import Subject
from autointerp.units import first_batches as first_batches_module
from autointerp.units import stream
from autointerp.units.first_batches import FirstBatches, holding_first_batches
from autointerp.units.sample import draw_units
from autointerp.units.stream import at_site, calibrate, quiet_torch, readings
from autointerp.units.together import Member, draw_together


class Counted:
    """A model that counts the windows that it reads."""

    def __init__(self, model: Any) -> None:
        self.model, self.windows = model, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def activations(self, ids: Tensor, attention: Tensor) -> Tensor:
        self.windows += len(ids)
        found: Tensor = self.model.activations(ids, attention)
        return found


def counted(subject: Subject) -> tuple[Subject, Counted]:
    model = Counted(subject.model)
    return replace(subject, model=model), model


def few(settings: RunSettings, monkeypatch: pytest.MonkeyPatch) -> RunSettings:
    """Return settings of batches of 4 windows, of which calibration reads some."""
    monkeypatch.setattr(stream, "CALIBRATION_TOKENS", 2_000)
    return replace(settings, harvest=replace(settings.harvest, rows=4, tokens=6_000))


def test_the_pass_reads_what_calibration_read_without_the_model(
    settings: RunSettings, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = few(settings, monkeypatch)
    reading, model = counted(subject)
    (holding,) = holding_first_batches(reading)
    calibrate(holding, settings.harvest, 0)
    by_calibration = model.windows
    with quiet_torch():
        every = list(readings(subject, settings.harvest))
        got = [at_site(holding, one, 0).activations for one in every]
        alone = [at_site(subject, one, 0).activations for one in every]
    assert 0 < by_calibration < sum(len(one.kept) for one in every)
    assert model.windows == sum(len(one.kept) for one in every)  # each window once
    for one, other in zip(got, alone, strict=True):
        assert torch.equal(one, other)


def test_nothing_is_held_beyond_its_room_and_its_tokens() -> None:
    window, kept = np.arange(2), np.ones((2, 3), bool)
    x, hidden = torch.ones(2, 3, 4), torch.ones(2, 3, 5)
    size = x.nbytes + hidden.nbytes
    for room, tokens, held in (
        (size, 9, [True, False]),
        (2 * size, 6, [True, False]),
        (2 * size, 7, [True, True]),
        (size - 1, 9, [False, False]),
    ):
        batches = FirstBatches(room, tokens)
        for number in range(2):
            batches.keep(window + 2 * number, kept, x + number, hidden)
        found = [batches.recall(window + 2 * number, kept) for number in range(2)]
        assert [one is not None for one in found] == held
        for number, one in enumerate(found):
            if one is not None:
                assert torch.equal(one[0], x + number)
                assert one[1] is hidden


def test_windows_that_are_batched_otherwise_are_read_again() -> None:
    batches = FirstBatches(10**6, 100)
    kept = np.ones((2, 3), bool)
    batches.keep(np.arange(2), kept, torch.ones(2, 3, 4), None)
    assert batches.recall(np.arange(1), kept[:1]) is None
    assert batches.recall(np.arange(2), np.ones((2, 4), bool)) is None
    assert batches.recall(np.arange(2), kept) is not None


def test_a_cache_that_is_there_is_used_instead(subject: Subject) -> None:
    cache = FirstBatches(10**6, 100)
    (holding,) = holding_first_batches(replace(subject, cache=cache))
    assert holding.cache is cache


def test_a_run_and_a_sweep_run_the_model_on_the_first_tokens_once(
    settings: RunSettings, subject: Subject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = few(settings, monkeypatch)

    def windows_of(name: str, room: int, wanted: Mapping[str, int]) -> int:
        monkeypatch.setattr(first_batches_module, "ROOM", room)
        reading, model = counted(subject)
        with open_run(name, settings, subject, tmp_path) as run:
            if name.startswith("sweep"):
                draw_together([Member(run, reading, wanted)], 0)
            else:
                draw_units(run, reading, dict(wanted))
        return model.windows

    wanted = {"neurons": 4}
    with quiet_torch():
        of_calibration = sum(
            len(one.kept) for one in readings(subject, replace(settings.harvest, tokens=2_000))
        )
    for way in ("run", "sweep"):
        without = windows_of(f"{way}-without", 0, wanted)
        with_them = windows_of(f"{way}-with", 10**8, wanted)
        assert without - with_them >= of_calibration
