from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autointerp.errors import CorpusError, SubjectError
from autointerp.settings import HarvestSettings
from autointerp.subjects import Subject
from autointerp.subjects.corpora import Document, stream_windows
from autointerp.units import stream
from autointerp.units.passes import Wanted, harvest
from autointerp.units.sources import load_source
from autointerp.units.stream import (
    CALIBRATION_TOKENS,
    calibrate,
    readings,
    require_both_splits,
    window_length,
)

SEED = 0
SETTINGS = HarvestSettings()


def test_readings_hold_exactly_the_token_budget_whatever_the_batch(subject: Subject) -> None:
    for rows in (1, 5):
        settings = replace(SETTINGS, tokens=3001, rows=rows)
        parts = list(readings(subject, settings))
        assert sum(int(part.kept.sum()) for part in parts) == 3001
        for part in parts:
            assert part.kept.shape == part.position.shape == part.windows.ids.shape
            assert part.kept.size <= rows * window_length(subject, settings)


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


class Table:
    """A row of activations for each token id, the same wherever it stands."""

    def __init__(self, vocabulary: int, width: int) -> None:
        self.rows = torch.from_numpy(
            np.random.default_rng(1).standard_normal((vocabulary, width)).astype(np.float32)
        )

    def activations(self, ids: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
        return self.rows[ids] * attention[..., None]


def of_documents(subject: Subject, *sizes: int) -> Subject:
    """Return the subject with documents of so many tokens, no two alike."""
    documents = [Document(n, np.arange(2, size + 2) + n) for n, size in enumerate(sizes)]
    return replace(
        subject,
        cut=lambda length, rows: stream_windows(documents, lambda _: [], length, 0, 1, rows),
    )


def test_documents_that_all_fall_into_one_split_are_refused_with_a_remedy(subject: Subject) -> None:
    settings = replace(SETTINGS, window=128)
    one = of_documents(subject, 300)
    said = {}
    for seed in range(8):
        with pytest.raises(CorpusError, match="is 1 document, copies aside, all in") as error:
            require_both_splits(one, settings, seed)
        said[str(error.value).partition("split '")[2].partition("'")[0]] = str(error.value)
    assert "no description could be tried" in said["explain"]
    assert "no unit could be described" in said["score"]
    assert all("more documents" in text and "explain_share = 1" in text for text in said.values())
    assert not any("--seed" in text for text in said.values())  # eight did not help
    require_both_splits(one, replace(settings, explain_share=1.0), 0)  # as it was asked for
    two = of_documents(subject, 300, 300)
    refused = []
    for seed in range(8):
        try:
            require_both_splits(two, settings, seed)
        except CorpusError as error:
            refused.append(str(error))
    assert 0 < len(refused) < 8
    assert all("or take another --seed" in text for text in refused)


def test_documents_beyond_the_token_budget_are_in_no_split(subject: Subject) -> None:
    settings = replace(SETTINGS, window=128)
    many = of_documents(subject, *[300] * 12)
    require_both_splits(many, settings, 0)
    with pytest.raises(CorpusError, match="is 1 document, copies"):
        require_both_splits(many, replace(settings, tokens=300), 0)


@pytest.fixture(scope="module")
def short(subject: Subject) -> Subject:
    """The tiny subject's tokens in documents of 1 to 40, most of a few; read by a table."""
    rng = np.random.default_rng(2)
    vocabulary = len(subject.token_texts)
    lengths = np.minimum(rng.geometric(0.15, 1500), 40)
    documents = [
        Document(number, rng.integers(2, vocabulary, size)) for number, size in enumerate(lengths)
    ]
    return replace(
        subject,
        model=Table(vocabulary, subject.d_site),  # type: ignore[arg-type]
        cut=lambda length, rows: stream_windows(documents, lambda _: [], length, 0, 1, rows),
        longest=128,
    )


def test_short_documents_are_computed_at_about_their_own_length(short: Subject) -> None:
    settings = replace(SETTINGS, window=128)
    whole = list(stream._as_written(short, settings))
    parts = list(readings(short, settings))
    tokens = sum(int(part.windows.attention.sum()) for part in whole)
    assert sum(part.kept.size for part in whole) > 10 * tokens  # what they would cost
    assert sum(part.kept.size for part in parts) <= 1.3 * tokens
    # No batch has more computed tokens than one of full windows, and few have much less.
    assert max(part.kept.size for part in parts) <= settings.rows * 128
    # Every window once, as it was.
    order = np.concatenate([part.order for part in parts])
    assert sorted(order.tolist()) == list(range(sum(len(part.kept) for part in whole)))
    texts = {
        number: ids[attends].tolist()
        for part in whole
        for number, ids, attends in zip(
            part.order.tolist(), part.windows.ids, part.windows.attention, strict=True
        )
    }
    for part in parts:
        for number, ids, attends in zip(
            part.order.tolist(), part.windows.ids, part.windows.attention, strict=True
        ):
            assert ids[attends].tolist() == texts[number]


def test_a_window_is_computed_at_a_width_that_is_its_own(short: Subject) -> None:
    widths: list[dict[int, int]] = []
    for rows in (3, 64):
        settings = replace(SETTINGS, window=128, rows=rows)
        widths.append(
            {
                number: part.kept.shape[1]
                for part in readings(short, settings)
                for number in part.order.tolist()
            }
        )
    assert widths[0] == widths[1]


@pytest.mark.parametrize("tokens", [0, 5001])
def test_the_order_of_the_batches_leaves_every_byte_of_a_harvest_as_it_is(
    short: Subject, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    def harvested(rows: int) -> object:
        settings = replace(SETTINGS, window=128, rows=rows, tokens=tokens)
        calibration = calibrate(short, settings, SEED)
        numbers = np.arange(6)
        wanted = [
            Wanted(name, load_source(name, short, calibration, SEED), numbers, numbers)
            for name in ("neurons", "shuffled")  # no products, whose rounding goes by shape
        ]
        units = harvest(short, wanted, settings, SEED, 0.0, 1.0)
        return [(unit.summary, list(unit.contexts)) for unit in units]

    by_length = harvested(64)
    assert harvested(3) == by_length
    monkeypatch.setattr(stream, "PADDED", float("inf"))  # as written
    assert harvested(64) == by_length


def test_a_budget_among_short_documents_says_at_its_end_that_the_corpus_goes_on(
    short: Subject,
) -> None:
    for tokens in (4000, 5001):
        parts = list(readings(short, replace(SETTINGS, window=128, tokens=tokens)))
        assert sum(int(part.kept.sum()) for part in parts) == tokens
        assert [part.goes_on for part in parts] == [False] * (len(parts) - 1) + [True]


@pytest.mark.parametrize("bos", [0, None])
def test_a_position_is_a_place_in_the_document_whatever_special_tokens_it_has(
    subject: Subject, bos: int | None
) -> None:
    """The embedded tokenizer's 0 and 1 are special; a document may hold them, as packed ones do."""
    ids = np.array([1, 5, 6, 0, 7, 8, 1, 1, 9, 10, 11, 0, 12, 13, 14])
    marked = replace(
        subject,
        cut=lambda length, rows: stream_windows(
            [Document(0, ids)], lambda _: [], length, bos, 1, rows
        ),
        begins_with_bos=bos is not None,
    )
    settings = replace(SETTINGS, window=5)
    found: dict[int, int] = {}
    for part in readings(marked, settings):
        here = zip(part.position[part.kept], part.windows.ids[part.kept], strict=True)
        found |= {int(position): int(token) for position, token in here}
    assert {0, 1}.isdisjoint(found.values())
    assert all(ids[position] == token for position, token in found.items())
    assert bos is None or len(found) == int((ids > 1).sum())
