"""Gemma Scope: params.npz (Gemma 2) or params.safetensors (Gemma 3); the path names the rest."""

from __future__ import annotations

import re
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from torch import Tensor

from autointerp.errors import SubjectError
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.formats._cross_layer import ONE_ENCODER, crosscoder
from autointerp.subjects.formats._recorded import Recorded, activation_named, refused
from autointerp.subjects.formats._tensors import (
    Flags,
    LoadedAutoencoder,
    json_keys,
    need,
    oriented,
    read_json,
    read_npz,
    read_safetensors,
    safetensors_header,
    scaled,
)

# The part of a path that names a site: ours, per layer. Gemma normalises what its MLP writes,
# and Gemma Scope reads that, not the MLP module's own output. The transcoders of Gemma 2 read the
# norm before the MLP without its weight, those of Gemma 3 with it.
SITES = {
    "res": "layers.{}.residual",
    "resid_post": "layers.{}.residual",
    "mlp": "layers.{}.mlp.added",
    "mlp_out": "layers.{}.mlp.added",
    "att": "layers.{}.attention.heads",
    "attn_out": "layers.{}.attention.heads",
    "transcoders": "layers.{}.mlp.normalised",
    "transcoder": "layers.{}.mlp.input",
    "clt": "layers.{}.mlp.input",
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

    Of a cross-layer transcoder it returns the encoder of the file's layer. Raises SubjectError if
    a tensor is missing, the file truncated, or config.json beside it says something unknown.
    """
    file = _file(path)
    tensors = read_npz(file) if file.suffix == ".npz" else read_safetensors(file)
    small = {name.lower(): name for name in tensors}

    def named(*names: str) -> list[Tensor]:
        return need(tensors, file, *(small.get(name.lower(), name) for name in names))

    b_enc, b_dec, threshold, decoder = named("b_enc", "b_dec", "threshold", "W_dec")
    W_enc = oriented(named("W_enc")[0], "W_enc", file, len(b_enc), True, True)
    is_cross_layer = decoder.dim() == 3  # [d_sae, layers, d_out]
    if is_cross_layer:
        if decoder.shape[0] != len(b_enc):
            raise SubjectError(
                f"{file}: w_dec is {tuple(decoder.shape)}, not [{len(b_enc)} latents, layers, "
                "d_out]; fetch it again"
            )
        W_dec = decoder.sum(1)
        b_dec = b_dec.sum(0) if b_dec.dim() == 2 else b_dec
    else:
        W_dec = oriented(decoder, "W_dec", file, len(b_enc), False, False)
    skip = named("affine_skip_connection")[0] if "affine_skip_connection" in small else None
    where = file.with_name("config.json")
    config = Recorded(read_json(where) if json_keys(where) else {}, where)
    written = "/".join(path.absolute().parts)
    if "/crosscoder" in written:  # of Gemma Scope 2, a file for each of its layers
        raise SubjectError(crosscoder(file, "as its folder says"))
    layer = _find(r"layer_(\d+)", written)
    l0 = _find(r"average_l0_(\d+)", written) or config.number("l0") or None
    if l0 is not None and l0 < 0:
        raise SubjectError(f"{where}: l0 is {l0:g}, not a mean number of latents; correct it")
    model, part = _repository(written)
    if activation_named(config.text("architecture"), where) not in (None, "jumprelu"):
        raise SubjectError(
            f"{where}: architecture '{config.text('architecture')}' is not that of Gemma Scope"
        )
    recorded_in, recorded_out = config.text("hf_hook_point_in"), config.text("hf_hook_point_out")
    if config.whole("width") not in (None, len(b_enc)):
        raise SubjectError(
            f"{where} says width {config.whole('width')}, {file.name} has {len(b_enc)} latents; "
            "fetch the files of one SAE"
        )
    kind = config.text("type")
    if kind not in (None, "sae", "transcoder", "clt"):
        raise SubjectError(f"{where}: type '{kind}' is not supported; choose another SAE")
    if config.flag("affine_connection") and skip is None:
        raise SubjectError(
            f"{where} says affine_connection, {file.name} has no affine_skip_connection; fetch it "
            "again"
        )
    transcodes = "transcoder" in written or is_cross_layer or kind in ("transcoder", "clt")
    transcodes = transcodes or recorded_out not in (None, recorded_in)
    sae = SparseAutoencoder(
        W_enc,
        b_enc,
        W_dec,
        b_dec,
        subtract_b_dec=False,
        activation="jumprelu",
        threshold=threshold,
        W_skip=None if is_cross_layer else skip,
        transcodes=transcodes,
    )
    site = SITES[part].format(layer) if part and layer is not None else None
    notes = [] if model else ["its path names no Gemma Scope repository: model, site and layer "
                              "are unchecked"]  # fmt: skip
    if is_cross_layer:
        notes = [ONE_ENCODER, *notes]
    if part == "res" and "embedding" in written:
        # Trained on the embedding before Gemma multiplies it by √d_model.
        sae, site, layer = scaled(sae, sae.d_in**-0.5), "layers.0.input", 0
    recorded_model = _gemma(config.text("model_name"))
    left = [*config.left_over(), *tensors.left_over()]
    return LoadedAutoencoder(
        sae,
        "gemma_scope",
        file,
        model=recorded_model or model,
        site=_own(recorded_in) or site,
        hook=recorded_in or part,
        layer=layer,
        prepend_bos=True,
        l0=None if l0 is None else float(l0),
        notes=(*notes, *refused(left, file.parent, flags.strict)),
        writes=_own(recorded_out) or (f"layers.{layer}.mlp.added" if transcodes else None),
        has_training="average_l0" in written,
        reconstructs=not transcodes,
        beside=(where,) if json_keys(where) else (),
    )


def _repository(written: str) -> tuple[str | None, str | None]:
    """Return the language model, and the part that a path of Gemma Scope or Gemma Scope 2 names."""
    if match := re.search(r"gemma-scope-(\d+b)-(pt|it)-(res|mlp|att|transcoders)", written):
        return f"google/gemma-2-{match[1]}" + ("-it" if match[2] == "it" else ""), match[3]
    if match := re.search(r"gemma-scope-2-(\d+[bm])-(pt|it)", written):
        part = re.search(r"/(resid_post|mlp_out|attn_out|transcoder|clt)", written)
        return f"google/gemma-3-{match[1]}-{match[2]}", part[1] if part else None
    return None, None


def _gemma(name: str | None) -> str | None:
    """Return the hub's name of a model that config.json calls `gemma-v3-1b-pt`."""
    if name is None:
        return None
    name = name.replace("gemma-v3", "gemma-3")
    return name if "/" in name else f"google/{name}"


def _own(module: str | None) -> str | None:
    """Return a module's path as a site: `model.layers.3.output` is `layers.3.residual`."""
    if module and (match := re.fullmatch(r"model\.layers\.(\d+)\.output", module)):
        return f"layers.{match[1]}.residual"
    return module


def _find(pattern: str, text: str) -> int | None:
    """Return the last number that a pattern finds: the folders above may be called anything."""
    matches = re.findall(pattern, text)
    return int(matches[-1]) if matches else None
