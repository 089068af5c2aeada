"""The whole vocabulary before, behind and alone: in batches as one by one, stopped or not."""

from __future__ import annotations

import pytest
import torch

from autointerp.errors import BadInput
from autointerp.labs import options_of
from autointerp.labs._bench import open_bench
from autointerp.labs.vocabulary_probe import PLACINGS, begun_of, rows_of, run, steps
from autointerp.store.run import open_run


@pytest.fixture(scope="module")
def bench(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as opened:
        units = [unit.unit_id for unit in opened.sampled("features", 1)]
        yield open_bench(opened, units, "test")


def options(**given):
    return options_of("vocabulary-probe", {name: str(value) for name, value in given.items()})


def test_changes_are_those_of_each_token_tried_by_itself(bench):
    (unit_id,) = bench.units
    rows = list(run(bench.run, [unit_id], options(tokens=500, context=4)))
    subject, index = bench.subject, bench.units[unit_id].number
    (window,) = bench.windows(unit_id, 1)
    own = list(window.ids[max(window.first, len(window.ids) - 4) :])

    def at_end(ids):
        x = subject.model.transformer.site_activations(torch.tensor([[0, *ids]]))
        return float(subject.sae.encode(x)[0, -1, index])

    natural = at_end(own)
    texts = {
        "prepended": lambda t: [t, *own],
        "appended": lambda t: [*own, t],
        "alone": lambda t: [t],
    }
    tried = [i for i, text in enumerate(subject.token_texts) if text and i not in subject.special]
    for placing in PLACINGS:
        base = 0.0 if placing == "alone" else natural
        changes = {token: at_end(texts[placing](token)) - base for token in tried}
        changed = {t: c for t, c in changes.items() if abs(c) > 1e-4 * natural}
        shown = {r["token_id"]: r["change"] for r in rows if r["placing"] == placing and r["token"]}
        assert shown.keys() == changed.keys()
        for token, change in changed.items():
            assert shown[token] == pytest.approx(change, abs=1e-5)
        one = next(row for row in rows if row["placing"] == placing)
        assert one["risen"] == sum(change > 0 for change in changed.values())
        assert one["fallen"] == sum(change < 0 for change in changed.values())
        assert one["probed"] == one["vocabulary"] == len(tried)
        rises = [r["change"] for r in rows if (r["placing"], r["side"]) == (placing, "rise")]
        assert rises == sorted(rises, reverse=True)


def test_a_probe_that_was_stopped_goes_on_from_its_rows_to_the_same_end(bench, monkeypatch):
    monkeypatch.setattr("autointerp.labs.vocabulary_probe.TOKENS", 200)  # many batches
    (unit_id,) = bench.units
    asked = options(tokens=7)
    whole = {step.placing: step for step in steps(bench, unit_id, asked)}
    for stop_after in (1, 9, 40):
        begun = {}
        for number, step in enumerate(steps(bench, unit_id, asked)):
            begun[step.placing] = step
            if number == stop_after:
                break
        rows = list(rows_of(bench, unit_id, begun.values()))
        taken_up = begun_of(rows, keep=7)
        assert [probe.probed for probe in taken_up] == [probe.probed for probe in begun.values()]
        resumed = {step.placing: step for step in steps(bench, unit_id, asked, taken_up)}
        for placing in PLACINGS:
            one, other = whole[placing], resumed[placing]
            assert (one.probed, one.risen, one.fallen) == (other.probed, other.risen, other.fallen)
            assert [token for _, token in one.rises] == [token for _, token in other.rises]
    # With another number of tokens to keep, it begins anew where any are kept.
    assert all(not probe.rises and not probe.falls for probe in begun_of(rows, keep=8))


def test_batches_of_any_size_give_the_same(bench, monkeypatch):
    (unit_id,) = bench.units
    together = list(run(bench.run, [unit_id], options(tokens=5)))
    monkeypatch.setattr("autointerp.labs._bench.TOKENS", 1)
    monkeypatch.setattr("autointerp.labs.vocabulary_probe.TOKENS", 100)
    alone = list(run(bench.run, [unit_id], options(tokens=5)))
    kept = ("placing", "side", "rank", "token_id", "risen", "fallen")
    assert [[row[k] for k in kept] for row in together] == [[row[k] for k in kept] for row in alone]


def test_too_few_tokens_are_refused(bench):
    (unit_id,) = bench.units
    with pytest.raises(BadInput, match="tokens=0: ask for at least 1"):
        list(run(bench.run, [unit_id], options(tokens=0)))
    with pytest.raises(BadInput, match="context=0: ask for at least 1"):
        list(run(bench.run, [unit_id], options(context=0)))
