"""The house: rooms, the way imports point, and what may be done where.

The test knows rooms, not modules: a new module inside a room needs no edit here.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import autointerp

PACKAGE = Path(__file__).parents[1] / "autointerp"

# A floor imports from the floors before it; rooms on one floor know nothing of each other.
FLOORS = (
    "errors",
    "text files",
    "records extensions settings",
    "stats subjects",
    "store",
    "units questions",
    "raters people labs exchange findings",
    "engine reports",
    "pipeline",
    "apps",
    "__main__",
)
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor.split()}

# Imports against the order that are being taken out, one after the other.
EXCEPTIONS = {}
# Modules below `apps` that still talk to a terminal.
TALKATIVE = {
    "subjects/training/measures.py",
    "subjects/training/progress.py",
    "subjects/training/sae.py",
    "subjects/training/transformer.py",
}

NOUNS_IN_ING = {"training", "blinding", "fuzzing", "dictionary_learning"}  # nouns of the field

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


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of each import from the package made when the program runs."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: write the whole name"
            if node.module == "autointerp":
                yield from ((node.lineno, f"autointerp.{name.name}") for name in node.names)
            elif node.module and node.module.startswith("autointerp."):
                yield node.lineno, node.module
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.startswith("autointerp."):
                    yield node.lineno, name.name


def imported_rooms(file: Path) -> Iterator[tuple[int, str]]:
    for line, module in imported_modules(file):
        yield line, module.split(".")[1]


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_there_are_at_most_fourteen_rooms_and_eight_loose_modules():
    rooms = {room_of(file) for file in FILES if file.parent != PACKAGE}
    loose = {
        file.stem
        for file in FILES
        if file.parent == PACKAGE and file.name not in ("__init__.py", "__main__.py")
    }
    assert rooms | loose <= set(FLOOR)
    assert len(rooms) <= 14
    assert len(loose) <= 8


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
    named = {path.stem for path in FILES} | {path.parent.name for path in FILES}
    gerunds = {name for name in named if re.search(r"(^|_)\w{2,}ing$", name)}
    assert gerunds - NOUNS_IN_ING == set()


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
        and (str(file.relative_to(PACKAGE)), other) not in EXCEPTIONS
    ]
    assert wrong == []


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
    found = {
        str(file.relative_to(PACKAGE))
        for file in FILES
        if room_of(file) != "apps" and rendering.search(file.read_text(encoding="utf-8"))
    }
    assert found - TALKATIVE == set()


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
    printed = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{code}\nimport sys\nprint(*(m for m in {HEAVY_AT_START_UP} if m in sys.modules))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.split() == []


@pytest.mark.parametrize("module", ["findings.comparison", "reports.write", "pipeline.report"])
def test_reading_needs_no_torch_and_is_quick_to_import(module: str):
    """Under a second of CPU: what is read is a database, not a model."""
    code = (
        "import sys, time; began = time.process_time()\n"
        f"import autointerp.{module}\n"
        "print(time.process_time() - began,"
        " *({'torch', 'transformers', 'scipy.stats', 'matplotlib'} & set(sys.modules)))"
    )
    seconds, *heavy = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert heavy == []
    assert float(seconds) < 1
