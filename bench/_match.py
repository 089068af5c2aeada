"""What matching two dictionaries costs, for `bench labs`."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench import resident_mb

FEATURES, WIDTH = 100_000, 512


def match_figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield CPU time and peak memory of matching two dictionaries, in a process of its own."""
    features = FEATURES // 10 if quick else FEATURES
    command = [sys.executable, "-c", f"from bench._match import match; match({features})"]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds, memory, shared = json.loads(result.stdout)
    each = f"{features:,} by {features:,} vectors of {WIDTH} axes, half of them shared"
    name = f"match_{features // 1000}k_s"
    yield {
        "figure": name,
        "value": round(seconds, 1),
        "unit": "CPU s",
        "note": f"{each}; the {shared:,} shared ones are found, by maximum and one to one",
    }
    yield {
        "figure": "match_peak_mb",
        "value": round(memory),
        "unit": "MB",
        "note": f"largest resident set of the same; the vectors take "
        f"{2 * features * WIDTH * 4 / 1e6:.0f} MB, all cosines would {4 * features**2 / 1e6:,.0f}",
    }


def match(features: int) -> None:
    """Print CPU seconds, peak memory and shared vectors of a match that finds all of these.

    Raises RuntimeError if one is not found.
    """
    import numpy as np

    from autointerp.stats.cosines import CANDIDATES, nearest, partners, unit_length

    rng = np.random.default_rng(0)
    left = rng.standard_normal((features, WIDTH), dtype=np.float32)
    right = rng.standard_normal((features, WIDTH), dtype=np.float32)
    place, shared = rng.permutation(features), features // 2
    right[:shared] = left[place[:shared]] + 0.3 * right[:shared]
    left, right = unit_length(left), unit_length(right)
    begin = time.process_time()
    near = nearest(left, right, CANDIDATES)
    pairs = partners(left, right, near)
    seconds = time.process_time() - begin
    wanted = np.arange(shared)
    for found in (near.index[place[:shared], 0], pairs.index[place[:shared]]):
        if (found != wanted).any():
            raise RuntimeError(f"{(found != wanted).sum()} of {shared} shared vectors not found")
    if (near.back_index[:shared] != place[:shared]).any():
        raise RuntimeError("a shared vector is not found the other way")
    print(json.dumps([seconds, resident_mb(), shared]))
