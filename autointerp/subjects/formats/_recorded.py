"""What files record beside the weights: each key is used, known not to matter, or refused."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autointerp.errors import SubjectError
from autointerp.subjects.autoencoder import Activation


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# A key of these words says how something was trained, kept, named or logged, ...
BOOKKEEPING = _words(
    """
    adam annealing args author autocast aux auxiliary auxk batch batches beta beta1 beta2 betas
    bos buffer cache cached checkpoint checkpointing checkpoints ckpt code coef coeff
    coefficient coefficients collection column comment commit compile compression concat config
    corpus cosine ctx data dataloader dataset date dead decay deduplicate description device
    devices dict dir directory dist distributed download dtype entity epoch epochs eps eval
    evals evaluation every exclude expansion experiment feature features ffn file fine finetuned
    finetuning format frac fraction from ghost git gpu gpus grad gradient grads group hash head
    heads hf hostname hub id ids index info init initial initialization intervals iter
    iterations job l0 l1 l2 label language layer layers length license lm load local log logger
    logging loss losses lp lr lrs machine max memory mesh metadata metric metrics micro min
    mixing mode model monitoring mp mse n name names neuronpedia nodes note notes num number obj
    objective offset optim optimiser optimizer order org out output owner parallel param params
    path patience penalty perf pile position precision prefetch prefix prepend pretokenize
    pretrained process processes project prompt proportion prune pruned push quadratic rank
    ratio refresh regularisation regularization reinit release remote repo repository resample
    resampling resume resumed revision run runs sae sample samples save saved scan sched
    scheduler script seed seeds seq seqpos sequence sequences shard shards shuffle shuffled size
    sizes slice sparse sparsity split start started state step steps stop store stored streaming
    strict submodule subset suffix tag tags target task tensorboard test time timestamp token
    tokenized tokenizer tokens torch total tp train trained trainer training triton truncate
    trust unit url val validation verbose version vocab wandb warm warmup wd website weight
    weights width window windows worker workers world
    """
)
# ... unless it also has one of these, which say what is computed.
COMPUTING = _words(
    """
    abs absolute act activation activations affine attention bias biases cap center centered
    centering centre centred clamp combine connection conv corrected correction covariance
    decoder dictionary dropout encoder exp factor fn fold folded function gate gated gating glu
    group groups invert jump jumprelu k mask mean multiplier multiply negative nonlinearity norm
    normalisation normalise normalised normalization normalize normalized offset post power pre
    preprocess preprocessing projection quantize quantized relu rescale residual root rotary
    rotate rotation round scale scaled scaler scales scaling shift signed skip softmax sqrt
    square standardize subtract temperature theta threshold thresholds tie tied topk transcode
    transform transformation transpose transposed unit whiten whitened whitening zscore
    """
)
# Of the latter, keys whose meaning is known: they concern the training alone.
TRAINING_ALONE = _words(
    """
    act_store_device activation_buffer_size activation_dim activation_store
    activations_mixing_fraction activations_path anthropic_neuron_resample_scale
    apply_decoder_norm_loss apply_loss_to_first b_dec_init_method bandwidth bias_init_method
    cached_activations_column_name cached_activations_path dead_feature_threshold
    dead_feature_window decoder_heuristic_init decoder_heuristic_init_norm decoder_init_norm
    decoder_orthogonal_init decoder_uniform_bound detach_matryoshka_losses dict_size
    dictionary_size encoder_bias_init encoder_uniform_bound evaluator expansion_factor
    feature_input_hook_type feature_sampling_window finetuning_method fvu_threshold
    ghost_grads_gated_correction group_fractions group_sizes group_weights include_outer_loss
    init_decoder_norm init_encoder_as_decoder_transpose init_encoder_norm
    init_encoder_with_decoder_transpose init_encoder_with_decoder_transpose_factor
    init_log_jumprelu_threshold_value jumprelu_bandwidth jumprelu_init_threshold
    jumprelu_sparsity_loss_mode jumprelu_ste_to_input jumprelu_tanh_scale
    jumprelu_threshold_window k_anneal_steps k_decay_steps k_warmup_steps l0_lambda
    lm_name_or_path log_activations_store_to_wandb lp_norm matryoshka_group_sizes
    matryoshka_widths max_grad_norm model_class model_class_name mse_loss_normalization
    multi_topk n_batches_for_norm_estimate n_batches_in_buffer noise_scale norm_loss
    normalize_loss normalize_mse num_groups p_end pre_act_loss_coefficient resample_factor
    rescale_acts_for_loss scale_sparsity_penalty_by_decoder_norm sched_lr_factor
    sparse_activations sparsity_function sparsity_threshold_for_triton_spmm_kernel
    store_batch_size_prompts threshold_beta threshold_lr threshold_start_step top_k_aux
    top_k_matryoshka topk_aux topk_threshold_lr train_batch_size_tokens trainer_class
    trust_remote_code use_batch_norm_mse use_cached_activations use_ghost_grads
    use_matryoshka_aux_loss use_sparse_activations
    """
)
ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "standard": "relu",
    "topk": "topk",
    "jumprelu": "jumprelu",
    "vanilla": "relu",
    "batchtopk": "batchtopk",
    "matryoshkabatchtopk": "batchtopk",
    "globalmatryoshkatopk": "batchtopk",
    "gated": "gated",
    "groupmax": "groupmax",
}


class Recorded:
    """The keys and values that a file records. What was not asked for by name is left over.

    Attributes:
        path: The file.
        values: The keys and values, nested tables flattened by the caller.
    """

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        self.path = path
        self.values = dict(values)
        self._used: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def take(self, *names: str, default: Any = None) -> Any:
        """Return the value of the first name that has one, and mark all as used."""
        self._used.update(names)
        return next((v for n in names if (v := self.values.get(n)) is not None), default)

    def _wrong(self, names: tuple[str, ...], expected: str) -> SubjectError:
        """Return the error of the first of the names that has a value."""
        name = next(n for n in names if self.values.get(n) is not None)
        value = _short(self.values[name])
        return SubjectError(f"{self.path}: {name} is {value}, not {expected}; correct it")

    def text(self, *names: str) -> str | None:
        """Return a text, None where there is none. Raises SubjectError if it is something else."""
        value = self.take(*names)
        if isinstance(value, str):
            return value or None
        if is_off(value):
            return None
        raise self._wrong(names, "a text")

    def whole(self, *names: str) -> int | None:
        """Return a whole number from 0, None where there is none.

        Raises SubjectError if it is something else.
        """
        value = self.take(*names)
        number = whole_number(value)
        if number is not None and 0 <= number < 2**63:
            return number
        if is_off(value):
            return None
        raise self._wrong(names, "a whole number from 0")

    def flag(self, *names: str) -> bool | None:
        """Return True or False, None where it says neither.

        Raises SubjectError if it is something else.
        """
        value = self.take(*names)
        if value is None or isinstance(value, bool):
            return value
        if value in (0, 1):
            return bool(value)
        if str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
        raise self._wrong(names, "true or false")

    def number(self, *names: str) -> float | None:
        """Return a number, None where there is none.

        Raises SubjectError if it is no number, or NaN or infinite.
        """
        value = self.take(*names)
        if value is None:
            return None
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise self._wrong(names, "a finite number")
        return number

    def left_over(self) -> list[str]:
        """Return the keys that were not used and may change what is computed, with their values."""
        return [
            f"{name} = {_short(value)}"
            for name, value in self.values.items()
            if name not in self._used and not is_off(value) and not is_bookkeeping(name)
        ]

    @property
    def has_training(self) -> bool:
        """Whether it records how the SAE was trained: on what, how long, how fast."""
        telling = re.compile(
            r"(^|_)(lr|steps|training_tokens|dataset(_path)?|n_tokens|optimizer"
            r"|total_training_tokens|batch_size|l1_coefficient|sae_lens_training_version)$"
        )
        return any(telling.search(name) and not is_off(v) for name, v in self.values.items())


def refused(left: Iterable[str], path: Path, strict: bool) -> tuple[str, ...]:
    """Return what is left over as notes, or raise SubjectError, naming it, if `strict`."""
    left = list(left)
    if not left:
        return ()
    said = f"{path} says {', '.join(left[:6])}" + (", …" if len(left) > 6 else "")
    if strict:
        raise SubjectError(
            f"{said}, which this version does not know: the SAE may compute something else than "
            "what would be read; load it with its own library and pass the object to "
            "autointerp.harvest, or set subject.check_sae = false if it does not matter"
        )
    return (f"{said}, which was passed over",)


def is_off(value: Any) -> bool:
    """Return whether a value says that something is not done."""
    if isinstance(value, str):
        return value.lower() in ("", "none", "false", "null", "no", "off", "identity")
    if isinstance(value, list | tuple):
        return all(is_off(item) for item in value)
    if isinstance(value, Mapping):
        return all(is_off(item) for item in value.values())
    return value is None or value is False or value == 0


def is_bookkeeping(name: str) -> bool:
    """Return whether a key says how an SAE was trained or kept, not what it computes."""
    short = name.rsplit(".", 1)[-1]
    if short.lower() in TRAINING_ALONE:
        return True
    words = {
        word
        for word in re.split(r"[^a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", short).lower())
        if word and not word.isdigit()
    }
    return bool(words & BOOKKEEPING) and not words & COMPUTING


def activation_named(name: Any, path: Path) -> Activation | None:
    """Return the activation of this name, None for none. Raises SubjectError if it is unknown."""
    if name is None or name == "":
        return None
    plain = (
        re.sub(r"[^a-z0-9]", "", str(name).lower()).removesuffix("sae").removesuffix("transcoder")
    )
    plain = plain.removesuffix("skip")
    if plain in ACTIVATIONS:
        return ACTIVATIONS[plain]
    raise SubjectError(
        f"{path}: activation '{name}' is not supported (known: {', '.join(ACTIVATIONS)}); load it "
        "with its own library and pass the object to autointerp.harvest"
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file. Raises SubjectError if it is none, or needs PyYAML."""
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise SubjectError(f"{path} needs PyYAML to be read: pip install pyyaml") from None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise SubjectError(f"{path} is not valid YAML ({reason}); fetch it again") from None
    if not isinstance(content, dict):
        raise SubjectError(f"{path} is not a YAML mapping; fetch it again")
    # Weights & Biases writes {"key": {"value": …, "desc": …}}.
    return {
        str(key): value["value"] if isinstance(value, dict) and "value" in value else value
        for key, value in content.items()
    }


def flattened(values: Mapping[str, Any], inside: Iterable[str] = ()) -> dict[str, Any]:
    """Return the values, those of the tables named `inside` beside the others, which win."""
    out: dict[str, Any] = {}
    for name in inside:
        table = values.get(name)
        if isinstance(table, Mapping):
            out.update(table)
    out.update({key: value for key, value in values.items() if key not in inside})
    return out


def whole_number(value: Any) -> int | None:
    """Return a whole number, also one that is written as a float or a text; None if it is none."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):  # as safetensors keeps it
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 != 0:
        return None
    return int(value)


def _short(value: Any) -> str:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
