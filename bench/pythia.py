"""What a harvest of a Pythia-70m shape costs over its forward pass, and how much memory it takes.

Weights are drawn, not fetched. CPU times are measured in pairs within one process on one thread,
and the least ratio of the pairs is given. Memory is measured in processes of their own, at the
embedding of the same model, where the forward pass costs next to nothing: what the harvest keeps
does not depend on the layer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autointerp.settings import HarvestSettings
from autointerp.subjects import Subject
from autointerp.subjects.assembled import subject_of
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.corpora import Document
from autointerp.subjects.language_model import HookedLanguageModel
from autointerp.units.in_memory import _Numbers
from autointerp.units.passes import Wanted, harvested_units, parts_of, take_in
from autointerp.units.sources.features import Features
from autointerp.units.sources.neurons import Neurons
from autointerp.units.stream import at_site, calibrate, quiet_torch, readings
from bench import resident_mb

LATENTS, UNITS, CONTEXT, ROWS = 16_384, 200, 128, 32
SITE, EMBEDDING = "layers.3.mlp", "gpt_neox.embed_in"
RATIO_TOKENS, PAIRS = 100_000, 2
ALL_TOKENS = 10_000
QUANTILE = 2.33  # of a normal distribution: 1 % lies over it
SETTINGS = HarvestSettings(window=CONTEXT, rows=ROWS)


def subject_at(site: str, tokens: int, activation: str) -> Subject:
    """Return a Pythia-70m shape with an SAE on `site`, and documents of random tokens."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=50_304,
        hidden_size=512,
        num_hidden_layers=6,
        num_attention_heads=8,
        intermediate_size=2048,
        max_position_embeddings=2048,
    )
    model = GPTNeoXForCausalLM(config)
    hooked = HookedLanguageModel(model, _Numbers(model), site, "a Pythia-70m shape")

    def documents() -> Iterator[Document]:
        for number in range(tokens // 1000 + 1):
            drawn = np.random.default_rng(number).zipf(1.2, 1000) % 50_000
            yield Document(number, drawn + 10)

    bare = subject_of(hooked, documents, sae=None, bos=True, digests={})
    x = calibrate(bare, replace(SETTINGS, tokens=4000), 0).activations
    return replace(bare, sae=sae_on(x, activation))


def sae_on(x: Tensor, activation: str) -> SparseAutoencoder:
    """Return an SAE of random directions, each of which fires on about 1 % of `x`."""
    W_enc = torch.randn(x.shape[1], LATENTS) / x.shape[1] ** 0.5
    bias, k = torch.zeros(LATENTS), None
    if activation == "topk":
        k = 32
    else:
        pre = (x - x.mean(0)) @ W_enc
        bias = -(pre.mean(0) + QUANTILE * pre.std(0))
    return SparseAutoencoder(
        W_enc, bias, W_enc.T.contiguous(), x.mean(0), activation=activation, k=k
    )


def wanted(subject: Subject, features: int, neurons: int) -> list[Wanted]:
    assert subject.sae is not None
    sources = (("features", Features(subject.sae), features),
               ("neurons", Neurons(subject.d_site, True), neurons))  # fmt: skip
    return [
        Wanted(name, source, np.arange(count), np.arange(count))
        for name, source, count in sources
        if count
    ]


def run(subject: Subject, wants: list[Wanted], tokens: int) -> None:
    """Harvest, and let each unit go when it is made, as storing them does."""
    settings = replace(SETTINGS, tokens=tokens)
    parts = parts_of(wants, settings, 0)
    total = 0
    with quiet_torch():
        for number, reading in enumerate(readings(subject, settings)):
            batch = at_site(subject, reading, 0)
            total += take_in(parts, batch, reading, settings, 0, number == 0)
    for _ in harvested_units(subject, parts, total, 1e-4, 1.0):
        pass


def bare_cpu_s(subject: Subject, tokens: int, with_encoder: bool) -> float:
    """Return the CPU seconds of reading, of the forward pass and, if asked, of x @ W_enc."""
    assert isinstance(subject.sae, SparseAutoencoder)
    settings = replace(SETTINGS, tokens=tokens)
    weight = subject.sae.W_enc
    began = time.process_time()
    with quiet_torch():
        out = torch.empty(ROWS * CONTEXT, LATENTS) if with_encoder else None
        for reading in readings(subject, settings):
            ids, attention = reading.windows.ids, reading.windows.attention
            x = subject.model.activations(torch.from_numpy(ids), torch.from_numpy(attention))
            if out is not None:
                torch.mm(x.flatten(0, 1), weight, out=out[: ids.size])
    return time.process_time() - began


def least_ratio(activation: str) -> float:
    """Return the least CPU ratio of a harvest to what cannot be spared, over pairs."""
    subject = subject_at(SITE, RATIO_TOKENS, activation)
    wants = wanted(subject, UNITS, UNITS)
    found = []
    for _ in range(PAIRS):
        bare = bare_cpu_s(subject, RATIO_TOKENS, with_encoder=activation == "topk")
        began = time.process_time()
        run(subject, wants, RATIO_TOKENS)
        found.append((time.process_time() - began) / bare)
    return min(found)


def memory(tokens: int, features: int, neurons: int) -> None:
    """Print the peak memory of a harvest, and how much of it is above model and SAE."""
    torch.set_num_threads(1)
    subject = subject_at(EMBEDDING, tokens, "relu")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is that of making the model
    before = resident_mb("VmRSS")
    run(subject, wanted(subject, features, neurons), tokens)
    peak = resident_mb()
    print(json.dumps({"peak": peak, "above": peak - before}))


def measured(tokens: int, features: int, neurons: int) -> dict[str, float]:
    code = f"from bench.pythia import memory; memory({tokens}, {features}, {neurons})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def figure(name: str, value: float, unit: str, note: str) -> dict[str, Any]:
    return {"figure": f"harvest_pythia_{name}", "value": value, "unit": unit, "note": note}


def figures() -> Iterator[dict[str, Any]]:
    """Yield the figures of a Pythia-70m shape."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    shape = (
        f"context {CONTEXT}, SAE of {LATENTS:,} latents at {SITE}, {UNITS} features and {UNITS} "
        f"neurons, {RATIO_TOKENS:,} tokens, one thread, least of {PAIRS} pairs"
    )
    relu = least_ratio("relu")
    yield figure("relu_ratio", round(relu, 3), "ratio", f"CPU over the bare forward; {shape}")
    topk = least_ratio("topk")
    yield figure(
        "topk_over_encoder", round(topk, 3), "ratio", f"CPU over forward and x @ W_enc; {shape}"
    )
    torch.set_num_threads(threads)
    for tokens, name in ((200_000, "200k"), (2_000_000, "2m")):
        note = f"peak of the process, {UNITS} features and {UNITS} neurons, at the embedding"
        peak = measured(tokens, UNITS, UNITS)["peak"]
        yield figure(f"peak_mb_{name}", round(peak, 1), "MB", note)
    above = measured(ALL_TOKENS, LATENTS, 0)["above"]
    note = f"peak above model and SAE, all {LATENTS:,} features at once, {ALL_TOKENS:,} tokens"
    yield figure("all_units_mb", round(above, 1), "MB", note)
