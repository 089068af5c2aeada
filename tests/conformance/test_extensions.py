"""Every folder that grows by adding a file: what each file in it must have.

No test says which files there are.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import get_args

import pytest
from support.conformance import modules_in

from autointerp import exchange, labs, raters
from autointerp.apps import cli
from autointerp.questions import scorers
from autointerp.records import Role
from autointerp.reports import panels
from autointerp.subjects import corpora, formats
from autointerp.units import sources

# What a module of each folder has beside the folder's `EACH_HAS`.
FOLDERS = {
    cli: ("command",),
    corpora: (),
    exchange: (),
    formats: (),
    labs: (),
    panels: (),
    raters: ("WHAT",),
    scorers: (),
    sources: (),
}
MODULES = [
    pytest.param(package, name, id=f"{package.__name__.removeprefix('autointerp.')}.{name}")
    for package in FOLDERS
    for name in modules_in(package)
]


@pytest.mark.parametrize(("package", "name"), MODULES)
def test_each_file_says_in_one_line_what_it_is(package, name):
    folder = Path(package.__file__).parent
    file = folder / f"{name}.py"
    text = (file if file.exists() else folder / name / "__init__.py").read_text(encoding="utf-8")
    line = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    assert line.endswith((".", "?"))
    assert len(line) <= 100


@pytest.mark.parametrize(("package", "name"), MODULES)
def test_each_file_has_what_its_folder_asks_for(package, name):
    module = importlib.import_module(f"{package.__name__}.{name}")
    if package is cli and hasattr(module, "app"):  # a command with commands of its own
        return
    needed = (*FOLDERS[package], *getattr(package, "EACH_HAS", ()))
    assert [wanted for wanted in needed if not hasattr(module, wanted)] == []


@pytest.mark.parametrize("name", modules_in(sources))
def test_a_source_has_a_role_and_a_name_for_one_unit_and_for_several(name):
    module = importlib.import_module(f"{sources.__name__}.{name}")
    assert module.ROLE in get_args(Role)
    one, several = module.NAMES
    assert one.startswith(("a ", "an "))
    assert not several.startswith(("a ", "an "))


@pytest.mark.parametrize("name", modules_in(exchange))
def test_a_form_that_is_recognised_can_be_read_and_the_other_way_round(name):
    module = importlib.import_module(f"{exchange.__name__}.{name}")
    assert hasattr(module, "recognises") == hasattr(module, "read")


@pytest.mark.parametrize("package", FOLDERS, ids=lambda package: package.__name__)
def test_each_folder_says_how_to_add_to_it(package):
    assert "file here" in " ".join((package.__doc__ or "").split())
