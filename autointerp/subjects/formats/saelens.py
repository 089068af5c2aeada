"""SAELens, before and since version 6: cfg.json and sae_weights.safetensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from autointerp.errors import MissingSetting, SubjectError
from autointerp.subjects.autoencoder import Activation, Normalisation, SparseAutoencoder
from autointerp.subjects.formats._tensors import (
    Flags,
    LoadedAutoencoder,
    encoder_and_decoder,
    json_keys,
    latents_a_token,
    need,
    read_json,
    read_safetensors,
    scaled,
    table,
)
from autointerp.subjects.hooks import site_of_hook

WEIGHTS = "sae_weights.safetensors"
ARCHITECTURES: dict[str, Activation] = {
    "standard": "relu",
    "topk": "topk",
    "jumprelu": "jumprelu",
    "gated": "gated",
    "batchtopk": "batchtopk",
    "matryoshka_batchtopk": "batchtopk",
    "transcoder": "relu",
    "skip_transcoder": "relu",
    "jumprelu_transcoder": "jumprelu",
    "jumprelu_skip_transcoder": "jumprelu",
}
NORMALISATIONS: dict[str, Normalisation] = {
    "none": "none",
    "layer_norm": "layer_norm",
    "constant_norm_rescale": "constant_norm",
}


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def recognises(path: Path) -> bool:
    folder = _folder(path)
    keys = json_keys(folder / "cfg.json")  # none where it is missing or damaged: loading says so
    return (folder / WEIGHTS).is_file() and (not keys or "d_sae" in keys)


def load(path: Path, flags: Flags = Flags()) -> LoadedAutoencoder:
    """Return the SAE or transcoder and what cfg.json says of its training.

    Raises SubjectError if a tensor is missing, a file truncated, or the architecture or
    normalisation is one that cannot be reproduced.
    """
    folder = _folder(path)
    where, file = folder / "cfg.json", folder / WEIGHTS
    config = _since_six(read_json(where), where)
    architecture = config["architecture"]
    if architecture not in ARCHITECTURES:
        raise SubjectError(
            f"{where}: architecture '{architecture}' is not supported "
            f"(known: {', '.join(ARCHITECTURES)}); pass the loaded object to autointerp.harvest"
        )
    activation = ARCHITECTURES[architecture]
    tensors = read_safetensors(file)
    if activation == "batchtopk" and "threshold" not in tensors and "topk_threshold" in tensors:
        tensors["threshold"] = tensors["topk_threshold"]
    parts: dict[str, Any] = {}
    if activation == "gated":
        parts["b_enc"], parts["b_gate"], parts["r_mag"] = need(
            tensors, file, "b_mag", "b_gate", "r_mag"
        )
    else:
        (parts["b_enc"],) = need(tensors, file, "b_enc")
    if activation in {"jumprelu", "batchtopk"}:
        (parts["threshold"],) = need(tensors, file, "threshold")
    parts["W_enc"], parts["W_dec"] = encoder_and_decoder(tensors, file, len(parts["b_enc"]))
    (parts["b_dec"],) = need(tensors, file, "b_dec")
    transcoder = "transcoder" in architecture
    if transcoder and "skip" in architecture:
        parts["W_skip"] = need(tensors, file, "W_skip")[0].T
    factor = tensors.get("scaling_factor")
    if factor is not None and not torch.allclose(factor, torch.ones_like(factor)):
        if not config["finetuning_scaling_factor"]:
            raise SubjectError(
                f"{file} has a scaling_factor that {where} does not declare; "
                "set finetuning_scaling_factor there to true or drop the tensor"
            )
        # It multiplies the activations on their way to the decoder.
        parts["W_dec"] = parts["W_dec"] * factor.float()[:, None]
    if config["rescale_acts_by_decoder_norm"] and activation in {"topk", "batchtopk"}:
        norms = parts["W_dec"].norm(dim=1)
        parts["W_enc"], parts["b_enc"] = parts["W_enc"] * norms, parts["b_enc"] * norms
        parts["W_dec"] = parts["W_dec"] / norms[:, None]
    normalisation, scale = _normalisation(config, folder, flags)
    k = config.get("k")
    if activation == "topk":
        k = latents_a_token(k, flags, where)
    sae = SparseAutoencoder(
        **parts,
        subtract_b_dec=bool(config["apply_b_dec_to_input"]) and not transcoder,
        activation=activation,
        k=int(k) if isinstance(k, int | float) else None,
        normalisation=normalisation,
        transcodes=transcoder,
    )
    if scale is not None:
        sae = scaled(sae, scale)
    return _described(sae, folder, config)


def _since_six(config: dict[str, Any], where: Path) -> dict[str, Any]:
    """Return the configuration in the terms of SAELens 6, defaults put in, metadata flattened."""
    flat = {**config, **table(config.get("metadata"), "metadata", where)}
    old_names = {"hook_point": "hook_name", "activation_fn_str": "activation_fn"}
    flat = {old_names.get(name, name): value for name, value in flat.items()}
    k = table(flat.get("activation_fn_kwargs"), "activation_fn_kwargs", where).get("k")
    if flat.get("activation_fn") == "topk":  # also without a k: it is no ReLU then
        flat["architecture"], flat["k"] = "topk", flat.get("k") if k is None else k
    elif flat.get("activation_fn") not in {None, "relu", "topk"}:
        flat["architecture"] = flat["activation_fn"]  # tanh-relu and the like: refused by name
    if isinstance(flat.get("normalize_activations"), bool):
        flat["normalize_activations"] = (
            "expected_average_only_in" if flat["normalize_activations"] else "none"
        )
    defaults = {
        "architecture": "standard",
        "apply_b_dec_to_input": True,
        "finetuning_scaling_factor": False,
        "rescale_acts_by_decoder_norm": False,
    }
    flat = {**defaults, **flat}
    flat["normalize_activations"] = flat.get("normalize_activations") or "none"
    return flat


def _normalisation(
    config: dict[str, Any], folder: Path, flags: Flags
) -> tuple[Normalisation, float | None]:
    """Return what is done to every input, and a constant factor on it that the files say."""
    name = config["normalize_activations"]
    if name in NORMALISATIONS:
        return NORMALISATIONS[name], None
    if name != "expected_average_only_in":
        raise SubjectError(
            f"{folder / 'cfg.json'}: normalize_activations '{name}' is not supported unless "
            "folded; load it with SAELens, fold it and save it again"
        )
    if flags.input_scale is not None:  # `load_sae` puts it in
        return "none", None
    scale = None
    scaler = folder / "activation_scaler.json"
    if scaler.is_file():
        scale = read_json(scaler).get("scaling_factor")
    if scale is None:
        raise MissingSetting(
            "input_scale",
            f"{folder / 'cfg.json'}: inputs were scaled to a mean norm of √d_in "
            "(expected_average_only_in), the factor is not in the files and SAELens does not "
            "apply it; give it as input_scale (1 if it was folded)",
        )
    return "none", float(scale)


def _described(sae: SparseAutoencoder, folder: Path, config: dict[str, Any]) -> LoadedAutoencoder:
    hook, model = _text(config, "hook_name"), _text(config, "model_name")
    site, layer = site_of_hook(hook)
    path = folder / "cfg.json"
    notes = []
    if config.get("hook_head_index") is not None:
        notes.append(f"trained on head {config['hook_head_index']} alone, not on all of the site")
        site = None
    kwargs = table(config.get("model_from_pretrained_kwargs"), "model_from_pretrained_kwargs", path)
    if kwargs.get("center_writing_weights") or kwargs.get("fold_ln"):
        notes.append(
            "trained on a model that TransformerLens had processed "
            "(center_writing_weights/fold_ln): plain Hugging Face activations differ"
        )
    if "transcoder" in config["architecture"]:
        notes.append("a transcoder: it reads one site and writes another")
    if hook is not None and hook.endswith("ln2.hook_normalized"):
        notes.append("its site is the norm's output before its weight; check L0")
    context_size = config.get("context_size")
    return replace(
        LoadedAutoencoder(sae, "saelens", folder),
        model=model,
        site=site,
        hook=hook,
        layer=layer,
        context_size=context_size if isinstance(context_size, int) else None,
        prepend_bos=config.get("prepend_bos"),
        l0=None if sae.k is None else float(sae.k),
        notes=tuple(notes),
    )


def _text(config: dict[str, Any], name: str) -> str | None:
    value = config.get(name)
    return value if isinstance(value, str) and value else None
