"""How strongly units fire on texts that stand in no corpus, read as the subject's windows are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import SubjectError
from autointerp.settings import HarvestSettings
from autointerp.subjects import Subject
from autointerp.subjects.token_texts import TokenTexts
from autointerp.subjects.windows import Windows, content_hash
from autointerp.units.contents import token_hashes
from autointerp.units.sources import Source
from autointerp.units.stream import Reading, at_site, counted, quiet_torch, text_ids

UNITS = 512  # of a source, whose activations are computed at a time


@dataclass(frozen=True)
class Responses:
    """A batch of texts as the model read them.

    Attributes:
        places: Of the texts, in the order that was given.
        tokens: Of each text.
        activations: Of each text [units, tokens], float32; 0 where a token does not count.
    """

    places: tuple[int, ...]
    tokens: tuple[tuple[str, ...], ...]
    activations: tuple[NDArray[np.float32], ...]


def responses(
    subject: Subject,
    source: Source,
    numbers: NDArray[np.int64],
    texts: Sequence[str],
    settings: HarvestSettings,
    seed: int,
) -> Iterator[Responses]:
    """Yield how strongly units of a source, by their numbers, fire on texts, in batches.

    A text stands alone, behind BOS where windows begin with it, and is cut where the model reads
    no more. Texts without a token are left out. Raises SubjectError if the subject has no tokenizer
    of texts.
    """
    if subject.tokenise is None:
        raise SubjectError(
            f"'{subject.name}' has no tokenizer of texts, so units cannot be measured on any; name "
            "a subject with one"
        )
    begin = [] if subject.bos is None else [subject.bos]
    ids = [[*begin, *own][: subject.longest] for own in subject.tokenise(list(texts))]
    order = sorted(
        (place for place, own in enumerate(ids) if len(own) > len(begin)),
        key=lambda place: (len(ids[place]), place),  # texts of like length together
    )
    is_text = text_ids(subject)
    hashes = token_hashes([])
    with quiet_torch():
        for first in range(0, len(order), settings.rows):
            places = order[first : first + settings.rows]
            windows = _windows([ids[place] for place in places])
            kept, position = counted(subject, settings, windows, is_text)
            rows = np.arange(len(kept))
            reading = Reading(windows, kept, position, hashes, settings.each_side, rows)
            batch = at_site(subject, reading, seed)
            blocks = [
                source.block(numbers[part : part + UNITS])(batch).float().cpu().numpy()
                for part in range(0, len(numbers), UNITS)
            ]
            block = np.concatenate(blocks, axis=-1)  # [rows, tokens, units]
            block[~kept] = 0
            own = [
                np.ascontiguousarray(row[len(begin) : len(ids[place])].T)
                for row, place in zip(block, places, strict=True)
            ]
            tokens = [_strings(subject, ids[place][len(begin) :]) for place in places]
            yield Responses(tuple(places), tuple(tokens), tuple(own))


def _windows(ids: Sequence[Sequence[int]]) -> Windows:
    """Return texts as windows; a document's number is a digest of its ids, so that what is drawn
    by place is drawn alike whenever the text is read.
    """
    length = max(map(len, ids))
    padded = np.zeros((len(ids), length), dtype=np.int64)
    attention = np.zeros((len(ids), length), dtype=bool)
    for row, own in enumerate(ids):
        padded[row, : len(own)] = own
        attention[row, : len(own)] = True
    raw = [np.asarray(own, dtype="<i8").tobytes() for own in ids]
    documents = [
        int.from_bytes(hashlib.blake2b(one, digest_size=8).digest(), "little") >> 2 for one in raw
    ]
    return Windows(
        padded,
        attention,
        np.array(documents, dtype=np.int64),
        np.zeros(len(ids), dtype=np.int64),
        np.array([content_hash(np.asarray(own)) for own in ids], dtype=np.uint64),
    )


def _strings(subject: Subject, ids: Sequence[int]) -> tuple[str, ...]:
    texts = subject.token_texts
    if isinstance(texts, TokenTexts):
        return tuple(texts.joined(list(ids), 0))
    return tuple(texts[index] for index in ids)
