"""Print one JSON line for each figure: `python -m bench [--quick] [MODULE ...]`, all by default.

`--device cuda:1` measures there the modules that measure on a device; `cpu` tries them out.
`python -m bench coverage coverage_min_ppi` measures one figure alone, where a module lists its
figures in `FIGURES` and takes their names as `only`.

A module of this folder has `figures()`, which yields {"figure", "value", "unit", "note"}; those
with a leading underscore are what several of them use. With --quick those measure less whose
`figures` has such a parameter.
"""

import importlib
import inspect
import json
import pkgutil
import sys
from typing import Any

import bench

FIELDS = ["figure", "value", "unit", "note"]


def main(names: list[str]) -> int:
    """Print the figures of the modules; return 1 if one of them failed, and go on with the rest."""
    quick = "--quick" in names
    names = [name for name in names if name != "--quick"]
    device = None
    if "--device" in names:
        place = names.index("--device")
        if place + 1 == len(names):
            print("bench: --device needs a name, such as cpu or cuda", file=sys.stderr)
            return 2
        device = names[place + 1]
        del names[place : place + 2]
    modules = sorted(m.name for m in pkgutil.iter_modules(bench.__path__) if m.name[0] != "_")
    chosen: dict[str, list[str]] = {}  # module: those of its figures that were named
    for name in names:
        last = next(reversed(chosen), None)
        if name in modules:
            chosen[name] = []
        elif last is None:
            print(f"bench: no module '{name}' (modules: {', '.join(modules)})", file=sys.stderr)
            return 2
        else:
            listed = list(getattr(importlib.import_module(f"bench.{last}"), "FIGURES", ()))
            if name not in listed:
                known = f"figures: {', '.join(listed)}" if listed else "it measures all together"
                print(
                    f"bench: no module '{name}', and no figure of '{last}' ({known}; modules: "
                    f"{', '.join(modules)})",
                    file=sys.stderr,
                )
                return 2
            chosen[last].append(name)
    failed = 0
    for name, only in (chosen or {every: [] for every in modules}).items():
        try:
            figures = importlib.import_module(f"bench.{name}").figures
            taken = inspect.signature(figures).parameters
            options: dict[str, Any] = {"only": only} if only else {}
            if quick and "quick" in taken:
                options["quick"] = True
            if device is not None and "device" in taken:
                options["device"] = device
            for figure in figures(**options):
                if sorted(figure) != sorted(FIELDS):
                    raise ValueError(f"a figure has {sorted(figure)}, not {FIELDS}")
                print(json.dumps({field: figure[field] for field in FIELDS}), flush=True)
        except Exception as error:  # noqa: BLE001 (one broken figure must not hide the others)
            print(f"bench: {name} failed: {type(error).__name__}: {error}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
