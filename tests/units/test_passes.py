"""The harvest against a dense computation of the same matrix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.tiny_subject import make_tiny_twin

from autointerp import extensions
from autointerp.errors import BadInput, SubjectError
from autointerp.records import SPLITS, Context, HarvestedUnit
from autointerp.settings import HarvestSettings, load_settings
from autointerp.subjects import Subject
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.load import load_subject
from autointerp.units import sources
from autointerp.units.draws import interval_of, split_of
from autointerp.units.passes import Wanted, harvest, outcome_of
from autointerp.units.sources import Source, load_source
from autointerp.units.sources.features import Features
from autointerp.units.stream import calibrate, quiet_torch, site_batches

SEED = 3
SETTINGS = HarvestSettings(top=6, intervals=5, per_interval=3, random=9, each_side=4, rows=16)


@pytest.fixture(scope="module")
def subject(tiny_subject: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The tiny subject with its untrained twin, so that it has every source."""
    settings = make_tiny_twin(tiny_subject, tmp_path_factory.mktemp("twin"))
    return load_subject(load_settings(str(settings)).subject)


@pytest.fixture(scope="module")
def opened(subject: Subject) -> dict[str, Source]:
    calibration = calibrate(subject, SETTINGS, SEED)
    return {
        name: extensions.load(sources, "source", name).create(subject, calibration, SEED)
        for name in extensions.names(sources)
    }


def all_of(opened: dict[str, Source], most: int = 24) -> list[Wanted]:
    wanted = []
    for name, source in opened.items():
        numbers = np.arange(min(source.size, most))
        wanted.append(Wanted(name, source, numbers, numbers))
    return wanted


def harvested(subject: Subject, opened: dict[str, Source], **changes: int) -> list[HarvestedUnit]:
    settings = replace(SETTINGS, **changes)
    return harvest(subject, all_of(opened), settings, SEED, 1e-4, 1.0)


@pytest.fixture(scope="module")
def units(subject: Subject, opened: dict[str, Source]) -> list[HarvestedUnit]:
    """Up to 24 units of every source, harvested with SETTINGS."""
    return harvested(subject, opened)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (None, r"block\(\) returned None; it must return a function of a batch"),
        (lambda batch: None, r"block\(\)\(batch\) returned None; it must return torch.Tensor"),
        (lambda batch: batch.activations[..., 0], r".* shape \(.*\); they must be rows, tok"),
    ],
)
def test_a_source_that_computes_something_else_is_named(
    subject: Subject, opened: dict[str, Source], block: object, words: str
):
    class Odd(type(opened["neurons"])):  # type: ignore[misc]
        def block(self, numbers):
            return block

    odd = object.__new__(Odd)
    odd.__dict__.update(vars(opened["neurons"]))
    want = Wanted("neurons", odd, np.arange(2), np.arange(2))
    with pytest.raises(BadInput, match=f"source 'neurons': {words}"):
        harvest(subject, [want], SETTINGS, SEED, 1e-4, 1.0)


def test_a_source_whose_create_gives_none_is_named(subject: Subject, monkeypatch):
    calibration = calibrate(subject, SETTINGS, SEED)
    monkeypatch.setattr("autointerp.units.sources.neurons.create", lambda *arguments: None)
    with pytest.raises(BadInput, match=r"source 'neurons': create\(\) returned None; it must"):
        load_source("neurons", subject, calibration, SEED)


@dataclass
class Dense:
    """The whole matrix, as a harvest never holds it: [rows, tokens, units] and its places."""

    block: NDArray[np.float32]
    kept: NDArray[np.bool_]
    ids: NDArray[np.int64]
    document: NDArray[np.int64]
    position: NDArray[np.int64]
    split: NDArray[np.int64]
    texts: tuple[str, ...]

    def window(self, row: int, token: int) -> tuple[str, ...]:
        """The tokens round a place, up to the next one that is not kept."""
        first, last = token, token
        while first > max(0, token - SETTINGS.each_side) and self.kept[row, first - 1]:
            first -= 1
        end = min(self.kept.shape[1] - 1, token + SETTINGS.each_side)
        while last < end and self.kept[row, last + 1]:
            last += 1
        return tuple(self.texts[index] for index in self.ids[row, first : last + 1])

    def places(self, column: int, split: int) -> list[tuple[float, int, int, int, int]]:
        """(value, document, position, row, token) of all kept places of a split."""
        found = []
        for row in np.flatnonzero(self.split == split):
            for token in np.flatnonzero(self.kept[row]):
                value = float(self.block[row, token, column])
                place = (int(self.document[row]), int(self.position[row, token]))
                found.append((value, *place, int(row), int(token)))
        return found


def dense(subject: Subject, want: Wanted) -> Dense:
    with quiet_torch():
        [(batch, windows, position)] = site_batches(subject, replace(SETTINGS, rows=10_000), SEED)
        block = want.source.block(want.numbers)(batch).numpy().copy()
    kept = batch.kept.numpy()
    block[~kept] = 0
    block[block <= SETTINGS.fires] = 0
    split = split_of(SEED, windows.content, SETTINGS.explain_share)
    texts = tuple(subject.token_texts)
    return Dense(block, kept, windows.ids, windows.document, position, split, texts)


def in_both(matrix: Dense) -> set[str]:
    """Texts of windows that stand in documents of both splits: who draws them is not told here."""
    texts: list[set[str]] = [set(), set()]
    for row, token in zip(*np.nonzero(matrix.kept), strict=True):
        texts[matrix.split[row]].add("".join(matrix.window(row, token)))
    return texts[0] & texts[1]


def by_draw(contexts: list[Context], draw: str, split: int) -> list[Context]:
    return [c for c in contexts if c.draw == draw and c.split == SPLITS[split]]


@pytest.mark.parametrize("name", extensions.names(sources))
def test_top_contexts_are_the_strongest_windows_of_a_dense_computation(
    subject: Subject, opened: dict[str, Source], units: list[HarvestedUnit], name: str
) -> None:
    [want] = [one for one in all_of(opened) if one.name == name]
    matrix = dense(subject, want)
    mine = [one for one in units if one.summary.unit.source == name]
    assert len(mine) == len(want.numbers)
    shared = in_both(matrix)
    for column, unit in enumerate(mine):
        assert unit.summary.density == pytest.approx(
            (matrix.block[..., column] > 0).sum() / matrix.kept.sum()
        )
        assert unit.summary.peak == pytest.approx(matrix.block[..., column].max(), rel=1e-5)
        if unit.summary.outcome != "eligible":
            assert unit.contexts == []
            continue
        for split in (0, 1):
            peaks: dict[int, tuple[float, str]] = {}
            for value, _, _, row, token in matrix.places(column, split):
                if value > peaks.get(row, (0.0, ""))[0]:
                    peaks[row] = (value, "".join(matrix.window(row, token)))
            best: dict[str, float] = {}  # a text that comes again counts once
            for value, text in peaks.values():
                best[text] = max(best.get(text, 0.0), value)
            expected = sorted(best.items(), key=lambda pair: -pair[1])[: SETTINGS.top]
            found = {"".join(c.tokens): c.activation for c in by_draw(unit.contexts, "top", split)}
            missing = [text for text, _ in expected if text not in found]
            assert set(missing) <= shared
            for text, value in found.items():
                assert value == pytest.approx(best[text], rel=1e-5)


@pytest.mark.parametrize("name", extensions.names(sources))
def test_interval_and_random_contexts_are_windows_of_the_split_each_text_once(
    subject: Subject, opened: dict[str, Source], name: str
) -> None:
    [want] = [one for one in all_of(opened, 10) if one.name == name]
    units = harvest(subject, [want], SETTINGS, SEED, 1e-4, 1.0)
    matrix = dense(subject, want)
    shared = in_both(matrix)
    for column, unit in enumerate(units):
        if unit.summary.outcome != "eligible":
            continue
        peak = np.array(unit.summary.peak)
        for split in (0, 1):
            there: dict[int | None, set[str]] = {}  # by interval, and all
            for value, _, _, row, token in matrix.places(column, split):
                text = "".join(matrix.window(row, token))
                there.setdefault(None, set()).add(text)
                if value > 0:
                    number = int(interval_of(np.float32(value), peak, SETTINGS.intervals))
                    there.setdefault(number + 1, set()).add(text)
            drawn = by_draw(unit.contexts, "random", split)
            texts = {"".join(c.tokens) for c in drawn}
            assert len(texts) == len(drawn)
            assert len(drawn) >= min(SETTINGS.random, len(there[None] - shared))
            assert texts <= there[None]
            in_intervals = by_draw(unit.contexts, "interval", split)
            assert len({"".join(c.tokens) for c in in_intervals}) == len(in_intervals)
            stronger: set[str] = set()
            for interval in range(SETTINGS.intervals, 0, -1):
                possible = there.get(interval, set())
                found = {"".join(c.tokens) for c in in_intervals if c.interval == interval}
                assert found <= possible
                least = min(SETTINGS.per_interval, len(possible - shared - stronger))
                assert least <= len(found) <= SETTINGS.per_interval
                stronger |= found


def test_no_text_is_in_both_splits_of_a_unit(units: list[HarvestedUnit]) -> None:
    for unit in units:
        texts = {
            split: {"".join(c.tokens) for c in unit.contexts if c.split == split}
            for split in SPLITS
        }
        assert not texts["explain"] & texts["score"]


def test_contexts_hold_what_the_document_holds_and_nothing_else(
    subject: Subject, opened: dict[str, Source]
) -> None:
    [want] = [one for one in all_of(opened) if one.name == "neurons"]
    matrix = dense(subject, want)
    rows = {
        (int(matrix.document[r]), int(matrix.position[r, t])): (r, t)
        for r in range(len(matrix.ids))
        for t in range(matrix.ids.shape[1])
        if matrix.kept[r, t]
    }
    checked = 0
    for column, unit in enumerate(harvest(subject, [want], SETTINGS, SEED, 1e-4, 1.0)):
        for context in unit.contexts:
            row, token = rows[context.document, context.position]
            texts = matrix.window(row, token)
            assert context.tokens == texts
            first = token - context.focus
            inside = range(first, first + len(texts))
            assert first == token or matrix.kept[row, first:token].all()
            assert context.activations == pytest.approx(
                tuple(matrix.block[row, inside, column]), rel=1e-4, abs=1e-6
            )
            assert context.silent == (max(context.activations) == 0)
            assert (context.interval is None) == (context.activation == 0)
            checked += 1
    assert checked > 500


def test_no_document_is_in_both_splits(units: list[HarvestedUnit]) -> None:
    where: dict[str, set[int]] = {"explain": set(), "score": set()}
    for unit in units:
        for context in unit.contexts:
            where[context.split].add(context.document)
    assert where["explain"]
    assert where["score"]
    assert not where["explain"] & where["score"]


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_the_result_does_not_depend_on_the_batch_size(
    subject: Subject, opened: dict[str, Source], units: list[HarvestedUnit], rows: int
) -> None:
    other = harvested(subject, opened, rows=rows)
    for left, right in zip(units, other, strict=True):
        assert left.summary.density == right.summary.density
        assert left.summary.interval_tokens == right.summary.interval_tokens
        assert [replace(c, activations=()) for c in left.contexts] == [
            replace(c, activations=()) for c in right.contexts
        ]
        for mine, yours in zip(left.contexts, right.contexts, strict=True):
            assert mine.activations == pytest.approx(yours.activations, rel=1e-5, abs=1e-6)


def test_special_tokens_never_fire_and_never_stand_in_a_context(
    subject: Subject, units: list[HarvestedUnit]
) -> None:
    special = {subject.token_texts[index] for index in subject.special}
    for unit in units:
        for context in unit.contexts:
            assert not special & set(context.tokens)


def test_a_token_budget_stops_at_that_token(subject: Subject, opened: dict[str, Source]) -> None:
    units = harvested(subject, opened, tokens=3001)
    assert {unit.summary.tokens for unit in units} == {3001}
    again = harvested(subject, opened, tokens=3001, rows=5)
    assert [u.summary.density for u in units] == [u.summary.density for u in again]


def test_interval_sizes_estimate_the_tokens_on_which_a_unit_fires(
    units: list[HarvestedUnit],
) -> None:
    eligible = [u for u in units if u.summary.outcome == "eligible"]
    estimated = sum(sum(u.summary.interval_tokens) for u in eligible)
    counted = sum(u.summary.density * u.summary.tokens for u in eligible)
    # Some hundred independent estimates of relative spread under 0.5 each: within 10 %.
    assert estimated == pytest.approx(counted, rel=0.1)


def test_planted_units_fire_on_their_word_and_nowhere_else(units: list[HarvestedUnit]) -> None:
    planted = [u for u in units if u.summary.unit.source == "planted"]
    assert planted
    for unit in planted:
        word = unit.summary.note.removeprefix("fires on ").strip("'")
        for context in unit.contexts:
            for token, activation in zip(context.tokens, context.activations, strict=True):
                assert (token.strip().lower() == word) == (activation > 0)


def test_random_directions_and_shuffled_units_fire_as_often_as_the_features_they_match(
    subject: Subject, opened: dict[str, Source], units: list[HarvestedUnit]
) -> None:
    assert subject.sae is not None
    numbers = np.arange(subject.sae.d_sae)
    want = Wanted("features", opened["features"], numbers, numbers)
    features = {
        f"{u.summary.unit}": u.summary.density
        for u in harvest(subject, [want], SETTINGS, SEED, 0, 1)
    }
    ratios = []
    for unit in units:
        if unit.summary.unit.source in ("random", "shuffled"):
            named = [word for word in unit.summary.note.replace(",", "").split() if "/" in word]
            ratios.append(unit.summary.density / features[named[0]])
    # The corpus is shorter than the calibration: random ones match exactly, shuffled by lot.
    assert np.median(ratios) == pytest.approx(1, abs=0.1)


def test_neurons_of_a_signed_site_are_two_units_each(subject: Subject) -> None:
    from autointerp.units.sources.neurons import Neurons

    source = Neurons(width=3, signed=True)
    assert source.size == 6
    assert [source.unit(n).sign for n in range(6)] == [1, 1, 1, -1, -1, -1]
    assert [source.unit(n).index for n in range(6)] == [0, 1, 2, 0, 1, 2]
    with quiet_torch():
        [(batch, _, _)] = site_batches(subject, replace(SETTINGS, rows=10_000), SEED)
    signed = replace(batch, activations=torch.tensor([[[1.0, -2.0, 0.0]]]))
    block = source.block(np.arange(6))(signed)
    assert block.tolist() == [[[1.0, 0.0, 0.0, 0.0, 2.0, 0.0]]]


@pytest.mark.parametrize(
    ("fired", "density", "outcome"),
    [(0, 0.0, "dead"), (3, 5e-5, "ultralow"), (50, 1e-3, "eligible"), (9000, 0.9, "dense")],
)
def test_the_density_filter_names_what_it_leaves_out(
    fired: int, density: float, outcome: str
) -> None:
    assert outcome_of(fired, density, least=1e-4, most=0.5) == outcome


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_an_sae_that_makes_no_numbers_of_finite_activations_is_refused(
    subject: Subject, wrong: float
) -> None:
    assert isinstance(subject.sae, SparseAutoencoder)
    W_enc = subject.sae.W_enc.clone()
    W_enc[0, 2] = wrong
    units = np.arange(4)
    features = Features(replace(subject.sae, W_enc=W_enc))
    with pytest.raises(SubjectError, match="an activation of the features is not finite"):
        harvest(subject, [Wanted("features", features, units, units)], SETTINGS, SEED, 1e-4, 1.0)
