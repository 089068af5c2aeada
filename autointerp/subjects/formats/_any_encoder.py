"""Adapter for any object with `.encode`: another library's SAE, or one still in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from autointerp.errors import SubjectError

# What an `encode` that returns several things calls the latents after their activation, ...
LATENTS = (
    "latents", "latent_acts", "feature_acts", "feature_activations", "features", "activations",
    "acts", "codes", "encoded", "f", "z",
)  # fmt: skip
# ... and the largest of a token beside where they are.
PAIRS = (
    ("top_acts", "top_indices"),
    ("latent_acts", "latent_indices"),
    ("top_values", "top_indices"),
    ("topk_values", "topk_indices"),
    ("values", "indices"),
)

ALONE = 16  # tokens that are encoded alone, too
ROUNDING = 0.05  # share of a token's latents, far over the rounding of half precision


class AdaptedEncoder:
    """An object with `.encode(x)`, read through the same methods as our own SAE.

    `encode` may return a dense or sparse [..., d_sae] tensor; an object, a named tuple or a table
    that has one under one of the names `LATENTS`; or the largest and where they are, as sparsify's
    (top_acts, top_indices, …). Of a bare tuple nobody knows which part is meant: it is refused.
    Sizes are found by encoding one zero vector; `d_in` is needed only where the object does not
    say it. Its chosen columns cost as much as all of them.
    """

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
        _check_mode(wrapped)
        self.d_in = width
        self._is_checked = False  # that a token's latents do not depend on others
        self._latents = d_sae or _size(wrapped, "d_sae", "num_latents", "dict_size")
        self.d_sae = self.encode(torch.zeros(1, self.d_in)).shape[-1]

    def encode(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Return latent activations [..., d_sae] in float32, or [..., len(columns)]."""
        flat = x.reshape(-1, x.shape[-1])
        latents = self._encoded(flat)
        if not self._is_checked:
            self._is_checked = self._check_alone(flat, latents)
        latents = latents.to(x.device).reshape(*x.shape[:-1], -1)
        return latents if columns is None else latents[..., columns.to(latents.device)]

    def _encoded(self, flat: Tensor) -> Tensor:
        """Return the latents [rows, d_sae] of inputs [rows, d_in]."""
        with torch.no_grad():
            out = self.wrapped.encode(self._as_its_weights(flat))
        latents = self._latents_of(out, len(flat))
        latents = latents.to_dense() if latents.is_sparse else latents
        width = getattr(self, "d_sae", None) or self._latents
        if latents.dim() < 2 or latents.numel() != len(flat) * latents.shape[-1]:
            raise SubjectError(
                f"{self._name}.encode returned {tuple(latents.shape)} for {tuple(flat.shape)}, not "
                "[tokens, latents]: its latents do not belong to one token each"
            )
        if width is not None and latents.shape[-1] != width:
            raise SubjectError(
                f"{self._name}.encode returned {latents.shape[-1]} latents and says that it has "
                f"{width}; give an object whose encode returns all latents"
            )
        if latents.numel() and float(latents.min()) < 0:
            raise SubjectError(
                f"{self._name}.encode returned latents below 0, which no unit has here; give an "
                "object whose encode returns both halves of them, as "
                "torch.cat([z.relu(), (-z).relu()], -1)"
            )
        return latents.float().reshape(len(flat), -1)

    def _check_alone(self, flat: Tensor, latents: Tensor) -> bool:
        """Return whether there were tokens enough to see that their latents are theirs alone.

        Raises SubjectError if they depend on the other tokens of the batch.
        """
        rows = latents.any(1).nonzero().flatten()[:ALONE]
        if len(rows) < ALONE:
            return False
        among = latents[rows]
        alone = torch.cat([self._encoded(flat[row : row + 1]) for row in rows.tolist()])
        differ = (alone - among).norm(dim=1) > ROUNDING * among.norm(dim=1)
        if int(differ.sum()) > ALONE // 4:  # of a TopK's, rounding may exchange the smallest
            raise SubjectError(
                f"{self._name}.encode gives a token other latents among others than alone, as a "
                "BatchTopK does without its threshold; give its saved files, its state dict (to an "
                "Evaluator), or an object whose encode uses the threshold"
            )
        return True

    @property
    def _name(self) -> str:
        return type(self.wrapped).__name__

    def _latents_of(self, out: Any, rows: int) -> Tensor:
        """Return the latents in what `encode` returned: [rows, d_sae], perhaps sparse.

        Raises SubjectError if they are not told apart from the rest by a name.
        """
        if torch.is_tensor(out):
            return out
        named = _named(out)
        if named is None and isinstance(out, tuple | list) and len(out) == 1:
            return self._latents_of(out[0], rows)
        pair = _pair(out)
        if pair is not None:
            if self._latents is None:
                raise SubjectError(
                    f"{self._name} returns sparse latents and does not say its width; give d_sae"
                )
            values, indices = pair
            dense: Tensor = values.new_zeros(rows, self._latents)
            return dense.scatter_(1, indices, values)
        found = [name for name in LATENTS if named and torch.is_tensor(named.get(name))]
        if named and len(found) == 1:
            latents: Tensor = named[found[0]]
            return latents
        if len(found) > 1:
            what = f"both {' and '.join(found)}"
        elif named:
            what = f"{type(out).__name__} with {', '.join(map(str, named)) or 'nothing'}"
        elif isinstance(out, tuple | list):
            what = f"a {type(out).__name__} of {len(out)} without names"
        else:
            what = type(out).__name__
        raise SubjectError(
            f"{self._name}.encode returned {what}, and which part is the latents is not said; pass "
            "an object whose `encode` returns the tensor [tokens, latents] alone"
        )

    def encoder(self, columns: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the function x -> latents [..., len(columns)]."""
        return lambda x: self.encode(x, columns)

    def decode(self, latents: Tensor, x: Tensor | None = None) -> Tensor:
        """Return what the object's own `decode` makes of all latents."""
        out: Tensor = self.wrapped.decode(latents)
        return out

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return what the object's own `encode` and `decode` make of inputs [tokens, d_in], in
        float32.

        Where `encode` gives the largest latents and where they are, `decode` is given these two, as
        sparsify's takes them. Raises SubjectError if it takes neither.
        """
        flat = self._as_its_weights(x)
        try:
            with torch.no_grad():
                encoded = self.wrapped.encode(flat)
                pair = _pair(encoded)
                latents = (self._latents_of(encoded, len(flat)),) if pair is None else pair
                back = self.wrapped.decode(*latents)
        except (TypeError, ValueError, RuntimeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:120]
            raise SubjectError(
                f"{self._name}.decode does not take what encode gives ({reason})"
            ) from None
        if not torch.is_tensor(back) or back.shape != flat.shape:
            raise SubjectError(
                f"{self._name}.decode does not return the {self.d_in} activations of the site"
            )
        return back.float().to(x.device)

    @property
    def undecoded(self) -> str:
        """Why its reconstructions are not to be had, found by those of zeros; empty where they
        are."""
        if not callable(getattr(self.wrapped, "decode", None)):
            return f"{self._name} has no method `decode`"
        try:
            self.reconstruct(torch.zeros(2, self.d_in))
        except SubjectError as error:
            return str(error)
        return ""

    def _as_its_weights(self, x: Tensor) -> Tensor:
        """Return a copy of inputs on the device and in the precision of the object's weights.

        A copy, since an `encode` may work in place, and other units are read from the same inputs.
        """
        weight = _weight(self.wrapped)
        return x.clone() if weight is None else x.to(weight.device, weight.dtype, copy=True)

    def to(self, device: str) -> AdaptedEncoder:
        """Return itself: where the wrapped object is kept is its owner's business."""
        return self


def _named(out: Any) -> dict[str, Any] | None:
    """Return the parts of a returned object by their names, None where it has none."""
    if isinstance(out, Mapping):
        return dict(out)
    if hasattr(out, "_asdict"):
        return dict(out._asdict())
    if isinstance(out, tuple | list) or out is None:
        return None
    try:
        return dict(vars(out))
    except TypeError:
        return None


def _pair(out: Any) -> tuple[Tensor, Tensor] | None:
    """Return the largest latents and where they are, where `encode` returned these two."""
    named = None if torch.is_tensor(out) else _named(out)
    for values, indices in PAIRS:
        if named and torch.is_tensor(named.get(values)) and torch.is_tensor(named.get(indices)):
            return named[values], named[indices]
    return None


def _weight(wrapped: Any) -> Tensor | None:
    """Return the first weight of an object: a parameter, else a buffer, its own or those of the
    modules that it holds, or a plain tensor; None if it has none."""
    held = (wrapped, *getattr(wrapped, "__dict__", {}).values())
    tensors = chain.from_iterable(
        chain(one.parameters(), one.buffers()) if isinstance(one, torch.nn.Module) else (one,)
        for one in held
    )
    return next((one for one in tensors if torch.is_tensor(one) and one.is_floating_point()), None)


def _check_mode(wrapped: Any) -> None:
    """Raise SubjectError for a SAELens object whose `encode` does not take plain activations: its
    inputs are not scaled in it, or it wants an axis of attention heads.
    """
    if getattr(wrapped, "hook_z_reshaping_mode", False) is True:
        raise SubjectError(
            f"{type(wrapped).__name__}: its encode wants the attention heads on an axis of their "
            "own; call turn_off_forward_pass_hook_z_reshaping() first"
        )
    name = getattr(getattr(wrapped, "cfg", None), "normalize_activations", None)
    if name in ("expected_average_only_in", "covariance_whitening"):
        raise SubjectError(
            f"{type(wrapped).__name__}: its inputs were normalised in training ({name}), and its "
            "own encode does not do so; fold it in first (fold_activation_norm_scaling_factor)"
        )


def _size(wrapped: Any, *names: str) -> int | None:
    for holder in (wrapped, getattr(wrapped, "cfg", None), getattr(wrapped, "config", None)):
        for name in names:
            value = getattr(holder, name, None)
            if isinstance(value, int):
                return value
    return None
