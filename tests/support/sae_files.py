"""Weights of a small SAE, and files that hold them, for the tests of formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import relu

from autointerp.subjects.formats import Flags, load_sae

D_IN, D_SAE = 6, 16
_RANDOM = torch.Generator().manual_seed(11)
W_ENC = torch.randn(D_IN, D_SAE, generator=_RANDOM)
W_DEC = torch.randn(D_SAE, D_IN, generator=_RANDOM)
B_ENC = torch.randn(D_SAE, generator=_RANDOM)
B_DEC = torch.randn(D_IN, generator=_RANDOM)
X = torch.randn(50, D_IN, generator=_RANDOM)
PLAIN = {"W_enc": W_ENC, "W_dec": W_DEC, "b_enc": B_ENC, "b_dec": B_DEC}
LINEAR = {
    "encoder.weight": W_ENC.T, "encoder.bias": B_ENC, "decoder.weight": W_DEC.T,
    "decoder.bias": B_DEC,
}  # fmt: skip
PRE = X @ W_ENC + B_ENC  # with the plain input
RAW, SUBTRACTED = relu(PRE), relu((X - B_DEC) @ W_ENC + B_ENC)


def top(latents: Tensor, k: int) -> Tensor:
    """Return the `k` largest of each row, 0 elsewhere."""
    kept = latents.topk(k).indices
    return torch.zeros_like(latents).scatter(1, kept, latents.gather(1, kept))


def written(path: Path, tensors: dict[str, Any]) -> Path:
    """Write tensors, and in a torch file whatever else, and return the file's path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, path)
    else:
        torch.save(tensors, path)
    return path


def beside(path: Path, name: str, **content: Any) -> Path:
    """Write a JSON file beside `path`, and return `path`."""
    (path.parent / name).write_text(json.dumps(content))
    return path


def encodes(path: Path, expected: Tensor, flags: Flags = Flags()) -> Any:
    """Assert what an SAE's latents of `X` are, and return it as it was loaded."""
    loaded = load_sae(path, flags=flags)
    torch.testing.assert_close(loaded.sae.encode(X), expected, atol=1e-5, rtol=1e-5)
    return loaded
