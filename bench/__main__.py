"""Print one JSON line for each figure: `python -m bench [--quick] [MODULE ...]`, all by default.

`--device cuda:1` measures there the modules that measure on a device; `cpu` tries them out.

A module of this folder has `figures()`, which yields {"figure", "value", "unit", "note"}; those
with a leading underscore are what several of them use. With --quick those measure less whose
`figures` has such a parameter.
"""

import importlib
import inspect
import json
import pkgutil
import sys

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
    unknown = [name for name in names if name not in modules]
    if unknown:
        print(f"bench: no module '{unknown[0]}' (modules: {', '.join(modules)})", file=sys.stderr)
        return 2
    failed = 0
    for name in names or modules:
        try:
            figures = importlib.import_module(f"bench.{name}").figures
            taken = inspect.signature(figures).parameters
            options = {"quick": True} if quick and "quick" in taken else {}
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


sys.exit(main(sys.argv[1:]))
