"""Gemma Scope: params.npz (Gemma 2) or params.safetensors (Gemma 3); the path names the rest."""

from __future__ import annotations

import re
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from torch import Tensor

from autointerp.errors import SubjectError
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.formats._tensors import (
    Flags,
    LoadedAutoencoder,
    encoder_and_decoder,
    need,
    read_npz,
    read_safetensors,
    safetensors_header,
)

# The part of a path that names a site: ours, per layer. Gemma normalises what its MLP writes,
# and Gemma Scope reads that, not the MLP module's own output.
SITES = {
    "res": "layers.{}.residual",
    "resid_post": "layers.{}.residual",
    "mlp": "model.layers.{}.post_feedforward_layernorm",
    "mlp_out": "model.layers.{}.post_feedforward_layernorm",
    "att": "layers.{}.attention.heads",
    "attn_out": "layers.{}.attention.heads",
    "transcoders": "layers.{}.mlp.input",
    "transcoder": "layers.{}.mlp.input",
}


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    npz = path / "params.npz"
    return npz if npz.is_file() else path / "params.safetensors"


def recognises(path: Path) -> bool:
    file = _file(path)
    if file.suffix == ".npz" and file.is_file():
        try:
            with ZipFile(file) as archive:
                names = set(archive.namelist())
                return len({"W_enc.npy", "W_dec.npy", "threshold.npy"} & names) > 1
        except BadZipFile:
            return file.name == "params.npz"
    names, _ = safetensors_header(file)
    return {"w_enc", "w_dec", "threshold"} <= names


def load(path: Path, flags: Flags = Flags()) -> LoadedAutoencoder:
    """Return the JumpReLU SAE or transcoder; model, layer, site and L0 come from the path.

    Raises SubjectError if a tensor is missing or the file truncated.
    """
    file = _file(path)
    tensors = read_npz(file) if file.suffix == ".npz" else read_safetensors(file)
    renamed = {"w_enc": "W_enc", "w_dec": "W_dec", "affine_skip_connection": "W_skip"}
    tensors = {renamed.get(name, name): tensor for name, tensor in tensors.items()}
    b_enc, b_dec, threshold, decoder = need(tensors, file, "b_enc", "b_dec", "threshold", "W_dec")
    if decoder.dim() != 2:
        raise SubjectError(
            f"{file} is a cross-layer transcoder, which is not supported; "
            "give an SAE or a single-layer transcoder"
        )
    W_enc, W_dec = encoder_and_decoder(tensors, file, len(b_enc))
    W_skip: Tensor | None = tensors["W_skip"].float() if "W_skip" in tensors else None
    written = "/".join(path.absolute().parts)
    sae = SparseAutoencoder(
        W_enc,
        b_enc,
        W_dec,
        b_dec,
        subtract_b_dec=False,
        activation="jumprelu",
        threshold=threshold,
        W_skip=W_skip,
        transcodes="transcoder" in written,
    )
    layer = _find(r"layer_(\d+)", written)
    l0 = _find(r"average_l0_(\d+)", written)
    model, site = None, None
    if match := re.search(r"gemma-scope-(\d+b)-(pt|it)-(res|mlp|att|transcoders)", written):
        model = f"google/gemma-2-{match[1]}" + ("-it" if match[2] == "it" else "")
        site = match[3]
    elif match := re.search(r"gemma-scope-2-(\d+[bm])-(pt|it)", written):
        model = f"google/gemma-3-{match[1]}-{match[2]}"
        part = re.search(r"/(resid_post|mlp_out|attn_out|transcoder)", written)
        site = part[1] if part else None
    notes = (
        ()
        if model
        else ("its path names no Gemma Scope repository: model, site and layer are unchecked",)
    )
    return LoadedAutoencoder(
        sae,
        "gemma_scope",
        file,
        model=model,
        site=SITES[site].format(layer) if site and layer is not None else None,
        hook=site,
        layer=layer,
        prepend_bos=True,
        l0=None if l0 is None else float(l0),
        notes=notes,
    )


def _find(pattern: str, text: str) -> int | None:
    match = re.search(pattern, text)
    return int(match[1]) if match else None
