"""A safetensors file whose bytes follow from what it holds.

safetensors writes metadata in an order that it draws anew, and an SAE is known again by the sha256
of its files: one that was trained again, by the same recipe, would count as another one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

LENGTH = 8  # bytes that say how long the header is


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write contiguous tensors and metadata, in the order of their names."""
    save_file(dict(tensors), path, metadata=dict(metadata))
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(LENGTH), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= size  # it was written as compactly, and padded with blanks
        file.seek(LENGTH)
        file.write(text.ljust(size))
