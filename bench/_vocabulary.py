"""What trying a vocabulary of 50,000 tokens on a unit takes, on a Pythia-70m shape."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np

from autointerp.labs import options_of
from autointerp.labs._bench import Bench, OnBench, Window
from autointerp.labs.vocabulary_probe import PLACINGS, Probe, steps
from autointerp.records import Context
from autointerp.units.sources.features import Features
from autointerp.units.stream import calibrate
from bench.pythia import SETTINGS, SITE, subject_at

TOKENS = 50_000
TRIED = 1_024  # batches of every placing are all alike, so some stand for the rest


def vocabulary_figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the CPU seconds of the three placings of a whole vocabulary on one feature."""
    subject = subject_at(SITE, 4_000, "relu")
    calibration = calibrate(subject, replace(SETTINGS, tokens=4_000), 0)
    assert subject.sae is not None
    source = Features(subject.sae)
    unit = OnBench(0, "features/0", "features", source, 0, source.block(np.array([0])))
    ids = (0, *calibration.ids[:20].tolist())
    texts = tuple(subject.token_texts[index] for index in ids[1:])
    context = Context(texts, (0.0,) * 19 + (1.0,), 19, "top", None, "explain", False, 0, 19)
    tried = TRIED // 4 if quick else TRIED
    # A vocabulary of as many tokens as are tried; the model keeps its own.
    special = frozenset(range(tried, len(subject.token_texts))) | subject.special
    bench = Bench(
        cast(Any, None), replace(subject, special=special), calibration, {0: unit},
        {(0, 1): [Window(0, context, ids, 1)]}, {0: ""},
    )  # fmt: skip
    options = options_of("vocabulary-probe", {})
    began = time.process_time()
    probes = {p.placing: p for p in steps(bench, 0, options) if isinstance(p, Probe)}
    used = time.process_time() - began
    count = probes[PLACINGS[0]].probed
    yield {
        "figure": "vocabulary_probe_s",
        "value": round(used * TOKENS / count),
        "unit": "CPU seconds",
        "note": f"{TOKENS:,} tokens before, behind and alone; a Pythia-70m shape read at {SITE}, "
        f"context of {options['context']} tokens; from {count:,} of them, all batches being alike",
    }
