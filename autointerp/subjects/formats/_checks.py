"""A loaded SAE on real activations, held against what its files record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from autointerp.errors import SubjectError
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.formats._tensors import LoadedAutoencoder, scaled

TOP_K = ("topk", "groupmax")
GROSS = 3.0  # times as many latents a token as recorded, or as few
NOTED = 2.0
EXPLAINS = 0.25  # share of the variance from which another reading of the files is a better one
TRIED_TOKENS = 512  # for other readings
BLOCK = 1 << 24  # latents at once: 64 MB
REMEDY = "check site, layer, model, bias convention and input scale"


@dataclass(frozen=True)
class Measured:
    """What an SAE does on activations.

    Attributes:
        tokens: How many were encoded.
        l0: Latents that fire on a token, on average.
        explained: Share of the variance that it reconstructs, below 0 where the mean would do
            better; None where it does not reconstruct what it reads.
    """

    tokens: int
    l0: float
    explained: float | None


@torch.no_grad()
def measured(sae: SparseAutoencoder, x: Tensor, reconstructs: bool = True) -> Measured:
    """Return what an SAE does on activations [tokens, d_in]."""
    fired, missed = 0, 0.0
    rows = max(1, BLOCK // sae.d_sae)
    for first in range(0, len(x), rows):
        part = x[first : first + rows]
        latents = sae.encode(part)
        fired += int(torch.count_nonzero(latents > 0))
        if reconstructs:
            missed += float((part - sae.decode(latents, part)).double().pow(2).sum())
    spread = float((x - x.mean(0)).double().pow(2).sum())
    explained = 1 - missed / spread if reconstructs and spread > 0 else None
    return Measured(len(x), fired / max(1, len(x)), explained)


def check_activations(loaded: LoadedAutoencoder, activations: Tensor) -> list[str]:
    """Return what casts doubt on an SAE on `activations` [tokens, d_in], a sentence each.

    Raises SubjectError, if `loaded.strict`, for a gross mismatch with what the files record: no
    latent fires; more than 3 times or less than a third of the latents that they promise fire on a
    token; or it reconstructs worse than the mean although the files say that it was trained, or
    another reading of the files would reconstruct.
    """
    x = activations.reshape(-1, loaded.sae.d_in).float()
    if not len(x):
        return []
    found = measured(loaded.sae, x, loaded.reconstructs)
    texts = []
    for text, is_gross in (*_of_l0(loaded, found), *_of_reconstruction(loaded, found, x)):
        if is_gross and loaded.strict:
            raise SubjectError(
                f"{loaded.path}: {text}; correct the settings, or set subject.check_sae = false"
            )
        texts.append(text.removesuffix(f"; {REMEDY}").removesuffix(f": {REMEDY}"))
    return [f"{', and '.join(texts)}; {REMEDY}"] if texts else []


def _of_l0(loaded: LoadedAutoencoder, found: Measured) -> Iterator[tuple[str, bool]]:
    """Yield what is wrong with the number of latents a token, and whether it is gross."""
    sae, l0 = loaded.sae, found.l0
    count = f"{l0:.1f} of {sae.d_sae:,} latents fire on a token"
    if not l0:
        yield f"no latent fires on any of {found.tokens} tokens: {REMEDY}", True
        return
    if sae.activation in TOP_K:
        assert sae.k is not None
        if l0 < 0.9 * sae.k:
            yield (
                f"{count}, k is {sae.k}: so few are positive that the inputs are probably "
                f"not those it was trained on; {REMEDY}",
                l0 < sae.k / GROSS,
            )
        return
    promised = loaded.l0
    said = f"{round(promised or 0, 2):g}"
    if promised and l0 > NOTED * promised:
        yield (
            f"{count}, its files say {said}: either a TopK or a threshold was read as "
            f"plain ReLU, or the inputs are not those it was trained on; {REMEDY}",
            l0 > GROSS * promised,
        )
    elif promised and l0 < promised / NOTED:
        yield (
            f"{count}, its files say {said}: the inputs are probably not those it was "
            f"trained on; {REMEDY}",
            l0 < promised / GROSS,
        )
    elif not promised and l0 > 0.2 * sae.d_sae:
        yield (
            f"{count}, which is not sparse: either the inputs are not those it was trained "
            f"on, or it is a TopK whose k the files do not say; {REMEDY}",
            False,
        )
    elif loaded.assumes_relu:
        yield (
            f"{count} where it is read as a ReLU, since the file names no activation: if that is "
            f"not about the number that it was trained to, it is a TopK: give its k; {REMEDY}",
            False,
        )


def _of_reconstruction(
    loaded: LoadedAutoencoder, found: Measured, x: Tensor
) -> Iterator[tuple[str, bool]]:
    """Yield what is wrong with the reconstruction, and whether it is gross."""
    sae = loaded.sae
    norms = sae.W_dec.norm(dim=1)
    if loaded.unit_decoder and not 0.5 < float(norms.median()) < 2:
        yield (
            f"its dictionary vectors have a norm of {float(norms.median()):.2g}, its files say 1",
            False,
        )
    explained = found.explained
    if explained is None or explained >= 0:
        return
    worse = (
        f"it explains {explained:.0%} of the variance, worse than the mean does"
        if explained > -1
        else f"its reconstruction misses by {1 - explained:,.0f} times the variance, where the "
        "mean misses by 1"
    )
    other = _better_reading(sae, x[:TRIED_TOKENS])
    if other is not None:
        name, better = other
        yield f"{worse}; {name} it explains {better:.0%}", True
        return
    why = ": the inputs are not those it was trained on, or it was never trained"
    yield f"{worse}{why}; {REMEDY}", loaded.has_training


def _better_reading(sae: SparseAutoencoder, x: Tensor) -> tuple[str, float] | None:
    """Return another reading of the same files that reconstructs, and how well; None for none."""
    others: dict[str, SparseAutoencoder] = {}
    if bool(sae.b_dec.any()) and sae.d_in == sae.d_out:
        said = "no" if sae.subtract_b_dec else "yes"
        flipped = replace(sae, subtract_b_dec=not sae.subtract_b_dec)
        others[f"with subtract_b_dec = {said}"] = flipped
    if sae.normalisation == "none":
        scale = float(sae.d_in**0.5 / x.norm(dim=1).mean())
        others[f"with input_scale = {scale:.3g}"] = scaled(sae, scale)
    if sae.W_enc.shape[0] == sae.W_enc.shape[1]:
        turned = replace(sae, W_enc=sae.W_enc.T.contiguous(), W_dec=sae.W_dec.T.contiguous())
        others["with its square matrices the other way (sae_layout)"] = turned
    best: tuple[str, float] | None = None
    for name, other in others.items():
        explained = measured(other, x).explained
        if explained is not None and explained > max(EXPLAINS, best[1] if best else 0.0):
            best = (name, explained)
    return best
