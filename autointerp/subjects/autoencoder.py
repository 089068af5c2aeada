"""One sparse autoencoder for every architecture: encode (all or chosen columns), decode."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional

from autointerp.errors import SubjectError
from autointerp.subjects.places import no_trained_sae
from autointerp.subjects.tensor_file import save_tensors
from autointerp.subjects.top_k import affine, top_k

Activation = Literal["relu", "jumprelu", "batchtopk", "gated", "topk", "groupmax"]
Normalisation = Literal["none", "layer_norm", "constant_norm"]

# What `save` writes beside the tensors; `format` is of safetensors itself.
METADATA = frozenset(
    {"architecture", "apply_b_dec_to_input", "normalisation", "transcodes", "k", "format"}
)
SPARSE = 16  # one latent of so many, or fewer, is not 0: then directions are added one by one
COLUMNWISE: frozenset[Activation] = frozenset({"relu", "jumprelu", "batchtopk", "gated"})


class Encoder(Protocol):
    """What the harvest needs of an SAE."""

    @property
    def d_in(self) -> int: ...

    @property
    def d_sae(self) -> int: ...

    def encode(self, x: Tensor, columns: Tensor | None = None) -> Tensor: ...

    def encoder(self, columns: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the function x -> latents [..., len(columns)], with its weights gathered once."""
        ...

    def to(self, device: str) -> Encoder: ...


@dataclass(frozen=True)
class SparseAutoencoder:
    """A sparse autoencoder f = activation((x - b_pre) W_enc + b_enc), x̂ = f W_dec + b_dec.

    With pre = (x - b_pre) W_enc, and b_pre = b_dec or 0, the activations are

        relu                  max(pre + b_enc, 0)
        jumprelu, batchtopk   the same where pre + b_enc > threshold, else 0
        gated                 max(pre·exp(r_mag) + b_enc, 0) where pre + b_gate > 0, else 0
        topk                  the same as relu where among the k largest of a token, else 0
        groupmax              the same as relu where the largest of its group (k equal groups)

    Attributes:
        W_enc: [d_in, d_sae] encoder.
        b_enc: [d_sae] encoder bias.
        W_dec: [d_sae, d_out] decoder; its rows are the dictionary vectors.
        b_dec: [d_out] decoder bias.
        subtract_b_dec: Whether b_dec is taken from the input first (the pre-encoder bias).
        k: Latents a token, for topk and groupmax; for others at most a record of the training.
        threshold: [d_sae] or a scalar; jumprelu and batchtopk.
        b_gate, r_mag: [d_sae] each; gated.
        W_skip: [d_in, d_out] of a transcoder with a linear path past the latents.
        normalisation: What is done to each input vector first: `layer_norm` (mean 0, standard
            deviation 1) or `constant_norm` (norm √d_in); undone by `decode`.
        transcodes: It writes another site than it reads.
    """

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    subtract_b_dec: bool = True
    activation: Activation = "relu"
    k: int | None = None
    threshold: Tensor | None = None
    b_gate: Tensor | None = None
    r_mag: Tensor | None = None
    W_skip: Tensor | None = None
    normalisation: Normalisation = "none"
    transcodes: bool = False

    def __post_init__(self) -> None:
        """Raise SubjectError if the parts do not fit together."""
        for name in ("W_enc", "W_dec"):
            if getattr(self, name).ndim != 2:
                shape = tuple(getattr(self, name).shape)
                raise SubjectError(f"SAE: {name} is {shape}, expected two axes")
        shapes = {
            "W_enc": (self.d_in, self.d_sae),
            "b_enc": (self.d_sae,),
            "W_dec": (self.d_sae, self.d_out),
            "b_dec": (self.d_in if self.subtract_b_dec else self.d_out,),
            "b_gate": (self.d_sae,),
            "r_mag": (self.d_sae,),
            "W_skip": (self.d_in, self.d_out),
        }
        for name, shape in shapes.items():
            tensor = getattr(self, name)
            if tensor is not None and tuple(tensor.shape) != shape:
                raise SubjectError(f"SAE: {name} is {tuple(tensor.shape)}, expected {shape}")
        if self.threshold is not None and self.threshold.shape not in {(), (self.d_sae,)}:
            raise SubjectError(
                f"SAE: threshold is {tuple(self.threshold.shape)}, not ({self.d_sae},)"
            )
        if not self.transcodes and self.d_in != self.d_out:
            raise SubjectError(
                f"SAE: W_enc reads {self.d_in} activations and W_dec writes {self.d_out}; both are "
                "of one site"
            )
        needed = {
            "jumprelu": ("threshold",),
            "batchtopk": ("threshold",),
            "gated": ("b_gate", "r_mag"),
            "topk": ("k",),
            "groupmax": ("k",),
        }
        for name in needed.get(self.activation, ()):
            if getattr(self, name) is None:
                raise SubjectError(f"a {self.activation} SAE needs {name}, which is missing")
        if not self.encodes_columns_alone:
            assert self.k is not None
            if not 0 < self.k <= self.d_sae:
                raise SubjectError(f"SAE: k = {self.k} is not from 1 to its {self.d_sae} latents")
            if self.activation == "groupmax" and self.d_sae % self.k:
                raise SubjectError(f"SAE: {self.d_sae} latents are not {self.k} equal groups")

    @property
    def d_in(self) -> int:
        return self.W_enc.shape[0]

    @property
    def d_sae(self) -> int:
        return self.W_enc.shape[1]

    @property
    def d_out(self) -> int:
        return self.W_dec.shape[1]

    @property
    def encodes_columns_alone(self) -> bool:
        """Whether a latent's activation does not depend on the other latents."""
        return self.activation in COLUMNWISE

    def encode(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Return latent activations [..., d_sae], or [..., len(columns)] of the chosen columns."""
        if columns is not None:
            return self.encoder(columns)(x)
        x = self._prepared(x)
        if self.activation == "topk":
            assert self.k is not None
            return top_k(x, self.W_enc, self.b_enc, self.k)
        if self.activation == "groupmax":
            return self._group_max(x)
        return self._columnwise(x)

    def encoder(self, columns: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the function x [..., d_in] -> latents [..., len(columns)] of chosen columns.

        Made once, it gathers its weights once; what it returns is exactly `encode(x)[..., columns]`
        up to rounding. TopK compares with all latents all the same.
        """
        if self.activation == "topk":
            k = self.k
            assert k is not None
            return lambda x: top_k(self._prepared(x), self.W_enc, self.b_enc, k, columns)
        if self.activation == "groupmax":
            assert self.k is not None
            size = self.d_sae // self.k
            groups, inverse = torch.unique(columns // size, return_inverse=True)
            members = (groups[:, None] * size + torch.arange(size, device=columns.device)).flatten()
            part = self._columns(members, k=len(groups))
            picked = inverse * size + columns % size
            return lambda x: part._group_max(part._prepared(x))[..., picked]
        part = self._columns(columns)
        if self.normalisation == "none" and self.subtract_b_dec and self.activation != "gated":
            # A pass over all inputs saved: (x - b_dec) W = x W - b_dec W.
            bias = part.b_enc - part.b_dec @ part.W_enc
            part = replace(part, b_enc=bias, subtract_b_dec=False)
        return lambda x: part._columnwise(part._prepared(x))

    def decode(self, latents: Tensor, x: Tensor | None = None) -> Tensor:
        """Return the reconstruction [..., d_out] of all latents [..., d_sae].

        `x`, the input that they came from, is needed where the input is normalised or there is a
        skip connection. Raises ValueError if it is missing then.
        """
        out = _combined(latents, self.W_dec) + self.b_dec
        undoes = self.normalisation != "none" and not self.transcodes
        if x is None:
            if self.W_skip is not None or undoes:
                raise ValueError("this SAE decodes from latents and input: decode(latents, x)")
            return out
        if self.W_skip is not None:
            out = out + x.to(out.dtype) @ self.W_skip
        if undoes:
            mean, scale = self._mean_and_scale(x.to(out.dtype))
            out = out * scale + mean
        return out

    def written_scale(self, x: Tensor) -> Tensor:
        """Return by what [..., 1] the dictionary vectors are multiplied in decoding inputs x: 1
        where inputs are not normalised, or what is written is another site.
        """
        if self.normalisation == "none" or self.transcodes:
            return torch.ones_like(x[..., :1])
        return self._mean_and_scale(x)[1]

    def centred(self) -> SparseAutoencoder:
        """Return the SAE for inputs x of one that was trained on x less its mean over the axes."""
        if self.normalisation == "layer_norm":  # which takes the mean away by itself
            return self
        W_enc = self.W_enc - self.W_enc.mean(0, keepdim=True)
        b_enc = self.b_enc
        if self.subtract_b_dec:
            # (x - mean - b) W = (x - b)(W - mean of W's rows) - (mean of b) (sum of W's rows)
            shift = self.b_dec.double().mean() * self.W_enc.double().sum(0)
            if self.r_mag is not None:
                assert self.b_gate is not None
                gate = self.b_gate - shift.to(self.b_gate.dtype)
                shift = shift * self.r_mag.double().exp()
                return replace(self, W_enc=W_enc, b_enc=b_enc - shift.to(b_enc.dtype), b_gate=gate)
            b_enc = b_enc - shift.to(b_enc.dtype)
        return replace(self, W_enc=W_enc, b_enc=b_enc)

    def to(self, device: str) -> SparseAutoencoder:
        """Return the same autoencoder on another device."""
        moved: dict[str, Any] = {name: t.to(device) for name, t in self._tensors().items()}
        return replace(self, **moved)

    def save(self, path: Path, half: bool = False) -> None:
        """Write a safetensors file in SAELens' names, in float16 if `half`."""
        state = {
            name: (tensor.half() if half else tensor.float()).contiguous()
            for name, tensor in self._tensors().items()
        }
        metadata = {
            "architecture": "standard" if self.activation == "relu" else self.activation,
            "apply_b_dec_to_input": str(self.subtract_b_dec),
            "normalisation": self.normalisation,
            "transcodes": str(self.transcodes),
        }
        if self.k is not None:
            metadata["k"] = str(self.k)
        save_tensors(state, path, metadata)

    def _tensors(self) -> dict[str, Tensor]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def _columns(self, columns: Tensor, k: int | None = None) -> SparseAutoencoder:
        """Return the SAE that has only the chosen latents, and `k` groups of them."""
        columns = columns.to(self.W_enc.device)
        per_latent = ("b_enc", "threshold", "b_gate", "r_mag")
        chosen: dict[str, Any] = {
            name: tensor[columns] if tensor.dim() else tensor
            for name, tensor in self._tensors().items()
            if name in per_latent
        }
        return replace(
            self,
            W_enc=self.W_enc[:, columns].contiguous(),
            W_dec=self.W_dec[columns],
            k=self.k if k is None else k,
            **chosen,
        )

    def _mean_and_scale(self, x: Tensor) -> tuple[Tensor | float, Tensor]:
        if self.normalisation == "layer_norm":
            return x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        return 0.0, x.norm(dim=-1, keepdim=True).clamp_min(1e-30) / self.d_in**0.5

    def _prepared(self, x: Tensor) -> Tensor:
        """Return what the encoder matrix is applied to: x normalised, less the decoder bias."""
        x = x.to(self.W_enc.dtype)
        if self.normalisation != "none":
            mean, scale = self._mean_and_scale(x)
            # SAELens adds 1e-5 to the standard deviation, and nothing to the norm.
            x = (x - mean) / (scale + (1e-5 if self.normalisation == "layer_norm" else 0.0))
        return x - self.b_dec if self.subtract_b_dec else x

    def _columnwise(self, x: Tensor) -> Tensor:
        if self.activation == "gated":
            assert self.r_mag is not None
            assert self.b_gate is not None
            pre = x @ self.W_enc
            magnitude = functional.relu(pre * self.r_mag.exp() + self.b_enc)
            return magnitude * (pre + self.b_gate > 0)
        pre = affine(x, self.W_enc, self.b_enc)
        if self.threshold is None:
            return pre.relu_()
        return functional.relu(pre) * (pre > self.threshold)

    def _group_max(self, x: Tensor) -> Tensor:
        assert self.k is not None
        pre = affine(x, self.W_enc, self.b_enc).relu_()
        grouped = pre.view(*pre.shape[:-1], self.k, -1)
        return pre.mul_((grouped == grouped.amax(-1, keepdim=True)).flatten(-2))


def _combined(latents: Tensor, directions: Tensor) -> Tensor:
    """Return latents [..., d_sae] @ directions [d_sae, d_out].

    Where nearly all latents are 0, on a CPU, only the directions of the others are added up: a
    tenth of the time.
    """
    is_plain = latents.device.type == "cpu" and latents.dtype == directions.dtype == torch.float32
    if not is_plain or (torch.is_grad_enabled() and latents.requires_grad):
        return latents @ directions
    flat = latents.reshape(-1, latents.shape[-1])
    at = np.flatnonzero(flat.detach().numpy() != 0)
    if len(at) * SPARSE > flat.numel():
        return latents @ directions
    row, column = np.divmod(at, flat.shape[1])
    added = functional.embedding_bag(
        torch.from_numpy(column),
        directions,
        torch.from_numpy(np.searchsorted(row, np.arange(len(flat)))),
        mode="sum",
        per_sample_weights=flat.reshape(-1)[torch.from_numpy(at)],
    )
    return added.view(*latents.shape[:-1], directions.shape[1])


def as_weights(tensor: Tensor, name: str, path: Path) -> Tensor:
    """Return the tensor of a file in float32.

    Raises SubjectError, naming it, for whole numbers, which mean weights only with the scales that
    they were quantised by, for complex ones, and where all latents' values should be and one is.
    """
    if not tensor.is_floating_point():
        raise SubjectError(
            f"{path}: {name} is of {str(tensor.dtype).removeprefix('torch.')}, and weights are "
            "floating-point numbers; fetch or convert the SAE again"
        )
    if not tensor.dim() and "threshold" not in name and "factor" not in name:
        raise SubjectError(f"{path}: {name} is one number, and not one a latent; fetch it again")
    return tensor.float()


def load_autoencoder(path: Path, device: str = "cpu") -> SparseAutoencoder:
    """Return the autoencoder written by `SparseAutoencoder.save`, in float32.

    Raises SubjectError if the file is missing, truncated or lacks a tensor.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise no_trained_sae(path) from None
    except (SafetensorError, OSError) as error:
        raise SubjectError(
            f"{path} is not a complete safetensors file of an SAE ({error}); fetch or "
            "train it again"
        ) from None
    tensors = {name: as_weights(tensor, name, path) for name, tensor in stored.items()}
    for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
        if name not in tensors:
            raise SubjectError(f"{path} has no tensor {name}; fetch or train it again")
    architecture = metadata.get("architecture", "standard")
    activation = "relu" if architecture == "standard" else architecture
    normalisation = metadata.get("normalisation", "none")
    if activation not in get_args(Activation) or normalisation not in get_args(Normalisation):
        raise SubjectError(
            f"{path} is a {architecture} SAE ({normalisation}), which is not supported; "
            "convert it or fetch another"
        )
    unknown = [*(f"tensor {n}" for n in tensors if n not in SparseAutoencoder.__annotations__)]
    unknown += [key for key in metadata if key not in METADATA]
    if unknown:
        raise SubjectError(
            f"{path} says {', '.join(sorted(unknown))}, which this version does not know; load it "
            "with the version that wrote it"
        )
    for key, usual in (("apply_b_dec_to_input", "True"), ("transcodes", "False")):
        if metadata.get(key, usual) not in ("True", "False"):
            raise SubjectError(f"{path}: {key} is '{metadata[key]}', not True or False; correct it")
    k = metadata.get("k")
    if k is not None and not re.fullmatch(r"[0-9]{1,9}", k):
        raise SubjectError(f"{path}: k is '{k[:60]}', not a whole number; correct it")
    return SparseAutoencoder(
        **tensors,
        subtract_b_dec=metadata.get("apply_b_dec_to_input", "True") == "True",
        activation=cast(Activation, activation),
        k=None if k is None else int(k),
        normalisation=cast(Normalisation, normalisation),
        transcodes=metadata.get("transcodes") == "True",
    ).to(device)
