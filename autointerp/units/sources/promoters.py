"""Control, the ceiling of what units write: directions that make one known word likelier next."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from autointerp.errors import SubjectError
from autointerp.records import Unit
from autointerp.subjects import Subject
from autointerp.units.sources import Calibration
from autointerp.units.sources._matched import matched_features
from autointerp.units.sources.planted import frequent_words
from autointerp.units.sources.random import RandomDirections

ROLE = "control"
NAMES = ("a planted direction", "planted directions")
COLOUR = "#2f6f8f"
ONLY_IF_NAMED = True
SIZE = 512
ROWS = 256  # of the site, whose effects on the full vocabulary are held at a time


@dataclass(frozen=True)
class Promoters(RandomDirections):
    """Unit i adds what raises the logits of one word most for its length, by the direct path.

    What it writes is known by construction; it fires where the site points the same way, as often
    as the feature that it is matched with.

    Attributes:
        words: Of each unit, in lower case.
    """

    words: list[str] = field(default_factory=list)

    def unit(self, number: int) -> Unit:
        return Unit("promoters", number)

    def note(self, number: int) -> str:
        return f"promotes {self.words[number]!r}, density matched to {self._model(number)}"


def create(subject: Subject, calibration: Calibration, seed: int) -> Promoters:
    """Raises SubjectError where the direct path to the logits is not known, or shows no word."""
    groups = frequent_words(subject, calibration)
    words, directions = promoting(subject, groups)
    order = np.random.default_rng([seed, 0x70726F6D]).permutation(len(words))[:SIZE]
    matched = matched_features(subject, calibration, seed, SIZE)
    return Promoters(
        directions[:, torch.from_numpy(order)],
        calibration,
        matched,
        size=len(order),
        words=[words[place] for place in order],
    )


def promoting(subject: Subject, groups: dict[str, list[int]]) -> tuple[list[str], Tensor]:
    """Return words, and for each the unit vector [d_site, words] that promotes it.

    It is the gradient of the mean logit of the word's tokens, less the mean over the vocabulary.
    Words for which another token is promoted more are left out. Raises SubjectError if none is
    left.
    """
    written = None if subject.loaded is None else subject.loaded.writes
    readout = subject.model.readout(False, written)
    axes = torch.eye(subject.d_site)
    rows = []
    for part in axes.split(ROWS):
        effects = readout.effects(part)
        rows.append(torch.stack([effects[:, ids].mean(1) for ids in groups.values()], 1).cpu())
    directions = torch.cat(rows)
    directions /= directions.norm(dim=0)
    words = list(groups)
    kept = []
    for begin in range(0, len(words), ROWS):
        tops = readout.effects(directions[:, begin : begin + ROWS].T).argmax(-1).tolist()
        kept += [
            begin + place for place, top in enumerate(tops) if top in groups[words[begin + place]]
        ]
    if not kept:
        raise SubjectError(
            f"no direction at {subject.site} promotes one word above all others; harvest without "
            "--source promoters"
        )
    return [words[place] for place in kept], directions[:, kept]
