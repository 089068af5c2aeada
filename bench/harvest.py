"""What a harvest costs over the bare forward pass, and how much memory it takes.

CPU time of both is measured in pairs within one process, and the least ratio of the pairs is
given: on a shared machine the disturbed pairs are the larger ones.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from autointerp import extensions
from autointerp.settings import RunSettings
from autointerp.subjects import Subject
from autointerp.subjects.corpora import Document, stream_windows
from autointerp.subjects.load import load_subject
from autointerp.units import sources
from autointerp.units.passes import Wanted, harvest
from autointerp.units.stream import calibrate, quiet_torch, readings, window_length
from bench import resident_mb

TOKENS = 1_000_000
PAIRS = 3


def opened(subject: Subject, units: int, settings: RunSettings) -> list[Wanted]:
    """Return the first `units` of the features' and of the neurons' random order."""
    calibration = calibrate(subject, settings.harvest, settings.seed)
    wanted = []
    for name in ("features", "neurons"):
        source = extensions.load(sources, "source", name).create(
            subject, calibration, settings.seed
        )
        numbers = np.random.default_rng(0).permutation(source.size)[:units]
        wanted.append(Wanted(name, source, numbers, np.arange(len(numbers))))
    return wanted


def forward_cpu_s(subject: Subject, settings: RunSettings) -> float:
    """Return the CPU seconds of reading the tokens and running the model up to the site."""
    import torch

    begin, left = time.process_time(), settings.harvest.tokens
    with quiet_torch():
        length = window_length(subject, settings.harvest)
        for windows in subject.cut(length, settings.harvest.rows):
            subject.model.activations(
                torch.from_numpy(windows.ids), torch.from_numpy(windows.attention)
            )
            left -= int(windows.attention[:, 1:].sum())
            if left <= 0:
                break
    return time.process_time() - begin


def harvest_cpu_s(subject: Subject, wanted: list[Wanted], settings: RunSettings) -> float:
    """Return the CPU seconds of a harvest, contexts included."""
    begin = time.process_time()
    harvest(subject, wanted, settings.harvest, settings.seed, 1e-4, 1.0)
    return time.process_time() - begin


def ratio(subject: Subject, units: int, settings: RunSettings, pairs: int) -> float:
    """Return the least ratio of harvest to bare forward over pairs of runs."""
    wanted = opened(subject, units, settings)
    found = []
    for _ in range(pairs):
        forward = forward_cpu_s(subject, settings)
        found.append(harvest_cpu_s(subject, wanted, settings) / forward)
    return min(found)


def peak_mb(tokens: int) -> float:
    """Return the peak memory of a harvest of 200 units of each source, in a process of its own."""
    code = f"from bench.harvest import memory; memory({tokens})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["mb"])


def memory(tokens: int) -> None:
    """Print the peak resident size of this process after a harvest."""
    settings = limited(RunSettings(), tokens)
    subject = load_subject(settings.subject)
    harvest(subject, opened(subject, 200, settings), settings.harvest, 0, 1e-4, 1.0)
    print(json.dumps({"mb": resident_mb()}))


def computed_per_token() -> float:
    """Return the computed tokens for one of text in windows of documents of 1 to 40 tokens."""
    rng = np.random.default_rng(0)
    lengths = np.minimum(rng.geometric(0.15, 100_000), 40)
    documents = [
        Document(number, rng.integers(2, 500, size)) for number, size in enumerate(lengths)
    ]
    subject = replace(
        load_subject(RunSettings().subject),
        cut=lambda length, rows: stream_windows(documents, lambda _: [], length, 0, 1, rows),
    )
    sizes = [
        (reading.kept.size, int(reading.windows.attention.sum()))
        for reading in readings(subject, RunSettings().harvest)
    ]
    computed, tokens = map(sum, zip(*sizes, strict=True))
    return computed / tokens


def limited(settings: RunSettings, tokens: int) -> RunSettings:
    """Return the settings with a budget of tokens."""
    return replace(settings, harvest=replace(settings.harvest, tokens=tokens))


def figures() -> Iterator[dict[str, Any]]:
    """Yield the harvest's figures."""
    settings = limited(RunSettings(), TOKENS)
    subject = load_subject(settings.subject)
    sizes = itertools.chain(((100, PAIRS), (1000, 2)), ((10**9, 1),))
    for units, pairs in sizes:
        name = "all" if units == 10**9 else str(units)
        yield {
            "figure": f"harvest_cpu_ratio_{name}",
            "value": round(ratio(subject, units, settings, pairs), 3),
            "unit": "ratio",
            "note": f"harvest over bare forward, CPU, {TOKENS:,} tokens, least of {pairs} pairs; "
            f"{name} units of each of features and neurons",
        }
    yield {
        "figure": "short_documents_computed_per_token",
        "value": round(computed_per_token(), 3),
        "unit": "tokens",
        "note": "computed tokens for one of text (BOS counts), 100,000 documents of 1 to 40 tokens "
        "in windows of 128; at most 1.3",
    }
    for tokens, name in ((200_000, "200k"), (TOKENS, "1m")):
        yield {
            "figure": f"harvest_peak_mb_{name}",
            "value": round(peak_mb(tokens), 1),
            "unit": "MB",
            "note": "peak resident size of the process, 200 units of each of features and neurons",
        }
