import json
from collections import Counter

import pytest
from support.fabricate import fabricate_run
from support.pictures import whole_pictures

from autointerp.errors import TooFewRatings
from autointerp.pipeline.describe import explain
from autointerp.pipeline.job import Job
from autointerp.pipeline.report import findings, report
from autointerp.reports.panels import Answer, UnitBrowser

WORD = "a </script> word"
MAPPED = {
    "neighbours": 15, "seed": 0, "source": "features", "units": 3, "without": 0, "median": 0.5,
    "near_own": 1.0, "mixed": 1.0, "kept": 0.9,
}  # fmt: skip
ATTRIBUTED = {
    "unit": "features/2", "position": 1, "token": "The", "activation": 0.5, "attribution": 0.25,
    "ablation": -0.125, "attribution_rank": 1, "ablation_rank": 1,
}  # fmt: skip


def test_the_report_carries_both(tried_run, tmp_path):
    with whole_pictures():
        made = report(["tiny"], tmp_path / "report", folder=tried_run)
    names = {panel.name for panel in made.panels}
    assert {"scores", "specificity"} <= names
    for name in ("specificity", "scorers"):
        assert (tmp_path / "report" / "figures" / f"{name}.png").exists()
        assert (tmp_path / "report" / "tables" / f"{name}.csv").exists()


@pytest.fixture(scope="module")
def unrated(tmp_path_factory):
    """The report of a run whose units were described and tried by `lexical`, and not rated."""
    folder = tmp_path_factory.mktemp("unrated")
    with fabricate_run(folder / "runs", {"features": 6, "neurons": 6, "planted": 5}, "plain"):
        pass
    script = folder / "calls.jsonl"
    lines = [{"text": json.dumps({"rationale": "r", "description": d})} for d in ("Unknown", WORD)]
    script.write_text("\n".join(map(json.dumps, lines)))
    explain(Job(rater=f"scripted:{script}", run="plain", runs=folder / "runs"))
    return report(["plain"], folder / "out", folder=folder / "runs")


def test_a_run_with_descriptions_and_no_ratings_has_a_report_that_says_so(unrated):
    names = [panel.name for panel in unrated.panels]
    assert names[:2] == ["verdict", "units"]
    assert "scores" not in names
    first, subject = unrated.panels[0].blocks
    assert subject.lead == "The subject."
    assert first.lead == "No unit was rated."
    assert "`autointerp rate --run plain` rates units" in first.text
    assert unrated.warnings == (f"{first.lead} {first.text}",)
    summary = (unrated.folder / "summary.md").read_text("utf-8")
    assert "No unit was rated. Described by scripted:calls.jsonl." in summary


def test_the_list_of_units_shows_what_they_were_described_as(unrated):
    (browser,) = [b for p in unrated.panels for b in p.blocks if isinstance(b, UnitBrowser)]
    assert browser.index["judgements"] == [
        {"label": "described by scripted:calls.jsonl", "levels": []}
    ]
    units = browser.index["units"]
    assert Counter(units["source"]) == {"features": 6, "neurons": 6, "planted": 5}
    assert Counter(units["outcomes"][0]) == {"described": 16, "Unknown": 1}
    assert WORD in units["said"][0]
    assert units["scores"] == [[None] * 17]
    details = [one for page in browser.pages for one in page]
    assert len(details) == 17
    assert all(len(one["ratings"]) == 1 for one in details)
    # What the explainer saw counts as shown: all 20 contexts of a unit, but for a place that
    # was drawn twice.
    assert all(sum(context[-1] for context in one["contexts"]) >= 19 for one in details)
    table = (unrated.folder / "tables" / "descriptions.csv").read_text("utf-8")
    assert table.count("scripted:calls.jsonl") == 17


def test_a_run_in_which_nothing_was_asked_has_no_report(tmp_path):
    with fabricate_run(tmp_path / "runs", {"features": 3}, "plain"):
        pass
    with pytest.raises(TooFewRatings, match="run 'plain' has no ratings"):
        report(["plain"], tmp_path / "out", folder=tmp_path / "runs")


@pytest.fixture
def measured(tmp_path):
    """The runs folder of a run with a lab's rows on one unit, and nothing else."""
    with fabricate_run(tmp_path / "runs", {"features": 3, "neurons": 3}, "plain") as run:
        unit = run.units("features")[0].unit_id
        run.replace_lab_rows("hand-made", [unit], [{"unit_id": unit, "length": 4}])
    return tmp_path / "runs"


def test_a_run_that_was_measured_and_not_rated_has_a_report_without_a_verdict(measured, tmp_path):
    made = report(["plain"], tmp_path / "out", folder=measured)
    first = made.panels[0].blocks[0]
    assert first.lead == "No unit was rated."
    assert "This report shows what was measured of its units." in first.text
    assert "description" not in first.text
    assert not [b for b in made.panels[0].blocks if isinstance(b, Answer)]
    names = [panel.name for panel in made.panels]
    assert "labs" in names
    assert "scores" not in names
    (browser,) = [b for p in made.panels for b in p.blocks if isinstance(b, UnitBrowser)]
    assert browser.index["judgements"] == []
    assert len(browser.index["units"]["source"]) == 6


def test_json_of_a_run_that_was_measured_has_the_measurements_and_no_judgement(measured):
    (comparison,) = findings(["plain"], folder=measured)["comparisons"]
    assert comparison["judgements"] == []
    assert comparison["looks"] == []
    (lab,) = comparison["labs"]
    assert (lab["lab"], lab["rows"][0]["length"]) == ("hand-made", 4)


@pytest.mark.parametrize("kind", ["attribution", "cover", "map"])
def test_attributions_covers_and_maps_alone_are_enough_for_a_report(kind, tmp_path):
    with fabricate_run(tmp_path / "runs", {"features": 3}, "plain") as run:
        if kind == "cover":
            asked = [{"concept": "king", "prompts": ["king"], "occurrences": 3, "tokens": 100}]
            run.replace_cover("features", "model:a", asked, [])
        elif kind == "attribution":
            about = {"prompt": "The", "target": " a", "against": " b", "pearson": None,
                     "spearman": None}  # fmt: skip
            run.replace_attributed("abc", "features", about, [ATTRIBUTED])
        else:
            run.replace_map_sources("abc", [MAPPED])
    made = report(["plain"], tmp_path / "out", folder=tmp_path / "runs")
    assert kind in {panel.name for panel in made.panels}


def test_rated_and_unrated_runs_stand_side_by_side(unrated, tried_run, tmp_path):
    import shutil

    runs = shutil.copytree(tried_run, tmp_path / "runs")
    shutil.copytree(unrated.folder.parent / "runs" / "plain", runs / "plain")
    made = report(["tiny", "plain"], tmp_path / "out", folder=runs)
    verdict = made.panels[0].blocks
    assert any(getattr(b, "lead", "") == "No unit was rated." for b in verdict)
    assert {"scores", "sources", "scorers"} <= {panel.name for panel in made.panels}


def test_the_command_says_it_too(unrated, command_line, tmp_path):
    import shutil

    shutil.copytree(unrated.folder.parent / "runs", tmp_path / "runs")
    told = command_line("report", "plain")
    assert told.code == 0, told.err
    assert "No unit was rated." in told.out
    assert "reports/plain/index.html" in told.out
