"""Which units fire on a token of a prompt, and how strongly: all of a source, in the run or not."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from autointerp.settings import HarvestSettings
from autointerp.subjects import Subject
from autointerp.subjects.token_texts import TokenTexts
from autointerp.units.passes import COLUMNS_AT_ONCE
from autointerp.units.sources import SiteBatch, Source
from autointerp.units.stream import quiet_torch, window_length

ROWS = 64  # windows of the corpus that are looked through at a time


def prompt_batch(subject: Subject, ids: Sequence[int]) -> SiteBatch:
    """Return a prompt at the site, [1, tokens], special tokens not kept."""
    row = torch.tensor([list(ids)])
    attention = torch.ones_like(row, dtype=torch.bool)
    on_device = row.to(subject.device), attention.to(subject.device)
    hidden = None
    if subject.read_both is None:
        x = subject.model.activations(*on_device)
    else:
        x, hidden = subject.read_both(*on_device)
        hidden = hidden.to(x.device)
    is_text = torch.tensor([[index not in subject.special for index in ids]])
    twin = subject.untrained
    return SiteBatch(
        x,
        row.to(x.device),
        is_text.to(x.device),
        np.zeros(tuple(row.shape), dtype=np.uint64),
        hidden,
        None if twin is None else lambda: twin().model.activations(*on_device).to(x.device),
    )


def activations_at(
    subject: Subject, source: Source, ids: Sequence[int], position: int
) -> NDArray[np.float32]:
    """Return the activation of every unit of a source at one token of a prompt, [source.size]."""
    values = np.empty(source.size, np.float32)
    with quiet_torch():
        batch = prompt_batch(subject, ids)
        for begin in range(0, source.size, COLUMNS_AT_ONCE):
            numbers = np.arange(begin, min(begin + COLUMNS_AT_ONCE, source.size))
            values[numbers] = source.block(numbers)(batch)[0, position].float().cpu().numpy()
    return values


def token_before(texts: Sequence[str], end: int) -> int:
    """Return the index of the token that holds the last character before `end`.

    `texts` are those of the tokens of a prompt, which together are the prompt; its last token where
    they are shorter than that.
    """
    length = 0
    for place, text in enumerate(texts):
        length += len(text)
        if length >= end:
            return place
    return len(texts) - 1


def occurrences(
    subject: Subject, settings: HarvestSettings, names: Sequence[str]
) -> tuple[NDArray[np.int64], int]:
    """Return how often each name stands in the harvest's part of the corpus, [names], as a whole
    word of any case, and how many tokens that part has.

    What a window cuts in two is not found.
    """
    lowered = [name.lower() for name in names]
    patterns = [re.compile(rf"(?<!\w){re.escape(name)}(?!\w)") for name in lowered]
    found, tokens = np.zeros(len(names), np.int64), 0
    texts = subject.token_texts
    special = np.array(sorted(subject.special), dtype=np.int64)
    left = settings.tokens or None
    for windows in subject.cut(window_length(subject, settings), ROWS):
        for row, attention in zip(windows.ids, windows.attention, strict=True):
            ids = row[attention & ~np.isin(row, special)][: left if left is not None else None]
            tokens += len(ids)
            if left is not None:
                left -= len(ids)
            if not len(ids):
                continue
            of_window = ids.tolist()
            text = "".join(
                texts.joined(of_window, 0)
                if isinstance(texts, TokenTexts)
                else [texts[index] for index in of_window]
            ).lower()
            for place, name in enumerate(lowered):
                if name in text:
                    found[place] += len(patterns[place].findall(text))
        if left == 0:
            break
    return found, tokens
