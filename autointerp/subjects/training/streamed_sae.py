"""Training of a sparse autoencoder on the streamed activations of any causal language model.

SAELens, sparsify and dictionary_learning were looked at first. They read TransformerLens hooks or
modules' outputs, not all sites here; they want tokenised Hugging Face datasets; and none resumes
to the same bytes, since what is in their shuffling buffers is not part of a checkpoint.

Sources: Bricken et al. 2023, "Towards Monosemanticity", appendix "Advice for Training Sparse
Autoencoders" (L1, unit-norm dictionary vectors, resampling); Gao et al. 2024, "Scaling and
evaluating sparse autoencoders", §2.2-2.3, appendix A (TopK, auxiliary loss for dead latents).
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.training.activations import ActivationBatches, ActivationWindows
from autointerp.subjects.training.checkpoints import (
    load_checkpoint,
    save_checkpoint,
    steps_with_checkpoints,
)
from autointerp.subjects.training.events import (
    ActivationsRead,
    FeaturesReset,
    OnTrainingEvent,
    Resumed,
    ignore,
)
from autointerp.subjects.training.recipe import SaeRecipe
from autointerp.subjects.training.sae import (
    Dictionary,
    new_dictionary,
    normalise_rows,
    remove_parallel_gradient,
    resample,
    resume_from,
    state_of,
)

CHECKPOINT = "sae.ckpt"
SAVE_EVERY = 250  # optimizer steps between two checkpoints
CANDIDATES = 32_768  # tokens from which dead latents are resampled


def rates_of(step: int, recipe: SaeRecipe) -> tuple[float, float]:
    """Return the learning rate and λ of a step."""
    rise = min(1.0, (step + 1) / max(1, recipe.warmup))
    fall = min(1.0, (recipe.steps - step) / max(1.0, recipe.decay * recipe.steps))
    l1_rise = min(1.0, step / max(1.0, recipe.l1_warmup * recipe.steps))
    return recipe.learning_rate * min(rise, fall), recipe.l1 * l1_rise


def pre_activations(dictionary: Dictionary, x: Tensor) -> Tensor:
    """Return (x - b_dec) W_enc + b_enc; the shift is taken of the weights, not of each input."""
    shift = dictionary.b_enc - dictionary.b_dec @ dictionary.W_enc
    return torch.addmm(shift, x, dictionary.W_enc)


def sparse_decode(dictionary: Dictionary, values: Tensor, indices: Tensor) -> Tensor:
    """Return the reconstructions [tokens, d_in] of `k` latents a token, [tokens, k] each."""
    summed = functional.embedding_bag(
        indices, dictionary.W_dec, per_sample_weights=values, mode="sum"
    )
    return summed + dictionary.b_dec


def top_k_loss(
    dictionary: Dictionary, x: Tensor, recipe: SaeRecipe, dead: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return loss, reconstruction error, and which latents fired on any token [latents].

    By the auxiliary loss, the dead latents (mask [latents]) reconstruct what the others leave: of
    each token the largest of them, half as many as the site is wide.
    """
    pre = pre_activations(dictionary, x)
    values, indices = pre.topk(recipe.k, dim=1, sorted=False)
    values = functional.relu(values).float()
    decoded = sparse_decode(dictionary, values, indices)
    error = (decoded - x).square().mean()
    fired = torch.zeros(len(dead), dtype=torch.bool, device=x.device)
    fired[indices[values > 0]] = True
    count = int(dead.sum())
    if not count or not recipe.auxiliary:
        return error, error, fired
    left = (x - decoded).detach()
    at = dead.nonzero().squeeze(1)
    chosen, places = pre[:, at].topk(min(count, max(1, x.shape[1] // 2)), dim=1, sorted=False)
    second = sparse_decode(dictionary, functional.relu(chosen).float(), at[places])
    second = second - dictionary.b_dec  # the bias is in the first reconstruction
    return error + recipe.auxiliary * (second - left).square().mean(), error, fired


def relu_loss(
    dictionary: Dictionary, x: Tensor, l1: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return loss, reconstruction error, which latents fired [latents], and the mean L0."""
    latents = functional.relu(pre_activations(dictionary, x))
    decoded = torch.addmm(dictionary.b_dec, latents, dictionary.W_dec).float()
    error = (decoded - x).square().mean()
    loss = error + l1 * latents.float().sum(1).mean()
    fires = latents.detach() > 0
    return loss, error, fires.any(0), fires.sum(1).float().mean()


def train_streamed_sae(
    windows: ActivationWindows,
    recipe: SaeRecipe,
    identity: dict[str, Any],
    out: Path,
    on: OnTrainingEvent = ignore,
) -> SparseAutoencoder:
    """Return an SAE trained by the recipe; `out`/sae.ckpt is resumed from, and deleted at the end
    by the caller, when the SAE is stored.

    `identity` says which model's activations these are; a checkpoint of another is refused, as is
    one of another recipe. Raises BadInput for these, CorpusError for too little text.
    """
    out.mkdir(parents=True, exist_ok=True)
    batches = ActivationBatches(
        windows,
        recipe.batch,
        recipe.buffer,
        recipe.seed,
        lambda done, total: on(ActivationsRead(done, total)),
    )
    settings = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in {**identity, **asdict(recipe)}.items()
    }
    checkpoint = out / CHECKPOINT
    state = load_checkpoint(checkpoint, settings)
    generator = torch.Generator().manual_seed(recipe.seed)
    first = 0
    batches.go_to(*((0, 0) if state is None else state["batches"]))
    if state is None:
        x = batches.held
        scale = math.sqrt(x.shape[1] / float(x.double().square().sum(1).mean()))
        mean = (x.double().mean(0) * scale).float()
    else:
        scale, mean = state["scale"], torch.zeros_like(batches.held[0])
    dictionary = new_dictionary(batches.held.shape[1], recipe.width, mean, generator)
    optimizer = torch.optim.Adam(
        dictionary.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.999), fused=True
    )
    device = mean.device
    last_fired = torch.zeros(recipe.width, dtype=torch.int64, device=device)
    if state is not None:
        last_fired, first = resume_from(state, dictionary, optimizer, generator)
        on(Resumed(checkpoint, first))

    def save(step: int) -> None:
        save_checkpoint(
            checkpoint,
            {
                **state_of(dictionary, optimizer, generator, last_fired, step),
                "batches": [batches.chunk, batches.place],
                "scale": scale,
                "settings": settings,
            },
        )

    resample_steps = {round(share * recipe.steps) for share in recipe.resample_at}
    figures = {"loss": math.nan, "mse": math.nan, "L0": math.nan, "dead %": math.nan}
    for step in steps_with_checkpoints(
        "sae", first, recipe.steps, figures, save, save_every=SAVE_EVERY, on=on
    ):
        rate, l1 = rates_of(step, recipe)
        for group in optimizer.param_groups:
            group["lr"] = rate
        x = batches.next() * scale
        dead = last_fired < step - recipe.dead_steps
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bfloat16):
            if recipe.activation == "topk":
                loss, error, fired = top_k_loss(dictionary, x, recipe, dead)
                active = None
            else:
                loss, error, fired, active = relu_loss(dictionary, x, l1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        remove_parallel_gradient(dictionary.W_dec)
        optimizer.step()
        normalise_rows(dictionary.W_dec)
        last_fired[fired] = step
        if recipe.activation == "relu" and step + 1 in resample_steps:
            with torch.no_grad():
                inputs = batches.held[:CANDIDATES] * scale
                dead = last_fired < step - recipe.dead_steps
                reset = resample(dictionary, optimizer, dead, inputs, generator)
            last_fired[dead] = step  # a reset latent has a whole period to prove itself
            on(FeaturesReset(step + 1, reset))
        if step % 10 == 0:
            figures["loss"], figures["mse"] = loss.item(), error.item()
            figures["L0"] = float(recipe.k if active is None else active)
            figures["dead %"] = 100 * float(dead.float().mean())
    return SparseAutoencoder(
        W_enc=dictionary.W_enc.detach().cpu(),
        b_enc=dictionary.b_enc.detach().cpu() / scale,
        W_dec=dictionary.W_dec.detach().cpu(),
        b_dec=dictionary.b_dec.detach().cpu() / scale,
        activation=recipe.activation,
        k=recipe.k if recipe.activation == "topk" else None,
    )
