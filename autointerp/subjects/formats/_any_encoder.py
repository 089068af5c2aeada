"""Adapter for any object with `.encode`: another library's SAE, or one still in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autointerp.errors import SubjectError


class AdaptedEncoder:
    """An object with `.encode(x)`, read through the same methods as our own SAE.

    `encode` may return a dense or sparse [..., d_sae] tensor, a tuple that begins with one, or
    sparsify's (top_acts, top_indices, …). Sizes are found by encoding one zero vector; `d_in` is
    needed only where the object does not say it. Its chosen columns cost as much as all of them.
    """

    encodes_columns_alone = False

    def __init__(self, wrapped: Any, d_in: int | None = None, d_sae: int | None = None) -> None:
        if not callable(getattr(wrapped, "encode", None)):
            raise SubjectError(
                f"{type(wrapped).__name__} has no method `encode`; pass an object that has one"
            )
        self.wrapped = wrapped
        width = d_in or _size(wrapped, "d_in", "activation_dim", "input_dim")
        if width is None:
            raise SubjectError(
                f"{type(wrapped).__name__} does not say how wide its input is; give d_in"
            )
        self.d_in = width
        self._latents = d_sae or _size(wrapped, "d_sae", "num_latents", "dict_size")
        self.d_sae = self.encode(torch.zeros(1, self.d_in)).shape[-1]

    def encode(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Return latent activations [..., d_sae] in float32, or [..., len(columns)]."""
        flat = x.reshape(-1, x.shape[-1])
        weight = next(iter(_tensors(self.wrapped)), None)
        if weight is not None:
            flat = flat.to(weight.device, weight.dtype)
        with torch.no_grad():
            out = self.wrapped.encode(flat)
        if hasattr(out, "top_acts") and hasattr(out, "top_indices"):
            if self._latents is None:
                raise SubjectError(
                    f"{type(self.wrapped).__name__} returns sparse latents and does not say its "
                    "width; give d_sae"
                )
            dense = out.top_acts.new_zeros(len(flat), self._latents)
            latents = dense.scatter_(1, out.top_indices, out.top_acts)
        else:
            latents = out[0] if isinstance(out, tuple) else out
        if not torch.is_tensor(latents):
            raise SubjectError(
                f"{type(self.wrapped).__name__}.encode returned {type(latents).__name__}, "
                "not a tensor [..., d_sae]"
            )
        latents = latents.to_dense() if latents.is_sparse else latents
        latents = latents.float().to(x.device).reshape(*x.shape[:-1], -1)
        return latents if columns is None else latents[..., columns.to(latents.device)]

    def encoder(self, columns: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the function x -> latents [..., len(columns)]."""
        return lambda x: self.encode(x, columns)

    def decode(self, latents: Tensor, x: Tensor | None = None) -> Tensor:
        """Return what the object's own `decode` makes of all latents."""
        out: Tensor = self.wrapped.decode(latents)
        return out

    def to(self, device: str) -> AdaptedEncoder:
        """Return itself: where the wrapped object is kept is its owner's business."""
        return self


def _tensors(wrapped: Any) -> list[Tensor]:
    if isinstance(wrapped, torch.nn.Module):
        return [p.data for p in wrapped.parameters() if p.is_floating_point()][:1]
    return []


def _size(wrapped: Any, *names: str) -> int | None:
    for holder in (wrapped, getattr(wrapped, "cfg", None), getattr(wrapped, "config", None)):
        for name in names:
            value = getattr(holder, name, None)
            if isinstance(value, int):
                return value
    return None
