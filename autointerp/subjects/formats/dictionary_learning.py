"""dictionary_learning: ae.pt and config.json of a trainer's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autointerp.errors import SubjectError
from autointerp.subjects.autoencoder import Activation, SparseAutoencoder
from autointerp.subjects.formats._tensors import (
    Flags,
    LoadedAutoencoder,
    encoder_and_decoder,
    json_keys,
    latents_a_token,
    need,
    read_json,
    read_torch,
)

# class: activation, whether the decoder bias is taken from the input, and its name
CLASSES: dict[str, tuple[Activation, bool, str]] = {
    "AutoEncoder": ("relu", True, "bias"),
    "AutoEncoderNew": ("relu", False, "decoder.bias"),
    "GatedAutoEncoder": ("gated", True, "decoder_bias"),
    "JumpReluAutoEncoder": ("jumprelu", False, "b_dec"),
    "AutoEncoderTopK": ("topk", True, "b_dec"),
    "BatchTopKSAE": ("batchtopk", True, "b_dec"),
    "MatryoshkaBatchTopKSAE": ("batchtopk", True, "b_dec"),
}


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def recognises(path: Path) -> bool:
    folder = _folder(path)
    return (folder / "ae.pt").is_file() and "trainer" in json_keys(folder / "config.json")


def load(path: Path, flags: Flags = Flags()) -> LoadedAutoencoder:
    """Return the SAE and what config.json says of its training.

    Raises SubjectError if a tensor is missing, a file truncated or the class unknown.
    """
    folder = _folder(path)
    where, file = folder / "config.json", folder / "ae.pt"
    config = read_json(where)
    trainer = config["trainer"]
    name = trainer.get("dict_class") if isinstance(trainer, dict) else None
    if name not in CLASSES:
        raise SubjectError(
            f"{where}: dict_class '{name}' is not supported (known: {', '.join(CLASSES)})"
        )
    activation, subtract, bias = CLASSES[name]
    tensors = read_torch(file)
    square = "W_enc" in tensors
    parts: dict[str, Any] = {}
    if activation == "gated":
        parts["b_enc"], parts["b_gate"], parts["r_mag"] = need(
            tensors, file, "mag_bias", "gate_bias", "r_mag"
        )
    else:
        (parts["b_enc"],) = need(tensors, file, "b_enc" if square else "encoder.bias")
    (parts["b_dec"],) = need(tensors, file, bias)
    matrices = ("W_enc", "W_dec") if square else ("encoder.weight", "decoder.weight")
    parts["W_enc"], parts["W_dec"] = encoder_and_decoder(
        tensors, file, len(parts["b_enc"]), *matrices
    )
    k = tensors["k"] if "k" in tensors else trainer.get("k")
    notes = []
    if activation == "jumprelu":
        (parts["threshold"],) = need(tensors, file, "threshold")
    if activation == "batchtopk":
        (threshold,) = need(tensors, file, "threshold")
        if threshold >= 0:
            parts["threshold"] = threshold
        else:
            activation = "topk"
            notes.append(
                "its BatchTopK threshold was never calibrated (-1): read as TopK with the same k, "
                "where dictionary_learning itself would read it as ReLU"
            )
    if activation == "topk":
        k = latents_a_token(k, flags, where)
    sae = SparseAutoencoder(
        **parts, subtract_b_dec=subtract, activation=activation, k=None if k is None else int(k)
    )
    site, hook = None, trainer.get("submodule_name")
    layer = trainer.get("layer")
    if isinstance(layer, int) and str(hook or "").startswith("resid_post"):
        site = f"layers.{layer}.residual"
    buffer = config.get("buffer")
    context = buffer.get("ctx_len") if isinstance(buffer, dict) else None
    return LoadedAutoencoder(
        sae,
        "dictionary_learning",
        folder,
        model=trainer.get("lm_name"),
        site=site,
        hook=hook,
        layer=layer if isinstance(layer, int) else None,
        context_size=context,
        l0=None if sae.k is None else float(sae.k),
        notes=tuple(notes),
    )
