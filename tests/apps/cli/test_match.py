import json
import shutil

import pytest
from support.two_dictionaries import larger_dictionary

from autointerp import Job, rate


@pytest.fixture(scope="module")
def runs(tiny_run, tiny_subject, tmp_path_factory):
    """A folder of runs `tiny` and `large`, of two dictionaries at one site."""
    folder = tmp_path_factory.mktemp("matched")
    runs = shutil.copytree(tiny_run, folder / "runs")
    settings, _ = larger_dictionary(tiny_subject, folder / "subject")
    rate(Job(sources=("features",), n=2, rater="scripted:4", run="large", subject=str(settings),
             controls=0, runs=runs))  # fmt: skip
    return runs


def test_it_prints_the_findings_and_writes_the_page(runs, tmp_path, command_line):
    shutil.copytree(runs, tmp_path / "runs")
    result = command_line("match", "tiny", "large")
    assert result.code == 0, result.err
    assert "'tiny' in 'large': 64 features" in result.out
    assert "page: reports/match-tiny-large/index.html" in result.out
    assert (tmp_path / "reports" / "match-tiny-large" / "index.html").exists()


def test_json_is_all_that_is_printed_and_no_page_is_written(runs, tmp_path, command_line):
    shutil.copytree(runs, tmp_path / "runs")
    result = command_line("match", "tiny", "large", "--json", "--related", 0.9)
    assert result.code == 0, result.err
    told = json.loads(result.out)
    assert told["related"] == 0.9
    assert told["first"]["run"] == "tiny"
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tiny", "tiny"), "given twice"),
        (("tiny", "absent"), "absent"),
        (("tiny", "large", "--related", "2"), "between 0 and 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(runs, tmp_path, command_line, arguments, said):
    shutil.copytree(runs, tmp_path / "runs")
    result = command_line("match", *arguments)
    assert result.code == 2
    assert said in result.err
    assert "Traceback" not in result.err
