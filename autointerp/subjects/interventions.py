"""Units set to a value in a model's forward pass: clamped, ablated, or moved at one position.

A unit adds `activation x direction` to the activations x at its site. With an SAE, decoding is
linear, so "SAE(x) with the unit at `value`, plus the SAE's error" is x + (value - activation) x
direction: nothing else is touched, whatever the SAE reconstructs. Clamped at its own activation a
unit changes nothing; ablation sets it to 0. Source: Templeton et al. 2024, "Scaling
Monosemanticity", appendix on steering (SEEDS §3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from autointerp.errors import SubjectError

Intervention = Callable[[Tensor], Tensor]


@runtime_checkable
class ChangeableModel(Protocol):
    """A model whose activations at its site can be replaced."""

    def logits(
        self, ids: Tensor, attention: Tensor, intervention: Intervention | None = None
    ) -> Tensor:
        """Return next-token logits [rows, tokens, vocabulary], float32, without gradients.

        `intervention` gets the site's activations [rows, tokens, d_site] in float32 and returns
        what takes their place.
        """
        ...

    def differentiable_logits(
        self, ids: Tensor, attention: Tensor, intervention: Intervention | None = None
    ) -> Tensor:
        """Return the same with gradients, where they are asked for."""
        ...

    def check_changeable(self) -> None:
        """Raise SubjectError, naming the site, where what is put there does not reach the model."""
        ...


@runtime_checkable
class CachingModel(Protocol):
    """A changeable model that keeps keys and values of the tokens that it has read."""

    def next_logits(
        self, ids: Tensor, kept: object = None, intervention: Intervention | None = None
    ) -> tuple[Tensor, object]:
        """Return the logits [rows, vocabulary] behind ids [rows, tokens], and what is kept of them.

        `kept`, of a call with the first of these tokens, spares them; None where nothing is kept.
        """
        ...


def continuing(model: ChangeableModel, intervention: Intervention) -> Callable[[Tensor], Tensor]:
    """Return the function ids [rows, tokens] -> logits [rows, vocabulary] behind them.

    For calls with ids that grow at their end: what was read is not read again, where the model
    keeps it. The intervention must change a position by its own activations alone, as `clamp` does.
    """
    kept: object = None

    def logits(ids: Tensor) -> Tensor:
        nonlocal kept
        if isinstance(model, CachingModel):
            behind, kept = model.next_logits(ids, kept, intervention)
            return behind
        attention = torch.ones_like(ids, dtype=torch.bool)
        return model.logits(ids, attention, intervention)[:, -1]

    return logits


@dataclass(frozen=True)
class Levers:
    """Units that can be set.

    Attributes:
        activations: Returns the units' activations [..., units] of the site's [..., width].
        directions: [units, width] what a unit adds to the site by an activation of 1.
        scale: Returns the factor [..., 1] by which the directions are multiplied at an x, where
            an SAE normalises its input; None where that is 1.
    """

    activations: Callable[[Tensor], Tensor]
    directions: Tensor
    scale: Callable[[Tensor], Tensor] | None = None

    def change(self, x: Tensor, amount: Tensor) -> Tensor:
        """Return what an `amount` [..., units] of the units adds to the site's activations x."""
        added = amount @ self.directions.to(x.device, x.dtype)
        return added if self.scale is None else added * self.scale(x)


def clamp(levers: Levers, values: Tensor) -> Intervention:
    """Return the intervention that sets units to `values` at every position.

    `values` [units], or [rows, units] for rows that differ; NaN leaves a unit as it is.
    """

    def change(x: Tensor) -> Tensor:
        own = levers.activations(x)
        goal = values.to(own.device, own.dtype)
        if goal.dim() == 2:
            goal = goal[:, None]
        return x + levers.change(x, torch.where(goal.isnan(), 0.0, goal - own))

    return change


def ablate(levers: Levers) -> Intervention:
    """Return the intervention that sets all these units to 0 at every position."""
    return clamp(levers, torch.zeros(len(levers.directions)))


def moved_at(positions: Tensor, changes: Tensor) -> Intervention:
    """Return the intervention that adds to each row, at its one of `positions` [rows], its one of
    `changes` [rows, width].
    """

    def change(x: Tensor) -> Tensor:
        out = x.clone()
        rows = torch.arange(len(positions), device=x.device)
        out[rows, positions.to(x.device)] += changes.to(x.device, x.dtype)
        return out

    return change


def gradient_at_site(
    model: ChangeableModel, ids: Tensor, attention: Tensor, metric: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the site's activations [rows, tokens, width], and the gradient of `metric` there.

    `metric` makes one number of the logits [rows, tokens, vocabulary].
    """
    held: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        leaf = x.detach().requires_grad_()
        held.append(leaf)
        return leaf.clone()  # what follows may change it in place

    with torch.inference_mode(mode=False), torch.enable_grad():
        value = metric(model.differentiable_logits(ids, attention, keep))
        (gradient,) = torch.autograd.grad(value, held[0])
    return held[0].detach(), gradient


def changeable(model: object, name: str) -> ChangeableModel:
    """Return the model as one that can be changed. Raises SubjectError where it cannot."""
    if not isinstance(model, ChangeableModel):
        raise SubjectError(f"the model of {name} ({type(model).__name__}) cannot be changed")
    model.check_changeable()
    return model
