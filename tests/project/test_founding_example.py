"""The founding experiments' published counts, as the committed example report tells them."""

import csv
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from autointerp.reports.write import Report

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "reports" / "founding"


@pytest.fixture(scope="module")
def founding(tmp_path_factory: pytest.TempPathFactory) -> Report:
    file = ROOT / "tools" / "founding_example.py"
    spec = importlib.util.spec_from_file_location("founding_example", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module.founding_report(tmp_path_factory.mktemp("founding") / "founding")


@pytest.mark.parametrize(
    ("run", "features", "neurons", "p"),
    # Means: (4·1 + 4·2 + 6·3 + 4·4 + 30·5) / 48 = 196 / 48, 114 / 52; 338 / 99, 253 / 93.
    [("ward-human", 196 / 48, 114 / 52, 0.81), ("ward-gpt-4", 338 / 99, 253 / 93, 0.65)],
)
def test_the_founding_tables_give_their_published_numbers_with_intervals(
    founding: Report, run: str, features: float, neurons: float, p: float
):
    (judgement,) = [j for j in founding.material.judgements if j.run == run]
    for source, value in (("features", features), ("neurons", neurons)):
        found = judgement.groups[source].mean
        assert found.value == pytest.approx(value)
        assert found.low < value < found.high
    contrast = judgement.primary
    assert contrast.superiority.value == pytest.approx(p, abs=0.005)
    assert 0.5 < contrast.superiority.low < p < contrast.superiority.high < 1
    assert contrast.brunner_munzel.p_value < 0.001


def test_the_founding_report_claims_nothing_that_was_not_so(founding: Report):
    summary = (founding.folder / "summary.md").read_text("utf-8")
    page = founding.page.read_text("utf-8")
    for text in (summary, page.split("<main", 1)[-1].split("<script", 1)[0]):
        assert "blind" not in text
        assert "opaque ids" not in text
        assert "before anything was rated" not in text
        assert "drawn at random" not in text
        assert "entered by hand" in text


def test_the_committed_founding_report_is_what_the_tool_makes(founding: Report):
    def rows(folder: Path, table: str) -> list[list[str]]:
        with (folder / "tables" / f"{table}.csv").open(newline="") as file:
            return list(csv.reader(file))

    for table in ("sources", "pairs"):
        assert rows(COMMITTED, table) == rows(founding.folder, table)
    summaries = [
        # When it was looked at is the time at which the report was made.
        re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", (folder / "summary.md").read_text("utf-8"))
        for folder in (COMMITTED, founding.folder)
    ]
    assert summaries[0] == summaries[1]
    assert (COMMITTED / "figures" / "scores.png").is_file()
    assert sum(file.stat().st_size for file in COMMITTED.rglob("*") if file.is_file()) < 1_500_000
