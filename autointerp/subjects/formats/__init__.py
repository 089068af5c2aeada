"""Formats of SAEs on disk. Every file here loads one format and recognises it by content.

A format is a module with `recognises(path) -> bool`, cheap and by content, and
`load(path, flags) -> LoadedAutoencoder`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from autointerp import extensions
from autointerp.errors import SubjectError
from autointerp.subjects import formats
from autointerp.subjects.formats._any_encoder import AdaptedEncoder
from autointerp.subjects.formats._tensors import Flags, LoadedAutoencoder, scaled
from autointerp.subjects.hub import no_copy, out_of_reach

TOP_K = ("topk", "groupmax")

__all__ = ["AdaptedEncoder", "Flags", "LoadedAutoencoder", "check_l0", "load_sae"]


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
    loaded = extensions.load(formats, "format", format).load(place, flags)
    assert isinstance(loaded, LoadedAutoencoder)
    return _with_flags(loaded, flags)


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
    if not re.fullmatch(r"[\w.-]+/[\w.-]+(/[\w./-]+)?", path):
        raise SubjectError(f"no SAE at {path}; give an existing file or folder, or a hub id")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    owner, name, *folder = path.split("/", 2)
    patterns = [f"{folder[0]}/*", folder[0]] if folder else None
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
        return f"{path} holds {len(inside)} folders that may be SAEs; give one of them: {listed}"
    files = sorted(entry.name for entry in path.iterdir())
    listed = ", ".join(files[:8]) + (", …" if len(files) > 8 else "")
    return (
        f"{path} is not an SAE of a supported format (it holds: {listed or 'nothing'}; formats: "
        f"{', '.join(extensions.names(formats))}); give the weights' file or force one with "
        "sae_format"
    )


@torch.no_grad()
def check_l0(loaded: LoadedAutoencoder, activations: Tensor) -> str | None:
    """Return a warning if the latents a token of `activations` [tokens, d_in] are not as promised.

    None if they are, or if nothing is promised and their number is plausible.
    """
    sae = loaded.sae
    x = activations.reshape(-1, sae.d_in)
    if not len(x):
        return None
    rows = max(1, (1 << 24) // sae.d_sae)  # 64 MB of latents at once
    parts = (x[first : first + rows] for first in range(0, len(x), rows))
    fired = sum(int((sae.encode(part) > 0).sum()) for part in parts)
    l0 = fired / len(x)
    measured = f"{l0:.1f} of {sae.d_sae:,} latents fire on a token"
    remedy = "check site, layer, model, bias convention and input scale"
    if not fired:
        return f"no latent fires on any of {len(x)} tokens: {remedy}"
    if sae.activation in TOP_K:
        assert sae.k is not None
        if l0 < 0.9 * sae.k:
            return (
                f"{measured}, k is {sae.k}: so few are positive that the inputs are probably "
                f"not those it was trained on; {remedy}"
            )
        return None
    promised = loaded.l0
    if promised and l0 > 2 * promised:
        return (
            f"{measured}, its files say {promised:g}: either a TopK or a threshold was read as "
            f"plain ReLU, or the inputs are not those it was trained on; {remedy}"
        )
    if promised and l0 < 0.5 * promised:
        return (
            f"{measured}, its files say {promised:g}: the inputs are probably not those it was "
            f"trained on; {remedy}"
        )
    if not promised and l0 > 0.2 * sae.d_sae:
        return (
            f"{measured}, which is not sparse: either the inputs are not those it was trained "
            f"on, or it is a TopK whose k the files do not say; {remedy}"
        )
    return None
