"""Training of the one-layer transformer.

Source: SEEDS of this project: Ward, "Monosemanticity at Home" (AdamW, 5e-4 → 5e-5).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from autointerp.errors import CorpusError
from autointerp.files import partial_file
from autointerp.subjects.one_layer import OneLayerConfig, OneLayerTransformer
from autointerp.subjects.training.checkpoints import (
    load_checkpoint,
    save_checkpoint,
    steps_with_checkpoints,
)
from autointerp.subjects.training.events import CorpusCut, OnTrainingEvent, Resumed, ignore
from autointerp.subjects.windows import TokenisedDocuments, cut_windows

BOS_ID, PAD_ID = 0, 1


@dataclass(frozen=True)
class TransformerTraining:
    """Settings of the training.

    Attributes:
        batch: Windows in a step.
        steps: Optimizer steps.
        learning_rate, final_learning_rate: Peak, and what the cosine falls to.
        warmup: Steps of linear warm-up.
        bfloat16: Matrix products in bfloat16; weights stay float32.
    """

    batch: int = 32
    steps: int = 20_000
    learning_rate: float = 5e-4
    final_learning_rate: float = 5e-5
    warmup: int = 200
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    seed: int = 0
    bfloat16: bool = False


def learning_rate_at(step: int, training: TransformerTraining) -> float:
    """Return the rate of a step: linear warm-up, then a cosine from the peak to the final one."""
    if step < training.warmup:
        return training.learning_rate * (step + 1) / training.warmup
    share = (step - training.warmup) / max(1, training.steps - training.warmup)
    low, high = training.final_learning_rate, training.learning_rate
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * share))


def training_windows(documents: TokenisedDocuments, length: int) -> NDArray[np.uint16 | np.uint32]:
    """Return all windows [windows, length] of the documents, each with BOS first.

    Raises CorpusError if there are fewer than 100.
    """
    dtype = documents.tokens.dtype
    parts = [
        part.ids.astype(dtype) for part in cut_windows(documents, length, BOS_ID, PAD_ID, rows=4096)
    ]
    windows = np.concatenate(parts)
    if len(windows) < 100:
        raise CorpusError(
            f"{len(windows)} windows of {length} tokens are too few to train on; give 100 or more"
        )
    return windows


class EpochOrder:
    """Draws batches without replacement within an epoch; a function of seed and step alone."""

    def __init__(self, windows: int, batch: int, seed: int) -> None:
        self.per_epoch, self.batch, self.seed = windows // batch, batch, seed
        self.windows, self.epoch = windows, -1
        self.order = np.arange(windows)

    def rows(self, step: int) -> NDArray[np.int64]:
        """Return the rows of the step's batch."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            self.epoch = epoch
            self.order = np.random.default_rng([self.seed, epoch]).permutation(self.windows)
        return self.order[place * self.batch : (place + 1) * self.batch]


def backward_in_chunks(model: OneLayerTransformer, ids: Tensor, chunk: int = 1024) -> Tensor:
    """Accumulate gradients of the mean next-token loss (nats, padding left out); return the loss.

    The logits of `chunk` tokens at a time are made and dropped: at 4,096 tokens of vocabulary all
    logits at once overflow the cache, which halves the speed.
    """
    residual = model.residual_before_mlp(ids)
    hidden = model.norm_final(residual + model.down(model.neurons(residual)))
    hidden = hidden[:, :-1].flatten(0, 1)
    targets = ids[:, 1:].flatten()
    counted = (targets != PAD_ID).sum()
    cut = hidden.detach().requires_grad_()
    total = torch.zeros((), device=ids.device)
    for begin in range(0, len(targets), chunk):
        part = slice(begin, begin + chunk)
        loss = functional.cross_entropy(
            model.unembedding(cut[part]).float(),
            targets[part],
            ignore_index=PAD_ID,
            reduction="sum",
        )
        (loss / counted).backward()
        total += loss.detach() / counted
    hidden.backward(cut.grad)
    return total


def train_transformer(
    documents: TokenisedDocuments,
    config: OneLayerConfig,
    training: TransformerTraining,
    out: Path,
    device: str,
    on: OnTrainingEvent = ignore,
) -> OneLayerTransformer:
    """Train, write `out`/transformer.safetensors and return the model.

    Resumes from `out`/transformer.ckpt.
    """
    out.mkdir(parents=True, exist_ok=True)
    windows = training_windows(documents, config.context)
    order = EpochOrder(len(windows), training.batch, training.seed)
    model = OneLayerTransformer(config)
    model.initialise(torch.Generator().manual_seed(training.seed))
    model.to(device)
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": training.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=training.learning_rate,
        betas=(0.9, 0.95),
        fused=True,
    )
    settings = {**asdict(config), **asdict(training)}
    checkpoint = out / "transformer.ckpt"
    first = 0
    if (state := load_checkpoint(checkpoint, settings)) is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
        on(Resumed(checkpoint, first))

    def save(step: int) -> None:
        save_checkpoint(
            checkpoint,
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
                "settings": settings,
            },
        )

    parameters = sum(p.numel() for p in model.parameters())
    on(CorpusCut(len(windows), config.context, order.per_epoch, parameters))
    figures = {"loss": math.nan, "lr": 0.0}
    for step in steps_with_checkpoints(
        "transformer", first, training.steps, figures, save, save_every=1000, on=on
    ):
        rate = learning_rate_at(step, training)
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids = torch.from_numpy(windows[order.rows(step)].astype(np.int64)).to(device)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=training.bfloat16):
            loss = backward_in_chunks(model, ids)
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.gradient_clip)
        optimizer.step()
        if step % 10 == 0:
            value = loss.item()
            figures["loss"] = (
                value if math.isnan(figures["loss"]) else 0.95 * figures["loss"] + 0.05 * value
            )
            figures["lr"] = rate
    with partial_file(out / "transformer.safetensors") as partial:
        model.save(partial)
    return model.eval().requires_grad_(False)
