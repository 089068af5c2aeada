"""Print one JSON line for each figure: `python -m bench [MODULE ...]`, all modules by default.

A module of this folder has `figures()`, which yields {"figure", "value", "unit", "note"}; those
with a leading underscore are what several of them use.
"""

import importlib
import json
import pkgutil
import sys

import bench

FIELDS = ["figure", "value", "unit", "note"]


def main(names: list[str]) -> int:
    """Print the figures of the modules; return 1 if one of them failed, and go on with the rest."""
    modules = sorted(m.name for m in pkgutil.iter_modules(bench.__path__) if m.name[0] != "_")
    unknown = [name for name in names if name not in modules]
    if unknown:
        print(f"bench: no module '{unknown[0]}' (modules: {', '.join(modules)})", file=sys.stderr)
        return 2
    failed = 0
    for name in names or modules:
        try:
            for figure in importlib.import_module(f"bench.{name}").figures():
                if sorted(figure) != sorted(FIELDS):
                    raise ValueError(f"a figure has {sorted(figure)}, not {FIELDS}")
                print(json.dumps({field: figure[field] for field in FIELDS}), flush=True)
        except Exception as error:  # noqa: BLE001 (one broken figure must not hide the others)
            print(f"bench: {name} failed: {type(error).__name__}: {error}", file=sys.stderr)
            failed = 1
    return failed


sys.exit(main(sys.argv[1:]))
