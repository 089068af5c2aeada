"""No file and no message installs `autointerp` from the package index: that is another project."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from autointerp import errors
from autointerp.errors import DISTRIBUTION, install_hint

ROOT = Path(__file__).parents[2]
# `pip install autointerp`, or a quoted requirement of it with extras, anywhere in a line.
STRANGER = re.compile(
    r"pip3? install\b[^\n]*?(?<![\w./-])[\"']?autointerp(?![\w.-])|[\"'`]autointerp\[[a-z,]+\]"
)


def tracked_text_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a checkout")
    suffixes = {".py", ".md", ".toml", ".txt", ".html", ".jinja", ".js", ""}
    files = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [
        file
        for file in files
        if file.suffix in suffixes and file.is_file() and file != Path(__file__)
    ]


@pytest.mark.parametrize(
    "line",
    [
        "pip install autointerp",
        "pip install 'autointerp[local]'",
        "python -m pip install -U autointerp==0.1.0",
        "needs transformers: 'autointerp[models]'",
    ],
)
def test_the_check_sees_an_install_of_the_other_project(line: str):
    assert STRANGER.search(line)


@pytest.mark.parametrize(
    "line",
    [
        "pip install -c constraints.txt -e '.[local]'",
        f"pip install '{DISTRIBUTION}[local]'",
        "pip install autointerp_eval-0.1.0-py3-none-any.whl",
        "pip install -c /home/a/autointerp/constraints.txt -e '/home/a/autointerp[local]'",
    ],
)
def test_the_check_leaves_our_own_installs_alone(line: str):
    assert not STRANGER.search(line)


def test_nothing_in_the_repository_installs_the_other_project():
    wrong = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in tracked_text_files()
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if STRANGER.search(line)
    ]
    assert wrong == []


def test_the_distribution_is_named_once_and_its_extras_refer_to_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == DISTRIBUTION
    for lines in project["optional-dependencies"].values():
        assert not any(re.match(r"autointerp(\[|$)", line) for line in lines)


def test_the_hint_installs_the_pinned_versions_from_a_clone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    assert install_hint("local") == "pip install -c constraints.txt -e '.[local]'"


def test_the_hint_names_the_clone_where_another_folder_is_the_current_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    assert install_hint("models") == (
        f"pip install -c '{ROOT}/constraints.txt' -e '{ROOT}[models]'"
    )


def test_the_hint_names_the_distribution_where_there_is_no_clone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "autointerp" / "errors.py"))
    assert install_hint("local") == f"pip install '{DISTRIBUTION}[local]'"
