"""What `autointerp --help` costs."""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

REPEATS = 7


def figures() -> Iterator[dict[str, Any]]:
    """Yield `help_cpu_s`, CPU of the whole process."""
    seconds = [help_cpu_s() for _ in range(REPEATS)]
    yield {
        "figure": "help_cpu_s",
        "value": round(statistics.median(seconds), 3),
        "unit": "s",
        "note": f"user + system CPU of `autointerp --help`, median of {REPEATS}",
    }


def help_cpu_s() -> float:
    """Return the CPU seconds, user and system, of one `autointerp --help`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "autointerp", "--help"], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"autointerp --help ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime
