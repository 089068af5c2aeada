"""The shape of the code: rooms, cycles, what a rating runs through, what reading loads."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[1]
READING = ("store", "questions", "raters", "people", "findings", "reports", "engine")
RATE = ("rate", "--source", "features", "--n", "2", "--controls", "0")


def figures() -> Iterator[dict[str, Any]]:
    """Yield the figures of the house."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support import house

    counted: tuple[tuple[str, set[str], str], ...] = (
        ("loose_modules", house.loose_modules(), "beside the rooms, __init__ and __main__ not"),
        ("rooms", house.rooms(), "folders of the package"),
        ("gerund_modules", house.gerunds(), "modules and rooms in -ing that are no noun"),
    )
    for name, members, note in counted:
        yield figure(name, len(members), "count", f"{note}: {', '.join(sorted(members)) or 'none'}")
    cycles = house.import_cycles()
    yield figure(
        "import_cycles",
        len(cycles),
        "count",
        "groups of modules that import each other at run time, imports in functions included: "
        + ("; ".join(" ".join(cycle) for cycle in cycles) or "none"),
    )
    traced = in_own_process("print(json.dumps(trace_rate()))")
    note = f"`autointerp {' '.join(RATE)}` on the tests' tiny subject"
    yield figure(
        "modules_entered_by_rate",
        traced["modules"],
        "modules",
        f"{note}: modules of which a function ran, imports left out; 32 in the layout before",
    )
    yield figure(
        "calls_between_modules_by_rate",
        traced["calls"],
        "calls",
        f"{note}: distinct pairs of a function and a function of another module that it called, "
        "imports left out; 134 in the layout before",
    )
    heavy = [room for room in READING if in_own_process(f"print(loads_torch({room!r}))")]
    yield figure(
        "torch_in_reading",
        len(heavy),
        "rooms",
        f"of {', '.join(READING)}: those that load torch when all their modules are imported: "
        + (", ".join(heavy) or "none"),
    )
    yield figure(
        "seconds_fast_lane",
        round(fast_lane_cpu_s(), 1),
        "s",
        "CPU of `make test-fast`, its child processes included",
    )


def figure(name: str, value: float, unit: str, note: str) -> dict[str, Any]:
    """Return one figure."""
    return {"figure": name, "value": value, "unit": unit, "note": note}


def in_own_process(code: str) -> Any:
    """Return what `code`, run with this module's names in a new process, prints as JSON."""
    printed = subprocess.run(
        [sys.executable, "-c", f"from bench.house import *; {code}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(printed.stdout)


def loads_torch(room: str) -> int:
    """Import every module of a room; return 1 if torch was loaded with them, else 0."""
    import importlib
    import pkgutil

    package = importlib.import_module(f"autointerp.{room}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    return int("torch" in sys.modules)


def trace_rate() -> dict[str, int]:
    """Rate two features of the tiny subject; return the modules and calls that it took."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.tiny_subject import make_tiny_subject

    import autointerp
    from autointerp.apps.cli import _app

    package = str(Path(autointerp.__file__).parent) + os.sep
    modules: set[str] = set()
    calls: set[tuple[str, str, str, str]] = set()

    def record(frame: FrameType, event: str, _: Any) -> None:
        called = frame.f_code
        if event != "call" or not called.co_filename.startswith(package):
            return
        if is_importing(frame, package):
            return
        modules.add(called.co_filename)
        assert frame.f_back is not None
        caller = frame.f_back.f_code
        if caller.co_filename.startswith(package):
            calls.add(
                (
                    caller.co_filename,
                    caller.co_qualname,
                    called.co_filename,
                    called.co_qualname,
                )
            )

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        settings = make_tiny_subject(Path(folder))
        sys.argv = ["autointerp", *RATE, "--subject", str(settings)]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            threading.setprofile(record)
            sys.setprofile(record)
            try:
                _app.main()
            except SystemExit as stopped:
                code = stopped.code
            finally:
                sys.setprofile(None)
                threading.setprofile(None)
    if code:
        raise RuntimeError(f"rate exited with {code}: {printed.getvalue()}")
    return {
        "modules": len(modules),
        "calls": sum(caller != called for caller, _, called, _ in calls),
    }


def is_importing(frame: FrameType | None, package: str) -> bool:
    """Return whether the frame runs while a module of the package is imported."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(package):
            return True
        frame = frame.f_back
    return False


def fast_lane_cpu_s() -> float:
    """Return the CPU seconds of the fast lane. Raises CalledProcessError if a test fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not slow and not weights"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
