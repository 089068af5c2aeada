"""OpenMOSS' lm-saes, now Llamascopium: Llama Scope and its successors.

Llama Scope has `hyperparams.json` and `checkpoints/final.safetensors`; later ones `config.json` and
`sae_weights.safetensors`. The arithmetic is that of their own loader for inference: inputs are
scaled to a mean norm of √d_model by the mean norm that the files record. Latents are given on the
scale of the raw inputs, for dictionary vectors of norm 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autointerp.errors import MissingSetting, SubjectError
from autointerp.subjects.autoencoder import Activation, Normalisation, SparseAutoencoder
from autointerp.subjects.formats._cross_layer import cross_layer_transcoder, crosscoder
from autointerp.subjects.formats._recorded import Recorded, activation_named, refused
from autointerp.subjects.formats._tensors import (
    Flags,
    LoadedAutoencoder,
    Tensors,
    check_threshold,
    folder_of,
    json_keys,
    latents_a_token,
    need,
    oriented,
    read_json,
    read_safetensors,
    read_torch,
    table,
)
from autointerp.subjects.hooks import site_of_hook

CONFIGS = ("hyperparams.json", "config.json", "lm_config.json")
WEIGHTS = (
    "sae_weights.safetensors", "sae_weights.pt", "checkpoints/pruned.safetensors",
    "checkpoints/pruned.pt", "checkpoints/final.safetensors", "checkpoints/final.pt",
)  # fmt: skip
SUFFIXES = (".safetensors", ".pt")


def _places(path: Path) -> tuple[Path, Path] | None:
    """Return the configuration and the weights that a folder or a file stands for."""
    folder = folder_of(path)
    if not path.is_dir() and folder.name == "checkpoints":
        folder = folder.parent
    config = next((folder / n for n in CONFIGS[:2] if _is_config(folder / n)), None)
    if config is None:
        return None
    if path.is_file() and path.suffix in SUFFIXES:
        return config, path
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    return None if weights is None else (config, weights)


def _is_config(file: Path) -> bool:
    keys = json_keys(file)
    hooks = {"hook_point_in", "hook_points", "hook_points_in"}
    return bool(keys & hooks) and bool(keys & {"norm_activation", "act_fn", "sae_type"})


def recognises(path: Path) -> bool:
    return _places(path) is not None


def load(path: Path, flags: Flags = Flags()) -> LoadedAutoencoder:
    """Return the SAE or transcoder, and what its configuration says of it.

    Raises SubjectError if a tensor is missing, or a recorded setting is one that is not known or
    cannot be reproduced; MissingSetting if the files do not say by what inputs are scaled.
    """
    places = _places(path)
    if places is None:
        raise SubjectError(f"{path} has no {CONFIGS[0]} or {CONFIGS[1]} of OpenMOSS beside weights")
    where, file = places
    config = Recorded(read_json(where), where)
    kind = config.text("sae_type") or "sae"
    if kind == "clt" or "hook_points_in" in config:
        raise SubjectError(cross_layer_transcoder(where.parent, f"sae_type {kind}"))
    if kind == "crosscoder" or "hook_points" in config:
        raise SubjectError(crosscoder(where.parent, f"sae_type {kind}"))
    if kind != "sae":
        raise SubjectError(f"{where}: sae_type '{kind}' is not supported; give an SAE")
    if config.flag("use_glu_encoder"):
        raise SubjectError(
            f"{where}: an encoder with a gate of its own (use_glu_encoder) is not supported; pass "
            "the loaded object to autointerp.harvest"
        )
    if file.suffix == ".pt":
        tensors, said = read_torch(file)
        beside = Recorded({name: v for name, v in said.items() if name != "version"}, file)
    else:
        tensors, beside = read_safetensors(file), Recorded({}, file)
    W_enc, b_enc, W_dec, b_dec = _weights(tensors, file, config)
    hook, written = config.text("hook_point_in"), config.text("hook_point_out")
    transcodes = written is not None and written != hook
    d_model = config.whole("d_model")
    if d_model not in (None, W_enc.shape[0]):
        raise SubjectError(f"{where} says d_model {d_model}, {file.name} has {W_enc.shape[0]}")
    d_sae, factor = config.whole("d_sae"), config.number("expansion_factor")
    if d_sae is None and factor is not None:
        d_sae = int(W_enc.shape[0] * factor)
    if d_sae not in (None, W_enc.shape[1]):
        raise SubjectError(f"{where} says d_sae {d_sae}, {file.name} has {W_enc.shape[1]}")
    normalisation, norms = _normalisation(config, tensors, flags)
    in_scale = flags.input_scale or 1.0
    if norms is not None and flags.input_scale is not None:
        raise SubjectError(
            f"input_scale {flags.input_scale:g}: {where} records the norms by which inputs were "
            "scaled; leave input_scale out"
        )
    if norms is not None:  # inputs, and what is reconstructed, times these in training
        in_scale, out_scale = (W_enc.shape[0] ** 0.5 / norm for norm in norms)
        b_enc, b_dec = b_enc / in_scale, b_dec / out_scale
        W_dec = W_dec * (in_scale / out_scale)
    length = W_dec.norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
    if config.flag("sparsity_include_decoder_norm") is not False:
        W_enc, b_enc, W_dec = W_enc * length, b_enc * length, W_dec / length[:, None]
    activation, threshold, is_on_training_scale = _activation(config, tensors, where)
    was_topk = activation == "jumprelu" and not is_on_training_scale
    if threshold is not None and is_on_training_scale and norms is not None:
        threshold = threshold / in_scale
    if threshold is not None and not is_on_training_scale and norms is None:
        threshold = threshold * in_scale
    k = config.whole("top_k")
    subtracts = bool(config.flag("apply_decoder_bias_to_pre_encoder"))
    if subtracts and "W_E" in tensors:
        raise SubjectError(f"{where}: apply_decoder_bias_to_pre_encoder is not known of W_E")
    sae = SparseAutoencoder(
        W_enc,
        b_enc,
        W_dec,
        b_dec,
        subtract_b_dec=subtracts and not transcodes,
        activation=activation,
        k=latents_a_token(k, flags, where) if activation == "topk" else None,
        threshold=threshold,
        normalisation=normalisation,
        transcodes=transcodes,
    )
    language_model = _language_model(where.parent)
    site, layer = site_of_hook(hook)
    config.take(
        "lp", "strict_loading", "sae_pretrained_name_or_path", "tp_size", "ddp_size", "device",
        "decoder_exactly_fixed_norm", "use_triton_kernel", "version",
    )  # fmt: skip
    left = [*config.left_over(), *tensors.left_over(), *beside.left_over()]
    return LoadedAutoencoder(
        sae,
        "openmoss",
        where.parent,
        model=language_model.text("model_name")
        or language_model.text("model_from_pretrained_path"),
        site=site,
        hook=hook,
        layer=layer,
        prepend_bos=language_model.flag("prepend_bos"),
        # A default stands beside a threshold that was trained, too.
        l0=float(k) if k and (activation == "topk" or was_topk) else None,
        notes=refused(left, where.parent, flags.strict),
        writes=site_of_hook(written)[0] if transcodes else None,
        has_training=language_model.has_training,
        reconstructs=not transcodes,
        beside=(file,) if file.parent != where.parent else (),
    )


def _weights(
    tensors: Tensors, file: Path, config: Recorded
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return W_enc [d_in, d_sae], b_enc, W_dec [d_sae, d_out] and b_dec, 0 where there is none."""
    is_new = "W_E" in tensors
    names = (
        ("W_E", "b_E", "W_D") if is_new else ("encoder.weight", "encoder.bias", "decoder.weight")
    )
    enc, b_enc, dec = need(tensors, file, *names)
    W_enc = oriented(enc, names[0], file, len(b_enc), True, is_new)
    W_dec = oriented(dec, names[2], file, len(b_enc), False, not is_new)
    if config.flag("use_decoder_bias") is False:
        return W_enc, b_enc, W_dec, W_dec.new_zeros(W_dec.shape[1])
    (b_dec,) = need(tensors, file, "b_D" if is_new else "decoder.bias")
    return W_enc, b_enc, W_dec, b_dec


def _normalisation(
    config: Recorded, tensors: Tensors, flags: Flags
) -> tuple[Normalisation, tuple[float, float] | None]:
    """Return what is done to each input, and the mean norms of inputs and outputs in training."""
    name = config.text("norm_activation") or config.take("norm_activation")
    recorded = Recorded(
        table(
            config.take("dataset_average_activation_norm"), "dataset_average_activation_norm",
            config.path,
        ),
        config.path,
    )  # fmt: skip
    prefix = "dataset_average_activation_norm."
    stored = {
        n.removeprefix(prefix): tensors[n].flatten().tolist()
        for n in tensors
        if n.startswith(prefix)
    }
    if name is None and (recorded.values or stored):
        raise SubjectError(
            f"{config.path} records mean norms of activations and no norm_activation, so it is not "
            "known whether inputs are scaled by them; fetch it again"
        )
    name = name or "none"
    if name in ("none", "inference"):
        return "none", None
    if name == "token-wise":
        return "constant_norm", None
    if name != "dataset-wise":
        raise SubjectError(
            f"{config.path}: norm_activation '{name}' depends on the batch and cannot be "
            "reproduced; choose another SAE"
        )
    hook_in, hook_out = config.text("hook_point_in"), config.text("hook_point_out")
    beside = Recorded({n: v[0] for n, v in stored.items() if len(v) == 1}, config.path)
    norm_in = recorded.number("in") or beside.number(str(hook_in))
    norm_out = recorded.number("out") or beside.number(str(hook_out or hook_in)) or norm_in
    if norm_in is not None and norm_out is not None and norm_in > 0 < norm_out:
        return "none", (norm_in, norm_out)
    if flags.input_scale is not None:  # `load_sae` puts it in
        return "none", None
    raise MissingSetting(
        "input_scale",
        f"{config.path}: inputs were scaled to a mean norm of √d_model (norm_activation "
        "dataset-wise) and the files do not say by what factor; give it as input_scale (1 if it "
        "was folded)",
    )


def _activation(
    config: Recorded, tensors: Tensors, where: Path
) -> tuple[Activation, Tensor | None, bool]:
    """Return the activation and its threshold, and whether that is on the scale of the training.

    A threshold that was trained is; the one number of Llama Scope, found afterwards, is on the
    scale of the raw inputs.
    """
    named = activation_named(config.text("act_fn"), where)
    scalar = config.number("jump_relu_threshold", "jumprelu_threshold")
    names = [name for name in tensors if name.endswith("log_jumprelu_threshold")]
    if named is None and (names or scalar or config.whole("top_k")):
        raise SubjectError(
            f"{where} has no act_fn, and a threshold or top_k that some activation uses; fetch it "
            "again"
        )
    activation = named or "relu"
    threshold: Any = need(tensors, where, names[0])[0].exp() if names else None
    if threshold is None and scalar:
        threshold = torch.tensor(scalar)
    check_threshold(threshold, where)
    # Their loader makes a JumpReLU of a TopK that has a threshold.
    if activation == "topk" and scalar:
        activation = "jumprelu"
    if activation == "batchtopk":
        raise SubjectError(
            f"{where}: act_fn batchtopk has no threshold here, so a token's latents would depend "
            "on the batch; convert it to jumprelu first"
        )
    if activation == "jumprelu" and threshold is None:
        raise SubjectError(f"{where} says jumprelu, and no threshold is recorded; fetch it again")
    if activation not in ("relu", "topk", "jumprelu"):
        raise SubjectError(f"{where}: act_fn '{activation}' is not supported; choose another SAE")
    return activation, threshold if activation == "jumprelu" else None, bool(names)


def _language_model(folder: Path) -> Recorded:
    file = folder / CONFIGS[2]
    return Recorded(read_json(file) if json_keys(file) else {}, file)
