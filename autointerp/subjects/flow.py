"""The norms of a decoder layer, found by watching what flows through it instead of by their names.

Architectures call them anything: `post_attention_layernorm` stands before the MLP in Llama and
behind the attention in Gemma 2. What is the same everywhere is whose output is whose input.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autointerp.errors import SubjectError

EPSILONS = ("variance_epsilon", "eps", "epsilon", "norm_eps")


@dataclass(frozen=True, slots=True)
class LayerFlow:
    """The norms of one layer, by their paths in it; None where there is none.

    Attributes:
        before_mlp: Norm whose output the MLP reads.
        after_mlp: Norm between the MLP and the residual stream.
        before_attention: Norm whose output the attention reads.
        after_attention: Norm between the attention and the residual stream.
        parallel: MLP and attention read the same residual stream, so there is none between them.
        mlp_adds: The MLP's module returns more than its last projection does: BLOOM and MPT add
            the residual stream in it.
        attention_adds: The same of the attention.
    """

    before_mlp: str | None = None
    after_mlp: str | None = None
    before_attention: str | None = None
    after_attention: str | None = None
    parallel: bool = False
    mlp_adds: bool = False
    attention_adds: bool = False


@dataclass(frozen=True)
class _Call:
    path: str
    module: nn.Module
    read: Tensor | None
    wrote: Tensor | None


def layer_flow(
    run: Callable[[], None],
    layer: nn.Module,
    *,
    mlp: str | None,
    mlp_out: str | None,
    attention: str | None,
    attention_out: str | None,
) -> LayerFlow:
    """Return the norms of `layer`, found in the forward pass that `run` makes.

    The others are paths in the layer: of the MLP (or the first of its projections), of what
    writes its output, and the same of the attention.
    """
    calls: list[_Call] = []
    handles = [
        module.register_forward_hook(_record(calls, path), with_kwargs=True)
        for path, module in layer.named_modules()
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    by_path = {call.path: call for call in calls}
    norms = [call for call in calls if is_norm(call.module)]

    def before(path: str | None) -> str | None:
        """The norm whose very output is what the module at `path` reads."""
        reader = by_path.get(path or "-")
        if reader is None or reader.read is None:
            return None
        return next((norm.path for norm in norms if _same(norm.wrote, reader.read)), None)

    def after(path: str | None, before_mlp: str | None) -> str | None:
        writer = by_path.get(path or "-")
        if writer is None or writer.wrote is None:
            return None
        behind = [norm.path for norm in norms if _same(norm.read, writer.wrote)]
        return next((norm for norm in behind if norm != before_mlp), None)

    def adds(path: str | None, last: str | None) -> bool:
        module, projection = by_path.get(path or "-"), by_path.get(last or "-")
        if module is None or projection is None:
            return False
        return not _same(module.wrote, projection.wrote)

    before_mlp = before(mlp)
    layer_in = by_path[""].read if "" in by_path else None
    reads = by_path[before_mlp].read if before_mlp else by_path[mlp].read if mlp else None
    return LayerFlow(
        before_mlp=before_mlp,
        after_mlp=after(mlp_out, before_mlp),
        before_attention=before(attention),
        after_attention=after(attention_out, before_mlp),
        parallel=reads is not None and _same(reads, layer_in),
        mlp_adds=adds(mlp, mlp_out),
        attention_adds=adds(attention, attention_out),
    )


def is_norm(module: nn.Module) -> bool:
    """Return whether a module is a layer norm or an RMS norm, by its type's name."""
    return "norm" in type(module).__name__.lower() and not list(module.children())


def normalised(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return what a norm computes before its weight and bias, in float32.

    Raises SubjectError if the module is not one whose arithmetic is known.
    """
    name = type(module).__name__
    if is_norm(module) and next(module.parameters(), None) is None:
        return lambda x: module(x).float()  # OLMo's has no weight
    eps = next((v for n in EPSILONS if isinstance(v := getattr(module, n, None), float)), None)
    if not is_norm(module) or eps is None:
        raise SubjectError(
            f"{name} is no norm whose scale is known; choose a site before or after it"
        )
    centres = "rms" not in name.lower()

    def apply(x: Tensor) -> Tensor:
        x = x.float()
        if centres:
            x = x - x.mean(-1, keepdim=True)
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)

    return apply


def fake_mode(module: nn.Module) -> contextlib.AbstractContextManager[Any]:
    """Return the mode in which a module without values was built, else one that does nothing."""
    for parameter in module.parameters():
        mode = getattr(parameter, "fake_mode", None)
        if mode is not None:
            return mode  # type: ignore[no-any-return]
        break
    return contextlib.nullcontext()


def _record(calls: list[_Call], path: str) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        given = [*args, kwargs.get("hidden_states"), *kwargs.values()]
        read = next((value for value in given if torch.is_tensor(value)), None)
        wrote = output[0] if isinstance(output, tuple | list) and output else output
        # Kept, so that no memory is used twice while tensors are told apart by it.
        calls.append(_Call(path, module, read, wrote if torch.is_tensor(wrote) else None))

    return hook


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    """Return whether two tensors are one, or views of one of the same size."""
    if one is None or other is None:
        return False
    if one is other:
        return True
    return (
        one.numel() == other.numel() > 0
        and one.untyped_storage()._cdata == other.untyped_storage()._cdata
        and one.storage_offset() == other.storage_offset()
    )
