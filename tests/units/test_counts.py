import numpy as np
import pytest
import torch

from autointerp.errors import SubjectError
from autointerp.units.counts import count_firings
from autointerp.units.sources.features import Features
from autointerp.units.stream import site_batches


def test_every_feature_is_counted_on_the_tokens_that_count(tiny):
    settings, subject = tiny
    seen = []
    counts, tokens = count_firings(
        subject, {"features": Features(subject.sae)}, settings.harvest, 0, seen.append
    )
    fires = counts["features"]
    wanted, kept = np.zeros(subject.sae.d_sae, np.int64), 0
    with torch.inference_mode():
        for batch, _, _ in site_batches(subject, settings.harvest, 0):
            active = subject.sae.encode(batch.activations[batch.kept]) > settings.harvest.fires
            wanted += active.sum(0).numpy()
            kept += int(batch.kept.sum())
    assert fires.tolist() == wanted.tolist()
    assert tokens == kept == seen[-1]
    assert (fires == 0).sum() >= 4  # as the tiny SAE was made
    assert fires.max() < tokens


def test_weights_that_are_no_numbers_are_an_error(tiny, monkeypatch):
    settings, subject = tiny
    source = Features(subject.sae)
    monkeypatch.setattr(
        Features,
        "block",
        lambda self, numbers: lambda batch: torch.full((*batch.ids.shape, len(numbers)), torch.nan),
    )
    with pytest.raises(SubjectError, match="features/0 to features/63 is not finite"):
        count_firings(subject, {"features": source}, settings.harvest, 0)
