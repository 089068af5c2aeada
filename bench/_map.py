"""What a map of a dictionary costs, for `bench labs`."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench import resident_mb

FEATURES, WIDTH = 100_000, 768
GROUP = 20  # made-up vectors round a common one


def map_figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield CPU time and peak memory of laying out a dictionary, in a process of its own."""
    features = FEATURES // 10 if quick else FEATURES
    command = [sys.executable, "-c", f"from bench._map import lay_out_made_up as l; l({features})"]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds, memory, found, kept = json.loads(result.stdout)
    each = f"{features:,} made-up vectors of {WIDTH} axes in groups of about {GROUP}"
    yield {
        "figure": f"map_{features // 1000}k_s",
        "value": round(seconds, 1),
        "unit": "CPU s",
        "note": f"neighbours and UMAP of {each}, compilation included; {100 * found:.1f} % of the "
        f"true nearest 15 are found, {100 * kept:.0f} % are nearest on the map",
    }
    yield {
        "figure": "map_peak_mb",
        "value": round(memory),
        "unit": "MB",
        "note": f"largest resident set of the same; the vectors take "
        f"{features * WIDTH * 4 / 1e6:.0f} MB",
    }


def lay_out_made_up(features: int) -> None:
    """Print CPU seconds, peak memory, the share of true neighbours found, and of those kept."""
    import numpy as np

    from autointerp.stats.cosines import nearest, unit_length
    from autointerp.stats.layout import kept_neighbours, lay_out

    rng = np.random.default_rng(0)
    centres = rng.standard_normal((features // GROUP, WIDTH), dtype=np.float32)
    noise = 0.7 * rng.standard_normal((features, WIDTH), dtype=np.float32)
    vectors = unit_length(centres[rng.integers(len(centres), size=features)] + noise)
    begin = time.process_time()
    layout = lay_out(vectors)
    seconds = time.process_time() - begin
    asked = rng.choice(features, 200, replace=False)
    k = layout.index.shape[1]
    true = nearest(vectors[asked], vectors, k + 1).index
    shared = [
        len(set(near.tolist()) & (set(of.tolist()) - {one})) / k
        for one, near, of in zip(asked.tolist(), layout.index[asked], true, strict=True)
    ]
    kept = kept_neighbours(layout).mean()
    print(json.dumps([seconds, resident_mb(), float(np.mean(shared)), float(kept)]))
