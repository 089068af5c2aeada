"""What to say of dictionaries that read or write several sites at once."""

from __future__ import annotations

from pathlib import Path


def crosscoder(path: Path, why: str) -> str:
    """Return why a crosscoder is not loaded."""
    return (
        f"{path} is a crosscoder ({why}): each of its latents reads several layers or models "
        "together, and a harvest has one site; import contexts that its own library collected "
        "(autointerp import), or give an SAE or a transcoder of one site"
    )


def cross_layer_transcoder(path: Path, why: str) -> str:
    """Return why all of a cross-layer transcoder cannot be loaded at once."""
    return (
        f"{path} is a cross-layer transcoder ({why}): it has an encoder for each layer, and a "
        "harvest has one site; give the file of one layer's encoder, or a transcoder of one layer"
    )


ONE_ENCODER = (
    "the encoder of one layer of a cross-layer transcoder: its latents write to several layers, "
    "and their direction is the sum over these"
)
