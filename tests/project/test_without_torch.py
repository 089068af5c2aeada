"""A run is read, exported and reported where torch and transformers cannot be imported."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.fabricate import add_scores, fabricate_run

READING = ("store", "questions", "raters", "people", "findings", "reports", "engine")
BLOCK = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "datasets", "pyarrow"}:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Absent())
"""


def run_python(code: str, folder: Path) -> str:
    """Return what `code` prints in a process in which the heavy libraries cannot be imported."""
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("room", READING)
def test_every_module_for_reading_is_imported_without_torch(room: str, tmp_path: Path):
    code = f"""
import importlib, pkgutil
package = importlib.import_module("autointerp.{room}")
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
"""
    run_python(code, tmp_path)


def test_a_run_is_listed_exported_and_reported_without_torch(tmp_path: Path):
    scores = {"features": [0, 0, 2, 3, 3], "neurons": [3, 3, 1, 1, 0]}  # units by score 1 to 5
    with fabricate_run(tmp_path / "runs", dict.fromkeys(scores, 8)) as run:
        for source, counts in scores.items():
            add_scores(run, source, "scripted:4", counts)
    code = """
from autointerp.apps.cli._app import main
sys.argv = ["autointerp", *{words!r}]
try:
    main()
except SystemExit as stopped:
    assert not stopped.code, stopped.code
"""
    assert "main" in run_python(code.format(words=["runs"]), tmp_path)
    exported = tmp_path / "ratings.csv"
    run_python(code.format(words=["export", "main", "--to", "csv", "-o", str(exported)]), tmp_path)
    assert len(exported.read_text("utf-8").splitlines()) == 17  # 16 ratings and the header
    run_python(code.format(words=["report", "main"]), tmp_path)
    assert (tmp_path / "reports" / "main" / "index.html").is_file()
