"""What a unit adds to the logits, against a model whose neurons are changed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autointerp.errors import BadInput
from autointerp.labs import options_of
from autointerp.labs._bench import open_bench
from autointerp.labs.logit_differences import measure
from autointerp.store.run import open_run


@pytest.fixture(scope="module")
def bench(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as opened:
        units = [opened.sampled(s, 1)[0].unit_id for s in ("features", "random", "planted")]
        yield open_bench(opened, units, "test")


def by_hand(bench, unit_id, changed, count):
    """Return the mean over contexts of what each of the directions in `changed` adds."""
    model = bench.subject.model.transformer
    lost = []
    for window in bench.windows(unit_id, count):
        ids = torch.tensor([window.ids])
        residual = model.residual_before_mlp(ids)
        neurons = model.neurons(residual)
        without = neurons.clone()
        without[0, -1] -= changed(neurons[0, -1])
        difference = model.logits(residual, neurons) - model.logits(residual, without)
        lost.append(difference[0, -1].double())
    mean = torch.stack(lost).mean(0)
    return mean - mean.mean()


def test_ablation_is_that_of_a_model_changed_by_hand_and_ranks_follow_it(bench):
    unit_id, *_ = bench.units
    sae, number = bench.subject.sae, bench.units[unit_id].number
    rows = list(measure(bench, unit_id, options_of("logit-differences", {"contexts": "3"})))
    wanted = by_hand(bench, unit_id, lambda x: sae.encode(x)[number] * sae.W_dec[number], count=3)
    texts = bench.subject.token_texts
    tried = [i for i, text in enumerate(texts) if text and i not in bench.subject.special]
    by_effect = sorted(tried, key=lambda token: -float(wanted[token]))
    promoted = [row for row in rows if row["side"] == "promoted"]
    assert [row["token"] for row in promoted] == [texts[token] for token in by_effect[:10]]
    suppressed = [row for row in rows if row["side"] == "suppressed"]
    assert [row["token"] for row in suppressed] == [texts[t] for t in by_effect[::-1][:10]]
    for row, token in zip(promoted, by_effect, strict=False):
        assert row["ablation"] == pytest.approx(float(wanted[token]), abs=1e-4)
        assert row["noise"] > 0
        assert row["contexts"] == 3
    assert rows[0]["largest"][0] == pytest.approx(float(wanted[tried].abs().max()), abs=1e-4)
    # In one layer the direct path is all there is, but for the scale of the final norm.
    lens = {row["token"]: row["lens_rank"] for row in promoted}
    assert sum(rank <= 30 for rank in lens.values()) >= 8


def test_a_random_direction_is_no_larger_than_its_noise(bench):
    _, random, _ = bench.units
    rows = list(measure(bench, random, options_of("logit-differences", {"random": "32"})))
    ratios = [abs(row["ablation"]) / row["noise"] for row in rows]
    # The largest 20 of 400 normal values have absolute values between about 1.6 and 3.5.
    assert np.median(ratios) < 4
    mine, usual = rows[0]["largest"]
    assert 0.3 < mine / usual < 3


def test_what_is_no_direction_says_so_and_options_that_mean_nothing_are_refused(bench):
    unit_id, _, planted = bench.units
    (row,) = measure(bench, planted, options_of("logit-differences", {}))
    assert row["outcome"].startswith("units of planted are no directions in the model")
    for name, value in (("tokens", 0), ("contexts", 0), ("random", 1)):
        options = {**options_of("logit-differences", {}), name: value}
        with pytest.raises(BadInput, match=f"{name}={value}: ask for at least"):
            list(measure(bench, unit_id, options))
