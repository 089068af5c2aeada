"""Tokens that a unit promotes: ranks 11 to 60 of the direct effects, and as many others."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from autointerp.errors import BadInput
from autointerp.labs.promoted_tokens import promoted
from autointerp.pipeline.lab import run_lab

NUMBER = 300


def vocabulary(texts=None, special=(0,)):
    texts = [f" t{n}" for n in range(NUMBER)] if texts is None else texts
    return SimpleNamespace(token_texts=texts, special=frozenset(special))


def columns(effects, subject=None, seed=0):
    subject = vocabulary() if subject is None else subject
    return promoted(torch.tensor(effects), subject, np.random.default_rng(seed))


def test_they_are_those_of_ranks_11_to_60_and_as_many_of_the_ranks_below():
    # Token n has the n-th largest effect but for token 0, which is special and the very largest.
    row = columns([1e6, *(-float(n) for n in range(1, NUMBER))])
    assert row["outcome"] == "ok"
    assert row["promoted"] == [f" t{n}" for n in range(11, 61)]
    assert len(set(row["random"])) == 50
    assert set(row["random"]) <= {f" t{n}" for n in range(61, NUMBER)}


def test_those_at_random_are_drawn_from_all_ranks_below_and_are_the_same_for_a_seed():
    effects = [-float(n) for n in range(NUMBER)]
    drawn = [columns(effects, seed=seed)["random"] for seed in range(200)]
    assert drawn[3] == columns(effects, seed=3)["random"]
    often = np.bincount([int(t[2:]) for row in drawn for t in row], minlength=NUMBER)[61:]
    # 200 draws of 50 among 239: each 41.8 times, standard deviation 5.8.
    assert often.mean() == pytest.approx(200 * 50 / 239)
    assert np.abs(often - 41.8).max() < 5 * 5.8


def test_tokens_of_the_same_text_count_once_so_that_none_is_both_promoted_and_not():
    texts = [f" t{n // 2}" for n in range(NUMBER)]
    row = columns([-float(n) for n in range(NUMBER)], vocabulary(texts, special=()))
    assert row["promoted"] == [f" t{n}" for n in range(10, 60)]
    assert not set(row["promoted"]) & set(row["random"])


def test_a_vocabulary_too_small_for_it_is_an_outcome():
    row = columns([0.0] * 90, vocabulary([f"{n}" for n in range(90)]))
    assert row == {
        "promoted": [], "random": [], "outcome": "too few tokens in the vocabulary, 89",
    }  # fmt: skip


def test_units_that_are_no_directions_say_so_and_alone_they_are_an_error(own_runs):
    with pytest.raises(BadInput, match=r"no unit has any \(planted, shuffled: they are no dir"):
        run_lab("promoted-tokens", "tiny", ("shuffled", "planted"), runs=own_runs)
    rows = run_lab("promoted-tokens", "tiny", ("features", "planted"), runs=own_runs).rows
    by_source = {row["source"]: row for row in rows}
    assert by_source["planted"]["outcome"] == "they are no directions in the model"
    assert by_source["planted"]["promoted"] == []
