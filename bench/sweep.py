"""What a sweep of eight SAEs costs over one forward pass and their encoders, and its memory.

CPU time of all three is measured in one process, in rounds; the least ratio of the rounds is given,
for on a shared machine the disturbed ones are the larger ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from autointerp.settings import RunSettings
from autointerp.store.run import open_run
from autointerp.subjects import Subject
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.load import load_subject
from autointerp.text import count
from autointerp.units.stream import at_site, quiet_torch, readings
from autointerp.units.together import Member, draw_together
from bench import resident_mb
from bench._shapes import figure
from bench.harvest import columns_cpu_s
from bench.pythia import LATENTS, SETTINGS, SITE, subject_at

SAES, UNITS, ROUNDS = 8, 100, 2
TOKENS, MANY, USUAL_TOKENS = 200_000, 1_000_000, 100_000
LOSS_TOKENS = 0  # the loss is measured in a pass of its own


def embedded(tokens: int) -> tuple[list[Subject], RunSettings]:
    """Return the embedded subject with eight SAEs, and settings that read so many tokens."""
    settings = RunSettings()
    settings = replace(settings, harvest=replace(settings.harvest, tokens=tokens))
    return with_saes(load_subject(settings.subject)), settings


def usual(tokens: int) -> tuple[list[Subject], RunSettings]:
    """Return a Pythia-70m shape with eight SAEs of 16,384 latents, and settings likewise."""
    settings = RunSettings()
    settings = replace(settings, harvest=replace(SETTINGS, tokens=tokens))
    return with_saes(subject_at(SITE, tokens, "topk")), settings


def with_saes(first: Subject) -> list[Subject]:
    """Return a subject with eight SAEs: its own one, its columns turned a little."""
    own = first.sae
    assert isinstance(own, SparseAutoencoder)
    made = []
    for seed in range(SAES):
        noise = torch.randn(own.W_enc.shape, generator=torch.Generator().manual_seed(seed))
        turned = own.W_enc + 0.01 * own.W_enc.norm(dim=0) * noise
        sae = replace(own, W_enc=turned)
        made.append(replace(first, sae=sae, digests={**first.digests, "sae": str(seed)}))
    return made


def encoders_s(some: list[Subject], settings: RunSettings) -> float:
    """Return the CPU seconds of one forward pass and of all latents of every kept token by
    each SAE."""
    begin = time.process_time()
    with quiet_torch():
        for reading in readings(some[0], settings.harvest):
            batch = at_site(some[0], reading, 0)
            x = batch.activations[batch.kept]
            for one in some:
                assert one.sae is not None
                for rows in x.split(1024):
                    one.sae.encode(rows)
    return time.process_time() - begin


def sweep_s(some: list[Subject], settings: RunSettings) -> float:
    """Return the CPU seconds of a sweep, calibration, contexts and storing included."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            open_run(f"sae-{n}", settings, subject, Path(folder)) for n, subject in enumerate(some)
        ]
        begin = time.process_time()
        members = [
            Member(run, subject, {"features": UNITS}, measures=True)
            for run, subject in zip(runs, some, strict=True)
        ]
        draw_together(members, LOSS_TOKENS)
        took = time.process_time() - begin
        for run in runs:
            run.close()
    return took


def memory(tokens: int) -> None:
    """Print the peak resident size of this process after a sweep."""
    some, settings = embedded(tokens)
    sweep_s(some, settings)
    print(json.dumps({"mb": resident_mb()}))


def ratio(
    name: str, what: str, some: list[Subject], settings: RunSettings, rounds: int
) -> dict[str, Any]:
    """Return what a sweep costs over one forward pass and its encoders."""
    tokens = settings.harvest.tokens
    found = []
    for _ in range(rounds):
        both = encoders_s(some, settings)
        found.append((sweep_s(some, settings) / both, columns_cpu_s(some[0], [], settings) / both))
    least, share = min(found)
    return figure(
        f"sweep_{SAES}{name}",
        round(least, 3),
        "ratio",
        f"CPU of draw_together over one forward pass and {SAES} encoders of all latents, "
        f"{tokens:,} tokens of {what}, {UNITS} features of each, least of "
        f"{count(rounds, 'round')}; the forward pass is {share:.2f} of the denominator; at most "
        "1.1 is wanted",
    )


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the sweep's figures, of one thread: several that wait take CPU, too.

    A `quick` one reads a tenth, and weighs fixed costs tenfold.
    """
    torch.set_num_threads(1)
    tokens = TOKENS // 10 if quick else TOKENS
    over, own = "_over_forward_plus_encoders", "the embedded subject"
    yield ratio(over, own, *embedded(tokens), rounds=1 if quick else ROUNDS)
    if not quick:
        yield ratio(f"{over}_1m", own, *embedded(MANY), rounds=1)
        shape = f"a Pythia-70m shape, SAEs of {LATENTS:,} latents"
        yield ratio(f"_pythia{over}", shape, *usual(USUAL_TOKENS), rounds=1)
    code = f"from bench.sweep import memory; memory({tokens})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    yield figure(
        "sweep_peak_mb",
        round(json.loads(done.stdout)["mb"], 1),
        "MB",
        f"peak resident size of the process, {SAES} SAEs of the embedded subject, {UNITS} features "
        "of each",
    )
