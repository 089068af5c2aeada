"""Sentences that somebody made up, on every token."""

from __future__ import annotations

import json

import pytest
import torch
from support.tiny_subject import tiny_texts

from autointerp.errors import BadInput
from autointerp.labs import options_of
from autointerp.labs.probe_sentences import run
from autointerp.store.run import open_run
from autointerp.subjects.load import load_subject

TEXTS = [text[:60] for text in tiny_texts(6)]


def test_activations_are_those_of_the_sentence_behind_bos(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as opened:
        units = {u.unit_id: u.summary for u in opened.sampled("features", 8)}
        options = options_of("probe-sentences", {"texts": json.dumps(TEXTS)})
        rows = list(run(opened, list(units), options))
        subject = load_subject(opened.settings.subject)
    assert [(row["unit_id"], row["text"]) for row in rows] == [(u, t) for u in units for t in TEXTS]
    assert any(row["largest"] > 0 for row in rows)
    for row in rows:
        (ids,) = subject.tokenise([row["text"]])
        x = subject.model.transformer.site_activations(torch.tensor([[0, *ids]]))
        index = units[row["unit_id"]].unit.index
        wanted = subject.sae.encode(x)[0, 1:, index].tolist()
        assert row["activations"] == pytest.approx(wanted, abs=1e-5)
        assert "".join(row["tokens"]) == row["text"]
        assert row["largest"] == pytest.approx(max(wanted), abs=1e-5)
        assert row["share"] == pytest.approx(max(wanted) / units[row["unit_id"]].peak, abs=1e-5)
        assert row["own"] is False


def test_without_a_sentence_a_unit_is_read_on_its_strongest_context(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as opened:
        (unit,) = (u.unit_id for u in opened.sampled("features", 1))
        (row,) = run(opened, [unit], options_of("probe-sentences", {}))
        held = [c for c in opened.contexts([unit])[unit].values() if c.draw == "top"]
    strongest = max((c for c in held if c.split == "explain"), key=lambda c: c.activation)
    assert row["text"] == "".join(strongest.tokens[: strongest.focus + 1])
    assert row["own"] is True


def test_a_sentence_without_tokens_or_too_long_is_refused(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as opened:
        (unit,) = (u.unit_id for u in opened.sampled("features", 1))
        with pytest.raises(BadInput, match="--probe '' has no tokens"):
            list(run(opened, [unit], options_of("probe-sentences", {"texts": '[""]'})))
        long = options_of("probe-sentences", {"texts": "the cat " * 40})
        with pytest.raises(BadInput, match="reads at most 32; shorten it"):
            list(run(opened, [unit], long))
