"""Cross-layer transcoders, one file a layer, as circuit-tracer reads them; crosscoders are refused.

A layer's encoder reads one site, so it is harvested like a transcoder's: `W_enc_5.safetensors`
beside `W_dec_5.safetensors` and the set's config.yaml.
"""

from __future__ import annotations

import re
from pathlib import Path

from safetensors import SafetensorError, safe_open

from autointerp.errors import SubjectError
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.formats._cross_layer import ONE_ENCODER, cross_layer_transcoder, crosscoder
from autointerp.subjects.formats._recorded import Recorded, activation_named, read_yaml, refused
from autointerp.subjects.formats._tensors import (
    Flags,
    LoadedAutoencoder,
    check_threshold,
    json_keys,
    need,
    oriented,
    read_json,
    read_safetensors,
)
from autointerp.subjects.hooks import site_of_hook

FILE = re.compile(r"W_enc_(\d+)\.safetensors")
ENCODERS = ("W_enc", "encoder.weight", "W_E", "w_enc")
WEIGHTS = ("sae_weights.safetensors", "model.safetensors")


def recognises(path: Path) -> bool:
    if path.is_dir():
        if any(FILE.fullmatch(file.name) for file in path.glob("W_enc_*.safetensors")):
            return True
        files = [path / name for name in WEIGHTS]
        return any(_stacked(file) for file in files)
    return bool(FILE.fullmatch(path.name)) or (path.suffix == ".safetensors" and _stacked(path))


def load(path: Path, flags: Flags = Flags()) -> LoadedAutoencoder:
    """Return the encoder of one layer of a cross-layer transcoder.

    Raises SubjectError for a folder of them, with the files to choose from, and for a crosscoder.
    """
    if path.is_dir():
        files = sorted(path.glob("W_enc_*.safetensors"), key=lambda f: int(f.stem.split("_")[-1]))
        if files:
            raise SubjectError(
                cross_layer_transcoder(path, f"{len(files)} layers, such as {files[0].name}")
            )
        (path,) = [path / name for name in WEIGHTS if _stacked(path / name)][:1]
    match = FILE.fullmatch(path.name)
    if match is None:
        raise SubjectError(_refusal(path))
    return _one_layer(path, int(match[1]), flags)


def _one_layer(file: Path, layer: int, flags: Flags) -> LoadedAutoencoder:
    where = file.parent / "config.yaml"
    config = Recorded(read_yaml(where) if where.is_file() else {}, where)
    tensors = read_safetensors(file)
    decoders_file = file.with_name(f"W_dec_{layer}.safetensors")
    decoders = read_safetensors(decoders_file)
    matrix, b_enc, b_dec = need(tensors, file, f"W_enc_{layer}", f"b_enc_{layer}", f"b_dec_{layer}")
    W_enc = oriented(matrix, f"W_enc_{layer}", file, len(b_enc), True, False)
    (W_dec,) = need(decoders, decoders_file, f"W_dec_{layer}")  # [d_sae, layers from here, d_out]
    if W_dec.dim() != 3 or W_dec.shape[0] != len(b_enc):
        raise SubjectError(
            f"{decoders_file}: W_dec_{layer} is {tuple(W_dec.shape)}, not [{len(b_enc)} latents, "
            "layers, d_out]; fetch it again"
        )
    name = next((n for n in (f"threshold_{layer}", f"thresholds_{layer}") if n in tensors), None)
    threshold = None if name is None else need(tensors, file, name)[0].flatten()
    check_threshold(threshold, file)
    activation = activation_named(config.text("activation_function", "activation", "act_fn"), where)
    found = "relu" if threshold is None else "jumprelu"
    if activation not in (None, found):
        raise SubjectError(f"{where} says {activation}, the tensors of {file.name} are {found}")
    sae = SparseAutoencoder(
        W_enc=W_enc,
        b_enc=b_enc,
        W_dec=W_dec.sum(1),
        b_dec=b_dec,
        subtract_b_dec=False,
        activation="relu" if threshold is None else "jumprelu",
        threshold=threshold,
        transcodes=True,
    )
    config.take("model_kind", "scan", "transcoders", "lazy_encoder", "lazy_decoder")
    read, written = config.text("feature_input_hook"), config.text("feature_output_hook")
    hook = f"blocks.{layer}.{read}" if read else None
    left = [*config.left_over(), *tensors.left_over(), *decoders.left_over()]
    return LoadedAutoencoder(
        sae,
        "cross_layer",
        file,
        model=config.text("model_name"),
        site=site_of_hook(hook)[0],
        hook=hook,
        layer=layer,
        notes=(ONE_ENCODER, *refused(left, file, flags.strict)),
        writes=site_of_hook(f"blocks.{layer}.{written}")[0] if written else None,
        reconstructs=False,
        beside=(decoders_file, *([where] if where.is_file() else [])),
    )


def _refusal(path: Path) -> str:
    config = path.parent / "config.json"
    if json_keys(config):
        values = read_json(config)
        if values.get("sae_type") == "clt" or "hook_points_in" in values:
            return cross_layer_transcoder(path, "sae_type clt")
    return crosscoder(path, "its encoder has a matrix for each of several sites")


def _stacked(file: Path) -> bool:
    """Return whether a safetensors file has several encoders, stacked in one tensor."""
    if not file.is_file():
        return False
    try:
        with safe_open(file, framework="pt") as opened:
            names = [name for name in ENCODERS if name in set(opened.keys())]
            return any(len(opened.get_slice(name).get_shape()) == 3 for name in names)
    except (SafetensorError, OSError):
        return False
