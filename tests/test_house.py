"""The house: rooms, the way imports point, and what may be done where.

The test knows rooms, not modules: a new module inside a room needs no edit here.
"""

import ast
import builtins
import re
from pathlib import Path

import pytest
from support.house import (
    FILES,
    PACKAGE,
    gerunds,
    import_cycles,
    imported_rooms,
    loose_modules,
    room_of,
    rooms,
)
from support.processes import printed

import autointerp

# A floor imports from the floors before it; rooms on one floor know nothing of each other.
FLOORS = (
    "errors",
    "text files",
    "records extensions settings",
    "stats subjects",
    "store",
    "units questions",
    "labs",
    "raters people exchange findings",
    "engine reports",
    "pipeline",
    "apps",
    "__main__",
)
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor.split()}

HEAVY_AT_START_UP = [
    "torch",
    "pandas",
    "numpy",
    "scipy",
    "duckdb",
    "openai",
    "anthropic",
    "matplotlib",
    "textual",
    "rich.console",
    "transformers",
    "tokenizers",
    "safetensors",
    "jinja2",
    "asyncio",
]


def test_there_are_at_most_fourteen_rooms_and_eight_loose_modules():
    assert rooms() | loose_modules() <= set(FLOOR)
    assert len(rooms()) <= 14
    assert len(loose_modules()) <= 8


def test_every_folder_of_the_package_says_in_its_docstring_what_is_in_it():
    silent = [
        str(folder.relative_to(PACKAGE))
        for folder in PACKAGE.rglob("*")
        if folder.is_dir()
        and any(folder.glob("*.py"))
        and not ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8")))
    ]
    assert silent == []


def test_no_module_is_named_by_a_gerund():
    assert gerunds() == set()


def test_no_room_bears_the_name_of_a_public_function():
    assert {room_of(file) for file in FILES} & set(autointerp.__all__) == set()


def test_imports_point_only_down_the_floors():
    wrong = [
        f"{file.relative_to(PACKAGE)}:{line}: {room_of(file)} imports {other}"
        for file in FILES
        for line, other in imported_rooms(file)
        if other in FLOOR  # else a name of the package itself, such as __version__
        and other != room_of(file)
        and FLOOR[other] >= FLOOR[room_of(file)]
    ]
    assert wrong == []


def test_no_modules_import_each_other():
    assert import_cycles() == []


def test_a_cycle_is_seen_through_other_modules():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert import_cycles({name: frozenset(others) for name, others in graph.items()}) == [
        ["a", "b", "c"]
    ]


def test_the_check_sees_imports_in_functions_and_leaves_those_for_types(tmp_path: Path):
    file = tmp_path / "records.py"
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from autointerp.store import Run\n"
        "def late():\n    from autointerp.apps.cli import main\n    import autointerp.stats.means\n"
        "from autointerp import __version__, raters\n"
    )
    assert sorted(imported_rooms(file)) == [
        (5, "apps"),
        (6, "stats"),
        (7, "__version__"),
        (7, "raters"),
    ]


def test_only_apps_renders():
    """No console, no printing and no command-line library below `apps`."""
    rendering = re.compile(r"^\s*(from|import) (rich|typer|textual)\b|\bprint\(", re.M)
    rendered = {
        str(file.relative_to(PACKAGE))
        for file in FILES
        if room_of(file) != "apps" and rendering.search(file.read_text(encoding="utf-8"))
    }
    assert rendered == set()


def test_only_the_store_opens_the_database_of_a_run():
    on_disk = re.compile(r'duckdb\.connect\((?!\)|":memory:")')
    users = {room_of(file) for file in FILES if on_disk.search(file.read_text(encoding="utf-8"))}
    assert users == {"store"}


def test_only_the_store_and_the_findings_open_the_key():
    """Everybody else asks the views `unit_item`, `unit_rating` and `unit_guess`."""
    key = re.compile(r"\b(FROM|JOIN|INTO|UPDATE) key\b")
    users = {room_of(file) for file in FILES if key.search(file.read_text(encoding="utf-8"))}
    assert users <= {"store", "findings"}


@pytest.mark.parametrize(
    "code", ["import autointerp", "import autointerp.apps.cli._app as c; c.build_app()"]
)
def test_nothing_heavy_is_imported_at_start_up(code: str):
    code += f"\nimport sys\nprint(*(m for m in {HEAVY_AT_START_UP} if m in sys.modules))"
    assert printed(code).split() == []


@pytest.mark.parametrize("module", ["findings.comparison", "reports.write", "pipeline.report"])
def test_reading_imports_neither_torch_nor_what_only_drawing_and_testing_need(module: str):
    """What is read is a database, not a model; `bench startup` says what the import costs."""
    heavy = ["torch", "transformers", "scipy.stats", "matplotlib"]
    code = f"import sys, autointerp.{module}\nprint(*(m for m in {heavy} if m in sys.modules))"
    assert printed(code).split() == []


def test_no_module_hides_a_builtin_that_its_package_uses():
    # Once `cli/map.py` is imported, `map` in `cli/__init__.py` is that module.
    hidden = []
    for file in (path for path in FILES if path.name == "__init__.py"):
        modules = {path.stem for path in file.parent.glob("*.py")} & set(dir(builtins))
        used = {
            node.id for node in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(node, ast.Name)
        }  # fmt: skip
        hidden += [f"{file}: {name}" for name in modules & used]
    assert hidden == []
