"""docs/extending.md: every example, put into a copy of the package and used.

The copy is what a user would have: the package's folder, `rubrics/`, and one file more.
"""

import ast
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from support.loopback.server import LoopbackServer
from support.processes import printed
from support.tiny_language_models import D_MODEL, saved
from support.tiny_subject import tiny_texts

from bench._nursery import Nursery

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
EXAMPLE = re.compile(
    r"^`(?P<path>(?:autointerp|rubrics)/\S+)`:\n\n```(?:python|markdown)\n(?P<text>.*?)^```$",
    re.M | re.S,
)
EXAMPLES = {match["path"]: match["text"] for match in EXAMPLE.finditer(PAGE)}
NOT_COPIED = shutil.ignore_patterns("__pycache__", ".*")
COMPILED = shutil.ignore_patterns(".*")  # with what Python compiled: compiling takes seconds
# What looks at the files of the package and knows no list of them.
TESTS = ("conformance", "test_house.py", "test_extensions.py", "units/test_sources.py")
TIMEOUT_S = 600

Ask = Callable[..., subprocess.CompletedProcess[str]]
# A process that is forked has the variables of the one that it is forked from.
WITH_VARIABLES = """
import json, os, runpy, sys

os.environ.update(json.loads(sys.argv[1]))
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package in which all examples of the page are in place."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "autointerp", folder / "autointerp", ignore=COMPILED)
    for name in ("rubrics", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=NOT_COPIED)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for path, text in EXAMPLES.items():
        assert not (folder / path).exists(), f"{path} is there: nothing may be overwritten"
        (folder / path).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The current folder of all commands."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def run(copy: Path, process_environment: dict[str, str]) -> Iterator[Ask]:
    """Run a module of Python in a folder, as `python -m`, with the copy in place of the package.

    It is forked from a process that has imported the copy, where the system can: a start of each
    costs seconds of CPU.
    """
    (copy / "with_variables.py").write_text(WITH_VARIABLES)
    environment = {**process_environment, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("ACME_API_KEY", None)

    def anew(
        folder: Path, words: list[str], more: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=folder,
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def forked(
        nursery: Nursery, folder: Path, words: list[str]
    ) -> subprocess.CompletedProcess[str]:
        errors = copy.with_name("errors.txt")
        errors.write_text("")
        started = nursery.start(folder, "-m", *words, has_pipes=True, log=errors)
        started.stdin.close()
        with started.stdout as stream:
            printed = stream.read()
        return subprocess.CompletedProcess(words, started.wait(), printed, errors.read_text())

    with ExitStack() as stack:
        nursery = None
        if hasattr(os, "pidfd_open"):
            nursery = stack.enter_context(Nursery(copy, environment))

        def call(folder: Path, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
            said = [str(word) for word in words]
            if nursery is None:
                return anew(folder, said, more)
            return forked(nursery, folder, ["with_variables", json.dumps(more), *said])

        yield call


@pytest.fixture(scope="module")
def ask(run: Ask, work: Path) -> Ask:
    """Call the copy's command line in the folder `work`; return the completed process."""

    def call(*words: object, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        completed = run(work, "autointerp", *words, **more)
        assert completed.returncode == code, completed.stderr
        return completed

    return call


@pytest.fixture(scope="module")
def rated(ask: Ask, tiny_settings: Path) -> subprocess.CompletedProcess[str]:
    """What was printed as the run `main` was made, by the example rater, source and rubric."""
    return ask(
        *("rate", "--subject", tiny_settings, "--rater", "majority", "--n", 6, "--controls", 4),
        *("--source", "features", "--source", "neurons", "--rubric", "one-token-0-2"),
    )


def section(heading: str) -> str:
    """Return the text of the page under a heading."""
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_every_heading_has_one_complete_example_and_a_few_sentences():
    headings = re.findall(r"^## (.+)$", PAGE, re.M)
    assert len(headings) == len(EXAMPLES) > 8
    for heading in headings:
        (path,) = (match["path"] for match in EXAMPLE.finditer(section(heading)))
        prose = section(heading).partition(f"`{path}`:")[0]
        assert 2 <= len(re.findall(r"[.:](?=\s|$)", prose)) <= 6, heading
        assert f"| `{Path(path).parent}/` |" in PAGE


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.endswith(".py")])
def test_an_example_imports_nothing_that_it_does_not_use(path: str):
    tree = ast.parse(EXAMPLES[path])
    bound = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert bound <= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert max(map(len, EXAMPLES[path].splitlines())) <= 100


def test_the_lists_name_the_examples_by_their_first_lines(ask: Ask):
    for listed, path in (
        ("raters", "autointerp/raters/majority.py"),
        ("raters", "autointerp/raters/acme.py"),
        ("sources", "autointerp/units/sources/pairs.py"),
        ("scorers", "autointerp/questions/scorers/prefix.py"),
        ("labs", "autointerp/labs/written_length.py"),
    ):
        line = (ast.get_docstring(ast.parse(EXAMPLES[path])) or "").partition("\n")[0]
        assert re.search(
            rf"^{Path(path).stem.replace('_', '-')} .*{re.escape(line)}", ask(listed).stdout, re.M
        )
    assert re.search(r"^one-token-0-2 ", ask("rubrics").stdout, re.M)


def test_the_rater_rates_by_the_rubric_and_the_control_is_harvested_beside_the_others(rated):
    assert "6 features, 6 neurons" in rated.stderr
    assert "4 pairs" in rated.stderr
    # 6 + 6, and 4 of each of the controls pairs, planted, random and shuffled.
    assert "majority on one-token-0-2: 28 ok" in rated.stderr


def test_the_rater_explains_and_the_scorer_tries_its_descriptions(ask: Ask, rated):
    explained = ask("explain", "main", "--rater", "majority")
    assert re.search(r"majority describes \d+ of 28 units", explained.stderr)
    scored = ask(
        *("score", "main", "--rater", "majority", "--contexts", 5),
        *("--scorer", "prefix", "--scorer", "detection", "--scorer", "simulation"),
        *("--scorer", "intruder"),
    )
    for name in ("prefix", "detection", "simulation", "intruder"):
        assert re.search(rf"{name}: \d+ units?, \d+ ok", scored.stderr), name
    assert "unparsed" not in explained.stderr + scored.stderr
    ask("rate", "--rater", "majority", "--rubric", "specificity-0-3", "--contexts", 6)


def test_the_provider_asks_a_server_and_keeps_its_key_for_its_own_address(ask: Ask, rated):
    few = ("--n", 6, "--controls", 4, "--source", "features")
    refused = ask("rate", "--rater", "acme:small", *few, code=1)
    assert "acme:small needs a key: set ACME_API_KEY" in refused.stderr
    with LoopbackServer() as server:
        asked = ask(
            *("rate", "--rater", "acme:small", "--base-url", server.openai_url, *few),
            ACME_API_KEY="for-the-provider-alone",
        )
        assert f"acme:small@127.0.0.1:{server.port} on interpretability-1-5" in asked.stderr
        assert len(server.completions) >= 22  # 6 features, 4 of each of 4 controls
        for call in server.completions:
            assert call.body["model"] == "small"
            assert "prompt_cache_key" not in call.body
            assert "for-the-provider-alone" not in str(call.headers)


def test_the_provider_is_sent_its_own_key_at_its_own_address(copy: Path, process_environment):
    """Nothing is sent: its address is on no network."""
    code = (
        "from autointerp.raters import RaterOptions, load_rater\n"
        "rater = load_rater('acme:small', RaterOptions(price_in=1, price_out=2))\n"
        "rater.require_key()\n"
        "print(rater.name, rater.url, rater.key_variable, rater.price.tokens_out)\n"
        "body = rater.body('s', 'u', {}, None, 0)\n"
        "print(body['model'], 'prompt_cache_key' in body)\n"
    )
    environment = {**process_environment, "PYTHONPATH": str(copy), "ACME_API_KEY": "x"}
    assert printed(code, environment, copy).splitlines() == [
        "acme:small https://api.acme.example/v1 ACME_API_KEY 2",
        "small False",
    ]


def test_the_format_and_the_corpus_are_recognised_and_read(ask: Ask, tmp_path: Path):
    saved(tmp_path / "model", "gpt2")
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "sae.npz",
        encoder=rng.standard_normal((D_MODEL, 48)).astype(np.float32),
        bias=np.full(48, -1, np.float32),
        decoder=rng.standard_normal((48, D_MODEL)).astype(np.float32),
    )
    with (tmp_path / "documents.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["number", "text"], *enumerate(tiny_texts(), 1)])
    # The two keys are written as the page writes them.
    keys = [
        re.search(r"```toml\n\[subject\]\n(.*?)```", section(heading), re.S)[1]
        for heading in ("An SAE format", "A corpus")
    ]
    (tmp_path / "autointerp.toml").write_text(
        '[subject]\nmodel = "model"\nsite = "layers.1.residual"\n' + "".join(keys)
    )
    harvested = ask(
        *("harvest", "--subject", tmp_path / "autointerp.toml", "--run", "read"),
        *("--source", "features", "--n", 6, "--controls", 0),
    )
    assert "run 'read' holds 6 features" in harvested.stderr


def test_the_import_format_is_recognised_and_names_the_line_that_is_none(ask: Ask, tmp_path: Path):
    example = {"tokens": ["the", " cat", " sat", " down"], "values": [0, -1, 0.5, 0]}
    rows = [{"unit": unit, "examples": [example] * 2} for unit in (7, 9)]
    file = tmp_path / "examples.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    told = ask("import", file, "--run", "imported").stdout
    assert "2 features; " in told
    assert "read as examples-jsonl" in told
    file.write_text('{"unit": 7}')
    assert f"{file}, line 1: KeyError 'examples'" in ask("import", file, "-r", "no", code=2).stderr


def test_the_lab_measures_the_units_that_are_directions(ask: Ask, work: Path, rated):
    shutil.copytree(work / "runs" / "main", work / "runs" / "measured")
    measured = json.loads(ask("lab", "written-length", "measured", "--json").stdout)
    assert measured["units"] == 28
    assert {row["source"] for row in measured["rows"]} == {"features", "neurons", "random"}
    assert all(row["length"] > 0 for row in measured["rows"])
    ask("report", "measured", "-o", "measured")
    assert "per unit of firing" in (work / "measured" / "index.html").read_text("utf-8")


def test_the_panel_follows_the_one_that_it_names(ask: Ask, work: Path, rated):
    ask("report", "main", "-o", "page")
    page = (work / "page" / "index.html").read_text("utf-8")
    panels = re.findall(r'<section[^>]* id="([^"]+)"', page)
    (after,) = re.findall(
        r'^AFTER = "(\w+)"', EXAMPLES["autointerp/reports/panels/versions.py"], re.M
    )
    assert panels[panels.index(after) + 1] == "versions"
    assert "Versions when the run was created." in page
    assert "duckdb" in (work / "page" / "tables" / "versions.csv").read_text("utf-8")


def test_the_command_prints_the_highest_units(ask: Ask, rated):
    printed = ask("top", "main", "--n", "3").stdout.splitlines()
    assert printed[0].split() == ["UNIT", "SCORE", "RATER", "RUBRIC"]
    scores = [float(line.split()[1]) for line in printed[1:]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert "Print the units of a run with the highest scores" in ask("--help").stdout


# Cases of other files are run by the tests of this checkout, in which these files are the same.
CHOSEN = """
STEMS = {stems!r}


def pytest_collection_modifyitems(config, items):
    kept, left = [], []
    ids = ""
    for item in items:
        case = item.callspec.id.replace("_", "-") if hasattr(item, "callspec") else ""
        other = case and not case.startswith("autointerp.") and "test_house" not in item.nodeid
        case = f"-{{case.replace('.', '-')}}-"
        found = any(f"-{{stem}}-" in case for stem in STEMS)
        (left if other and not found else kept).append(item)
        ids += case
    lacking = [stem for stem in STEMS if f"-{{stem}}-" not in ids]
    assert not lacking, f"no case finds {{lacking}}"
    config.hook.pytest_deselected(items=left)
    items[:] = kept
"""


def test_no_other_test_needs_an_edit_for_the_examples(run: Ask, copy: Path):
    """The conformance tests find the examples and pass; so does what looks at all files."""
    stems = [Path(path).stem.replace("_", "-") for path in EXAMPLES]
    (copy / "chosen.py").write_text(CHOSEN.format(stems=stems))
    completed = run(
        copy,
        *("pytest", "-q", "-p", "no:cacheprovider", "-p", "chosen", "-rN"),
        *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # what was imported before the fork
        *(copy / "tests" / name for name in TESTS),
    )
    assert completed.returncode == 0, completed.stdout[-3000:] + completed.stderr[-3000:]
