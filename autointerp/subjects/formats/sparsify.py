"""EleutherAI's sparsify, once sae: cfg.json and sae.safetensors in a folder of a module's name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

from torch import Tensor

from autointerp.errors import SubjectError
from autointerp.subjects.autoencoder import Activation, SparseAutoencoder
from autointerp.subjects.formats._recorded import Recorded, refused
from autointerp.subjects.formats._tensors import (
    Flags,
    LoadedAutoencoder,
    encoder_and_decoder,
    folder_of,
    json_keys,
    latents_a_token,
    need,
    read_json,
    read_safetensors,
    safetensors_header,
    weights_of,
)

WEIGHTS = "sae.safetensors"


def recognises(path: Path) -> bool:
    folder = folder_of(path)
    file, config = folder / WEIGHTS, folder / "cfg.json"
    if not file.is_file() or not config.is_file():
        return False
    names, _ = safetensors_header(file)
    if names:
        return {"encoder.weight", "encoder.bias"} & names != set()
    return bool({"k", "num_latents", "expansion_factor"} & json_keys(config))


def load(path: Path, flags: Flags = Flags()) -> LoadedAutoencoder:
    """Return the SAE or transcoder, with the site that the folder's name gives.

    Raises SubjectError if a tensor is missing, a file truncated, or the activation or another
    recorded setting is unknown.
    """
    folder = folder_of(path)
    where = folder / "cfg.json"
    config = Recorded(read_json(where), where)
    file = weights_of(path, WEIGHTS)
    tensors = read_safetensors(file)
    b_enc, b_dec = need(tensors, file, "encoder.bias", "b_dec")
    W_enc, W_dec = encoder_and_decoder(tensors, file, len(b_enc), "encoder.weight", "W_dec")
    activation = config.text("activation") or "topk"
    if activation not in {"topk", "groupmax"}:
        raise SubjectError(
            f"{where}: activation '{activation}' is not supported; "
            "load it with sparsify and pass the object to autointerp.harvest"
        )
    transcode = bool(config.flag("transcode"))
    notes = []
    if config.flag("signed"):
        raise SubjectError(
            f"{where}: signed latents are not supported, because none is "
            "ever silent; choose an SAE without them"
        )
    skips = config.flag("skip_connection")
    has_skip = "W_skip" in tensors and skips is not False
    W_skip = need(tensors, file, "W_skip")[0].T if has_skip else None
    if skips and W_skip is None:
        raise SubjectError(f"{where} declares a skip connection, {file.name} has no W_skip")
    k = latents_a_token(config.take("k"), flags, where)
    _check_sizes(config, W_enc)
    sae = SparseAutoencoder(
        W_enc=W_enc,
        b_enc=b_enc,
        W_dec=W_dec,
        b_dec=b_dec,
        subtract_b_dec=not transcode,
        activation=cast(Activation, activation),
        k=k,
        W_skip=W_skip,
        transcodes=transcode,
    )
    # One of several seeds stands in a folder of its own.
    place = folder.parent if re.fullmatch(r"seed\d+", folder.name) else folder
    match = re.search(
        r"(layers|h|blocks)\.(\d+)(\.(mlp|ffn|attention|self_attn|self_attention|attn))?$",
        place.name,
    )
    site, layer, is_mlp = None, None, False
    if match:
        layer, is_mlp = int(match[2]), match[4] in ("mlp", "ffn")
        part = "residual" if match[4] is None else "mlp" if is_mlp else "attention"
        # Those that call their layers otherwise may add the residual stream inside the module.
        module = ".module" if match[1] != "layers" and match[4] else ""
        site = f"layers.{layer}.{part}{module}"
    writes = site if transcode else None
    if transcode:
        site = f"layers.{layer}.mlp.input" if is_mlp else None
        notes.append("a transcoder: it reads its module's input and writes its output")
    run = _run(place)
    has_unit_norm = config.flag("normalize_decoder")
    left = [*config.left_over(), *tensors.left_over()]
    return LoadedAutoencoder(
        sae,
        "sparsify",
        folder,
        model=run.text("model"),
        site=site,
        hook=place.name if re.search(r"(layers|h|blocks)[._]\d+|embed", place.name) else None,
        layer=layer,
        context_size=run.whole("ctx_len"),
        l0=float(k),
        notes=(*notes, *refused(left, folder, flags.strict)),
        revision=run.text("revision"),
        has_training=run.has_training,
        unit_decoder=None if transcode else has_unit_norm or None,
        reconstructs=not transcode,
        writes=writes,
        beside=() if file == folder / WEIGHTS else (file,),
    )


def _run(folder: Path) -> Recorded:
    """Return what the run's config.json, beside the folders of its SAEs, says."""
    file = folder.parent / "config.json"
    values = read_json(file) if {"model", "dataset"} <= json_keys(file) else {}
    return Recorded(values, file)


def _check_sizes(config: Recorded, W_enc: Tensor) -> None:
    d_in, d_sae = W_enc.shape
    factor = config.number("expansion_factor")
    recorded = {"d_in": config.whole("d_in"), "num_latents": config.whole("num_latents") or None}
    if not recorded["num_latents"] and factor:
        recorded["num_latents"] = int(d_in * factor)
    for name, size in {"d_in": d_in, "num_latents": d_sae}.items():
        if recorded[name] not in (None, size):
            raise SubjectError(
                f"{config.path} says {name} {recorded[name]}, the tensors have {size}; fetch the "
                "files of one SAE"
            )
