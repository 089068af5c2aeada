"""A sweep of the tiny subject: its SAE, one of a third of its features, and one seed more of it."""

from __future__ import annotations

from pathlib import Path

import torch

from autointerp.subjects.autoencoder import SparseAutoencoder, load_autoencoder

SMALL = 24  # features of the smaller SAE


def make_saes(subject: Path, folder: Path) -> None:
    """Write `small.safetensors` and `again.safetensors` into `folder`.

    `small` holds the last features of the tiny SAE; `again` all of them a little turned.
    """
    sae = load_autoencoder(subject / "sae.safetensors")
    kept = torch.arange(sae.d_sae - SMALL, sae.d_sae)
    SparseAutoencoder(
        sae.W_enc[:, kept].contiguous(), sae.b_enc[kept], sae.W_dec[kept].contiguous(), sae.b_dec
    ).save(folder / "small.safetensors")
    noise = torch.randn(sae.W_enc.shape, generator=torch.Generator().manual_seed(5))
    turned = sae.W_enc + 0.02 * sae.W_enc.norm(dim=0) * noise
    SparseAutoencoder(turned, sae.b_enc, sae.W_dec, sae.b_dec).save(folder / "again.safetensors")


def sweep_text(subject: Path, saes: str, head: str = "") -> str:
    """Return a sweep.toml of the tiny subject with these [[sae]] tables."""
    return f"""
name = "tiny"
n = 6
controls = 4
loss_tokens = 2000
rater = "lexical"
{head}

[subject]
model = "{subject / "transformer.safetensors"}"
tokenizer = "{subject / "tokenizer.json"}"
corpus = "{subject / "corpus.npz"}"

[harvest]
top = 8
per_interval = 2
random = 12

{saes}
"""


def table(name: str, sae: str, recipe: str = "") -> str:
    """Return an [[sae]] table."""
    own = f'recipe = "{recipe}"\n' if recipe else ""
    return f'[[sae]]\nname = "{name}"\nsae = "{sae}"\n{own}\n'
