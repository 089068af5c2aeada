"""How units of a source are read from a site and written to it, without the code that sets them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from autointerp.store.run import Run
from autointerp.subjects import Subject
from autointerp.units.reopen import sources_again

Coded = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]


def coded(run: Run, subject: Subject, name: str) -> Coded:
    """Return the functions x -> activations of all units of a source, and back to what they write.

    Of features the SAE's own; of unsigned neurons x itself; of random directions the projections
    over their thresholds.
    """
    if name == "features":
        return subject.sae.encode, subject.sae.decode
    if name == "neurons":
        return torch.clone, torch.clone
    ((_, source, _),) = sources_again(run, subject, [u.unit_id for u in run.units(name)])
    thresholds = torch.from_numpy(source.thresholds(np.arange(source.size)))
    return (
        lambda x: (x @ source.directions - thresholds).clamp_min(0),
        lambda activations: activations @ source.directions.T,
    )
