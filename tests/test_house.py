"""The house as DESIGN draws it: imports point only up the list of rooms."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "autointerp"

# A room may import those above it. A new module at the top of the package takes its place here.
ROOMS = """
    records errors wording additions settings store rubrics tasks sessions prices keys
    subjects training sources reservoirs harvesting objects sharding sampling probes blinding
    raters scorers budget pacing retrying engine rating rating_bar explaining rereading
    logit_effects hardening specifying scoring batching estimating pipeline planted checking
    health describing
    stats estimates comparing agreeing guessing crediting human_plans journals people
    guessing_models
    panels reporting summarising
    exchange importing packs terminal initialising
    commands cli __main__
""".split()  # noqa: SIM905

# Only what a room needs for its own work; more than its place in the list would allow.
ALLOWED = {
    "records": set(),
    "errors": set(),
    "stats": {"errors"},  # arrays in, numbers out; it knows nothing of runs
}


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and room of each import from the package that is made when the program runs."""
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
                yield from ((node.lineno, name.name) for name in node.names)
            elif node.module and node.module.startswith("autointerp."):
                yield node.lineno, node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.startswith("autointerp."):
                    yield node.lineno, name.name.split(".")[1]


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_every_module_of_the_package_has_a_place_in_the_list_of_rooms():
    assert {room_of(file) for file in FILES} <= set(ROOMS)


def test_imports_point_only_up_the_list_of_rooms():
    place = {room: number for number, room in enumerate(ROOMS)}
    wrong = [
        f"{file.relative_to(PACKAGE)}:{line}: {room_of(file)} imports {other}"
        for file in FILES
        for line, other in imported_rooms(file)
        if other in place  # else a name of the package itself, such as __version__
        and other != room_of(file)
        and (
            place[other] > place[room_of(file)]
            or other not in ALLOWED.get(room_of(file), place.keys())
        )
    ]
    assert wrong == []


def test_the_check_sees_imports_in_functions_and_leaves_those_for_types(tmp_path: Path):
    file = tmp_path / "records.py"
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from autointerp.store import Run\n"
        "def late():\n    from autointerp.cli import main\n    import autointerp.stats.means\n"
        "from autointerp import __version__, commands\n"
    )
    assert sorted(imported_rooms(file)) == [
        (5, "cli"),
        (6, "stats"),
        (7, "__version__"),
        (7, "commands"),
    ]


def test_only_the_store_opens_the_database_of_a_run():
    on_disk = re.compile(r'duckdb\.connect\((?!\)|":memory:")')
    users = {room_of(file) for file in FILES if on_disk.search(file.read_text(encoding="utf-8"))}
    assert users == {"store"}


@pytest.mark.parametrize("code", ["import autointerp", "import autointerp.cli as c; c.build_app()"])
def test_nothing_heavy_is_imported_at_start_up(code: str):
    heavy = [
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
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{code}\nimport sys\nprint(*(m for m in {heavy} if m in sys.modules))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == []
