"""A bare state dict in a torch or safetensors file: `encoder.*`, `decoder.*` or W_enc, W_dec."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from autointerp.errors import MissingSetting
from autointerp.subjects.autoencoder import Activation, SparseAutoencoder
from autointerp.subjects.formats._tensors import (
    TORCH_SUFFIXES,
    Flags,
    LoadedAutoencoder,
    encoder_and_decoder,
    need,
    read_safetensors,
    read_torch,
    safetensors_header,
)

NAMES = ("encoder.weight", "W_enc")
DECODER_BIASES = ("decoder.bias", "b_dec", "decoder_bias", "bias", "pre_bias")


def recognises(path: Path) -> bool:
    if not path.is_file():
        return False
    if (path.parent / "cfg.json").is_file() and path.name in {
        "sae_weights.safetensors",  # SAELens
        "sae.safetensors",  # sparsify
    }:
        return False
    if path.suffix == ".safetensors":
        names, metadata = safetensors_header(path)
        return bool(names.intersection(NAMES)) and "apply_b_dec_to_input" not in metadata
    if path.suffix not in TORCH_SUFFIXES:
        return False
    if path.name == "ae.pt" and (path.parent / "config.json").is_file():
        return False
    try:
        with ZipFile(path) as archive:
            # Names are strings in the pickle, not yet unpickled here.
            pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
            content = archive.read(pickles[0]) if pickles else b""
    except (BadZipFile, OSError):
        return True  # an old or damaged torch file: loading says what is wrong with it
    return any(name.encode() in content for name in NAMES)


def load(path: Path, flags: Flags = Flags()) -> LoadedAutoencoder:
    """Return the SAE, ReLU unless there is a threshold, a gate or `flags.k`.

    Raises SubjectError if a tensor is missing, the file truncated, or `flags.subtract_b_dec` is
    not given where there is a decoder bias: the same names are used with either convention.
    """
    tensors = read_safetensors(path) if path.suffix == ".safetensors" else read_torch(path)
    prefix = next((n.split("encoder.")[0] for n in tensors if n.endswith("encoder.weight")), "")
    tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    named = "encoder.weight" in tensors
    matrices = ("encoder.weight", "decoder.weight") if named else ("W_enc", "W_dec")
    parts: dict[str, Any] = {}
    activation: Activation = "relu"
    if "r_mag" in tensors:
        activation = "gated"
        short = "b_mag" in tensors
        names = ("b_mag", "b_gate") if short else ("mag_bias", "gate_bias")
        parts["b_enc"], parts["b_gate"], parts["r_mag"] = need(tensors, path, *names, "r_mag")
    else:
        (parts["b_enc"],) = need(tensors, path, "encoder.bias" if named else "b_enc")
        if flags.k is not None:
            activation = "topk"
        elif "threshold" in tensors and (tensors["threshold"] >= 0).all():
            activation, parts["threshold"] = "jumprelu", tensors["threshold"].float()
    if "decoder.weight" not in tensors and "W_dec" in tensors:
        matrices = (matrices[0], "W_dec")
    parts["W_enc"], parts["W_dec"] = encoder_and_decoder(
        tensors, path, len(parts["b_enc"]), *matrices
    )
    bias = next((name for name in DECODER_BIASES if name in tensors), None)
    parts["b_dec"] = (
        tensors[bias].float() if bias else parts["W_dec"].new_zeros(parts["W_dec"].shape[1])
    )
    subtract = flags.subtract_b_dec
    if subtract is None:
        if bias is not None and bool(parts["b_dec"].any()):
            raise MissingSetting(
                "subtract_b_dec",
                f"{path} does not say whether {bias} is taken from the input before encoding; "
                "give subtract_b_dec: yes for x - b_dec (Ward's), no for the plain input",
            )
        subtract = False
    notes = []
    if activation == "relu":
        notes.append("the file names no activation: read as ReLU; if it is a TopK, give k")
    sae = SparseAutoencoder(**parts, subtract_b_dec=subtract, activation=activation, k=flags.k)
    return LoadedAutoencoder(
        sae,
        "raw_state_dict",
        path,
        l0=None if flags.k is None else float(flags.k),
        notes=tuple(notes),
    )
