"""Figures that `make bench` measures. A file here gives some, by a function `figures`."""

from pathlib import Path


def resident_mb(name: str = "VmHWM") -> float:
    """Return this process's memory at its peak (VmHWM) or now (VmRSS), in MB. Linux only.

    Not `ru_maxrss`, which a process inherits from the one that started it.
    """
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    [line] = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) / 1024
