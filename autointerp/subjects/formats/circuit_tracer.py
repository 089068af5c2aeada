"""Transcoders as circuit-tracer reads them: `layer_5.safetensors` beside the set's config.yaml.

Of some published sets there is the configuration of their training alone.
"""

from __future__ import annotations

import re
from pathlib import Path

from autointerp.errors import SubjectError
from autointerp.subjects.autoencoder import Activation, SparseAutoencoder
from autointerp.subjects.formats._recorded import Recorded, activation_named, read_yaml, refused
from autointerp.subjects.formats._tensors import (
    Flags,
    LoadedAutoencoder,
    check_threshold,
    latents_a_token,
    need,
    oriented,
    read_safetensors,
    safetensors_header,
)
from autointerp.subjects.hooks import site_of_hook

FILE = re.compile(r"layer_(\d+)\.safetensors")
CONFIG = "config.yaml"
OF_TRAINING = ("wandb-config.yaml", "wanb-config.yaml")  # the second as published


def recognises(path: Path) -> bool:
    beside = (path.parent / name for name in (CONFIG, *OF_TRAINING))
    if not FILE.fullmatch(path.name) or not any(file.is_file() for file in beside):
        return False
    names, _ = safetensors_header(path)
    return {"W_enc", "W_dec", "b_enc", "b_dec"} <= names


def load(path: Path, flags: Flags = Flags()) -> LoadedAutoencoder:
    """Return the transcoder of one layer, with the hooks that the set's configuration names.

    Raises SubjectError if a tensor is missing, the file truncated, or something recorded unknown.
    """
    where = path.parent / CONFIG
    config = Recorded(read_yaml(where) if where.is_file() else {}, where)
    match = FILE.fullmatch(path.name)
    if match is None:
        raise SubjectError(f"{path} is not the file of one layer, such as layer_0.safetensors")
    layer = int(match[1])
    tensors = read_safetensors(path)
    enc, dec, b_enc, b_dec = need(tensors, path, "W_enc", "W_dec", "b_enc", "b_dec")
    names = [n for n in ("activation_function.threshold", "threshold") if n in tensors]
    logs = [n for n in ("log_thresholds", "log_threshold") if n in tensors]
    threshold = need(tensors, path, names[0])[0] if names else None
    if logs:
        threshold = need(tensors, path, logs[0])[0].exp()
    check_threshold(threshold, path)
    said = activation_named(config.text("activation_function", "activation"), where)
    activation: Activation = "relu" if threshold is None else "jumprelu"
    k = None
    if threshold is None and (said == "topk" or "k" in tensors):
        activation = "topk"
        of_file = tensors["k"].flatten().tolist() if "k" in tensors else [None]
        of_set = config.take("k")
        k = latents_a_token(of_file[0] if of_set is None else of_set, flags, where)
        if of_file[0] not in (None, k):
            raise SubjectError(f"{where} says k {k}, {path.name} {of_file[0]}; correct one of them")
    if said not in (None, activation):
        raise SubjectError(
            f"{where} says {said}, the tensors of {path.name} are {activation}; fetch the files of "
            "one set"
        )
    sae = SparseAutoencoder(
        W_enc=oriented(enc, "W_enc", path, len(b_enc), True, False),
        b_enc=b_enc,
        W_dec=oriented(dec, "W_dec", path, len(b_enc), False, False),
        b_dec=b_dec,
        subtract_b_dec=False,
        activation=activation,
        k=k,
        threshold=threshold,
        W_skip=need(tensors, path, "W_skip")[0].T if "W_skip" in tensors else None,
        transcodes=True,
    )
    kind = config.text("model_kind")
    if kind not in (None, "transcoder_set"):
        raise SubjectError(f"{where}: model_kind '{kind}' is not a set of transcoders, one a layer")
    config.take("scan", "transcoders", "lazy_encoder", "lazy_decoder")
    read, written = config.text("feature_input_hook"), config.text("feature_output_hook")
    hook = f"blocks.{layer}.{read}" if read else None
    left = [*config.left_over(), *tensors.left_over()]
    return LoadedAutoencoder(
        sae,
        "circuit_tracer",
        path,
        model=config.text("model_name"),
        site=site_of_hook(hook)[0],
        hook=hook,
        layer=layer,
        l0=None if k is None else float(k),
        notes=(
            "a transcoder: it reads one site and writes another",
            *refused(left, path, flags.strict),
        ),
        writes=site_of_hook(f"blocks.{layer}.{written}")[0] if written else None,
        has_training=any((path.parent / name).is_file() for name in OF_TRAINING),
        reconstructs=False,
        beside=(where,) if where.is_file() else (),
    )
