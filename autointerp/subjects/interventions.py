"""Units set to a value in a model's forward pass: clamped, ablated, or moved at one position.

A unit adds `activation x direction` to the activations x at its site. With an SAE, decoding is
linear, so "SAE(x) with the unit at `value`, plus the SAE's error" is x + (value - activation) x
direction: nothing else is touched, whatever the SAE reconstructs. Clamped at its own activation a
unit changes nothing; ablation sets it to 0. Source: Templeton et al. 2024, "Scaling
Monosemanticity", appendix on steering (SEEDS §3).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

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
        if not isinstance(model, CachingModel):
            return last_logits(model, ids, intervention)
        behind, kept = model.next_logits(ids, kept, intervention)
        return behind

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


def moved_logits(
    model: ChangeableModel,
    ids: Tensor,
    positions: Tensor,
    changes: Tensor,
    rows: Callable[[int], int],
    known: Collection[int] = (),
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield the logits [n, vocabulary] behind a text, of which each row is moved as by `moved_at`,
    and which n of the rows they are of.

    What stands before a row's position is as in the unchanged text: a model that keeps keys and
    values reads it once for all rows of a position.

    Args:
        ids: The text, [tokens].
        positions, changes: [rows] and [rows, width].
        rows: How many rows of so many tokens are read at a time.
        known: Rows whose logits are known: those that would be read together are left out if all
            of them are known, so that the others are read in the same company, to the same bits.
    """
    places = positions.tolist()
    held: Any = None
    first = min((place for place in places if place), default=0)
    if first and isinstance(model, CachingModel):
        _, held = model.next_logits(ids[None, :first])
    if not hasattr(held, "batch_repeat_interleave"):
        at_once = rows(len(ids))
        for begin in range(0, len(places), at_once):
            part = list(range(begin, min(begin + at_once, len(places))))
            if all(row in known for row in part):
                continue
            many = ids.expand(len(part), -1)
            yield part, last_logits(model, many, moved_at(positions[part], changes[part]))
        return
    assert isinstance(model, CachingModel)
    for position in sorted(set(places)):
        if position > first:
            _, held = model.next_logits(ids[None, :position], held)
        own = [row for row, place in enumerate(places) if place == position]
        at_once = rows(len(ids) - position)
        for begin in range(0, len(own), at_once):
            part = own[begin : begin + at_once]
            if all(row in known for row in part):
                continue
            kept = copy.deepcopy(held) if position else None
            if kept is not None:
                kept.batch_repeat_interleave(len(part))
            change = moved_at(torch.zeros(len(part), dtype=torch.long), changes[part])
            logits, _ = model.next_logits(ids.expand(len(part), -1), kept, change)
            yield part, logits


def last_logits(
    model: ChangeableModel, ids: Tensor, intervention: Intervention | None = None
) -> Tensor:
    """Return the logits [rows, vocabulary] behind ids [rows, tokens] without padding."""
    if isinstance(model, CachingModel):
        return model.next_logits(ids, None, intervention)[0]
    attention = torch.ones_like(ids, dtype=torch.bool)
    return model.logits(ids, attention, intervention)[:, -1]


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
