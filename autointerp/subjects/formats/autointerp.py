"""autointerp's own format: one safetensors file, as `autointerp train sae` writes it."""

from __future__ import annotations

from pathlib import Path

from autointerp.subjects.autoencoder import load_autoencoder
from autointerp.subjects.formats._tensors import Flags, LoadedAutoencoder, safetensors_header


def _file(path: Path) -> Path:
    return path / "sae.safetensors" if path.is_dir() else path


def recognises(path: Path) -> bool:
    names, metadata = safetensors_header(_file(path))
    return {"W_enc", "b_enc", "W_dec", "b_dec"} <= names and "apply_b_dec_to_input" in metadata


def load(path: Path, flags: Flags = Flags()) -> LoadedAutoencoder:
    """Return the SAE; the file says nothing of model or site.

    Raises SubjectError if it is truncated or lacks a tensor.
    """
    sae = load_autoencoder(_file(path))
    return LoadedAutoencoder(sae, "autointerp", path, l0=sae.k)
