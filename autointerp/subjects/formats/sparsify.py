"""EleutherAI's sparsify, once sae: cfg.json and sae.safetensors in a folder of a module's name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

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
    read_safetensors,
    safetensors_header,
)


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def recognises(path: Path) -> bool:
    folder = _folder(path)
    file, config = folder / "sae.safetensors", folder / "cfg.json"
    if not file.is_file() or not config.is_file():
        return False
    names, _ = safetensors_header(file)
    if names:
        return {"encoder.weight", "encoder.bias"} & names != set()
    return bool({"k", "num_latents", "expansion_factor"} & json_keys(config))


def load(path: Path, flags: Flags = Flags()) -> LoadedAutoencoder:
    """Return the SAE or transcoder, with the site that the folder's name gives.

    Raises SubjectError if a tensor is missing, a file truncated or the activation unknown.
    """
    folder = _folder(path)
    config = read_json(folder / "cfg.json")
    file = folder / "sae.safetensors"
    tensors = read_safetensors(file)
    b_enc, b_dec = need(tensors, file, "encoder.bias", "b_dec")
    W_enc, W_dec = encoder_and_decoder(tensors, file, len(b_enc), "encoder.weight", "W_dec")
    activation = config.get("activation", "topk")
    if activation not in {"topk", "groupmax"}:
        raise SubjectError(
            f"{folder / 'cfg.json'}: activation '{activation}' is not supported; "
            "load it with sparsify and pass the object to autointerp.harvest"
        )
    transcode = bool(config.get("transcode", False))
    notes = []
    if config.get("signed"):
        raise SubjectError(
            f"{folder / 'cfg.json'}: signed latents are not supported, because none is "
            "ever silent; choose an SAE without them"
        )
    W_skip = tensors["W_skip"].float().T if "W_skip" in tensors else None
    sae = SparseAutoencoder(
        W_enc=W_enc,
        b_enc=b_enc,
        W_dec=W_dec,
        b_dec=b_dec,
        subtract_b_dec=not transcode,
        activation=cast(Activation, activation),
        k=latents_a_token(config.get("k"), flags, folder / "cfg.json"),
        W_skip=W_skip,
        transcodes=transcode,
    )
    match = re.search(r"layers\.(\d+)(\.(mlp|attention|self_attn|attn))?$", folder.name)
    site, layer = None, None
    if match:
        layer = int(match[1])
        part = {None: "residual", "mlp": "mlp"}.get(match[3], "attention")
        site = f"layers.{layer}.{part}"
    if transcode:
        site = f"{site}.input" if site and site.endswith("mlp") else None
        notes.append("a transcoder: it reads its module's input and writes its output")
    return LoadedAutoencoder(
        sae, "sparsify", folder, site=site, hook=folder.name, layer=layer, l0=float(sae.k or 0),
        notes=tuple(notes),
    )  # fmt: skip
