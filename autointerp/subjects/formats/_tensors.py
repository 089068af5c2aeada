"""Shared by the formats: the loaded SAE, reading of files, orientation, site names."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from autointerp.errors import MissingSetting, SubjectError
from autointerp.files import check_archive, json_value
from autointerp.settings import plain_fields
from autointerp.subjects.autoencoder import SparseAutoencoder, as_weights
from autointerp.subjects.formats._recorded import whole_number

TORCH_SUFFIXES = {".pt", ".pth", ".bin", ".ckpt"}


@dataclass(frozen=True)
class Flags:
    """What the user may have to specify because the files do not say it.

    Attributes:
        subtract_b_dec: The decoder bias is taken from the input before encoding.
        input_scale: Factor on the input that the SAE was trained with.
        k: Latents a token: the SAE is a TopK.
        layout: Of square matrices: `in_out` for W_enc as [d_in, d_sae], `out_in` for the other way.
        strict: What the files say and this version does not know is an error, not a note.
    """

    subtract_b_dec: bool | None = None
    input_scale: float | None = None
    k: int | None = None
    layout: str | None = None
    strict: bool = True

    def __post_init__(self) -> None:
        plain_fields(self)


@dataclass(frozen=True)
class LoadedAutoencoder:
    """An SAE and what its files say about it; None where they say nothing.

    Attributes:
        format: Name of the format.
        path: The file or folder that was read.
        model: Name of the language model, as written.
        site: Where it was trained, as this project names sites.
        hook: The same as the files name it.
        layer: Index of the layer, from 0.
        context_size: Tokens in a window in training.
        prepend_bos: Whether windows began with BOS in training.
        l0: Latents a token that the files promise: k, or a measured mean.
        notes: What a person should know before trusting it, a sentence each.
        revision: Revision of the language model.
        writes: The site that a transcoder writes, as this project names sites.
        centres: It was trained on a model that TransformerLens had centred: what is written into
            the residual stream is less its mean over the axes, where the norms are layer norms.
        processed: What else TransformerLens had done to the model, as its options are called.
        has_training: The files say how it was trained, so it should reconstruct its inputs.
        assumes_relu: The files name no activation.
        unit_decoder: Whether the dictionary vectors have norm 1.
        reconstructs: `decode` gives back what was encoded, for the activations of its site.
        strict: What contradicts the files is an error, not a note.
        beside: Files that were read beside `path`.
    """

    sae: SparseAutoencoder
    format: str
    path: Path
    model: str | None = None
    site: str | None = None
    hook: str | None = None
    layer: int | None = None
    context_size: int | None = None
    prepend_bos: bool | None = None
    l0: float | None = None
    notes: tuple[str, ...] = field(default=())
    revision: str | None = None
    writes: str | None = None
    centres: bool = False
    processed: tuple[str, ...] = ()
    has_training: bool = False
    assumes_relu: bool = False
    unit_decoder: bool | None = None
    reconstructs: bool = True
    strict: bool = True
    beside: tuple[Path, ...] = ()


# Tensors that count or time something, by their names: no forward pass uses them.
COUNTERS = re.compile(
    r"(^|[._])(steps?|num_batches\w*|n_tokens\w*|stats_last_nonzero|n_forward_passes\w*"
    r"|num_batches_not_active|act_freq\w*|feature_(usage|counts?|density|freq)\w*|log_sparsity"
    r"|sparsity|dead\w*|last_fired|since_fired|tokens_since_fired|activated_in|fire_count"
    r"|latents_activation_frequency|latents_mean_square"
    r"|group_sizes|group_indices)$"
)


class Tensors(Mapping[str, Tensor]):
    """The tensors of a file by their names. Those that nobody asked for are left over."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = dict(tensors)
        self._used: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._tensors[name]
        self._used.add(name)
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def left_over(self) -> list[str]:
        """Return the names of those that were not used and are no counters, as `tensor NAME`."""
        return [
            f"tensor {name}"
            for name in self._tensors
            if name not in self._used and not COUNTERS.search(name)
        ]


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises SubjectError if it is none."""
    try:
        content = json_value(path.read_text(encoding="utf-8-sig"), unique=True)
    except FileNotFoundError:
        raise SubjectError(
            f"no {path.name} in {path.parent}; fetch it or give another folder"
        ) from None
    except (OSError, ValueError) as error:
        raise SubjectError(f"{path} is not valid JSON ({error}); fetch it again") from None
    if not isinstance(content, dict):
        raise SubjectError(f"{path} is not a JSON object; fetch it again")
    return content


def read_safetensors(path: Path) -> Tensors:
    """Return a safetensors file's tensors. Raises SubjectError if it is missing or truncated."""
    try:
        with safe_open(path, framework="pt") as file:
            return Tensors({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except FileNotFoundError:
        raise SubjectError(
            f"no {path.name} in {path.parent}; fetch it or give another folder"
        ) from None
    except (SafetensorError, OSError) as error:
        raise _truncated(path, error) from None


# Under these a state dict is looked for, ...
STATES = (
    "model_state_dict", "state_dict", "model", "sae", "autoencoder", "ae", "params", "weights",
)  # fmt: skip
# ... and under these what else a file says of the SAE.
CONFIGS = ("config", "cfg", "args", "hparams", "hyperparams", "hyperparameters", "metadata")
# What a training keeps to go on from, whatever is in it.
OF_TRAINING = re.compile(r"optim|sched|scaler_state|rng|random|history|loss|metrics|epoch|callback")


def read_torch(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Return the tensors of a torch file, and all else that it says: {name: value}.

    It looks under `model_state_dict` and the like, and takes the tables called `config` and the
    like apart; what an optimiser keeps is left out.

    Raises SubjectError if it is truncated, holds code or holds no tensors.
    """
    _check_size(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise SubjectError(
            f"no {path.name} in {path.parent}; fetch it or give another folder"
        ) from None
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error).lower() and "global" not in str(error).lower():
            raise _truncated(path, error) from None
        raise SubjectError(
            f"{path} holds Python objects, which are not loaded; save its state_dict() instead"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise _truncated(path, error) from None
    said: dict[str, Any] = {}
    while isinstance(content, Mapping):
        inner = [
            name
            for name in STATES
            if isinstance(content.get(name), Mapping) and _has_tensors(content[name])
        ]
        if not inner:
            break
        if len(inner) > 1:
            raise SubjectError(
                f"{path} holds {len(inner)} state dicts ({', '.join(inner)}); save the one that is "
                "meant in a file of its own"
            )
        said |= {str(k): v for k, v in content.items() if k != inner[0]}
        content = content[inner[0]]
    if not isinstance(content, Mapping) or not any(torch.is_tensor(v) for v in content.values()):
        raise SubjectError(f"{path} holds no state dict; save the SAE's state_dict()")
    said |= {str(name): value for name, value in content.items() if not torch.is_tensor(value)}
    tensors = {str(name): value for name, value in content.items() if torch.is_tensor(value)}
    return Tensors(tensors), _taken_apart(said)


def _has_tensors(content: Mapping[Any, Any]) -> bool:
    """Return whether a table is a state dict, or holds one."""
    if any(torch.is_tensor(value) and value.dim() > 1 for value in content.values()):
        return True
    return any(isinstance(content.get(n), Mapping) and _has_tensors(content[n]) for n in STATES)


def _taken_apart(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file says with its tables of settings beside the rest."""
    out: dict[str, Any] = {}
    for name, value in said.items():
        if OF_TRAINING.search(name.lower()):
            continue
        if name in CONFIGS and isinstance(value, Mapping):
            out |= _taken_apart({str(key): part for key, part in value.items()})
        elif isinstance(value, Mapping) and any(torch.is_tensor(v) for v in value.values()):
            out[name] = sorted(map(str, value))  # named, not shown
        else:
            out[name] = value.item() if torch.is_tensor(value) and value.numel() == 1 else value
    return out


def read_npz(path: Path) -> Tensors:
    """Return the arrays of an npz file. Raises SubjectError if it is missing or truncated."""
    _check_size(path)
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return Tensors({name: torch.from_numpy(file[name]) for name in file.files})
    except FileNotFoundError:
        raise SubjectError(
            f"no {path.name} in {path.parent}; fetch it or give another folder"
        ) from None
    except (BadZipFile, OSError, ValueError, EOFError, KeyError, TypeError) as error:
        raise _truncated(path, error) from None


def _check_size(path: Path) -> None:
    """Raise SubjectError for an archive that unpacks to more than its size can mean."""
    try:
        check_archive(path)
    except (OSError, BadZipFile):
        return  # reading it says what is wrong
    except ValueError as error:
        raise SubjectError(f"{path}: {error}") from None


def safetensors_header(path: Path) -> tuple[set[str], dict[str, str]]:
    """Return the tensor names and metadata of a safetensors file; empty if it is none."""
    try:
        with safe_open(path, framework="pt") as file:
            return set(file.keys()), file.metadata() or {}
    except (SafetensorError, OSError):
        return set(), {}


def folder_of(path: Path) -> Path:
    """Return the folder of an SAE that is named by it, or by a file in it."""
    return path if path.is_dir() else path.parent


def weights_of(path: Path, usual: str) -> Path:
    """Return the safetensors file that is named, or the folder's `usual` one."""
    is_named = path.is_file() and path.suffix == ".safetensors"
    return path if is_named else folder_of(path) / usual


def json_keys(path: Path) -> set[str]:
    """Return the top-level keys of a JSON object; empty if the file is none."""
    try:
        return set(read_json(path))
    except SubjectError:
        return set()


def table(value: Any, what: str, path: Path) -> dict[str, Any]:
    """Return a JSON object, empty for null. Raises SubjectError, naming it, if it is neither."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SubjectError(f"{path}: {what} is {value!r}, not an object; correct it")
    return value


def latents_a_token(value: Any, flags: Flags, path: Path) -> int:
    """Return the k that the files say, or else the flags.

    Raises MissingSetting where neither does, SubjectError if it is no whole number over 0.
    """
    value = flags.k if value is None else value
    if value is None:
        raise MissingSetting("k", f"{path} does not say the k of its TopK, latents a token; give k")
    number = whole_number(value)
    if number is None or number < 1:
        raise SubjectError(f"{path}: k is {value!r}, not a whole number over 0; correct it")
    return number


def _truncated(path: Path, error: Exception) -> SubjectError:
    reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return SubjectError(f"{path} is damaged or incomplete ({reason}); fetch it again")


def need(tensors: Mapping[str, Tensor], path: Path, *names: str) -> list[Tensor]:
    """Return the named tensors in float32. Raises SubjectError naming the first that is missing."""
    for name in names:
        if name not in tensors:
            raise SubjectError(
                f"{path} has no tensor {name} (it has: {', '.join(sorted(tensors))}); "
                "fetch it again or force another format"
            )
    return [as_weights(tensors[name], name, path) for name in names]


def check_threshold(threshold: Tensor | None, path: Path) -> None:
    """Raise SubjectError for thresholds below 0 of a library whose JumpReLU is x where x is above.

    Where libraries apply a ReLU too (SAELens, dictionary_learning, Gemma Scope), such a latent is a
    plain ReLU, and is read as one.
    """
    negative = 0 if threshold is None else int((threshold < 0).sum())
    if threshold is not None and negative:
        raise SubjectError(
            f"{path}: {negative} of {threshold.numel()} thresholds are negative, so that its own "
            "library gives latents below 0, which no unit has here; choose another SAE"
        )


def oriented(
    matrix: Tensor, name: str, path: Path, d_sae: int, latents_last: bool, written_last: bool
) -> Tensor:
    """Return `matrix` with its latent axis last, or first.

    The latent axis is the one as long as `d_sae`; `written_last` says which where both are.
    Raises SubjectError if none is.
    """
    if matrix.dim() != 2 or d_sae not in matrix.shape:
        raise SubjectError(
            f"{path}: {name} is {tuple(matrix.shape)}, and no axis has the {d_sae} latents of "
            "the encoder's bias"
        )
    is_square = matrix.shape[0] == matrix.shape[1]
    is_last = written_last if is_square else matrix.shape[1] == d_sae
    return matrix if is_last == latents_last else matrix.T


def encoder_and_decoder(
    tensors: Mapping[str, Tensor],
    path: Path,
    d_sae: int,
    encoder: str = "W_enc",
    decoder: str = "W_dec",
) -> tuple[Tensor, Tensor]:
    """Return W_enc [d_in, d_sae] and W_dec [d_sae, d_out], whichever way they were written.

    `encoder` and `decoder` are their names; for square ones, names that end in `.weight` are
    taken as torch.nn.Linear writes them, [out, in], others as x @ W wants them.
    """
    enc, dec = need(tensors, path, encoder, decoder)
    return (
        oriented(enc, encoder, path, d_sae, True, not encoder.endswith(".weight")),
        oriented(dec, decoder, path, d_sae, False, decoder.endswith(".weight")),
    )


def layout_of_square(dec: Tensor | None, path: Path, flags: Flags) -> bool:
    """Return whether square W_enc and W_dec are [d_in, d_sae] and [d_sae, d_in].

    Where `flags` do not say it, training often does: dictionary vectors of one length, at least
    ten times more even than the matrix's other axis. Encoder and decoder beside each other tell
    nothing: their products are the same both ways. Raises MissingSetting if it stays open.
    """
    if flags.layout is not None:
        return flags.layout == "in_out"
    if dec is not None:
        rows, columns = (dec.norm(dim=axis) for axis in (1, 0))
        of_rows, of_columns = (float(v.std() / v.mean()) for v in (rows, columns))
        if max(of_rows, of_columns) > 10 * min(of_rows, of_columns):
            return of_rows < of_columns
    size = "" if dec is None else f", {tuple(dec.shape)}"
    raise MissingSetting(
        "sae_layout",
        f"{path}: its matrices are square{size}, so which axis has the latents cannot be seen; "
        "give sae_layout: in_out for W_enc as [d_in, d_sae], out_in for the other way",
    )


def scaled(sae: SparseAutoencoder, scale: float) -> SparseAutoencoder:
    """Return the SAE for raw inputs of one that was trained on inputs times `scale`.

    Raises SubjectError if it normalises each input, whatever its scale.
    """
    if sae.normalisation != "none":
        raise SubjectError(
            f"input_scale {scale:g}: this SAE normalises each input by itself "
            f"({sae.normalisation}); leave input_scale out"
        )
    skip = sae.W_skip  # maps scaled input to scaled output: the factors cancel
    return replace(
        sae, W_enc=sae.W_enc * scale, W_dec=sae.W_dec / scale, b_dec=sae.b_dec / scale, W_skip=skip
    )
