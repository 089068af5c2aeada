"""What a harvest costs over the bare forward pass, and how much memory it takes.

CPU time of both is measured in pairs within one process, and the least ratio of the pairs is
given: on a shared machine the disturbed pairs are the larger ones.
"""

from __future__ import annotations

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
from autointerp.units.passes import Wanted, harvest, parts_of
from autointerp.units.stream import (
    at_site,
    calibrate,
    quiet_torch,
    readings,
    window_length,
)
from bench import resident_mb

TOKENS = 1_000_000
ALL = 10**9

# Figure, features, neurons, tokens, pairs of runs, and the most that is wanted.
RATIOS = (
    ("100_200k", 100, 0, 200_000, 4, 1.35),
    ("100_1m", 100, 0, TOKENS, 2, 1.25),
    ("1000_512_1m", 1000, 512, TOKENS, 1, 3.0),
    ("all", ALL, ALL, TOKENS, 1, None),
)
FIXED_UNITS = 200  # of either source


def opened(subject: Subject, features: int, neurons: int, settings: RunSettings) -> list[Wanted]:
    """Return the first features and neurons of their random orders."""
    calibration = calibrate(subject, settings.harvest, settings.seed)
    wanted = []
    for name, count in (("features", features), ("neurons", neurons)):
        source = extensions.load(sources, "source", name).create(
            subject, calibration, settings.seed
        )
        numbers = np.random.default_rng(0).permutation(source.size)[:count]
        if len(numbers):
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


def columns_cpu_s(subject: Subject, wanted: list[Wanted], settings: RunSettings) -> float:
    """Return the CPU seconds of the forward pass and of the units' columns, nothing of them kept:
    what any harvest of these units has to pay."""
    begin = time.process_time()
    parts = parts_of(wanted, settings.harvest, settings.seed)
    with quiet_torch():
        for reading in readings(subject, settings.harvest):
            batch = at_site(subject, reading, settings.seed)
            for part in parts:
                part.block(batch)
    return time.process_time() - begin


def ratio(
    subject: Subject, wanted: list[Wanted], settings: RunSettings, pairs: int
) -> tuple[float, float]:
    """Return the least ratio of harvest to bare forward over pairs of runs, and the least of the
    units' columns alone."""
    found, least = [], []
    for _ in range(pairs):
        forward = forward_cpu_s(subject, settings)
        found.append(harvest_cpu_s(subject, wanted, settings) / forward)
        least.append(columns_cpu_s(subject, wanted, settings) / forward)
    return min(found), min(least)


def fixed_cpu_s(subject: Subject) -> float:
    """Return the CPU seconds of a harvest that do not grow with its tokens.

    From what it takes over its forward pass and its units' columns for few and for many tokens.
    """
    few, many = 200_000, TOKENS
    over = []
    for tokens, pairs in ((few, 3), (many, 1)):
        settings = limited(RunSettings(), tokens)
        wanted = opened(subject, FIXED_UNITS, FIXED_UNITS, settings)
        over.append(
            min(
                harvest_cpu_s(subject, wanted, settings) - columns_cpu_s(subject, wanted, settings)
                for _ in range(pairs)
            )
        )
    a_token = (over[1] - over[0]) / (many - few)
    return over[0] - few * a_token


def peak_mb(tokens: int) -> float:
    """Return the peak memory of a harvest of 200 units of each source, in a process of its own."""
    code = f"from bench.harvest import memory; memory({tokens})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["mb"])


def memory(tokens: int) -> None:
    """Print the peak resident size of this process after a harvest."""
    settings = limited(RunSettings(), tokens)
    subject = load_subject(settings.subject)
    harvest(subject, opened(subject, 200, 200, settings), settings.harvest, 0, 1e-4, 1.0)
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
    """Yield the harvest's figures, of one thread: several that wait take CPU, too."""
    import torch

    torch.set_num_threads(1)
    subject = load_subject(RunSettings().subject)
    for name, features, neurons, tokens, pairs, most in RATIOS:
        settings = limited(RunSettings(), tokens)
        wanted = opened(subject, features, neurons, settings)
        found, least = ratio(subject, wanted, settings, pairs)
        units = " and ".join(f"{len(one.numbers):,} {one.name}" for one in wanted)
        yield {
            "figure": f"harvest_cpu_ratio_{name}",
            "value": round(found, 3),
            "unit": "ratio",
            "note": f"harvest over bare forward, CPU, {units}, {tokens:,} tokens, least of {pairs} "
            f"pairs; forward pass and these columns alone {least:.3f}"
            + (f"; at most {most} is wanted" if most else ""),
        }
    yield {
        "figure": "harvest_fixed_cpu_s",
        "value": round(fixed_cpu_s(subject), 2),
        "unit": "s",
        "note": f"CPU of a harvest of {FIXED_UNITS} features and {FIXED_UNITS} neurons that does "
        "not grow with tokens, storing left out; at most 1 is wanted",
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
