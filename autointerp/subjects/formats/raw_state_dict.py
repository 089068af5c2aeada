"""A bare state dict in a torch or safetensors file, and whatever is said of it there or beside it.

Tensors are taken by the names that several libraries use: `encoder.weight`, `W_enc`, `pre_bias`,
`log_threshold`, … What a file says and this module does not know is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor

from autointerp.errors import MissingSetting, SubjectError
from autointerp.subjects.autoencoder import (
    Activation,
    Normalisation,
    SparseAutoencoder,
    as_weights,
)
from autointerp.subjects.formats import (
    circuit_tracer,
    cross_layer,
    dictionary_learning,
    openmoss,
    saelens,
    sparsify,
)
from autointerp.subjects.formats._cross_layer import crosscoder
from autointerp.subjects.formats._recorded import (
    Recorded,
    activation_named,
    flattened,
    is_off,
    read_yaml,
    refused,
)
from autointerp.subjects.formats._tensors import (
    CONFIGS,
    TORCH_SUFFIXES,
    Flags,
    LoadedAutoencoder,
    Tensors,
    latents_a_token,
    layout_of_square,
    need,
    oriented,
    read_json,
    read_safetensors,
    read_torch,
    safetensors_header,
)
from autointerp.subjects.hooks import site_of_hook

ENCODERS = ("encoder.weight", "W_enc", "encoder_linear.weight", "W_E", "w_enc", "enc.weight")
DECODERS = ("decoder.weight", "W_dec", "decoder_linear.weight", "W_D", "w_dec", "dec.weight")
ENCODER_BIASES = (
    "encoder.bias", "b_enc", "encoder_linear.bias", "b_E", "latent_bias", "enc.bias",
)  # fmt: skip
DECODER_BIASES = (
    "decoder.bias", "b_dec", "decoder_linear.bias", "b_D", "decoder_bias", "dec.bias", "bias",
)  # fmt: skip
# Taken from the input, as their names say, and added again where there is no decoder's bias.
PRE_BIASES = ("pre_bias", "tied_bias", "b_pre", "pre_encoder_bias", "input_bias")
THRESHOLDS = (
    "threshold", "thresholds", "activation_function.threshold", "jump_threshold", "topk_threshold",
)  # fmt: skip
LOG_THRESHOLDS = (
    "log_threshold", "log_thresholds", "log_jumprelu_threshold",
    "activation_function.log_threshold", "activation_function.log_jumprelu_threshold",
    "jumprelu.log_threshold",
)  # fmt: skip
# Of the configurations of bartbussmann/BatchTopK and matryoshka_sae: all of their classes take
# b_dec from the input, but for JumpReLUSAE.
BUSSMANNS = {"sae_type", "act_size", "n_batches_to_dead", "input_unit_norm", "top_k_aux"}
# Files that say what the weights beside them are.
BESIDE = (
    "cfg.json", "config.json", "hyperparams.json", "hparams.json", "args.json", "sae_config.json",
    "config.yaml", "config.yml", "conf.yaml", "cfg.yaml", "hparams.yaml",
)  # fmt: skip
NORMALISATIONS: dict[str, Normalisation] = {
    "layer_norm": "layer_norm",
    "constant_norm_rescale": "constant_norm",
}


def recognises(path: Path) -> bool:
    if not path.is_file() or any(
        format.recognises(path) for format in (circuit_tracer, cross_layer, openmoss)
    ):
        return False
    if path.name == saelens.WEIGHTS and saelens.recognises(path):
        return False
    if path.name == sparsify.WEIGHTS and sparsify.recognises(path):
        return False
    if path.suffix == ".safetensors":
        names, metadata = safetensors_header(path)
        names = {name.removeprefix(_prefix(names)) for name in names}
        gemma = {"w_enc", "w_dec", "threshold"} <= names
        return bool(names.intersection(ENCODERS)) and not (
            gemma or "apply_b_dec_to_input" in metadata
        )
    if path.suffix not in TORCH_SUFFIXES:
        return False
    if dictionary_learning.recognises(path):
        return False
    try:
        with ZipFile(path) as archive:
            # Names are strings in the pickle, not yet unpickled here.
            pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
            content = archive.read(pickles[0]) if pickles else b""
    except (BadZipFile, OSError):
        return True  # an old or damaged torch file: loading says what is wrong with it
    return any(name.encode() in content for name in ENCODERS)


def load(path: Path, flags: Flags = Flags()) -> LoadedAutoencoder:
    """Return the SAE that tensors and settings of the file, and files beside it, describe.

    It is a ReLU unless they say otherwise. Raises SubjectError if a tensor is missing, the file
    truncated, or something is said that is not known; MissingSetting for what has to be known and
    is not said: whether the decoder's bias is taken from the input, which way square matrices lie,
    a TopK's k.
    """
    if path.suffix == ".safetensors":
        raw, said = read_safetensors(path), dict(safetensors_header(path)[1])
        said.pop("format", None)  # of safetensors itself
    else:
        raw, said = read_torch(path)
    tensors = _unprefixed(raw, path)
    beside, place = _beside(path)
    config = Recorded({**_of_path(path), **beside, **said}, place or path)
    threshold = _threshold(tensors, config)
    k = _k(tensors, config, path)
    parts = _biases_of_encoder(tensors, path)
    activation = _activation(config, flags, k, threshold, "r_mag" in parts, path)
    parts["W_enc"], parts["W_dec"] = _matrices(tensors, config, path, len(parts["b_enc"]), flags)
    subtract = _decoder_bias(tensors, config, path, parts, flags)
    normalisation = _normalisation(tensors, config, flags, activation)
    if config.flag("rescale_acts_by_decoder_norm", "sparsity_include_decoder_norm"):
        norms = parts["W_dec"].norm(dim=1)
        parts["W_enc"], parts["b_enc"] = parts["W_enc"] * norms, parts["b_enc"] * norms
        parts["W_dec"] = parts["W_dec"] / norms[:, None]
    notes = []
    if activation == "batchtopk":
        activation = "topk"
        notes.append(
            "a BatchTopK without a calibrated threshold, whose latents depend on the batch: read "
            "as TopK with the same k"
        )
    if activation is None:
        notes.append("the file names no activation: read as ReLU; if it is a TopK, give k")
    if threshold is not None and activation == "jumprelu":
        negative = int((threshold < 0).sum())
        if negative:
            notes.append(
                f"{negative} of {threshold.numel()} thresholds are negative: those latents are "
                "plain ReLUs"
            )
        parts["threshold"] = threshold
    if threshold is not None and activation == "topk" and float(threshold.max()) > 0:
        notes.append("its files have a threshold too, which a TopK does not use")
    hook = config.text(
        "hook_name", "hook_point", "hook_point_in", "hookpoint", "submodule_name", "act_name"
    )
    if hook is not None:
        config.take("site")  # of which the hook was made
    written = config.text("hook_name_out", "hook_point_out", "out_hook_point", "target_hook")
    transcodes = written not in (None, hook)
    if transcodes:
        notes.append("a transcoder: it reads one site and writes another")
    sae = SparseAutoencoder(
        **parts,
        subtract_b_dec=subtract,
        activation=activation or "relu",
        k=latents_a_token(k, flags, path) if activation in ("topk", "groupmax") else k,
        normalisation=normalisation,
        transcodes=transcodes,
    )
    _check_sizes(sae, config)
    model = config.text("model_name", "lm_name", "model", "language_model")
    layer = config.whole("layer", "hook_layer", "hook_point_layer")
    site, hook_layer = site_of_hook(hook)
    left = [*config.left_over(), *(f"tensor {name}" for name in tensors.unused())]
    where = path if place is None or not config.left_over() else place
    return LoadedAutoencoder(
        sae,
        "raw_state_dict",
        path,
        model=model,
        site=site,
        hook=hook,
        layer=hook_layer if layer is None else layer,
        context_size=config.whole("context_size", "ctx_len", "context_length", "seq_len"),
        prepend_bos=config.flag("prepend_bos"),
        l0=None if sae.k is None else float(sae.k),
        notes=(*notes, *refused(left, where, flags.strict)),
        has_training=config.has_training,
        assumes_relu=activation is None,
        writes=site_of_hook(written)[0] if transcodes else None,
        reconstructs=not transcodes,
        beside=() if place is None else (place,),
    )


class _Named:
    """Tensors under one of several names each, without a common prefix."""

    def __init__(self, tensors: Tensors, prefix: str, path: Path) -> None:
        self._tensors, self._prefix, self._path = tensors, prefix, path
        self.names = [name.removeprefix(prefix) for name in tensors]

    def first(self, *names: str) -> str | None:
        """Return the only one of these names that is there; None if none is."""
        return next((name for name in names if name in self.names), None)

    def take(self, name: str) -> Tensor:
        """Return a tensor in float32."""
        whole = self._prefix + name
        found = whole if whole in self._tensors else name
        return as_weights(self._tensors[found], found, self._path)

    def one(self, name: str) -> Any:
        """Return the number of a tensor with one; the list of them if there are several."""
        whole = self._prefix + name
        values = self._tensors[whole if whole in self._tensors else name].flatten().tolist()
        return values[0] if len(values) == 1 else values

    def unused(self) -> list[str]:
        return [
            name.removeprefix("tensor ").removeprefix(self._prefix)
            for name in self._tensors.left_over()
        ]


def _prefix(names: Any) -> str:
    """Return what stands before `encoder.weight` and the like, as `_orig_mod.`."""
    for name in sorted(names):
        for encoder in ENCODERS:
            if name.endswith("." + encoder):
                return str(name.removesuffix(encoder))
    return ""


def _unprefixed(tensors: Tensors, path: Path) -> _Named:
    return _Named(tensors, _prefix(tensors), path)


def _beside(path: Path) -> tuple[dict[str, Any], Path | None]:
    """Return what configurations beside the weights say, and the first of their files.

    Not the configuration of a language model, which Hugging Face keeps under the same name.
    """
    folders = [path.parent]
    if path.parent.name in ("checkpoints", "checkpoint", "weights", "ckpt"):
        folders.append(path.parent.parent)
    stem = path.name.removesuffix(path.suffix)
    own = [f"{stem}.json", f"{stem}_cfg.json", f"{stem}_config.json", f"{stem}.yaml"]
    values: dict[str, Any] = {}
    first: Path | None = None
    for folder in reversed(folders):
        for name in (*BESIDE, *own):
            file = folder / name
            if not file.is_file():
                continue
            read = read_json(file) if file.suffix == ".json" else read_yaml(file)
            if "model_type" in read and ("architectures" in read or "vocab_size" in read):
                continue
            values |= flattened(read, (*CONFIGS, "sae", "trainer", "model_config"))
            first = first or file
    return values, first


def _of_path(path: Path) -> dict[str, Any]:
    """Return what Qwen-Scope writes into its paths alone: `SAE-Res-Qwen3-1.7B-Base-W32K-L0_50`."""
    written = "/".join(path.absolute().parts[-3:])
    match = re.search(r"SAE-Res-(.+?)-W\d+K-L0_(\d+).*/layer(\d+)\.sae\.pt$", written)
    if match is None:
        return {}
    name, k, layer = match.groups()
    return {
        "activation": "topk", "k": int(k), "model_name": f"Qwen/{name}",
        "apply_b_dec_to_input": False, "hook_name": f"blocks.{layer}.hook_resid_post",
    }  # fmt: skip


def _threshold(tensors: _Named, config: Recorded) -> Tensor | None:
    names = [n for n in (*THRESHOLDS, *LOG_THRESHOLDS) if n in tensors.names]
    if len(names) > 1:
        raise SubjectError(f"{config.path} has {' and '.join(names)}; keep the one that is meant")
    if names:
        value = tensors.take(names[0])
        return value.exp() if names[0] in LOG_THRESHOLDS else value.squeeze()
    for name in ("jump_relu_threshold", "jumprelu_threshold", "threshold"):
        number = config.number(name)
        if number is not None and not (number == 0 and name != "threshold"):
            return torch.tensor(number)
    for name in ("log_threshold", "log_jumprelu_threshold"):
        if (number := config.number(name)) is not None:
            return torch.tensor(number).exp()
    return None


def _k(tensors: _Named, config: Recorded, path: Path) -> int | None:
    state = config.take("activation_state_dict")  # OpenAI's
    inner = Recorded(state if isinstance(state, Mapping) else {}, path)
    for post in (inner.take("postact_fn"), config.take("activation.postact_fn")):
        if not str(post or "ReLU").endswith("ReLU"):
            raise SubjectError(f"{path}: a TopK with {post} behind it is not supported")
    values: list[Any] = [tensors.one("k")] if "k" in tensors.names else []
    values += [config.take("k", "topk", "kval_topk", "activation.k"), inner.take("k")]
    top_k = config.take("top_k")
    # Bussmann's trainings write their default beside a type that has no k.
    if str(config.values.get("sae_type")) not in ("vanilla", "jumprelu"):
        values.append(top_k)
    numbers = [latents_a_token(v, Flags(), path) for v in values if not is_off(v)]
    if len(set(numbers)) > 1:
        raise SubjectError(f"{path}: k is {' and '.join(map(str, numbers))}; correct one of them")
    return numbers[0] if numbers else None


def _biases_of_encoder(tensors: _Named, path: Path) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    if "r_mag" in tensors.names:
        names = ("b_mag", "b_gate") if "b_mag" in tensors.names else ("mag_bias", "gate_bias")
        for name in names:
            if name not in tensors.names:
                need({n: torch.empty(0) for n in tensors.names}, path, name)
        parts["b_enc"], parts["b_gate"] = (tensors.take(name) for name in names)
        parts["r_mag"] = tensors.take("r_mag")
        return parts
    bias = tensors.first(*ENCODER_BIASES)
    if bias is None:
        expected = "encoder.bias" if "encoder.weight" in tensors.names else "b_enc"
        need({n: torch.empty(0) for n in tensors.names}, path, expected)
        raise AssertionError
    parts["b_enc"] = tensors.take(bias)
    return parts


def _activation(
    config: Recorded,
    flags: Flags,
    k: int | None,
    threshold: Tensor | None,
    is_gated: bool,
    path: Path,
) -> Activation | None:
    """Return the activation, None where nothing is said of it; `batchtopk` where it has no
    threshold, so that only its k is known.

    Raises SubjectError where what is said contradicts itself.
    """
    named = None
    for key in (
        "activation", "activation_fn", "activation_fn_str", "act_fn", "activation_function",
        "nonlinearity", "architecture", "sae_type", "dict_class",
    ):  # fmt: skip
        value = config.take(key)
        is_any_sae = key in ("architecture", "sae_type") and str(value).lower() == "sae"
        if is_any_sae or (is_off(value) and str(value).lower() != "identity"):
            continue
        own = activation_named(value, config.path)
        if named not in (None, own) and not (named == "relu" and key == "architecture"):
            raise SubjectError(f"{config.path} says {named} and {key} {value}; correct one of them")
        named = own
    if is_gated and threshold is not None:
        raise SubjectError(f"{path} has a gate and a threshold, and no such SAE is known here")
    if is_gated:
        implied: Activation | None = "gated"
    elif flags.k is not None:
        implied = "topk"
    elif k is not None and threshold is not None and named is None:
        if threshold.numel() == 1 and float(threshold) < 0:
            implied = "batchtopk"  # its threshold was never calibrated
        else:
            raise MissingSetting(
                "k",
                f"{path} has both k = {k} and a threshold and does not say which decides what "
                f"fires; give k {k} for a TopK, or add activation: jumprelu to a config.json "
                "beside it",
            )
    elif threshold is not None:
        implied = "jumprelu"
    else:
        implied = "topk" if k is not None else None
    if named == "batchtopk" and threshold is not None and (threshold >= 0).all():
        named = "jumprelu"
    if named is None:
        return implied
    fits = {
        "relu": threshold is None and k is None and not is_gated,
        "jumprelu": threshold is not None and not is_gated,
        "topk": not is_gated,
        "batchtopk": not is_gated,
        "groupmax": not is_gated,
        "gated": is_gated,
    }
    if not fits[named]:
        what = "a gate" if is_gated else f"k = {k}" if k is not None else "no threshold"
        what = "a threshold" if threshold is not None and named == "relu" else what
        raise SubjectError(f"{config.path} says {named}, and {path.name} has {what}; correct one")
    return named


def _matrices(
    tensors: _Named, config: Recorded, path: Path, d_sae: int, flags: Flags
) -> tuple[Tensor, Tensor]:
    """Return W_enc [d_in, d_sae] and W_dec [d_sae, d_out]."""
    encoder, decoder = tensors.first(*ENCODERS), tensors.first(*DECODERS)
    if encoder is None:
        need({n: torch.empty(0) for n in tensors.names}, path, ENCODERS[0])
        raise AssertionError
    enc = tensors.take(encoder)
    is_tied = config.flag("tied_weights", "tied", "tie_weights", "tied_encoder", "tie_enc_dec")
    if decoder is None and not is_tied:
        expected = "decoder.weight" if encoder.endswith(".weight") else "W_dec"
        need({n: torch.empty(0) for n in tensors.names}, path, expected)
    dec = enc if decoder is None else tensors.take(decoder)
    for name, matrix in ((encoder, enc), (decoder or encoder, dec)):
        if matrix.dim() == 3:
            raise SubjectError(crosscoder(path, f"{name} is {tuple(matrix.shape)}"))
    linear = (encoder.endswith(".weight"), (decoder or "").endswith(".weight"))
    is_square = enc.dim() == 2 and enc.shape[0] == enc.shape[1]
    if is_square and not (linear[0] and linear[1]):
        # Names such as W_enc are used for either way.
        in_out = layout_of_square(None if decoder is None or linear[1] else dec, path, flags)
        W_enc = enc if in_out and not linear[0] else enc.T
        W_dec = dec if in_out and not linear[1] else dec.T
    else:
        W_enc = oriented(enc, encoder, path, d_sae, True, not linear[0])
        W_dec = oriented(dec, decoder or encoder, path, d_sae, False, linear[1])
    return (W_enc, W_enc.T if decoder is None else W_dec)


def _decoder_bias(
    tensors: _Named, config: Recorded, path: Path, parts: dict[str, Any], flags: Flags
) -> bool:
    """Put `b_dec` into `parts`, and return whether it is taken from the input."""
    width = parts["W_dec"].shape[1]
    pre, bias = tensors.first(*PRE_BIASES), tensors.first(*DECODER_BIASES)
    said = config.flag(
        "apply_b_dec_to_input", "subtract_b_dec", "apply_decoder_bias_to_pre_encoder",
        "subtract_decoder_bias", "use_pre_bias", "pre_encoder_bias",
    )  # fmt: skip
    if said is None and config.values.keys() >= BUSSMANNS:
        said = config.values["sae_type"] != "jumprelu"  # `use_pre_enc_bias=False` in sae.py
    has_bias = config.flag("use_decoder_bias", "decoder_bias")
    if has_bias and bias is None and pre is None:
        raise SubjectError(f"{config.path} says that there is a decoder bias; {path} has none")
    if pre is not None:
        if said is False or flags.subtract_b_dec is False:
            raise SubjectError(
                f"{path} has {pre}, which is taken from the input, and subtract_b_dec says that "
                "nothing is; leave it out"
            )
        before = tensors.take(pre)
        if bias is None:
            parts["b_dec"] = before
            return True
        parts["b_dec"] = tensors.take(bias)
        shift = before.double() @ parts["W_enc"].double()
        if "r_mag" in parts:
            raise SubjectError(f"{path}: a gated SAE with {pre} beside {bias} is not supported")
        parts["b_enc"] = (parts["b_enc"].double() - shift).float()
        return False
    parts["b_dec"] = tensors.take(bias) if bias else parts["W_dec"].new_zeros(width)
    if flags.subtract_b_dec is not None and said not in (None, flags.subtract_b_dec):
        raise SubjectError(
            f"subtract_b_dec: {config.path} says {'yes' if said else 'no'}; leave it out"
        )
    subtract = flags.subtract_b_dec if said is None else said
    if subtract is None:
        if bias is not None and bool(parts["b_dec"].any()):
            raise MissingSetting(
                "subtract_b_dec",
                f"{path} does not say whether {bias} is taken from the input before encoding; "
                "give subtract_b_dec: yes for x - b_dec (Ward's), no for the plain input",
            )
        subtract = False
    return subtract


def _normalisation(
    tensors: _Named, config: Recorded, flags: Flags, activation: Activation | None
) -> Normalisation:
    if "latent_bias" in tensors.names and "pre_bias" in tensors.names and activation == "topk":
        return "layer_norm"  # OpenAI's code normalises the inputs of every TopK
    if config.flag("input_unit_norm"):  # Bussmann's: of each input, to mean 0 and deviation 1
        return "layer_norm"
    keys = (
        "normalize_activations", "normalize", "norm_activation", "normalization",
        "normalize_input", "input_normalization", "norm_type", "normalize_inputs",
    )  # fmt: skip
    value = config.take(*keys)
    if is_off(value) or value == "inference":
        scale = config.take("input_scale", "norm_factor", "activation_scale", "input_norm_factor")
        if scale not in (None, 0, 1) and flags.input_scale is None:
            raise MissingSetting(
                "input_scale",
                f"{config.path} records a scale of {scale} and does not say whether inputs were "
                "multiplied or divided by it, or whether it was folded; give input_scale, the "
                "factor on the inputs (1 if it was folded)",
            )
        return "none"
    if isinstance(value, str) and value in NORMALISATIONS:
        return NORMALISATIONS[value]
    if flags.input_scale is not None:
        config.take("dataset_average_activation_norm", "norm_factor", "input_scale")
        return "none"
    if value is True or value in ("expected_average_only_in", "dataset-wise"):
        raise MissingSetting(
            "input_scale",
            f"{config.path}: inputs were normalised in training ({value}) by a factor that is not "
            "in the files; give it as input_scale (1 if it was folded)",
        )
    raise SubjectError(
        f"{config.path}: inputs were normalised ({value}) in a way that is not known here; fold it "
        "into the weights, or pass an object with `.encode` to autointerp.harvest"
    )


def _check_sizes(sae: SparseAutoencoder, config: Recorded) -> None:
    for size, keys in {
        sae.d_in: (
            "d_in",
            "d_model",
            "activation_dim",
            "input_dim",
            "d_input",
            "n_inputs",
            "act_size",
        ),
        sae.d_sae: ("d_sae", "dict_size", "num_latents", "n_latents", "d_hidden", "n_features"),
    }.items():
        for key in keys:
            recorded = config.whole(key)
            if recorded not in (None, 0, size):
                raise SubjectError(
                    f"{config.path} says {key} {recorded}, the tensors have {size}; fetch the "
                    "files of one SAE"
                )
