"""Formats of SAEs on disk. Every file here loads one format and recognises it by content.

A format is a module with `recognises(path) -> bool`, cheap and by content, and
`load(path, flags) -> LoadedAutoencoder`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from autointerp import extensions
from autointerp.errors import SubjectError
from autointerp.subjects import formats
from autointerp.subjects.formats._any_encoder import AdaptedEncoder
from autointerp.subjects.formats._checks import TOP_K, check_activations
from autointerp.subjects.formats._tensors import (
    TORCH_SUFFIXES,
    Flags,
    LoadedAutoencoder,
    scaled,
)
from autointerp.subjects.hub import no_copy, out_of_reach
from autointerp.subjects.places import require_sae

EACH_HAS = ("recognises", "load")  # every file here
SILENT = -1e30  # the bias of a latent that never fires, below any other pre-activation

__all__ = [
    "AdaptedEncoder", "Flags", "LoadedAutoencoder", "check_activations", "load_sae",
]  # fmt: skip


def load_sae(
    path: str | Path, format: str | None = None, flags: Flags = Flags()
) -> LoadedAutoencoder:
    """Return the SAE at a file, a folder or `hub-id[/folder]`, and what its files say of it.

    `format` forces one; otherwise the only one that recognises the content is taken.

    Raises SubjectError, with the remedy, if nothing or more than one does, a tensor is missing, a
    file is truncated, or neither files nor `flags` say something that is needed; UnknownName if
    there is no such format.
    """
    place = _local(str(path))
    if format is None:
        candidates = [
            name
            for name in extensions.names(formats)
            if extensions.load(formats, "format", name).recognises(place)
        ]
        if len(candidates) != 1:
            raise SubjectError(_unrecognised(place, candidates))
        (format,) = candidates
    loaded = extensions.returned(
        extensions.load(formats, "format", format).load(place, flags),
        LoadedAutoencoder,
        f"format '{format}': load()",
    )
    loaded = replace(_without_broken_latents(loaded), strict=flags.strict)
    return _with_flags(loaded, flags)


def _without_broken_latents(loaded: LoadedAutoencoder) -> LoadedAutoencoder:
    """Return the SAE with latents of NaN or infinite weights silenced, and a note that names them.

    A silent latent fires nowhere, and takes no place among a TopK's. Raises SubjectError if what
    all latents share is not finite, or more than half of them are broken.
    """
    sae = loaded.sae
    for name in ("b_dec", "W_skip"):
        shared = getattr(sae, name)
        if shared is not None and not bool(torch.isfinite(shared).all()):
            wrong = int((~torch.isfinite(shared)).sum())
            raise SubjectError(
                f"{loaded.path}: {wrong} of {shared.numel():,} values of {name} are NaN or "
                "infinite, so every latent is; fetch the SAE again or choose another"
            )
    per_latent = [sae.W_enc.T, sae.W_dec, sae.b_enc, sae.threshold, sae.b_gate, sae.r_mag]
    broken = torch.zeros(sae.d_sae, dtype=torch.bool)
    for tensor in per_latent:
        if tensor is not None:
            finite = torch.isfinite(tensor)
            broken |= ~(finite.all(1) if tensor.dim() == 2 else finite.expand(sae.d_sae))
    if not bool(broken.any()):
        return loaded
    numbers = broken.nonzero().flatten().tolist()
    listed = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
    if 2 * len(numbers) > sae.d_sae:
        raise SubjectError(
            f"{loaded.path}: {len(numbers):,} of {sae.d_sae:,} latents have NaN or infinite "
            f"weights ({listed}); fetch the SAE again or choose another"
        )

    def mended(tensor: Tensor | None, value: float = 0.0) -> Tensor | None:
        if tensor is None or tensor.dim() == 0:
            return tensor
        return tensor.masked_fill(broken[:, None] if tensor.dim() == 2 else broken, value)

    W_enc = mended(sae.W_enc.T)
    assert W_enc is not None
    parts: dict[str, Any] = {
        "W_enc": W_enc.T.contiguous(),
        "W_dec": mended(sae.W_dec),
        "b_enc": mended(sae.b_enc, SILENT),
        "b_gate": mended(sae.b_gate, SILENT),
        "r_mag": mended(sae.r_mag),
        "threshold": mended(sae.threshold),
    }
    is_one = len(numbers) == 1
    note = (
        f"latent{'' if is_one else 's'} {listed} of {sae.d_sae:,} {'has' if is_one else 'have'} "
        "NaN or infinite weights: left out, as if never firing"
    )
    return replace(loaded, sae=replace(sae, **parts), notes=(*loaded.notes, note))


def _with_flags(loaded: LoadedAutoencoder, flags: Flags) -> LoadedAutoencoder:
    """Return the SAE for inputs before `flags.input_scale`.

    Raises SubjectError if another flag contradicts the files, because ignoring either would
    harvest another SAE than the one that was meant.
    """
    sae, path = loaded.sae, loaded.path
    if flags.subtract_b_dec not in (None, sae.subtract_b_dec):
        does = "takes" if sae.subtract_b_dec else "does not take"
        raise SubjectError(
            f"subtract_b_dec: {path} says that it {does} its decoder bias from the input; leave "
            "subtract_b_dec out"
        )
    if flags.k is not None and sae.activation not in TOP_K:
        raise SubjectError(f"k {flags.k}: {path} is {sae.activation}, not a TopK; leave k out")
    if flags.k not in (None, sae.k):
        raise SubjectError(f"k {flags.k}: {path} says that its k is {sae.k}; leave k out")
    if flags.input_scale is None:
        return loaded
    return replace(loaded, sae=scaled(sae, flags.input_scale))


def _local(path: str) -> Path:
    """Return the path if it is there, or the folder that a hub id names, fetched."""
    if Path(path).exists():
        return Path(path)
    require_sae(path)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    owner, name, *folder = path.split("/", 2)
    patterns = _fetched(folder[0]) if folder else None
    unreachable = out_of_reach()
    try:
        fetched = Path(
            snapshot_download(
                f"{owner}/{name}", allow_patterns=patterns, local_files_only=bool(unreachable)
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        if unreachable:
            raise SubjectError(no_copy(path, unreachable)) from None
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise SubjectError(
            f"no SAE at {path}: no such file or folder, and the hub has none ({reason[:150]})"
        ) from None
    place = fetched.joinpath(*folder)
    if not place.exists():
        raise SubjectError(f"{owner}/{name} on the hub has no {folder[0]}")
    return place


def _fetched(inside: str) -> list[str]:
    """Return patterns of what is fetched for a folder or a file inside a repository of the hub.

    With a file, what is said of it beside it, and the decoders of an encoder in a file of its own.
    """
    patterns = [f"{inside}/*", inside]
    folder, _, name = inside.rpartition("/")
    if PurePosixPath(name).suffix not in {*TORCH_SUFFIXES, ".safetensors", ".npz"}:
        return patterns
    folders = [folder] if folder.rpartition("/")[2] != "checkpoints" else [folder, folder[:-12]]
    for place in folders:
        beside = f"{place}/" if place else ""
        patterns += [f"{beside}*.json", f"{beside}*.yaml", f"{beside}*.yml"]
    if name.startswith("W_enc_"):
        patterns.append(f"{folder}/".lstrip("/") + name.replace("W_enc_", "W_dec_", 1))
    return patterns


def _unrecognised(path: Path, candidates: list[str]) -> str:
    if candidates:
        return f"{path} could be {' or '.join(candidates)}; say which with sae_format"
    if path.is_file():
        return (
            f"{path} is not an SAE of a supported format "
            f"(formats: {', '.join(extensions.names(formats))}); "
            "force one with sae_format, or pass an object with `.encode` to autointerp.harvest"
        )
    configs = ("cfg.json", "config.json", "params.npz")
    inside = sorted(
        {str(config.parent.relative_to(path)) for name in configs for config in path.rglob(name)}
        - {"."}
    )
    if inside:
        listed = ", ".join(inside[:8]) + (", …" if len(inside) > 8 else "")
        if len(inside) == 1:
            return f"{path} holds a folder that may be an SAE; give that: {listed}"
        return f"{path} holds {len(inside)} folders that may be SAEs; give one of them: {listed}"
    files = sorted(entry.name for entry in path.iterdir())
    listed = ", ".join(files[:8]) + (", …" if len(files) > 8 else "")
    return (
        f"{path} is not an SAE of a supported format (it holds: {listed or 'nothing'}; formats: "
        f"{', '.join(extensions.names(formats))}); give the weights' file or force one with "
        "sae_format"
    )
