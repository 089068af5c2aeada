"""Training of a sparse autoencoder on the one-layer transformer's neurons.

Source: Ward, "Monosemanticity at Home"; Bricken et al. 2023, "Towards Monosemanticity",
appendix "Advice for Training Sparse Autoencoders" (pre-encoder bias, unit-norm dictionary vectors,
gradient projection, resampling of dead features).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autointerp.files import partial_file
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.one_layer import OneLayerTransformer
from autointerp.subjects.places import SAE
from autointerp.subjects.training.checkpoints import (
    load_checkpoint,
    save_checkpoint,
    steps_with_checkpoints,
)
from autointerp.subjects.training.events import FeaturesReset, OnTrainingEvent, Resumed, ignore
from autointerp.subjects.training.transformer import PAD_ID, EpochOrder, training_windows
from autointerp.subjects.windows import TokenisedDocuments


@dataclass(frozen=True)
class SaeTraining:
    """Settings of the training.

    Inputs are scaled so that their mean squared norm is the number of neurons (folded back into
    the biases at the end), so `l1` means the same for every subject.

    Attributes:
        features: Width of the dictionary.
        l1: λ in mean((x - x̂)²) + λ Σ|f|, the first term a mean over tokens and neurons.
        l1_warmup: Share of the steps over which λ rises from 0.
        windows: Windows in a step; each gives its tokens after BOS.
        decay: Share of the steps, the last ones, over which the learning rate falls to 0.
        resample_at: Shares of the steps after which dead features are reset.
        dead_steps: A feature is dead if it did not fire in this many steps before.
        scored_windows: Windows whose tokens are drawn from, ∝ loss², when resampling.
        bfloat16: Matrix products in bfloat16; weights stay float32.
    """

    features: int = 2048
    l1: float = 0.002
    l1_warmup: float = 0.05
    windows: int = 32
    steps: int = 8000
    learning_rate: float = 1e-3
    warmup: int = 100
    decay: float = 0.25
    resample_at: tuple[float, ...] = (0.125, 0.25, 0.375, 0.5)
    dead_steps: int = 400
    scored_windows: int = 512
    seed: int = 0
    bfloat16: bool = False


@dataclass
class Dictionary:
    """The parameters in training, on scaled inputs; decoder rows have unit norm."""

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor

    def parameters(self) -> list[Tensor]:
        return [self.W_enc, self.b_enc, self.W_dec, self.b_dec]

    def encode(self, x: Tensor) -> Tensor:
        return functional.relu((x - self.b_dec) @ self.W_enc + self.b_enc)

    def decode(self, f: Tensor) -> Tensor:
        return f @ self.W_dec + self.b_dec


def new_dictionary(
    d_in: int, features: int, mean: Tensor, generator: torch.Generator
) -> Dictionary:
    """Return a dictionary of random unit vectors, its encoder the transpose, its bias the mean."""
    W_dec = torch.randn(features, d_in, generator=generator)
    W_dec /= W_dec.norm(dim=1, keepdim=True)
    parts = (W_dec.T.clone(), torch.zeros(features), W_dec, mean.clone().cpu())
    return Dictionary(*(part.to(mean.device).contiguous().requires_grad_() for part in parts))


@torch.no_grad()
def remove_parallel_gradient(W_dec: Tensor) -> None:
    """Take from the gradient of each dictionary vector (row) its part along the vector."""
    assert W_dec.grad is not None
    W_dec.grad -= (W_dec.grad * W_dec).sum(1, keepdim=True) * W_dec


@torch.no_grad()
def normalise_rows(W_dec: Tensor) -> None:
    """Set the L2 norm of each dictionary vector (row) to 1."""
    W_dec /= W_dec.norm(dim=1, keepdim=True)


def state_of(
    dictionary: Dictionary,
    optimizer: torch.optim.Adam,
    generator: torch.Generator,
    last_fired: Tensor,
    step: int,
) -> dict[str, Any]:
    """Return what a checkpoint holds of a training after `step` steps."""
    return {
        "dictionary": [p.detach() for p in dictionary.parameters()],
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
        "last_fired": last_fired,
        "step": step,
    }


def resume_from(
    state: dict[str, Any],
    dictionary: Dictionary,
    optimizer: torch.optim.Adam,
    generator: torch.Generator,
) -> tuple[Tensor, int]:
    """Put a checkpoint's state in place; return `last_fired` and the steps that were done."""
    for parameter, saved in zip(dictionary.parameters(), state["dictionary"], strict=True):
        parameter.data.copy_(saved)
    optimizer.load_state_dict(state["optimizer"])
    generator.set_state(state["generator"])
    return state["last_fired"].to(dictionary.W_dec.device), state["step"]


@torch.no_grad()
def resample(
    dictionary: Dictionary,
    optimizer: torch.optim.Adam,
    dead: Tensor,
    inputs: Tensor,
    generator: torch.Generator,
) -> int:
    """Reset the dead features to poorly reconstructed inputs; return how many were reset.

    `dead` is a mask [features], `inputs` [tokens, d_in] are candidates, drawn with probability
    ∝ loss². The decoder row becomes the unit-norm input, the encoder column the same direction
    with 0.2 of the mean norm of the living ones, the bias 0; Adam's moments are set to 0.
    """
    count = int(dead.sum())
    if not count:
        return 0
    losses = torch.cat(
        [
            (part - dictionary.decode(dictionary.encode(part))).square().sum(1)
            for part in torch.split(inputs, 4096)
        ]
    )
    weights = losses.double().square().cpu()
    few = int((weights > 0).sum()) < count
    chosen = torch.multinomial(weights, count, replacement=few, generator=generator)
    # The bias is taken off first: what a feature adds, it adds to b_dec.
    directions = inputs[chosen.to(inputs.device)] - dictionary.b_dec
    directions = directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-8)
    alive = dictionary.W_enc[:, ~dead].norm(dim=0)
    scale = 0.2 * (alive.mean() if len(alive) else torch.ones((), device=dead.device))
    dictionary.W_dec[dead] = directions
    dictionary.W_enc[:, dead] = directions.T * scale
    dictionary.b_enc[dead] = 0
    for parameter, index in (
        (dictionary.W_dec, (dead,)),
        (dictionary.W_enc, (slice(None), dead)),
        (dictionary.b_enc, (dead,)),
    ):
        for moment in ("exp_avg", "exp_avg_sq"):
            if moment in optimizer.state[parameter]:
                optimizer.state[parameter][moment][index] = 0
    return count


def rates_at(step: int, training: SaeTraining) -> tuple[float, float]:
    """Return the learning rate and λ of a step."""
    rise = min(1.0, (step + 1) / max(1, training.warmup))
    fall = min(1.0, (training.steps - step) / max(1.0, training.decay * training.steps))
    l1_rise = min(1.0, step / max(1.0, training.l1_warmup * training.steps))
    return training.learning_rate * min(rise, fall), training.l1 * l1_rise


def train_sae(
    model: OneLayerTransformer,
    documents: TokenisedDocuments,
    training: SaeTraining,
    out: Path,
    device: str,
    on: OnTrainingEvent = ignore,
) -> SparseAutoencoder:
    """Train an SAE, write `out`/sae.safetensors and return it; resume from `out`/sae.ckpt."""
    out.mkdir(parents=True, exist_ok=True)
    windows = training_windows(documents, model.config.context)
    order = EpochOrder(len(windows), training.windows, training.seed)

    def inputs_of(rows: np.ndarray) -> Tensor:
        ids = torch.from_numpy(windows[rows].astype(np.int64)).to(device)
        kept = ids != PAD_ID
        kept[:, 0] = False
        with torch.no_grad():
            return model.site_activations(ids)[kept]

    sample_rows = np.random.default_rng(training.seed).permutation(len(windows))
    sample = inputs_of(sample_rows[:128])
    scale = math.sqrt(sample.shape[1]) / float(sample.square().sum(1).mean().sqrt())
    generator = torch.Generator().manual_seed(training.seed)
    dictionary = new_dictionary(
        sample.shape[1], training.features, (sample * scale).mean(0), generator
    )
    optimizer = torch.optim.Adam(
        dictionary.parameters(), lr=training.learning_rate, betas=(0.9, 0.999), fused=True
    )
    last_fired = torch.zeros(training.features, dtype=torch.int64, device=device)
    settings = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(training).items()
    }
    checkpoint = out / "sae.ckpt"
    first = 0
    if (state := load_checkpoint(checkpoint, settings)) is not None:
        last_fired, first = resume_from(state, dictionary, optimizer, generator)
        on(Resumed(checkpoint, first))

    def save(step: int) -> None:
        save_checkpoint(
            checkpoint,
            {
                **state_of(dictionary, optimizer, generator, last_fired, step),
                "settings": settings,
            },
        )

    resample_steps = {round(share * training.steps) for share in training.resample_at}
    figures = {"loss": math.nan, "mse": math.nan, "L0": math.nan, "dead %": math.nan}
    for step in steps_with_checkpoints(
        "sae", first, training.steps, figures, save, save_every=500, on=on
    ):
        rate, l1 = rates_at(step, training)
        for group in optimizer.param_groups:
            group["lr"] = rate
        x = inputs_of(order.rows(step)) * scale
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=training.bfloat16):
            features = dictionary.encode(x)
            decoded = dictionary.decode(features)
        error = (decoded.float() - x).square().mean()
        loss = error + l1 * features.float().sum(1).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        remove_parallel_gradient(dictionary.W_dec)
        optimizer.step()
        normalise_rows(dictionary.W_dec)
        fires = features.detach() > 0
        last_fired[fires.any(0)] = step
        if step + 1 in resample_steps:
            candidates = [
                inputs_of(rows) * scale
                for rows in np.array_split(sample_rows[: training.scored_windows], 8)
            ]
            dead = last_fired < step - training.dead_steps
            reset = resample(dictionary, optimizer, dead, torch.cat(candidates), generator)
            last_fired[dead] = step  # a reset feature has a whole period to prove itself
            on(FeaturesReset(step + 1, reset))
        if step % 10 == 0:
            figures["loss"], figures["mse"] = loss.item(), error.item()
            figures["L0"] = float(fires.sum(1).float().mean())
            figures["dead %"] = 100 * float(
                (last_fired < step - training.dead_steps).float().mean()
            )
    with torch.no_grad():
        sae = SparseAutoencoder(
            W_enc=dictionary.W_enc.detach().cpu(),
            b_enc=dictionary.b_enc.detach().cpu() / scale,
            W_dec=dictionary.W_dec.detach().cpu(),
            b_dec=dictionary.b_dec.detach().cpu() / scale,
        )
    with partial_file(out / SAE) as partial:
        sae.save(partial)
    return sae
