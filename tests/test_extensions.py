import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from autointerp import extensions, raters
from autointerp.apps import cli as commands
from autointerp.apps.cli._app import build_app
from autointerp.errors import BadInput, UnknownName
from autointerp.exchange._arrival import forms
from autointerp.labs import load_lab
from autointerp.questions.kinds import load_kind
from autointerp.questions.scorers import scorer
from autointerp.reports.panels import Material
from autointerp.reports.write import assemble
from autointerp.subjects.corpora import open_corpus
from autointerp.units import sources


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package of extensions: two files, a folder, and a module that is private."""
    package = tmp_path / "some_extensions"
    (package / "in_a_folder").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "plain.py").write_text('"""A plain one.\n\nMore."""\nVALUE = 1\n')
    (package / "two_words.py").write_text("VALUE = 2\n")
    (package / "in_a_folder" / "__init__.py").write_text('"""One in a folder."""\n')
    (package / "_shared.py").write_text("VALUE = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import some_extensions  # type: ignore[import-not-found]

    yield some_extensions
    for name in [name for name in sys.modules if name.startswith("some_extensions")]:
        del sys.modules[name]


def test_files_and_folders_are_extensions_under_their_names_with_hyphens(folder: ModuleType):
    assert extensions.names(folder) == ["in-a-folder", "plain", "two-words"]


def test_an_extension_is_imported_by_its_name_on_the_command_line(folder: ModuleType):
    assert extensions.load(folder, "thing", "two-words").VALUE == 2


def test_a_file_that_lacks_what_each_of_its_kind_has_is_named_with_it(folder: ModuleType):
    folder.EACH_HAS = ("VALUE", "create", "ROLE")
    with pytest.raises(BadInput, match=r"plain\.py has no create, ROLE; see docs/extending\.md"):
        extensions.load(folder, "thing", "plain")


@pytest.mark.parametrize(
    ("member", "load"),
    [
        ("raters.lexical.create", lambda: raters.load_rater("lexical", raters.RaterOptions())),
        ("questions.scorers.detection.TASK", lambda: scorer("detection")),
        ("labs.completions.run", lambda: load_lab("completions")),
        ("subjects.corpora.jsonl.extent", lambda: open_corpus("corpus.jsonl", "jsonl")),
        ("exchange.delphi.read", lambda: forms()),
        ("questions.kinds.token.rule", lambda: load_kind("token")),
        ("reports.panels.method.AFTER", lambda: assemble(Material((), ()))),
        ("apps.cli.runs.command", build_app),
    ],
)
def test_of_every_kind_a_file_is_named_with_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, member: str, load: Callable[[], object]
):
    monkeypatch.delattr(f"autointerp.{member}")
    file, _, name = member.rpartition(".")
    with pytest.raises(
        BadInput, match=rf"{file.replace('.', '/')}\.py has no {name}; see docs/ext"
    ):
        load()


@pytest.mark.parametrize("name", ["two_words", "_shared", "", "plain.py", "../plain"])
def test_a_name_that_is_no_extension_is_refused(folder: ModuleType, name: str):
    with pytest.raises(UnknownName, match="known: in-a-folder, plain, two-words"):
        extensions.load(folder, "thing", name)


def test_a_name_that_python_keeps_for_itself_is_the_file_with_an_underscore_behind(
    folder: ModuleType, tmp_path: Path
):
    (tmp_path / "some_extensions" / "import_.py").write_text('"""Brings in."""\nVALUE = 4\n')
    assert "import" in extensions.names(folder)
    assert extensions.load(folder, "thing", "import").VALUE == 4


def test_descriptions_are_first_docstring_lines_read_without_an_import(
    folder: ModuleType, tmp_path: Path
):
    (tmp_path / "some_extensions" / "plain.py").write_text('"""A plain one.\n\nMore."""\nraise 1\n')
    assert extensions.described(folder) == [
        ("in-a-folder", "One in a folder."),
        ("plain", "A plain one."),
        ("two-words", ""),
    ]


@pytest.mark.parametrize("package", [raters, sources, commands], ids=lambda p: p.__name__)
def test_every_extension_that_ships_says_in_one_line_what_it_is(package: ModuleType):
    for name, line in extensions.described(package):
        assert line.endswith((".", "?")), f"{package.__name__}.{name}: {line!r}"
        assert len(line) <= 100, f"{package.__name__}.{name}: {len(line)} characters"


def test_constants_of_an_extension_are_read_without_an_import(folder: ModuleType, tmp_path: Path):
    (tmp_path / "some_extensions" / "plain.py").write_text("A = 1\nB: object = ('x', 2)\nraise A\n")
    assert extensions.constants(folder, "plain", ("A", "B", "C")) == {"A": 1, "B": ("x", 2)}


@pytest.mark.parametrize(
    ("text", "told"),
    [("A = 1\n", "plain.py assigns no B"), ("A = 1\nB = min(1, 2)\n", "plain.py computes B")],
)
def test_a_file_without_a_constant_that_is_needed_is_named(
    folder: ModuleType, tmp_path: Path, text: str, told: str
):
    (tmp_path / "some_extensions" / "plain.py").write_text(text)
    with pytest.raises(BadInput, match=told):
        extensions.constants(folder, "plain", ["A"], needed=["B"])


def test_what_a_function_returned_is_passed_on_or_named_with_what_it_must_return():
    assert extensions.returned([1], list, "thing 'a': make()") == [1]
    with pytest.raises(BadInput, match=r"^thing 'a': make\(\) returned None; it must return list "):
        extensions.returned(None, list, "thing 'a': make()")
    with pytest.raises(BadInput, match=r"of type int; it must return a Thing, with size, unit"):
        extensions.with_members(3, ("size", "unit"), "thing 'a': make()", "a Thing")
