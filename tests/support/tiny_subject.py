"""The tiny subject: a one-layer transformer, an SAE, a tokenizer and a corpus, made in a second."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

# Dead features, then densities from 0.2 % to 30 %, in no order of their number.
TINY_FEATURES, TINY_DEAD = 64, 4
NOUNS = [
    "cat",
    "river",
    "stone",
    "king",
    "letter",
    "city",
    "garden",
    "engine",
    "number",
    "window",
    "doctor",
    "winter",
]
VERBS = ["saw", "took", "found", "broke", "sold", "carried", "painted", "counted"]
ADJECTIVES = ["old", "red", "small", "quiet", "golden", "bitter", "seventh"]
PLACES = ("in the", "under a", "behind the", "without the")


def tiny_texts(documents: int = 100) -> list[str]:
    """Return documents of sentences over about 40 words, some much more frequent than others."""
    rng = np.random.default_rng(7)

    def one(words: list[str]) -> str:
        return words[min(len(words) - 1, int(rng.exponential(len(words) / 3)))]

    def sentence() -> str:
        place = PLACES[int(rng.integers(len(PLACES)))]
        return (
            f"The {one(ADJECTIVES)} {one(NOUNS)} {one(VERBS)} the {one(NOUNS)} "
            f"{place} {one(NOUNS)}, {int(rng.integers(1, 30))} times."
        )

    return [" ".join(sentence() for _ in range(int(rng.integers(2, 8)))) for _ in range(documents)]


def tiny_run_units() -> dict[str, int]:
    """Return the units that the run `tiny` was asked about, by source; every control has 4."""
    from autointerp.pipeline.job import sources_by_role

    controls = dict.fromkeys(sources_by_role(controls=True), 4)
    return dict(sorted({"features": 8, "neurons": 8, **controls}.items()))


def make_tiny_subject(folder: Path) -> Path:
    """Write the subject into `folder`; return the path of its autointerp.toml."""
    import torch

    from autointerp.subjects.autoencoder import SparseAutoencoder
    from autointerp.subjects.one_layer import OneLayerConfig, OneLayerTransformer
    from autointerp.subjects.training.tokenise import tokenise, train_tokenizer
    from autointerp.subjects.windows import cut_windows

    texts = tiny_texts()
    tokenizer = train_tokenizer(iter(texts), vocabulary=420)
    tokenizer.save(str(folder / "tokenizer.json"))
    documents = tokenise(iter(texts), tokenizer)
    documents.save(folder / "corpus.npz")

    config = OneLayerConfig(tokenizer.get_vocab_size(), d_model=16, heads=2, d_mlp=32, context=32)
    generator = torch.Generator().manual_seed(11)
    model = OneLayerTransformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                width = parameter.shape[1]
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / width**0.5)
        model.up.bias.copy_(torch.linspace(-1.5, 0.5, config.d_mlp))
        windows = next(cut_windows(documents, config.context, bos=0, pad=1, rows=10_000))
        kept = torch.from_numpy(windows.attention)
        kept[:, 0] = False
        x = model.site_activations(torch.from_numpy(windows.ids))[kept]
        mean = x.mean(0)
        W_enc = torch.randn(config.d_mlp, TINY_FEATURES, generator=generator) / config.d_mlp**0.5
        ordered = ((x - mean) @ W_enc).sort(0, descending=True).values
        density = torch.logspace(np.log10(0.002), np.log10(0.3), TINY_FEATURES - TINY_DEAD)
        firing = torch.cat([torch.zeros(TINY_DEAD), density * len(x)]).long()
        firing = firing[torch.randperm(TINY_FEATURES, generator=generator)]
        # Over this threshold stand exactly `firing` tokens of the corpus; a dead one has margin.
        threshold = ordered.gather(0, firing[None])[0] + (firing == 0)
    model.save(folder / "transformer.safetensors")
    SparseAutoencoder(W_enc, -threshold, W_enc.T.contiguous(), mean).save(
        folder / "sae.safetensors"
    )
    settings = folder / "autointerp.toml"
    settings.write_text(
        '[subject]\nmodel = "transformer.safetensors"\nsae = "sae.safetensors"\n'
        'tokenizer = "tokenizer.json"\ncorpus = "corpus.npz"\n\n'
        "[harvest]\ntop = 8\nper_interval = 2\nrandom = 12\n"
    )
    return settings


def make_tiny_twin(subject: Path, folder: Path, seed: int = 5) -> Path:
    """Write the untrained twin of the subject at `subject` into `folder`, and return a copy of its
    settings that names it."""
    import torch

    from autointerp.subjects.autoencoder import SparseAutoencoder
    from autointerp.subjects.one_layer import load_one_layer
    from autointerp.subjects.training.recipe import ModelRecord, TrainingRecord
    from autointerp.subjects.training.sae import SaeTraining
    from autointerp.subjects.untrained import untrained_one_layer, weights_digest
    from autointerp.subjects.windows import cut_windows, load_documents

    trained = load_one_layer(subject / "transformer.safetensors")
    weights = ModelRecord("tiny", weights="rerandomised", weights_seed=seed)
    twin = untrained_one_layer(trained, weights)
    folder.mkdir(parents=True, exist_ok=True)
    windows = next(
        cut_windows(load_documents(subject / "corpus.npz"), 32, bos=0, pad=1, rows=10_000)
    )
    kept = torch.from_numpy(windows.attention)
    kept[:, 0] = False
    with torch.no_grad():
        x = twin.site_activations(torch.from_numpy(windows.ids))[kept]
        generator = torch.Generator().manual_seed(seed)
        W_enc = torch.randn(x.shape[1], 48, generator=generator)
        projected = ((x - x.mean(0)) @ W_enc).sort(0, descending=True).values
        firing = torch.logspace(np.log10(0.004), np.log10(0.2), 48) * len(x)
        threshold = projected.gather(0, firing.long()[None])[0]
    sae = SparseAutoencoder(W_enc, -threshold, W_enc.T.contiguous(), x.mean(0))
    sae.save(folder / "sae.safetensors")
    digest = weights_digest(twin)
    TrainingRecord(dataclasses.replace(weights, digest=digest), SaeTraining()).write(folder)
    settings = folder / "autointerp.toml"
    named = (subject / "autointerp.toml").read_text()
    for part in ("transformer.safetensors", "sae.safetensors", "tokenizer.json", "corpus.npz"):
        named = named.replace(f'"{part}"', f'"{subject / part}"')
    untrained = f'[subject]\nuntrained = "{folder}"\n'
    settings.write_text(named.replace("[subject]\n", untrained))
    return settings
