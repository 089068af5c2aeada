"""The package as its source files show it: rooms, and which module imports which."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import autointerp

PACKAGE = Path(autointerp.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")

# Nouns of the field.
NOUNS_IN_ING = {
    "training", "blinding", "fuzzing", "embedding", "dictionary_learning", "steering", "listing"
}  # fmt: skip


def room_of(file: Path) -> str:
    """Return the folder or loose module of the package that a file is in."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms() -> set[str]:
    """Return the folders of the package."""
    return {room_of(file) for file in FILES if file.parent != PACKAGE}


def loose_modules() -> set[str]:
    """Return the modules beside the rooms, `__init__` and `__main__` left out."""
    return {file.stem for file in FILES if file.parent == PACKAGE} - {"__init__", "__main__"}


def gerunds() -> set[str]:
    """Return the names of modules and folders in -ing that are no noun of the field."""
    names = {path.stem for path in FILES} | {path.parent.name for path in FILES}
    return {name for name in names if re.search(r"(^|_)\w{2,}ing$", name)} - NOUNS_IN_ING


def module_of(file: Path) -> str:
    """Return the dotted name of a file's module."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imported_names(file: Path) -> tuple[tuple[int, str, tuple[str, ...]], ...]:
    """Return line, dotted module and names of each import from the package, functions included.

    Imports for type checking alone are left out. Raises AssertionError for a relative import.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    imports: list[tuple[int, str, tuple[str, ...]]] = []
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: write the whole name"
            if node.module and node.module.partition(".")[0] == "autointerp":
                imports.append((node.lineno, node.module, tuple(n.name for n in node.names)))
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.startswith("autointerp."):
                    imports.append((node.lineno, name.name, ()))
    return tuple(imports)


def imported_rooms(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and room of each import from the package, as `imported_names` finds them."""
    for line, module, names in imported_names(file):
        if module == "autointerp":
            yield from ((line, name) for name in names)
        else:
            yield line, module.split(".")[1]


@cache
def import_graph() -> Mapping[str, frozenset[str]]:
    """Return for each module the modules that it imports when the program runs."""
    modules = {module_of(file): file for file in FILES}
    graph: dict[str, frozenset[str]] = {}
    for module, file in modules.items():
        imported = set()
        for _, source, names in imported_names(file):
            submodules = {f"{source}.{name}" for name in names} & modules.keys()
            imported |= submodules or {source} & modules.keys()
        graph[module] = frozenset(imported - {module})
    return graph


def import_cycles(graph: Mapping[str, frozenset[str]] | None = None) -> list[list[str]]:
    """Return the groups of modules that import each other, directly or through others."""
    graph = import_graph() if graph is None else graph
    reached = {module: _reached(graph, module) for module in graph}
    groups = {
        tuple(sorted(other for other in reached[module] if module in reached[other]))
        for module in graph
        if module in reached[module]
    }
    return [list(group) for group in sorted(groups)]


def _reached(graph: Mapping[str, frozenset[str]], start: str) -> set[str]:
    """Return the modules that `start` imports, directly or through others."""
    reached: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        module = ahead.pop()
        if module not in reached:
            reached.add(module)
            ahead += graph.get(module, ())
    return reached
