"""A second run beside the tiny one, whose dictionary is made from the tiny one's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from autointerp.subjects.autoencoder import SparseAutoencoder, load_autoencoder

SPLIT, LOST = 5, 9  # features of the tiny SAE: one that splits in three, one that is left out
NEW = 2  # features that nothing of the tiny SAE is like


def larger_dictionary(subject: Path, folder: Path) -> tuple[Path, list[int]]:
    """Write settings of the tiny subject with a larger SAE; return their path, and for each of its
    features the tiny one that it was made from, -1 for those that are new.

    It holds the tiny features in another order, `SPLIT` three times, `LOST` not at all, then new
    ones, orthogonal to all that could be made of the hidden axis they leave out.
    """
    sae = load_autoencoder(subject / "sae.safetensors")
    kept = [n for n in range(sae.d_sae) if n != LOST] + [SPLIT, SPLIT]
    made_from = np.random.default_rng(3).permutation(kept).tolist()
    # Copies are a little apart; cosines stay over 0.99.
    generator = torch.Generator().manual_seed(4)
    noise = torch.randn(len(made_from), sae.d_out, generator=generator)
    W_dec = sae.W_dec[made_from] + 0.05 * sae.W_dec[made_from].norm(dim=1, keepdim=True) * (
        noise / noise.norm(dim=1, keepdim=True)
    )
    W_dec = torch.cat([W_dec, torch.randn(NEW, sae.d_out, generator=generator)])
    source = made_from + [0] * NEW
    folder.mkdir(parents=True)
    SparseAutoencoder(sae.W_enc[:, source].contiguous(), sae.b_enc[source], W_dec, sae.b_dec).save(
        folder / "sae.safetensors"
    )
    settings = (subject / "autointerp.toml").read_text()
    for part in ("transformer.safetensors", "tokenizer.json", "corpus.npz"):
        settings = settings.replace(f'"{part}"', f'"{subject / part}"')
    path = folder / "autointerp.toml"
    path.write_text(settings)
    return path, made_from + [-1] * NEW
