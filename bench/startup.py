"""What a start costs: `autointerp --help`, and the imports of those who only read."""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

REPEATS = 7
READING = {
    "run": "autointerp.store.run, pandas",
    "pack": "autointerp.pipeline.sit_pack, autointerp.apps.terminal.sit",
    "report": "autointerp.pipeline.report",
}
REFUSALS = {
    "option": ("rate", "--wrong"),
    "settings": ("harvest", "--subject", "none.toml"),
    "run": ("report", "none"),
    "source": ("rate", "--source", "none"),
}
RATED = ("rate", "--n", "5", "--controls", "5", "--tokens", "20k", "--run", "rated")


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield `help_cpu_s`, the `start_*_cpu_s` of reading, the `refused_*_cpu_s` of what is not
    there, and `rate_again_cpu_s`, CPU of the whole process; `quick`: of one process each, and
    without the last, which harvests.
    """
    repeats = 1 if quick else REPEATS
    seconds = [cpu_s("-m", "autointerp", "--help") for _ in range(repeats)]
    yield {
        "figure": "help_cpu_s",
        "value": round(statistics.median(seconds), 3),
        "unit": "s",
        "note": f"user + system CPU of `autointerp --help`, median of {repeats}",
    }
    for name, module in READING.items():
        seconds = [cpu_s("-c", f"import {module}") for _ in range(repeats)]
        yield {
            "figure": f"start_{name}_cpu_s",
            "value": round(statistics.median(seconds), 3),
            "unit": "s",
            "note": f"user + system CPU of `import {module}`, median of {repeats}; at most 1; "
            "drawing and testing import matplotlib and scipy.stats later",
        }
    for name, arguments in REFUSALS.items():
        seconds = [cpu_s("-m", "autointerp", *arguments, code=2) for _ in range(repeats)]
        yield {
            "figure": f"refused_{name}_cpu_s",
            "value": round(statistics.median(seconds), 3),
            "unit": "s",
            "note": f"user + system CPU of `autointerp {' '.join(arguments)}`, which is refused, "
            f"median of {repeats}",
        }
    if quick:
        return
    with tempfile.TemporaryDirectory() as folder:
        first = cpu_s("-m", "autointerp", *RATED, folder=folder)
        seconds = [cpu_s("-m", "autointerp", *RATED, folder=folder) for _ in range(repeats)]
    yield {
        "figure": "rate_again_cpu_s",
        "value": round(statistics.median(seconds), 3),
        "unit": "s",
        "note": f"user + system CPU of `autointerp {' '.join(RATED)}` where all is rated, on the "
        f"embedded subject, median of {repeats}; the first time, with the harvest, {first:.1f}",
    }


def cpu_s(*arguments: str, code: int = 0, folder: str | None = None) -> float:
    """Return the CPU seconds, user and system, of one Python process that ends with `code`."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        raise RuntimeError(f"python {' '.join(arguments)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime
