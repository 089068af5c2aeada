"""Control, the ceiling: fires exactly on a known rule of the text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.errors import CorpusError
from autointerp.records import Unit
from autointerp.subjects import Subject
from autointerp.units.draws import unit_hash
from autointerp.units.sources import Block, Calibration, SiteBatch

ROLE = "ceiling"
NAMES = ("a planted unit", "planted units")
COLOUR = "#4a8f5c"
SIZE = 512
LEAST_COUNT, LARGEST_SHARE = 20, 0.02


@dataclass(frozen=True)
class Planted:
    """Unit i fires on one token, in any case and with or without a space before it.

    The activation is drawn between 0 and 1 for each place, so that every interval is filled; the
    rule holds at all of them alike.

    Attributes:
        membership: [vocabulary] number of the unit that fires on a token id, or -1.
        texts: What each unit fires on.
    """

    membership: Tensor
    texts: list[str]

    @property
    def size(self) -> int:
        return len(self.texts)

    def unit(self, number: int) -> Unit:
        return Unit("planted", number)

    def note(self, number: int) -> str:
        return f"fires on {self.texts[number]!r}"

    def block(self, numbers: NDArray[np.int64]) -> Block:
        place = torch.full((self.size + 1,), -1, dtype=torch.int64)
        place[torch.from_numpy(numbers)] = torch.arange(len(numbers))
        column_of_token = place[self.membership]  # -1 indexes the last entry, which stays -1

        def compute(batch: SiteBatch) -> Tensor:
            block = np.zeros((*batch.place_hash.shape, len(numbers)), dtype=np.float32)
            columns = column_of_token.to(batch.ids.device)[batch.ids].cpu().numpy()
            where = np.nonzero(columns >= 0)
            uniform = unit_hash(batch.place_hash[where], 0) / 2.0**64
            block[(*where, columns[where])] = 1.0 - 0.999 * uniform.astype(np.float32)
            return torch.from_numpy(block).to(batch.activations.device)

        return compute


def create(subject: Subject, calibration: Calibration, seed: int) -> Planted:
    rng = np.random.default_rng([seed, 0x706C616E])
    groups = frequent_words(subject, calibration)
    words = list(groups)
    chosen = [words[i] for i in rng.permutation(len(words))[:SIZE]]
    membership = torch.full((len(subject.token_texts),), -1, dtype=torch.int64)
    for number, word in enumerate(chosen):
        membership[groups[word]] = number
    return Planted(membership, chosen)


def frequent_words(subject: Subject, calibration: Calibration) -> dict[str, list[int]]:
    """Return words that are neither rare nor common in the corpus, with the tokens that they are.

    Raises CorpusError if there is none.
    """
    counts = np.zeros(len(subject.token_texts), dtype=np.int64)
    seen = calibration.token_counts
    counts[: len(seen)] = seen
    groups: dict[str, list[int]] = {}
    for index, text in enumerate(subject.token_texts):
        word = text.strip().lower()
        if index not in subject.special and word.isalpha() and len(word) >= 2:
            groups.setdefault(word, []).append(index)
    share = {word: int(counts[ids].sum()) for word, ids in groups.items()}
    most = LARGEST_SHARE * len(calibration.ids)
    frequent = [word for word, count in share.items() if LEAST_COUNT <= count <= most]
    if not frequent:
        raise CorpusError(
            "no word is frequent enough in the corpus, and not too frequent, to plant units on; "
            "read more text, or leave controls out (--controls 0)"
        )
    return {word: groups[word] for word in frequent}
