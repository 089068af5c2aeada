"""SAELens, before and since version 6: cfg.json and sae_weights.safetensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from autointerp.errors import MissingSetting, SubjectError
from autointerp.subjects.autoencoder import Activation, Normalisation, SparseAutoencoder
from autointerp.subjects.formats._recorded import Recorded, is_off, refused
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
    scaled,
    table,
    weights_of,
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
# Those of which not even the loaded object can be read.
UNREADABLE = {
    "abstopk": "its latents may be below 0, which no unit has here",
    "temporal": "a token's latents depend on the tokens before it, and a harvest gives each alone",
}
SCALING_FACTORS = ("scaling_factor", "finetuning_scaling_factor")
NORMALISATIONS: dict[str, Normalisation] = {
    "none": "none",
    "layer_norm": "layer_norm",
    "constant_norm_rescale": "constant_norm",
}


def recognises(path: Path) -> bool:
    folder = folder_of(path)
    keys = json_keys(folder / "cfg.json")  # none where it is missing or damaged: loading says so
    if not keys and json_keys(folder / "config.json"):
        return False  # another library's, which calls its weights the same
    return (folder / WEIGHTS).is_file() and (not keys or "d_sae" in keys)


def load(path: Path, flags: Flags = Flags()) -> LoadedAutoencoder:
    """Return the SAE or transcoder and what cfg.json says of its training.

    Raises SubjectError if a tensor is missing, a file truncated, or the architecture, the
    normalisation or another recorded setting is one that cannot be reproduced.
    """
    folder = folder_of(path)
    where = folder / "cfg.json"
    file = weights_of(path, WEIGHTS)
    config = _since_six(read_json(where), where)
    architecture = config.text("architecture") or "standard"
    if architecture in UNREADABLE:
        raise SubjectError(
            f"{where}: architecture '{architecture}' is not supported: {UNREADABLE[architecture]}; "
            "choose another SAE"
        )
    if architecture not in ARCHITECTURES:
        raise SubjectError(
            f"{where}: architecture '{architecture}' is not supported "
            f"(known: {', '.join(ARCHITECTURES)}); pass the loaded object to autointerp.harvest"
        )
    activation = ARCHITECTURES[architecture]
    tensors = read_safetensors(file)
    parts: dict[str, Any] = {}
    if activation == "gated":
        parts["b_enc"], parts["b_gate"], parts["r_mag"] = need(
            tensors, file, "b_mag", "b_gate", "r_mag"
        )
    else:
        (parts["b_enc"],) = need(tensors, file, "b_enc")
    if activation == "batchtopk" and "threshold" not in tensors and "topk_threshold" in tensors:
        (parts["threshold"],) = need(tensors, file, "topk_threshold")
    elif activation == "jumprelu" and "threshold" not in tensors and "log_threshold" in tensors:
        parts["threshold"] = need(tensors, file, "log_threshold")[0].exp()  # of a checkpoint
    elif activation in {"jumprelu", "batchtopk"}:
        (parts["threshold"],) = need(tensors, file, "threshold")
    parts["W_enc"], parts["W_dec"] = encoder_and_decoder(tensors, file, len(parts["b_enc"]))
    (parts["b_dec"],) = need(tensors, file, "b_dec")
    transcoder = "transcoder" in architecture
    if transcoder and "skip" in architecture:
        parts["W_skip"] = need(tensors, file, "W_skip")[0].T
    # It multiplies the activations on their way to the decoder.
    name = next((n for n in SCALING_FACTORS if n in tensors), None)
    factor = None if name is None else need(tensors, file, name)[0]
    is_finetuned = config.flag("finetuning_scaling_factor")
    if factor is not None and not torch.allclose(factor, torch.ones_like(factor)):
        if not is_finetuned:
            raise SubjectError(
                f"{file} has a {name} that {where} does not declare; "
                "set finetuning_scaling_factor there to true or drop the tensor"
            )
        parts["W_dec"] = parts["W_dec"] * factor[:, None]
    elif factor is None and is_finetuned:
        raise SubjectError(
            f"{where} declares a finetuning_scaling_factor that {file.name} does not have; fetch "
            "it again"
        )
    if config.flag("rescale_acts_by_decoder_norm") and activation in {"topk", "batchtopk"}:
        norms = parts["W_dec"].norm(dim=1)
        parts["W_enc"], parts["b_enc"] = parts["W_enc"] * norms, parts["b_enc"] * norms
        parts["W_dec"] = parts["W_dec"] / norms[:, None]
    normalisation, scale = _normalisation(config, folder, flags)
    k: float | None = None
    if activation == "topk":
        k = latents_a_token(config.take("k"), flags, where)
    else:
        k = config.number("k")  # of the training, and a mean
    sae = SparseAutoencoder(
        **parts,
        subtract_b_dec=config.flag("apply_b_dec_to_input") is not False and not transcoder,
        activation=activation,
        k=None if k is None else int(k),
        normalisation=normalisation,
        transcodes=transcoder,
    )
    _check_sizes(sae, config)
    if scale is not None:
        sae = scaled(sae, scale)
    loaded = _described(sae, folder, config, transcoder)
    if file != folder / WEIGHTS:
        loaded = replace(loaded, beside=(file,))
    left = [*config.left_over(), *tensors.left_over()]
    if k and activation in {"relu", "gated"}:
        left.insert(0, f"architecture {architecture} and k = {k:g}")
    return replace(loaded, notes=(*loaded.notes, *refused(left, folder, flags.strict)))


def _check_sizes(sae: SparseAutoencoder, config: Recorded) -> None:
    """Raise SubjectError if cfg.json records other sizes than the tensors have."""
    sizes = {"d_in": sae.d_in, "d_sae": sae.d_sae, "d_out": sae.d_out}
    for name, size in sizes.items():
        recorded = config.whole(name)
        if recorded not in (None, size) and (name != "d_out" or sae.transcodes):
            raise SubjectError(
                f"{config.path} says {name} {recorded}, the tensors have {size}; fetch the files "
                "of one SAE"
            )


def _since_six(config: dict[str, Any], where: Path) -> Recorded:
    """Return the configuration in the terms of SAELens 6, defaults put in, metadata flattened."""
    metadata = table(config.get("metadata"), "metadata", where)
    flat = {**metadata, **{key: v for key, v in config.items() if key != "metadata"}}
    old_names = {
        "hook_point": "hook_name",
        "hook_point_layer": "hook_layer",
        "hook_point_head_index": "hook_head_index",
        "activation_fn_str": "activation_fn",
    }
    flat = {old_names.get(name, name): value for name, value in flat.items()}
    kwargs = table(flat.pop("activation_fn_kwargs", None), "activation_fn_kwargs", where)
    k = kwargs.pop("k", None)
    if None not in (k, flat.get("k")) and k != flat["k"]:
        raise SubjectError(f"{where} says k {flat['k']} and k {k}; correct one of them")
    if flat.get("activation_fn") == "topk":  # also without a k: it is no ReLU then
        flat["architecture"], flat["k"] = "topk", flat.get("k") if k is None else k
    elif flat.get("activation_fn") not in (None, "relu", "topk"):
        flat["architecture"] = flat["activation_fn"]  # tanh-relu and the like: refused by name
    flat.pop("activation_fn", None)
    flat |= {f"activation_fn_kwargs.{name}": value for name, value in kwargs.items()}
    if isinstance(flat.get("normalize_activations"), bool):
        flat["normalize_activations"] = (
            "expected_average_only_in" if flat["normalize_activations"] else "none"
        )
    flat.setdefault("architecture", "standard")
    flat["normalize_activations"] = flat.get("normalize_activations") or "none"
    return Recorded(flat, where)


def _normalisation(
    config: Recorded, folder: Path, flags: Flags
) -> tuple[Normalisation, float | None]:
    """Return what is done to every input, and a constant factor on it that the files say."""
    name = config.text("normalize_activations") or "none"
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
        scale = Recorded(read_json(scaler), scaler).number("scaling_factor")
    if scale is None:
        raise MissingSetting(
            "input_scale",
            f"{folder / 'cfg.json'}: inputs were scaled to a mean norm of √d_in "
            "(expected_average_only_in), the factor is not in the files and SAELens does not "
            "apply it; give it as input_scale (1 if it was folded)",
        )
    return "none", scale


def _described(
    sae: SparseAutoencoder, folder: Path, config: Recorded, transcoder: bool
) -> LoadedAutoencoder:
    hook, model = config.text("hook_name"), config.text("model_name")
    site, layer = site_of_hook(hook)
    their_name = config.text("hf_hook_name")  # a module's path, where no hook is named
    if hook is None and their_name is not None:
        hook, site = their_name, their_name
    recorded_layer = config.whole("hook_layer")
    if None not in (layer, recorded_layer) and layer != recorded_layer:
        raise SubjectError(
            f"{config.path} says hook {hook} and hook_layer {recorded_layer}; correct it"
        )
    head = config.take("hook_head_index")
    if head is not None:
        raise SubjectError(
            f"{config.path}: trained on attention head {head} alone, and a site here has all "
            "heads; choose an SAE of all heads"
        )
    reshape = config.take("reshape_activations", default="none")
    if reshape not in ("none", "hook_z") or (reshape == "hook_z" and "hook_z" not in str(hook)):
        raise SubjectError(
            f"{config.path}: reshape_activations '{reshape}' at {hook} is not supported; load it "
            "with SAELens and pass the object to autointerp.harvest"
        )
    notes = []
    written = config.text("hook_name_out", "hf_hook_name_out")
    if transcoder:
        notes.append("a transcoder: it reads one site and writes another")
    elif written not in (None, hook):
        raise SubjectError(
            f"{config.path}: an SAE of {hook} that writes {written} is a transcoder, but its "
            f"architecture says otherwise; correct one of them"
        )
    l0 = config.number("l0")  # at the end of the training
    context_size = config.whole("context_size")
    prepend_bos = config.flag("prepend_bos")
    kwargs = Recorded(
        table(
            config.take("model_from_pretrained_kwargs"), "model_from_pretrained_kwargs", config.path
        ),
        config.path,
    )
    positions = config.take("seqpos_slice")
    if not is_off(positions):
        notes.append(f"trained on the positions {positions} of each window alone")
    processed = tuple(
        name for name in ("fold_ln", "fold_value_biases", "refactor_factored_attn_matrices")
        if kwargs.flag(name)
    )  # fmt: skip
    return LoadedAutoencoder(
        sae,
        "saelens",
        folder,
        model=model,
        site=site,
        hook=hook,
        layer=layer if recorded_layer is None else recorded_layer,
        context_size=context_size,
        prepend_bos=prepend_bos,
        l0=l0 or (None if sae.k is None else float(sae.k)),
        notes=tuple(notes),
        revision=kwargs.text("revision"),
        writes=site_of_hook(written)[0] if transcoder else None,
        centres=bool(kwargs.flag("center_writing_weights")),
        processed=processed,
        has_training=config.has_training,
        unit_decoder=config.flag("normalize_sae_decoder") or None,
        reconstructs=not transcoder,
    )
