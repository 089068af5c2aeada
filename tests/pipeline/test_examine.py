"""One unit on the bench: what is measured, kept, taken up again and refused."""

from __future__ import annotations

import io
import json
import shutil

import pandas as pd
import pytest

from autointerp import Job
from autointerp.errors import BadInput
from autointerp.findings.examined import LABS
from autointerp.pipeline.events import Probed, Probing, Step
from autointerp.pipeline.examine import examine
from autointerp.pipeline.harvest import harvest
from autointerp.pipeline.train import make_clusters
from autointerp.reports.examined import panels_of
from autointerp.reports.panels import Prose
from autointerp.reports.write import OWN
from autointerp.store.run import open_run


@pytest.fixture(scope="module")
def examined_run(truth_run, tmp_path_factory):
    """A described run in which a feature was examined: folder of runs, events, result."""
    folder = tmp_path_factory.mktemp("examined")
    runs = shutil.copytree(truth_run, folder / "runs")
    events = []
    made = examine(
        a_unit(runs), "tiny", probes=["The old cat saw", "the king"], out=folder / "page",
        runs=runs, on=events.append,
    )  # fmt: skip
    return runs, events, made


def a_unit(runs, source="features", place=0):
    with open_run("tiny", folder=runs, read_only=True) as opened:
        return str(opened.sampled(source, place + 1)[place].summary.unit)


def test_the_unit_and_its_controls_go_through_every_lab_and_are_stored(examined_run):
    runs, _, made = examined_run
    found = made.examined
    assert found.unit.unit == a_unit(runs)
    assert [one.source for one in found.controls] == ["random", "neurons"]
    for one in found.units:
        assert set(one.labs) == set(LABS)
        assert all(one.rows(lab) for lab in LABS)
        assert one.strongest
        assert len({shown.interval for shown in one.uniform}) == len(one.uniform)
    with open_run("tiny", folder=runs, read_only=True) as opened:
        for lab in LABS:
            stored = [r for r in opened.lab_rows(lab) if r["unit_id"] == found.unit.unit_id]
            assert stored == list(found.unit.labs[lab])


def test_the_controls_fire_about_as_often_as_the_unit(examined_run):
    runs, _, made = examined_run
    own = made.examined.unit.density
    with open_run("tiny", folder=runs, read_only=True) as opened:
        for one in made.examined.controls:
            held = [u.summary for u in opened.units(one.source)]
            ratios = [
                max(u.density / own, own / u.density) for u in held if u.outcome == "eligible"
            ]
            matched = one.note.endswith(f"matched to {made.examined.unit.unit}")
            assert matched or max(one.density / own, own / one.density) == min(ratios)


def test_the_page_has_seven_parts_each_with_text_picture_and_table(examined_run):
    _, _, made = examined_run
    page = made.page.read_text()
    sections = page.split("<section ")[1:]
    assert len(sections) == 7
    for section in sections:
        assert 'class="prose' in section
        assert "<svg" in section
        assert "<table>" in section
    assert len(page) < 400_000
    folder = made.page.parent
    assert all(OWN.fullmatch(str(f.relative_to(folder))) for f in folder.rglob("*") if f.is_file())
    assert len(pd.read_csv(folder / "tables" / "ablation.csv")) > 10


def test_neighbours_stand_beside_what_was_said_of_them(examined_run):
    runs, _, made = examined_run
    with open_run("tiny", folder=runs, read_only=True) as opened:
        explained = dict(
            opened.rows(
                "SELECT unit_name(u.source, u.idx, u.sign), e.description FROM explanation e"
                " JOIN unit u USING (unit_id) WHERE e.status = 'ok'"
            )
        )
    assert explained
    assert {name: made.examined.descriptions[name] for name in explained} == explained
    assert made.examined.unit.description == explained[made.examined.unit.unit]


def test_sentences_are_told_as_they_are_read_for_all_units(examined_run):
    _, events, made = examined_run
    told = [event for event in events if isinstance(event, Probed)]
    assert [event.unit for event in told] == 2 * [one.unit for one in made.examined.units]
    rows = made.examined.unit.rows("probe-sentences")
    assert [row["text"] for row in rows] == ["The old cat saw", "the king"]
    assert list(told[0].activations) == rows[0]["activations"]
    fires = next((e for e in told if max(e.activations) > 0), None)
    assert fires is None or "[" in str(fires)


def test_what_is_stored_is_not_measured_again_and_sentences_stay(examined_run):
    runs, _, made = examined_run
    events = []
    again = examine(made.examined.unit.unit, "tiny", page=False, runs=runs, on=events.append)
    assert again.page is None
    assert again.examined.as_json() == made.examined.as_json()
    assert not [event for event in events if isinstance(event, Step | Probing)]  # not even opened


def test_a_stopped_vocabulary_is_kept_and_goes_on(own_runs, monkeypatch):
    monkeypatch.setattr("autointerp.labs.vocabulary_probe.TOKENS", 300)
    whole_runs = shutil.copytree(own_runs, own_runs.parent / "whole")
    unit, control = a_unit(own_runs), a_unit(own_runs, "random")
    asked = {"run": "tiny", "controls": (control,), "page": False}
    whole = examine(unit, runs=whole_runs, **asked).examined

    def stop(event, done=[]):  # noqa: B006
        if isinstance(event, Probing):
            done.append(event.done)
            if len(done) == 12:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        examine(unit, runs=own_runs, on=stop, **asked)
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        rows = opened.lab_rows("vocabulary-probe")
        done = {row["placing"]: row["probed"] for row in rows}
    assert 0 < sum(done.values()) < 3 * rows[0]["vocabulary"]
    events = []
    resumed = examine(unit, runs=own_runs, on=events.append, **asked).examined
    first = next(event for event in events if isinstance(event, Probing))
    assert first.done >= done["prepended"]
    for one, other in zip(whole.units, resumed.units, strict=True):
        assert len(one.rows("vocabulary-probe")) == len(other.rows("vocabulary-probe"))
        for row, again in zip(
            one.rows("vocabulary-probe"), other.rows("vocabulary-probe"), strict=True
        ):
            assert row["token_id"] == again["token_id"]
            assert row["change"] == pytest.approx(again["change"], abs=1e-5)
            assert row["probed"] == again["probed"] == row["vocabulary"]


def test_what_cannot_be_examined_is_refused(own_runs, tmp_path):
    unit = a_unit(own_runs)
    with pytest.raises(BadInput, match="unit 'features/9999': the run holds no such unit"):
        examine("features/9999", "tiny", runs=own_runs)
    with pytest.raises(BadInput, match=f"--control {unit}: that is the unit itself"):
        examine(unit, "tiny", controls=(unit,), runs=own_runs)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match="other things"):
        examine(unit, "tiny", out=tmp_path / "mine", runs=own_runs)
    with pytest.raises(BadInput, match="--probe '' has no tokens"):
        examine(unit, "tiny", probes=["The cat", ""], page=False, runs=own_runs)
    with open_run("tiny", folder=own_runs, read_only=True) as opened:
        assert opened.lab_names() == []  # refused before anything was measured


def test_a_unit_that_labs_refuse_has_a_page_that_says_why(own_runs):
    unit, control = a_unit(own_runs, "shuffled"), a_unit(own_runs, "random")
    asked = {"controls": (control,), "with_vocabulary": False, "page": False, "runs": own_runs}
    panels = panels_of(examine(unit, "tiny", **asked).examined)
    said = {p.name: [b.text for b in p.blocks if isinstance(b, Prose)] for p in panels}
    why = f"{unit} was not measured here: units of shuffled do not fire by the text"
    assert said["ablation"][0].startswith(why)
    assert said["sentences"][0].startswith(why)
    assert said["vocabulary"] == ["The vocabulary was not probed."]
    assert said["neighbours"][0].startswith(f"{unit} has no nearest units: directions of shuffled")


def test_a_unit_of_recorded_activations_has_what_takes_no_other_text(tmp_path):
    make_clusters(tmp_path / "points")
    settings = str(tmp_path / "points" / "autointerp.toml")
    harvest(Job(sources=("features",), n=2, controls=0, run="points", subject=settings,
                runs=tmp_path / "runs"))  # fmt: skip
    with open_run("points", folder=tmp_path / "runs", read_only=True) as opened:
        unit = str(opened.units("features")[0].summary.unit)
    asked = {"page": False, "runs": tmp_path / "runs"}
    labs = examine(unit, "points", **asked).examined.unit.labs
    (alignment,) = labs["neuron-alignment"]
    assert alignment["outcome"] == "ok"
    assert alignment["share_3"] == pytest.approx(1)  # of two axes
    assert {row["kind"] for row in labs["neighbours"]} == {"nearest", "together"}
    for lab in ("context-ablation", "probe-sentences", "vocabulary-probe"):
        (row,) = labs[lab]
        assert row["outcome"].startswith("activations of this subject are recorded")
    with pytest.raises(BadInput, match=r"--probe 'the cat': activations .*; leave it"):
        examine(unit, "points", probes=("the cat",), **asked)


def test_the_command_prints_activations_at_once_and_reads_sentences_from_anywhere(
    command_line, own_runs, tmp_path, monkeypatch
):
    unit, control = a_unit(own_runs), a_unit(own_runs, "random")
    asked = ("examine", unit, "--run", "tiny", "--control", control, "--no-vocabulary")
    # As an editor of Windows writes it.
    (tmp_path / "sentences.txt").write_bytes("\ufeffthe river\r\n\r\nthe king\r\n".encode())
    written = []

    def write(found, place):
        written.append(place)
        return place / "index.html"

    monkeypatch.setattr("autointerp.pipeline.examine.write_examined", write)
    made = command_line(*asked, "--probe", "The cat", "--probes", "sentences.txt", "--no-open")
    assert made.code == 0, made.err
    assert made.out == f"page: {written[0]}/index.html\n"
    assert str(written[0]) == f"reports/examine-tiny-{unit.replace('/', '-')}"
    lines = [line for line in made.err.splitlines() if line.startswith(f"{unit}: ")]
    assert len(lines) == 3
    assert "cat" in lines[0]
    assert "ufeff" not in made.err
    monkeypatch.setattr("sys.stdin", io.StringIO("\ufeffa garden\n"))
    printed = json.loads(command_line(*asked, "--probes", "-", "--json").out)
    (row,) = printed["unit"]["labs"]["probe-sentences"]
    assert row["text"] == "a garden"
    assert set(printed["labs"]) == set(LABS)
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    for given, why in (
        (("--probes", "nowhere.txt"), "--probes nowhere.txt: is no file"),
        (("--probes", "/dev/zero"), "--probes /dev/zero: is no file"),
        (("--probes", "bytes.txt"), "--probes bytes.txt: cannot be read as text"),
        (("--probe", ""), "--probe '' has no tokens; give a sentence"),
        (("-o", "-"), "a page is in a folder"),
    ):
        refused = command_line(*asked, *given)
        assert (refused.code, why in refused.err) == (2, True), refused.err
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    empty = command_line(*asked, "--probes", "-")
    assert (empty.code, "standard input held no sentence" in empty.err) == (2, True), empty.err
    odd = command_line(*asked, "--probe", "the cat \udcff", "--json")
    assert odd.code == 0, odd.err
    (row,) = json.loads(odd.out)["unit"]["labs"]["probe-sentences"]
    assert row["text"] == "the cat \ufffd"
