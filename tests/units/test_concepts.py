"""Counts of all units by bin and label, against every activation held at once."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from autointerp.errors import BadInput
from autointerp.settings import HarvestSettings
from autointerp.stats.binned import binned_auc, binned_f1
from autointerp.stats.ranks import auc
from autointerp.units import concepts
from autointerp.units.concepts import Candidates, first_reading, second_reading
from autointerp.units.draws import split_of
from autointerp.units.labels import open_labels
from autointerp.units.sources.features import Features
from autointerp.units.sources.neurons import Neurons
from autointerp.units.stream import at_site, quiet_torch, readings

GIVEN = ("cat=re: cat", "the=re:[Tt]he", "digit=re:[0-9]")
SETTINGS = HarvestSettings(rows=16)


@pytest.fixture(scope="module")
def candidates(subject):
    return [
        Candidates("features", Features(subject.sae), np.arange(64)),
        Candidates("neurons", Neurons(subject.d_site, subject.signed), np.arange(32)),
    ]


@pytest.fixture(scope="module")
def dense(subject, candidates):
    """All activations [tokens, units] by source, sides, labels, and (document, position)."""
    values, sides, truth, places = {one.name: [] for one in candidates}, [], [], []
    with quiet_torch(), open_labels(GIVEN, subject) as labels:
        for reading in readings(subject, SETTINGS):
            batch = at_site(subject, reading, 0)
            for one in candidates:
                active = one.source.block(one.numbers)(batch)[batch.kept]
                values[one.name].append(active.numpy())
            row, token = np.nonzero(reading.kept)
            sides.append(split_of(0, reading.windows.content, SETTINGS.explain_share)[row])
            truth.append(labels.of(reading).truth)
            places.append(
                np.stack([reading.windows.document[row], reading.position[row, token]], 1)
            )
    joined = {name: np.concatenate(parts) for name, parts in values.items()}
    return joined, np.concatenate(sides), np.concatenate(truth), np.concatenate(places)


def read(subject, candidates, settings=SETTINGS):
    """Return the first reading, and by source the counts of all units."""
    taken = {}
    with open_labels(GIVEN, subject) as labels:
        found = first_reading(
            subject, candidates, labels, settings, 0,
            lambda name, places, counts: taken.setdefault(name, []).append((places, counts)),
        )  # fmt: skip
    for name, parts in taken.items():
        assert np.concatenate([places for places, _ in parts]).tolist() == list(
            range(len(next(c.numbers for c in candidates if c.name == name)))
        )
    joined = {
        name: [
            np.concatenate([getattr(counts, field) for _, counts in parts], axis=axis)
            for field, axis in (("edges", 0), ("with_concept", 2), ("labelled", 2))
        ]
        for name, parts in taken.items()
    }
    return found, joined


def test_every_token_is_counted_once_in_the_bin_of_its_activation(subject, candidates, dense):
    values, sides, truth, _ = dense
    found, counted = read(subject, candidates)
    assert found.tokens == ((sides == 0).sum(), (sides == 1).sum())
    for name, (edges, with_concept, labelled) in counted.items():
        for side in (0, 1):
            own = values[name][sides == side]
            for unit in (0, 7, 31):
                # A value on an edge lies under it; what does not fire is bin 0.
                bins = np.searchsorted(edges[unit], own[:, unit], "left")
                by_hand = np.bincount(bins, minlength=concepts.BINS)
                assert labelled[side, 0, unit].tolist() == by_hand.tolist()
                for concept in range(len(GIVEN)):
                    has = truth[sides == side][:, concept]
                    by_hand = np.bincount(bins[has], minlength=concepts.BINS)
                    assert with_concept[side, concept, unit].tolist() == by_hand.tolist()


def test_the_area_is_the_exact_one_within_the_stated_error_for_every_unit(
    subject, candidates, dense
):
    values, sides, truth, _ = dense
    _, counted = read(subject, candidates)
    worst = 0.0
    for name, (edges, with_concept, labelled) in counted.items():
        for concept in range(len(GIVEN)):
            true = with_concept[1, concept]
            value, error = binned_auc(true, labelled[1, 0] - true)
            f1 = binned_f1(true, labelled[1, 0] - true)
            has = truth[sides == 1][:, concept]
            for unit in range(len(edges)):
                own = values[name][sides == 1][:, unit]
                own = np.where(own > SETTINGS.fires, own, 0)
                assert abs(value[unit] - auc(own[has], own[~has])) <= error[unit] + 1e-9
                called = own > edges[unit, 20]
                exact = 2 * (called & has).sum() / (called.sum() + has.sum())
                assert f1[unit, 21] == pytest.approx(exact)
            worst = max(worst, error.max())
    assert worst < 0.01  # half of 1/63 where a bin holds as many as any other


def test_units_counted_in_turns_and_in_other_batches_have_the_same_counts(
    subject, candidates, monkeypatch
):
    found, at_once = read(subject, candidates)
    monkeypatch.setattr(concepts, "COUNTERS", 50 * 2 * concepts.BINS * 4)  # 50 units in a turn
    again, in_turns = read(subject, candidates, dataclasses.replace(SETTINGS, rows=5))
    assert again.tokens_with.tolist() == found.tokens_with.tolist()
    for name in at_once:
        for one, other in zip(at_once[name][1:], in_turns[name][1:], strict=True):
            # Rounding may put a value that is an edge on its other side.
            assert np.abs(one - other).sum() <= 0.002 * one.sum()
    # The same tokens are drawn, at other places of other batches.
    for one, other in zip(sum(found.drawn, ()), sum(again.drawn, ()), strict=True):
        assert one.document.tolist() == other.document.tolist()
        assert one.truth.tolist() == other.truth.tolist()


def test_drawn_tokens_have_the_activations_that_they_have_in_the_text(
    subject, candidates, dense, monkeypatch
):
    monkeypatch.setattr(concepts, "POSITIVES", 30)
    monkeypatch.setattr(concepts, "NEGATIVES", 50)
    values, sides, truth, places = dense
    found, _ = read(subject, candidates)
    chosen = {
        one.name: (one.source, [np.array([3, 1]), np.array([5]), np.array([], np.int64)])
        for one in candidates
    }
    active = second_reading(subject, chosen, found.drawn, SETTINGS, 0)
    at = {tuple(place): row for row, place in enumerate(places.tolist())}
    batches = list(readings(subject, SETTINGS))
    for side in (0, 1):
        for concept, units in enumerate(([3, 1], [5], [])):
            drawn = found.drawn[side][concept]
            of_concept = truth[:, concept] & (sides == side)
            assert drawn.truth.sum() == min(30, of_concept.sum())
            assert (~drawn.truth).sum() == 50
            rows = [
                at[(int(d), int(batches[n].position[row, token]))]
                for (n, row, token), d in zip(drawn.place.tolist(), drawn.document, strict=True)
            ]
            assert len(set(rows)) == len(rows)
            assert (sides[rows] == side).all()
            assert truth[rows, concept].tolist() == drawn.truth.tolist()
            for name in values:
                own = active[name][side][concept]
                assert own == pytest.approx(values[name][rows][:, units], rel=1e-4, abs=1e-5)


def test_what_is_no_firing_is_silence_in_both_readings(subject, candidates):
    """Rounding leaves some silent units at 1e-7; an order of such values would be a concept's."""

    class Rounded:
        size = 1

        def block(self, numbers):
            # 1e-7 on every other token: under what counts as firing, and yet above 0.
            return lambda batch: (batch.ids % 2 * 1e-7)[..., None].float()

    found, _ = read(subject, candidates)
    chosen = {"rounded": (Rounded(), [np.array([0])] * 3)}
    active = second_reading(subject, chosen, found.drawn, SETTINGS, 0)
    assert not any(values.any() for of_side in active["rounded"] for values in of_side)


def test_a_corpus_that_is_shorter_the_second_time_is_refused(subject, candidates):
    found, _ = read(subject, candidates)
    chosen = {one.name: (one.source, [np.array([3])] * 3) for one in candidates}
    with pytest.raises(BadInput, match="read otherwise the second time"):
        second_reading(subject, chosen, found.drawn, dataclasses.replace(SETTINGS, tokens=500), 0)
