"""autointerp's own format: one safetensors file, as `autointerp train` writes it."""

from __future__ import annotations

from pathlib import Path

from autointerp.subjects.autoencoder import load_autoencoder
from autointerp.subjects.formats._tensors import Flags, LoadedAutoencoder, safetensors_header
from autointerp.subjects.places import RECORD, SAE, sae_file


def recognises(path: Path) -> bool:
    names, metadata = safetensors_header(sae_file(path))
    return {"W_enc", "b_enc", "W_dec", "b_dec"} <= names and "apply_b_dec_to_input" in metadata


def load(path: Path, flags: Flags = Flags()) -> LoadedAutoencoder:
    """Return the SAE, with the latents a token that the record of its training beside it says.

    Raises SubjectError if it is truncated or lacks a tensor, or if the record cannot be read.
    """
    file = sae_file(path)
    sae = load_autoencoder(file)
    if file.name != SAE or not (file.parent / RECORD).exists():
        return LoadedAutoencoder(sae, "autointerp", path, l0=sae.k)
    from autointerp.subjects.training.recipe import read_record

    l0 = sae.k or read_record(file.parent).measures.get("l0")
    return LoadedAutoencoder(
        sae,
        "autointerp",
        path,
        l0=float(l0) if isinstance(l0, int | float) and l0 > 0 else None,
        has_training=True,
    )
