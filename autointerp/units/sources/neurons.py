"""Neurons, or the site's own axes; two units each, + and −, where activations are signed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.records import Unit
from autointerp.subjects import Subject
from autointerp.units.sources import Block, Calibration, SiteBatch

ROLE = "studied"
NAMES = ("a neuron", "neurons")
COLOUR = "#e08a1e"


@dataclass(frozen=True)
class Neurons:
    """Columns of the site, or of the hidden neurons of its layer.

    Attributes:
        are_hidden: Whether they are those of the layer's MLP, at a site that is another.
    """

    width: int
    signed: bool
    are_hidden: bool = False
    transcodes: bool = False

    @property
    def size(self) -> int:
        return self.width * (2 if self.signed else 1)

    def unit(self, number: int) -> Unit:
        return Unit("neurons", number % self.width, 1 if number < self.width else -1)

    def note(self, number: int) -> str:
        return ""

    def block(self, numbers: NDArray[np.int64]) -> Block:
        columns = torch.from_numpy(numbers % self.width)
        signs = torch.from_numpy(np.where(numbers < self.width, 1.0, -1.0).astype(np.float32))

        def compute(batch: SiteBatch) -> Tensor:
            at = batch.hidden if self.are_hidden else batch.activations
            assert at is not None
            flat = at.flatten(0, -2)  # five times as fast in two dimensions
            chosen = flat.index_select(1, columns.to(flat.device))
            chosen = chosen.view(*at.shape[:-1], -1)
            if not self.signed:
                return chosen
            return (chosen * signs.to(chosen.device)).relu_()

        return compute

    def written(self, numbers: NDArray[np.int64]) -> Tensor:
        """Return each unit's own axis, turned round for the negative half."""
        axes = torch.zeros(len(numbers), self.width)
        signs = torch.from_numpy(np.where(numbers < self.width, 1.0, -1.0).astype(np.float32))
        axes[torch.arange(len(numbers)), torch.from_numpy(numbers % self.width)] = signs
        return axes


def create(subject: Subject, calibration: Calibration, seed: int) -> Neurons:
    if subject.hidden is None:
        return Neurons(subject.d_site, subject.signed)
    return Neurons(subject.hidden.d_site, subject.hidden.signed, are_hidden=True)
