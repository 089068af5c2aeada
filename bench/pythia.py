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

from autointerp.settings import HarvestSettings
from autointerp.subjects import Subject
from autointerp.subjects.assembled import subject_of
from autointerp.subjects.autoencoder import Activation, SparseAutoencoder
from autointerp.subjects.corpora import Document
from autointerp.units.stream import calibrate, quiet_torch, readings
from bench import resident_mb
from bench._shapes import PYTHIA_70M, figure, harvest, random_model, sae_on, wanted

LATENTS, UNITS, CONTEXT, ROWS = 16_384, 200, 128, 32
SITE, EMBEDDING = "layers.3.mlp", "gpt_neox.embed_in"
RATIO_TOKENS, PAIRS = 100_000, 2
ALL_TOKENS = 10_000
SETTINGS = HarvestSettings(window=CONTEXT, rows=ROWS)


def subject_at(site: str, tokens: int, activation: Activation) -> Subject:
    """Return a Pythia-70m shape with an SAE on `site`, and documents of random tokens."""
    hooked = random_model(PYTHIA_70M, site, "a Pythia-70m shape")

    def documents() -> Iterator[Document]:
        for number in range(tokens // 1000 + 1):
            drawn = np.random.default_rng(number).zipf(1.2, 1000) % 50_000
            yield Document(number, drawn + 10)

    bare = subject_of(hooked, documents, sae=None, bos=True, digests={})
    x = calibrate(bare, replace(SETTINGS, tokens=4000), 0).activations
    return replace(bare, sae=sae_on(x, LATENTS, activation))


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


def least_ratio(activation: Activation) -> float:
    """Return the least CPU ratio of a harvest to what cannot be spared, over pairs."""
    subject = subject_at(SITE, RATIO_TOKENS, activation)
    wants = wanted(subject, UNITS, UNITS)
    found = []
    for _ in range(PAIRS):
        bare = bare_cpu_s(subject, RATIO_TOKENS, with_encoder=activation == "topk")
        began = time.process_time()
        harvest(subject, wants, replace(SETTINGS, tokens=RATIO_TOKENS))
        found.append((time.process_time() - began) / bare)
    return min(found)


def memory(tokens: int, features: int, neurons: int) -> None:
    """Print the peak memory of a harvest, and how much of it is above model and SAE."""
    torch.set_num_threads(1)
    subject = subject_at(EMBEDDING, tokens, "relu")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is that of making the model
    before = resident_mb("VmRSS")
    harvest(subject, wanted(subject, features, neurons), replace(SETTINGS, tokens=tokens))
    peak = resident_mb()
    print(json.dumps({"peak": peak, "above": peak - before}))


def measured(tokens: int, features: int, neurons: int) -> dict[str, float]:
    code = f"from bench.pythia import memory; memory({tokens}, {features}, {neurons})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def figures() -> Iterator[dict[str, Any]]:
    """Yield the figures of a Pythia-70m shape."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    shape = (
        f"context {CONTEXT}, SAE of {LATENTS:,} latents at {SITE}, {UNITS} features and {UNITS} "
        f"neurons, {RATIO_TOKENS:,} tokens, one thread, least of {PAIRS} pairs"
    )
    relu = least_ratio("relu")
    yield figure(
        "harvest_pythia_relu_ratio", round(relu, 3), "ratio", f"CPU over the bare forward; {shape}"
    )
    topk = least_ratio("topk")
    yield figure(
        "harvest_pythia_topk_over_encoder",
        round(topk, 3),
        "ratio",
        f"CPU over forward and x @ W_enc; {shape}",
    )
    torch.set_num_threads(threads)
    for tokens, name in ((200_000, "200k"), (2_000_000, "2m")):
        note = f"peak of the process, {UNITS} features and {UNITS} neurons, at the embedding"
        peak = measured(tokens, UNITS, UNITS)["peak"]
        yield figure(f"harvest_pythia_peak_mb_{name}", round(peak, 1), "MB", note)
    above = measured(ALL_TOKENS, LATENTS, 0)["above"]
    note = f"peak above model and SAE, all {LATENTS:,} features at once, {ALL_TOKENS:,} tokens"
    yield figure("harvest_pythia_all_units_mb", round(above, 1), "MB", note)
