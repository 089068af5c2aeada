"""Exact top-k latents of each token, at little more than the matrix product's cost."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BLOCK = 1 << 24  # pre-activations in flight at once: 64 MB, and a product of some height
NARROW = 160  # columns of a product that takes about as long to read its inputs as to compute
TOKENS_AT_ONCE = 512  # in such a product: 1 MB of inputs of 512 axes
CHUNK = 1 << 17  # latents in one matrix product


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return x @ weight + bias, [..., d_sae], a fresh tensor.

    For few columns the product is made some tokens at a time, which takes a sixth less on a CPU:
    in parts of like size, since a product of one to three rows has other last bits.
    """
    flat = x.reshape(-1, x.shape[-1])
    width = weight.shape[1]
    if width > NARROW or x.device.type != "cpu" or torch.is_grad_enabled():
        return torch.addmm(bias, flat, weight).view(*x.shape[:-1], width)
    made = flat.new_empty(len(flat), width)
    parts = max(1, math.ceil(len(flat) / TOKENS_AT_ONCE))
    for part, out in zip(flat.tensor_split(parts), made.tensor_split(parts), strict=True):
        torch.addmm(bias, part, weight, out=out)
    return made.view(*x.shape[:-1], width)


@torch.no_grad()
def top_k(x: Tensor, weight: Tensor, bias: Tensor, k: int, columns: Tensor | None = None) -> Tensor:
    """Return relu(x @ weight + bias), all or chosen columns, where among a token's k largest.

    The latent axis is taken in chunks and the per-token largest are merged, so memory does not
    grow with the width. Values equal to the k-th are all kept, so that the result depends on
    neither batch nor chunk.
    """
    d_in, d_sae = weight.shape
    flat = x.reshape(-1, d_in)
    width = d_sae if columns is None else len(columns)
    out = flat.new_empty(len(flat), width)
    chunk = max(CHUNK, k)
    rows = max(128, BLOCK // min(d_sae, chunk))
    if columns is not None:
        columns = columns.to(flat.device)
    # Written over by each product: fresh memory would cost a tenth of it.
    scratch = flat.new_empty(min(rows, len(flat)) * min(chunk, d_sae))
    for first in range(0, len(flat), rows):
        part, chosen = flat[first : first + rows], out[first : first + rows]
        largest = []
        for start in range(0, d_sae, chunk):
            reach = slice(start, start + chunk)
            latents = scratch[: len(part) * len(bias[reach])].view(len(part), -1)
            torch.addmm(bias[reach], part, weight[:, reach], out=latents)
            # The values are taken from this very product: another could differ in the last bit
            # from the k-th that they are compared with.
            if columns is None:
                chosen[:, reach] = latents
            else:
                inside = (columns >= start) & (columns < start + chunk)
                chosen[:, inside] = latents[:, columns[inside] - start]
            if d_sae > chunk:
                largest.append(k_largest(latents, min(k, latents.shape[1])))
        kth = torch.cat(largest, 1).topk(k).values[:, -1:] if largest else _kth(latents, k, chosen)
        chosen.masked_fill_((chosen < kth) | (chosen <= 0), 0.0)
    return out.reshape(*x.shape[:-1], width)


def k_largest(values: Tensor, k: int) -> Tensor:
    """Return the k largest of each row of `values` [rows, width], descending: [rows, k].

    The k largest lie in the k groups with the largest maxima, so only those are searched.
    """
    groups = _group_maxima(values, k)
    if groups is None:
        return values.topk(k).values
    grouped, maxima = groups
    best = maxima.topk(k, sorted=False).indices
    members = grouped.gather(2, best[:, None].expand(-1, grouped.shape[1], -1)).flatten(1)
    rest = values[:, grouped.shape[1] * grouped.shape[2] :]
    return torch.cat([members, rest], 1).topk(k).values


def _group_maxima(values: Tensor, k: int) -> tuple[Tensor, Tensor] | None:
    """Return `values` as [rows, size, groups] and the groups' maxima; None if k is too large.

    Values left over by the division are not in it.
    """
    rows, width = values.shape
    size = 1 << max(0, round(math.log2(width / k) / 2))  # about √(width/k): the least work
    if size < 4:
        return None
    groups = width // size
    grouped = values[:, : size * groups].view(rows, size, groups)
    return grouped, grouped.amax(1)


def _kth(values: Tensor, k: int, chosen: Tensor) -> Tensor:
    """Return the k-th largest [rows, 1] of each row, or infinity over all its `chosen` ones.

    A row needs no exact answer where k groups have a maximum over all of its chosen latents.
    """
    groups = _group_maxima(values, k)
    if groups is None:
        return values.topk(k).values[:, -1:]
    peak = chosen.amax(1, keepdim=True)
    _, maxima = groups
    above = (maxima > peak).sum(1)
    needed = ((above < k) & (peak[:, 0] > 0)).nonzero().flatten()
    kth = torch.full_like(values[:, :1], torch.inf)
    if len(needed):
        kth[needed] = k_largest(values[needed], k)[:, -1:]
    return kth
