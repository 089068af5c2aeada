"""The direct path from a site to the output logits: which tokens a direction makes likelier.

The path: what the site writes into the residual stream, the final norm's weights, the unembedding.
Left out are the final norm's scale, one positive number a token, which changes no order, and all
that later layers make of it (the "logit lens"; SEEDS §2, logit effects).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autointerp.errors import SubjectError

Step = Callable[[Tensor], Tensor]

ROWS = 8_192  # of a weight that are turned to float32 at a time


@dataclass(frozen=True)
class Readout:
    """The direct path from a site to the logits: linear maps, one after the other.

    Attributes:
        width: Of what is written at the site.
    """

    width: int
    steps: tuple[Step, ...]

    @torch.no_grad()
    def effects(self, directions: Tensor) -> Tensor:
        """Return what directions [units, width] add to the logits [units, vocabulary], less its
        mean over the vocabulary, which changes no probability; up to a positive factor.

        Raises SubjectError if they are not as wide as what the site writes.
        """
        if directions.shape[-1] != self.width:
            raise SubjectError(
                f"directions {directions.shape[-1]} wide, where {self.width} are written"
            )
        value = directions.float()
        for step in self.steps:
            value = step(value)
        return value - value.mean(-1, keepdim=True)


def linear(module: nn.Module) -> Step:
    """Return what a linear layer does to a direction: its bias left out, in float32."""
    weight = getattr(module, "weight", None)
    plain = (
        isinstance(module, nn.Linear)
        and isinstance(weight, Tensor)
        and weight.is_floating_point()
        and weight.shape == (module.out_features, module.in_features)
        and weight.device.type != "meta"
    )
    if plain:
        assert isinstance(weight, Tensor)
        rows: Sequence[Tensor] = weight.split(ROWS)

        def multiply(x: Tensor) -> Tensor:
            return torch.cat([x.to(part.device) @ part.float().T for part in rows], dim=-1)

        return multiply
    like = next((p for p in module.parameters() if p.is_floating_point()), None)

    def apply(x: Tensor) -> Tensor:  # a weight that lies otherwise, is packed or is elsewhere
        if like is not None and like.device.type != "meta":
            x = x.to(like.device, like.dtype)
        changed: Tensor = module(x) - module(torch.zeros_like(x))
        return changed.float()

    return apply


def norm(module: nn.Module, width: int) -> Step:
    """Return what a norm does to a direction, its scale aside: weights, and the mean removed
    where it removes the mean.

    Found by asking the norm, so that it does not matter whether it keeps its weight, the weight
    less 1 or none. Raises SubjectError if it is no norm over `width` entries.
    """
    like = next(iter(module.parameters()), torch.zeros(()))
    # Mean 0 and mean square 1, so that the norm leaves it as it is but for its weights.
    probe = torch.ones(1, 1, width, device=like.device, dtype=like.dtype)
    probe[..., 1::2] = -1
    try:
        with torch.no_grad():
            at, opposite, moved, doubled = (
                module(x).float()[0, 0] for x in (probe, -probe, probe + 0.5, 2 * probe)
            )
        weight: Tensor = (at - opposite) / 2 * probe[0, 0].float()
        slack = 0.02 * weight.abs().max()
        is_norm = width % 2 == 0 and bool((doubled - at).abs().max() <= slack)
    except (RuntimeError, TypeError, ValueError):
        is_norm = False
    if not is_norm:
        raise SubjectError(f"{type(module).__name__} is no norm over {width} entries")
    centres = bool((moved - at).abs().max() < slack)

    def apply(x: Tensor) -> Tensor:
        x = x.to(weight.device)
        centred = x - x.mean(-1, keepdim=True) if centres else x
        return centred * weight

    return apply
