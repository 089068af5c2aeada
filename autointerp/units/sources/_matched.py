"""Features that controls are matched to."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from autointerp.errors import CorpusError
from autointerp.subjects import Subject
from autointerp.units.masks import count_by_column, over
from autointerp.units.sources import Calibration, Matched

LEAST_FIRINGS = 5
FIRES = 1e-5


def matched_features(subject: Subject, calibration: Calibration, seed: int, count: int) -> Matched:
    """Return `count` features drawn at random among those that fire often enough to match.

    Features are drawn without replacement; only where there are too few do they recur. Without an
    SAE neurons stand in, as the source `neurons` has them. Raises CorpusError if none fires often
    enough.
    """
    cache = calibration.matched
    if (seed, count) not in cache:
        x = calibration.activations
        if subject.sae is None and calibration.hidden is not None:
            x = calibration.hidden
        width = x.shape[-1] if subject.sae is None else subject.sae.d_sae
        order = np.random.default_rng([seed, 0x6D61]).permutation(width)
        features: list[int] = []
        firings: list[NDArray[np.float32]] = []
        for begin in range(0, width, 512):
            numbers = torch.from_numpy(order[begin : begin + 512]).to(x.device)
            encoded = x[:, numbers] if subject.sae is None else subject.sae.encode(x, numbers)
            fires = count_by_column(over(encoded, FIRES))
            enough = np.flatnonzero(fires >= LEAST_FIRINGS)[: count - len(features)]
            chosen = encoded[:, torch.from_numpy(enough).to(x.device)].T.contiguous().cpu().numpy()
            for row, values in zip(enough, chosen, strict=True):
                features.append(int(order[begin + row]))
                firings.append(np.sort(values[values > FIRES]))
            if len(features) == count:
                break
        if not features:
            raise CorpusError("no feature fires often enough in the corpus to match controls to")
        again = np.resize(np.arange(len(features)), count)
        cache[seed, count] = Matched(
            "neurons" if subject.sae is None else "features",
            np.array(features)[again],
            [firings[i] for i in again],
        )
    return cache[seed, count]
