"""Tokens left out and replaced one by one, against texts that are put together by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from autointerp.errors import BadInput
from autointerp.labs import options_of
from autointerp.labs._bench import open_bench
from autointerp.labs.context_ablation import measure, run, stand_in
from autointerp.labs.vocabulary_probe import steps
from autointerp.store.run import open_run


def test_changes_are_those_of_texts_put_together_by_hand(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as opened:
        units = [unit.unit_id for unit in opened.sampled("features", 2)]
        options = options_of("context-ablation", {"contexts": "3", "neutral": " cat"})
        rows = list(run(opened, units, options))
        bench = open_bench(opened, units, "test")
        windows_of = {unit_id: bench.windows(unit_id, 3) for unit_id in units}
    subject = bench.subject
    ((cat,),) = subject.tokenise([" cat"])
    checked = 0
    for unit_id in units:
        index = bench.units[unit_id].number

        def at_end(ids, index=index):
            x = subject.model.transformer.site_activations(torch.tensor([ids]))
            return float(subject.sae.encode(x)[0, -1, index]) if ids[-1] else 0.0  # 0 is BOS

        windows = windows_of[unit_id]
        own = [row for row in rows if row["unit_id"] == unit_id]
        assert [row["context"] for row in own] == [window.number for window in windows]
        for row, window in zip(own, windows, strict=True):
            ids = list(window.ids)
            natural = at_end(ids)
            assert row["activation"] == pytest.approx(natural, abs=1e-5)
            assert len(row["tokens"]) == len(row["left_out"]) == len(ids) - window.first
            for place, (left, changed) in enumerate(
                zip(row["left_out"], row["replaced"], strict=True), window.first
            ):
                shorter = ids[:place] + ids[place + 1 :]
                assert left == pytest.approx(at_end(shorter) - natural, abs=1e-5)
                with_cat = [*ids[:place], cat, *ids[place + 1 :]]
                if ids[place] != cat:
                    assert changed == pytest.approx(at_end(with_cat) - natural, abs=1e-5)
                    checked += 1
            assert window.first >= 1  # BOS is never removed
    assert checked > 10


def test_without_bos_the_first_token_counts_as_none_as_in_the_harvest(tiny_run):
    """It is an attention sink: what is read there is no activation of the unit."""
    with open_run("tiny", folder=tiny_run, read_only=True) as opened:
        units = [unit.unit_id for unit in opened.sampled("features", 8)]
        with_bos = open_bench(opened, units, "test")
        subject = replace(with_bos.subject, bos=None, begins_with_bos=False)
        bench = replace(with_bos, subject=subject)
        firsts = torch.arange(2, len(subject.token_texts))[:, None]
        there = subject.sae.encode(subject.model.transformer.site_activations(firsts))[:, 0]
        checked = 0
        for unit_id in units:
            (held,) = with_bos.windows(unit_id, 1)
            on_first = there[:, bench.units[unit_id].number]
            first = int(firsts[on_first.argmax(), 0])
            bench._windows[unit_id, 1] = [replace(held, ids=(first, held.ids[-1]), first=1)]
            (row,) = measure(bench, unit_id, options_of("context-ablation", {"contexts": "1"}))
            if row["outcome"] != "ok":
                continue
            checked += bool(on_first.max() > 0)  # else it would not be seen there
            assert row["left_out"] == [-row["activation"]]
            # Nor does the vocabulary probe, which cuts contexts short, put the peak there.
            probe = next(steps(bench, unit_id, options_of("vocabulary-probe", {"context": "1"})))
            assert probe.activation == pytest.approx(row["activation"])
        assert checked


def test_a_token_is_never_replaced_by_itself():
    assert stand_in(5, neutral=9, commonest=(1, 2)) == 9
    assert stand_in(9, neutral=9, commonest=(1, 2)) == 1
    assert stand_in(1, neutral=1, commonest=(1, 2)) == 2


def test_a_neutral_token_that_is_several_is_refused(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as opened:
        units = [unit.unit_id for unit in opened.sampled("features", 1)]
        given = options_of("context-ablation", {"neutral": " cat river"})
        with pytest.raises(BadInput, match=r"--neutral ' cat river' is \d tokens"):
            list(run(opened, units, given))
        with pytest.raises(BadInput, match="contexts=0: ask for at least 1"):
            list(run(opened, units, options_of("context-ablation", {"contexts": "0"})))
