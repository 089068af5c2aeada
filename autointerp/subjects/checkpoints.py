"""SAEs of a training loop: objects, bare weights and files, each known again by its digest."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from pickle import PicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autointerp.errors import BadInput, MissingSetting, SubjectError
from autointerp.settings import plain_number
from autointerp.subjects.assembled import sae_digest
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.formats import Flags, LoadedAutoencoder, load_sae
from autointerp.subjects.hooks import site_of_hook

SAMPLED = 65_536  # weights of each of the model's tensors by which it is known again
WEIGHTS, SETTINGS = "checkpoint.pt", "config.json"  # as bare weights are written to be read
PARTS = ("W_enc", "b_enc", "W_dec", "b_dec")
PLAIN = (bool, int, float, str, np.integer, np.floating)
# Attributes that training or `encode` itself changes, and no `encode` reads: whole numbers that
# count what was done, and what was found last. An encoder of several steps has `n_steps` or a
# `step_size`, which are none of them, and makes other latents by another one.
COUNTED = re.compile(
    r"_*((\w+_)?(step|epoch|calls|seen|so_far)|((call|forward|step|batch|token)_)?count(er)?)"
)
KEPT = re.compile(r"_*(last_\w+|(\w+_)?(loss|device))")
# `training`, what hooks leave, and what `torch.compile` writes on a module that it compiles.
OF_TORCH = frozenset({*vars(torch.nn.Module()), "_is_torch_compile"})
MORE_PARTS = ("threshold", "log_threshold", "b_gate", "r_mag", "b_mag", "W_skip", "k")


@dataclass(frozen=True)
class Checkpoint:
    """An SAE as it is read, and by what it is known again.

    Attributes:
        sae: A LoadedAutoencoder, or an object with `encode`.
        digest: sha256 of its weights, of its files where it has some, and of what was said of them;
            of an object of another class of its plain attributes, too.
        site: Where its files or its configuration say that it was trained; empty if they do not.
    """

    sae: Any
    digest: str
    site: str


def unwrapped(given: Any) -> Any:
    """Return the model or SAE that was compiled, or is spread over devices or processes."""
    spread = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    while isinstance(given, torch.nn.Module):
        inner = given.module if isinstance(given, spread) else getattr(given, "_orig_mod", None)
        if inner is None:
            break
        given = inner
    return given


def read_checkpoint(
    sae: Any, flags: Flags = Flags(), config: Mapping[str, Any] | None = None
) -> Checkpoint:
    """Return an SAE that is an object, a state dict or at a path; its tensors stay where they are.

    Args:
        sae: An object with `encode`; one with W_enc, b_enc, W_dec and b_dec; a state dict under the
            names that libraries use; the path of a file or folder.
        flags: What neither files nor state dicts say.
        config: What a file beside the state dict would say, such as
            {"activation": "topk", "k": 32}.

    Raises BadInput for what is no SAE or has no weights, SubjectError for one that is broken.
    """
    sae = unwrapped(sae)
    if isinstance(sae, str | Path):
        sae = load_sae(sae, flags=flags)
    if isinstance(sae, LoadedAutoencoder):
        both = f"{sae_digest(sae)} {_digest_of_weights(sae.sae)}"
        return Checkpoint(sae, hashlib.sha256(both.encode()).hexdigest(), sae.site or "")
    if isinstance(sae, SparseAutoencoder):
        return Checkpoint(sae, _digest_of_weights(sae), "")
    if callable(getattr(sae, "encode", None)):
        return Checkpoint(sae, _digest_of_weights(sae), _site_said(sae))
    loaded = _read_weights(sae, flags, config or {})
    return Checkpoint(loaded, _digest_of_weights(loaded.sae), loaded.site or "")


def model_digest(model: torch.nn.Module) -> str:
    """Return the sha256 of the names, shapes and some weights of a model's tensors.

    Of each tensor up to `SAMPLED` weights at equal distances: what training changes is seen, and a
    model of billions of weights is not copied.
    """

    def sampled() -> Iterator[tuple[str, Tensor]]:
        for name, value in sorted(model.state_dict().items()):
            flat = value.detach().reshape(-1)
            some = flat[:: max(1, -(-flat.numel() // SAMPLED))]
            yield f"{name} {tuple(value.shape)}", some

    return _digest(sampled())


def _read_weights(sae: Any, flags: Flags, config: Mapping[str, Any]) -> LoadedAutoencoder:
    """Return bare weights as an SAE: written to a file, and read as every state dict is."""
    kind = type(sae).__name__
    state: Mapping[Any, Any]
    if isinstance(sae, Mapping):
        state = sae
    elif isinstance(sae, torch.nn.Module) and not hasattr(sae, "W_enc"):
        state = sae.state_dict()
    else:
        state = {name: getattr(sae, name) for name in (*PARTS, *MORE_PARTS) if hasattr(sae, name)}
        missing = [name for name in PARTS if name not in state]
        if missing:
            raise BadInput(
                f"{kind} is no SAE: it has neither `encode` nor {' and '.join(missing)}; give a "
                "module, a state dict or a path"
            )
    tensors = {
        name: value.detach().cpu() for name, value in state.items() if torch.is_tensor(value)
    }
    if not tensors:
        raise BadInput(f"the {kind} given for an SAE holds no tensor; give a module, a state dict "
                       "or a path")  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / WEIGHTS
        try:
            torch.save({name: tensors.get(name, value) for name, value in state.items()}, file)
            if config:
                (Path(place) / SETTINGS).write_text(
                    json.dumps(dict(config), default=_json_number), encoding="utf-8"
                )
        except (AttributeError, TypeError, ValueError, RuntimeError, PicklingError) as error:
            reason = " ".join(str(error).split())[:120]
            raise BadInput(
                f"the {kind} given for an SAE cannot be written ({reason}); give a dict of tensors"
            ) from None
        try:
            loaded = load_sae(file, "raw-state-dict", flags)
        except SubjectError as error:
            text = str(error).replace(str(file), f"the {kind} given for an SAE")
            text = text.replace(str(file.parent / SETTINGS), "its config")
            if isinstance(error, MissingSetting):
                text += f" (of an evaluator: config, or flags=Flags({error.setting}=…))"
            raise SubjectError(text) from None
    # In training it may be anything: what its own figures do not bear out is a note, no error.
    return replace(loaded, path=Path(f"the {kind} given"), strict=False)


def _json_number(value: Any) -> Any:
    """Return a number of NumPy or torch as JSON has it. Raises TypeError for anything else."""
    number = plain_number(value)
    if number is value:
        raise TypeError(f"a value of type {type(value).__name__} is no JSON")
    return number


def _site_said(sae: Any) -> str:
    """Return where an object's configuration says that it was trained; empty if it does not."""
    config = getattr(sae, "cfg", None)
    for holder in (getattr(config, "metadata", None), config):
        hook = getattr(holder, "hook_name", None)
        site = site_of_hook(hook)[0] if isinstance(hook, str) else None
        if site is not None:
            return site
    return ""


def _digest_of_weights(sae: Any) -> str:
    """Return the sha256 of an object's tensors, those of modules that it holds included.

    Of a `SparseAutoencoder` its settings count as well, of another object the names of its class
    and its modules' and their plain attributes: with another k the same weights encode otherwise.
    """
    weights: dict[str, Any] = {}
    if isinstance(sae, torch.nn.Module):
        weights |= _state_of(sae)
    else:
        for name, part in getattr(sae, "__dict__", {}).items():
            if isinstance(part, torch.nn.Module):
                weights |= {f"{name}.{inner}": value for inner, value in _state_of(part).items()}
            else:
                weights[name] = part
    tensors = {name: value for name, value in weights.items() if torch.is_tensor(value)}
    if not tensors:
        raise BadInput(
            f"{type(sae).__name__} has no weights by which a checkpoint is known again; give a "
            "module, a state dict or a path"
        )
    digest = _digest(sorted(tensors.items()))
    if isinstance(sae, SparseAutoencoder):
        settings = {f.name: weights[f.name] for f in fields(sae) if f.name not in tensors}
    else:
        settings = dict(_plain_attributes(sae))
    return hashlib.sha256(f"{digest} {settings}".encode()).hexdigest()


def _state_of(module: torch.nn.Module) -> dict[str, Any]:
    """Return a module's state, with the buffers that it does not save: `encode` reads them, too."""
    return {**dict(module.named_buffers()), **module.state_dict()}


def _plain_attributes(sae: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name of an object's class and its numbers, truth values and texts, and those of its
    modules, by name; those that change in use and that `encode` does not read are left out."""
    parts: dict[str, Any] = {"": sae}
    for name, part in {"": sae, **getattr(sae, "__dict__", {})}.items():
        if isinstance(part, torch.nn.Module):
            parts |= {f"{name}.{inner}": module for inner, module in part.named_modules()}
    for name, part in sorted(parts.items()):
        yield f"{name}:", type(part).__name__
        for key, value in sorted(getattr(part, "__dict__", {}).items()):
            if isinstance(value, PLAIN) and key not in OF_TORCH and not _is_changing(key, value):
                yield f"{name}:{key}", plain_number(value)


def _is_changing(name: str, value: Any) -> bool:
    """Return whether an attribute says how far training came or what `encode` did last."""
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return bool(KEPT.fullmatch(name) or (is_whole and COUNTED.fullmatch(name)))


def _digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Return the sha256 of named tensors; one at a time is brought to the CPU."""
    found = hashlib.sha256()
    for name, tensor in tensors:
        dense = tensor.to_dense() if tensor.is_sparse else tensor
        found.update(f"{name} {dense.dtype} {tuple(dense.shape)}\n".encode())
        if dense.device.type != "meta":
            flat = dense.detach().cpu().contiguous().reshape(-1)
            found.update(flat.view(torch.uint8).numpy().data)
    return found.hexdigest()
