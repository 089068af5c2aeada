"""What is installed: the package carries its data, and asks for what it imports."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import pytest

from autointerp.questions.rubric_files import list_rubrics, rubrics_folder

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "autointerp"


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(project: dict[str, Any]) -> set[str]:
    table = project["project"]
    extras = table.get("optional-dependencies", {})
    lines = [*table["dependencies"], *(line for extra in extras.values() for line in extra)]
    return {normal(re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0]) for line in lines} - {
        table["name"]
    }


def test_every_file_of_the_package_that_is_no_code_matches_a_pattern_of_package_data(
    project: dict[str, Any],
):
    patterns = project["tool"]["setuptools"]["package-data"]["autointerp"]
    carried = {file for pattern in patterns for file in PACKAGE.glob(pattern)}
    left = [
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*")
        if file.is_file() and file.suffix not in {".py", ".pyc"} and file not in carried
    ]
    assert left == []


@pytest.mark.parametrize(
    "name", ["transformer.safetensors", "sae.safetensors", "tokenizer.json", "corpus.npz"]
)
def test_the_embedded_subject_is_a_resource_of_the_package(name: str):
    assert (resources.files("autointerp.subjects") / "embedded" / name).is_file()


def test_the_rubrics_are_found_and_their_ids_are_their_file_names():
    assert [rubric.id for rubric in list_rubrics()] == sorted(
        file.stem for file in rubrics_folder().glob("*.md")
    )
    assert {"interpretability-1-5", "interpretability-0-3"} <= {r.id for r in list_rubrics()}


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements and all that are within them, but for those of a try that may fail to
    import."""
    for statement in body:
        yield statement
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            within = getattr(statement, part, [])
            if part == "body" and isinstance(statement, ast.Try):
                within = [] if "ImportError" in ast.unparse(statement) else within
            yield from statements(within)


def imported_modules(file: Path) -> set[str]:
    """Return the top modules of a file's imports, those left out that may fail."""
    found = set()
    for node in statements(ast.parse(file.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_every_library_that_is_imported_is_declared(project: dict[str, Any]):
    homes = metadata.packages_distributions()
    names = declared(project)
    tests = {file.stem for file in (ROOT / "tests").rglob("*")}
    ours = {
        "autointerp",
        "bench",
        "tests",
        "tools",
        "some_extensions",
        *tests,
        *sys.stdlib_module_names,
    }
    missing = {
        f"{module} ({file.relative_to(ROOT)})"
        for file in [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
        for module in imported_modules(file) - ours
        if not names & {normal(home) for home in homes.get(module, [module])}
    }
    assert missing == set()


def test_constraints_pin_every_declared_library_to_one_version(project: dict[str, Any]):
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin) for pin in pins)
    assert "torch==2.13.0" in pins
    assert declared(project) - {normal(pin.partition("==")[0]) for pin in pins} == set()


def test_what_is_pinned_satisfies_the_lower_bounds(project: dict[str, Any]):
    def numbers(version: str) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", version))

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    for line in project["project"]["dependencies"]:
        name, _, bound = line.partition(">=")
        assert numbers(pins[normal(name)]) >= numbers(bound), line
