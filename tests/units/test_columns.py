from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from autointerp.errors import SubjectError
from autointerp.settings import HarvestSettings
from autointerp.subjects.windows import Windows
from autointerp.units.columns import Chunk, Columns, Places, WindowTexts
from autointerp.units.draws import place_hash, unit_salts

SETTINGS = HarvestSettings(top=2, intervals=2, per_interval=1, random=2, each_side=1)
TEXTS = WindowTexts(["a", "b", "c", "d"])
DOCUMENTS = np.array([0, 1, 2])
IDS = np.array([[0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 0, 1]])
KEPT = np.array([[True, True, True, True], [True, True, True, False], [True, True, True, True]])
VALUES = np.array([[0, 4, 0, 1], [0, 0, 3, 9], [2, 0, 0, 0]], dtype=np.float32)


def chunk(rows: slice = slice(None)) -> Chunk:
    document = DOCUMENTS[rows]
    position = np.tile(np.arange(4), (len(document), 1))
    return Chunk(
        KEPT[rows],
        Windows(
            IDS[rows],
            KEPT[rows],
            document,
            np.zeros(len(document), np.int64),
            document.astype(np.uint64),
        ),
        position,
        place_hash(0, document[:, None], position),
        np.zeros(len(document), np.int64),  # all explain
        SETTINGS.each_side,
    )


def columns() -> Columns:
    return Columns("features", unit_salts("features", np.arange(1), 0), SETTINGS)


def block(values: NDArray[np.float32], rows: slice = slice(None)) -> torch.Tensor:
    return torch.from_numpy(values[rows, :, None].copy())


def test_the_strongest_contexts_are_windows_round_their_peaks() -> None:
    kept = columns()
    kept.add(block(VALUES), Places(chunk()))
    (contexts,), _, peaks = kept.contexts(TEXTS)
    top = [context for context in contexts if context.draw == "top"]
    # The 9 stands on a token that is not kept; the windows' peaks are 4 and 3.
    assert peaks.tolist() == [4.0]
    assert [(context.activation, context.tokens, context.focus) for context in top] == [
        (4.0, ("a", "b", "c"), 1),
        (3.0, ("c", "d"), 1),  # cut where the token beside it is not kept
    ]


def test_firing_tokens_are_counted_where_they_are_kept() -> None:
    kept = columns()
    kept.add(block(VALUES), Places(chunk()))
    assert kept.fired.tolist() == [4]
    _, sizes, _ = kept.contexts(TEXTS)
    assert sizes.tolist() == [[1.0, 3.0]]  # 1 is under half of the peak; 2, 3 and 4 are not


def test_what_is_kept_does_not_depend_on_how_a_batch_is_cut() -> None:
    at_once, in_parts = columns(), columns()
    at_once.add(block(VALUES), Places(chunk()))
    for rows in (slice(2, 3), slice(0, 2)):
        in_parts.add(block(VALUES, rows), Places(chunk(rows)))
    assert at_once.contexts(TEXTS)[0] == in_parts.contexts(TEXTS)[0]


def in_two_splits(texts: int) -> Chunk:
    """The windows, the second one in the other split, with so many different texts."""
    content = place_hash(0, np.arange(12)[:, None] % texts, np.zeros((1, 1), np.int64))
    document = np.array([3, 1, 2])
    return Chunk(
        KEPT,
        Windows(IDS, KEPT, document, np.zeros(3, np.int64), document.astype(np.uint64)),
        np.tile(np.arange(4), (3, 1)),
        content.reshape(3, 4),
        np.array([0, 1, 0]),
        SETTINGS.each_side,
    )


OFFSETS = np.array([5, 2**31, 2**32 - 3], np.uint64)
BOUNDS = [[0, 2**32], [2**30, 2**31], [2**32, 7 * 2**29]]  # by column and split


def priorities_under(part: Chunk, column: int, split: int) -> list[tuple[int, int, int, int, int]]:
    """Priority, document, position, place and text of each place under the stream's bound."""
    found = []
    for place in np.flatnonzero(KEPT.ravel() & (part.place_split == split)).tolist():
        priority = (int(part.bits[place]) + int(OFFSETS[column])) % 2**32
        if priority < BOUNDS[column][split]:
            where = int(part.document[place]), int(part.position[place])
            found.append((priority, *where, place, int(part.content[place])))
    return sorted(found)


@pytest.mark.parametrize("texts", [2, 5, 12])
def test_places_under_a_bound_are_those_of_a_look_at_every_place(texts: int) -> None:
    part = in_two_splits(texts)
    places, column = part.under(OFFSETS, np.array(BOUNDS, np.uint64).ravel())
    every = [
        (place, number)
        for number in range(3)
        for split in (0, 1)
        for _, _, _, place, _ in priorities_under(part, number, split)
    ]
    assert sorted(zip(places.tolist(), column.tolist(), strict=True)) == sorted(every)
    assert len(every) > 12


@pytest.mark.parametrize("texts", [2, 5, 12])
@pytest.mark.parametrize("size", [1, 3, 50])
def test_the_lowest_texts_are_those_of_a_look_at_every_place(texts: int, size: int) -> None:
    part = in_two_splits(texts)
    places, column = part.lowest(OFFSETS, np.array(BOUNDS, np.uint64).ravel(), size)
    every = []
    for number in range(3):
        for split in (0, 1):
            first: dict[int, int] = {}  # a text stands where it comes first
            for _, _, _, place, text in priorities_under(part, number, split):
                first.setdefault(text, place)
            every += [(place, number) for place in [*first.values()][:size]]
    assert sorted(zip(places.tolist(), column.tolist(), strict=True)) == sorted(every)


def test_an_activation_that_is_no_number_is_refused() -> None:
    wrong = VALUES.copy()
    wrong[0, 1] = np.inf
    kept, part = columns(), chunk()
    with pytest.raises(SubjectError, match="an activation of the features is not finite"):
        kept.add(block(wrong), Places(part))


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_an_activation_on_a_token_that_is_not_kept_may_be_no_number(value: float) -> None:
    wrong = VALUES.copy()
    wrong[1, 3] = value
    kept, right = columns(), columns()
    kept.add(block(wrong), Places(chunk()))
    right.add(block(VALUES), Places(chunk()))
    assert kept.contexts(TEXTS)[0] == right.contexts(TEXTS)[0]


def test_of_equal_peaks_of_a_window_the_first_one_is_kept() -> None:
    kept = columns()
    kept.add(
        block(np.array([[5, 0, 5, 5], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32)), Places(chunk())
    )
    (contexts,), _, _ = kept.contexts(TEXTS)
    top = [context for context in contexts if context.draw == "top"]
    assert [(context.position, context.activation) for context in top] == [(0, 5.0)]


def test_an_activation_that_is_not_over_what_fires_is_shown_as_none() -> None:
    kept = columns()
    kept.add(block(np.where(VALUES == 4, VALUES, np.float32(1e-6))), Places(chunk()))
    (contexts,), _, _ = kept.contexts(TEXTS)
    top = [context for context in contexts if context.draw == "top"]
    assert [context.activations for context in top] == [(0.0, 4.0, 0.0)]
    assert kept.fired.tolist() == [1]
