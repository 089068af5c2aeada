import json
import shutil
from typing import ClassVar

import pytest

from autointerp.errors import BadInput, UnknownName
from autointerp.findings.comparison import compare
from autointerp.labs.hard_negatives import hard_contexts
from autointerp.labs.logit_effects import logit_effects
from autointerp.pipeline.events import Measuring, RunOpened, Step
from autointerp.pipeline.lab import run_lab
from autointerp.pipeline.report import report
from autointerp.questions.explain import eligible_units
from autointerp.store.run import open_run


@pytest.fixture(scope="module")
def measured(tiny_run, tmp_path_factory):
    """A copy of the tiny run in which both labs measured; results by lab, and events of one."""
    runs = shutil.copytree(tiny_run, tmp_path_factory.mktemp("measured") / "runs")
    events = []
    results = {
        "hard-negatives": run_lab("hard-negatives", "tiny", "features", runs=runs),
        "logit-effects": run_lab("logit-effects", "tiny", n=2, runs=runs, on=events.append),
    }
    return runs, results, events


def test_the_rows_are_what_explain_and_score_use(measured):
    runs, results, _ = measured
    with open_run("tiny", folder=runs, read_only=True) as run:
        effects, without = logit_effects(run, list(eligible_units(run, n=2)))
        hard = hard_contexts(run, list(eligible_units(run, ["features"])))
    for row in results["logit-effects"].rows:
        if row["unit_id"] in effects:
            shown = effects[row["unit_id"]]
            assert row["promoted"] == list(shown.promoted)
            assert row["suppressed"] == list(shown.suppressed)
            assert row["outcome"] == "ok"
        else:
            assert (row["promoted"], row["suppressed"]) == ([], [])
            assert row["outcome"] == without[row["source"]] == "they are no directions in the model"
    assert {
        (row["unit_id"], row["context"], row["why"]) for row in results["hard-negatives"].rows
    } == {(unit, number, why) for unit, found in hard.items() for number, (_, why) in found.items()}


def test_a_result_counts_units_and_those_without_a_row(measured):
    result = measured[1]["logit-effects"]
    assert (result.units, len(result.rows), result.without) == (10, 10, 0)
    assert str(result) == "run 'tiny': logit-effects has 10 rows on 10 units"
    hard = measured[1]["hard-negatives"]
    assert hard.without == hard.units - len({row["unit_id"] for row in hard.rows})
    assert json.loads(json.dumps(hard.as_json()))["rows"] == list(hard.rows)


def test_what_happens_is_an_event(measured):
    opened, step, *progress = measured[2]
    assert isinstance(opened, RunOpened)
    assert step == Step("logit-effects measures 10 units")
    assert progress == [Measuring("logit-effects", done, 10) for done in range(1, 11)]


def test_the_rows_are_findings_with_the_lab_s_own_words(measured):
    runs, results, _ = measured
    with open_run("tiny", folder=runs, read_only=True) as run:
        comparison = compare(run)
    hard, effects = comparison.labs
    assert (hard.lab, effects.lab) == ("hard-negatives", "logit-effects")
    assert effects.title.startswith("Tokens that a unit promotes")
    assert dict(effects.columns) == dict(results["logit-effects"].columns)
    assert comparison.as_json()["labs"][1]["rows"] == list(results["logit-effects"].rows)


def test_the_report_shows_the_first_rows_and_saves_all(measured, tmp_path):
    runs, results, _ = measured
    made = report(["tiny"], tmp_path / "report", folder=runs)
    (panel,) = [one for one in made.panels if one.name == "labs"]
    tables = {block.name: block for block in panel.blocks if hasattr(block, "frame")}
    for lab, result in results.items():
        table = tables[f"lab_{lab.replace('-', '_')}"]
        assert len(table.rows) == min(20, len(result.rows))
        assert len(table.frame) == len(result.rows)
        assert list(table.headings) == ["unit", *result.columns]
    saved = (tmp_path / "report" / "tables" / "lab_logit_effects.csv").read_text("utf-8")
    assert saved.splitlines()[0] == "run,unit_id,unit,source,promoted,suppressed,outcome"


def test_a_run_in_which_no_lab_measured_has_no_such_panel(tiny_run, tmp_path):
    made = report(["tiny"], tmp_path / "report", folder=tiny_run)
    assert "labs" not in {panel.name for panel in made.panels}


def test_options_reach_the_lab_and_replace_what_it_had(own_runs):
    run_lab("logit-effects", "tiny", "features", 2, runs=own_runs)
    result = run_lab("logit-effects", "tiny", "features", 1, {"tokens": "3"}, own_runs)
    assert [len(row["promoted"]) for row in result.rows] == [3]
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        assert [len(row["promoted"]) for row in run.lab_rows("logit-effects")] == [3, 10]


class Counting:
    """A lab that counts what it measures, and is stopped after some units."""

    COLUMNS: ClassVar[dict[str, str]] = {"twice": "twice the number of the unit"}

    def __init__(self, last: int | None = None) -> None:
        self.last = last
        self.measured: list[int] = []

    def run(self, run, units, options):
        for place, unit in enumerate(units):
            if place == self.last:
                raise KeyboardInterrupt
            self.measured.append(unit)
            if len(self.measured) != 3:  # one has no row
                yield {"unit_id": unit, "twice": 2 * unit}


def test_a_lab_that_was_stopped_keeps_whole_units_and_measures_none_of_them_again(
    own_runs, monkeypatch
):
    first, second, third = Counting(last=5), Counting(), Counting()
    labs = iter([first, second, third])
    monkeypatch.setattr("autointerp.pipeline.lab.load_lab", lambda name: lab)
    monkeypatch.setattr("autointerp.labs.load_lab", lambda name: lab)
    lab = next(labs)
    with pytest.raises(KeyboardInterrupt):
        run_lab("counting", "tiny", runs=own_runs)
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        kept = [row["unit_id"] for row in run.lab_rows("counting")]
    # Of five units that it came to, the third has no row, and the last may have had another.
    assert sorted(kept) == sorted(first.measured[place] for place in (0, 1, 3))
    lab = next(labs)
    events = []
    result = run_lab("counting", "tiny", runs=own_runs, on=events.append)
    pending = result.units - 3
    assert [str(event) for event in events if isinstance(event, Step)] == [
        "counting has 3 units already and goes on",
        f"counting measures {pending} units",
    ]
    assert set(second.measured).isdisjoint(kept)
    assert {row["unit_id"] for row in result.rows} >= set(kept) | {second.measured[0]}
    assert result.without == 1
    lab = next(labs)
    events.clear()
    assert run_lab("counting", "tiny", runs=own_runs, on=events.append) == result
    assert [str(event) for event in events if isinstance(event, Step)] == [
        f"counting has {result.units} units already"
    ]
    assert third.measured == []


def test_rows_of_a_unit_that_stand_apart_are_refused(own_runs, monkeypatch):
    class Mixed(Counting):
        def run(self, run, units, options):
            yield from ({"unit_id": unit, "twice": 0} for unit in (*units[:2], units[0]))

    monkeypatch.setattr("autointerp.pipeline.lab.load_lab", lambda name: Mixed())
    monkeypatch.setattr("autointerp.labs.load_lab", lambda name: Mixed())
    with pytest.raises(BadInput, match="give all rows of a unit one after another"):
        run_lab("mixed", "tiny", runs=own_runs)


def test_a_lab_that_returns_no_rows_to_go_through_is_refused(own_runs, monkeypatch):
    class Forgetful(Counting):
        def run(self, run, units, options):
            return None

    monkeypatch.setattr("autointerp.pipeline.lab.load_lab", lambda name: Forgetful())
    monkeypatch.setattr("autointerp.labs.load_lab", lambda name: Forgetful())
    with pytest.raises(BadInput, match=r"lab 'forgetful': run\(\) returned None; it must return"):
        run_lab("forgetful", "tiny", runs=own_runs)


def test_what_cannot_be_measured_is_refused_before_the_model_is_loaded(own_runs):
    with pytest.raises(UnknownName, match="unknown lab 'taste'"):
        run_lab("taste", "tiny", runs=own_runs)
    with pytest.raises(BadInput, match="has no units of source 'taste'"):
        run_lab("logit-effects", "tiny", "taste", runs=own_runs)
    with pytest.raises(BadInput, match="--n 0: ask for at least 1 unit"):
        run_lab("logit-effects", "tiny", n=0, runs=own_runs)
    with pytest.raises(BadInput, match="tokens=0: ask for at least 1 token"):
        run_lab("logit-effects", "tiny", n=1, options={"tokens": "0"}, runs=own_runs)


def test_the_command_prints_what_was_measured_or_the_rows_as_json(command_line, own_runs):
    asked = ("lab", "logit-effects", "tiny", "--source", "features", "--n", 2)
    result = command_line(*asked)
    assert result.code == 0, result.err
    assert "run 'tiny': logit-effects has 2 rows on 2 units" in result.err
    printed = json.loads(command_line(*asked, "--option", "tokens=1", "--json").out)
    assert [len(row["promoted"]) for row in printed["rows"]] == [1, 1]
    refused = command_line(*asked, "--option", "tokens")
    assert (refused.code, "--option tokens: write it as NAME=VALUE" in refused.err) == (2, True)
