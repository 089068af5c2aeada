"""A report as files: what is there, what is said, and that corpus text stays text."""

import base64
import csv
import gzip
import json
import re
import shutil
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread
from rich.console import Console
from support.fabricate import SCRIPT, WORDS, add_all_scores, add_scores, fabricate_run
from support.judges import made_check
from support.pictures import whole_pictures

from autointerp import extensions
from autointerp.apps.cli._summary import print_summary
from autointerp.errors import BadInput, UnknownName
from autointerp.findings.checks import keep
from autointerp.findings.comparison import compare
from autointerp.pipeline.report import report
from autointerp.reports import panels, write
from autointerp.reports.answer import answer
from autointerp.reports.panels import Material
from autointerp.reports.write import Report, _escaped, assemble, in_order
from autointerp.store.run import open_run


def make_runs(folder: Path, name: str = "main", planted: int = 5, floor: int = 1) -> Path:
    """Make a run with controls at the given scores; return the folder of runs."""
    sources = {"features": 12, "neurons": 12, "planted": 6, "shuffled": 6}
    with fabricate_run(folder / "runs", sources, name, text=[*WORDS, SCRIPT, "\u202eevil"]) as run:
        add_scores(run, "features", "model:a", [0, 1, 2, 4, 4], missing={"refused": 1})
        add_scores(run, "neurons", "model:a", [4, 4, 2, 1, 0], missing={"unparsed": 1})
        for source, score in (("planted", planted), ("shuffled", floor)):
            add_scores(run, source, "model:a", [6 * (score == level) for level in range(1, 6)])
    return folder / "runs"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("report")
    with whole_pictures():
        return report(["main"], folder / "out", folder=make_runs(folder))


@pytest.fixture
def runs(made: Report, tmp_path: Path) -> Path:
    """A copy of the runs of `made`."""
    return Path(shutil.copytree(made.folder.parent / "runs", tmp_path / "runs"))


@pytest.fixture
def out(made: Report, tmp_path: Path) -> Path:
    """A copy of the report `made`, where the next one goes."""
    return Path(shutil.copytree(made.folder, tmp_path / "out"))


def unpacked(page: str) -> dict[str, Any]:
    found = re.findall(r'<script type="text/plain" id="packed-(\w+)">([^<]*)</script>', page)
    return {name: json.loads(gzip.decompress(base64.b64decode(text))) for name, text in found}


def test_a_report_is_a_page_with_its_pictures_tables_and_summary(made: Report):
    found = {str(path.relative_to(made.folder)) for path in made.folder.rglob("*")}
    assert {
        "index.html",
        "summary.md",
        "figures/scores.png",
        "figures/scores.svg",
        "figures/answer.png",
        "figures/answer.pdf",
        "figures/density.png",
        "tables/sources.csv",
        "tables/sources.parquet",
        "tables/pairs.csv",
        "tables/units.csv",
        "tables/missing.csv",
    } <= found
    assert not [path for path in found if "partial" in path]
    pictures = {path.stem for path in (made.folder / "figures").iterdir()}
    for picture in pictures:
        pixels = imread(made.folder / "figures" / f"{picture}.png", format="png")
        assert min(pixels.shape[:2]) > 200
        assert (made.folder / "figures" / f"{picture}.svg").read_text("utf-8").startswith("<?xml")
        pdf = (made.folder / "figures" / f"{picture}.pdf").read_bytes()
        assert pdf.startswith(b"%PDF")
        assert pdf.rstrip().endswith(b"%%EOF")


def test_the_summary_says_the_answer_of_the_first_screen_before_what_speaks_against_it(
    made: Report,
):
    summary = (made.folder / "summary.md").read_text("utf-8")
    first = answer(made.material)
    assert first is not None
    before, _, after = summary.partition(f"{first.heading}:")
    assert before.endswith(f"**{_escaped(first.claim)}**\n\n")
    assert f"- **{_escaped(first.against[0][0])}**" in after


def test_every_panel_is_found_by_its_file(made: Report):
    from autointerp.reports import panels

    assert {panel.name for panel in made.panels} <= set(extensions.names(panels))
    assert made.panels[0].name == "verdict"
    assert made.panels[1].name == "units"


def test_a_panel_that_shows_something_else_than_blocks_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("autointerp.reports.panels.verdict.show", lambda material: ["a text"])
    with pytest.raises(BadInput, match=r"panel 'verdict': show\(\) returned a list with .* str"):
        assemble(Material((), ()))


def test_the_page_asks_for_nothing_from_outside(made: Report):
    page = made.page.read_text("utf-8")
    assert not re.findall(r'(?:src|href|action|data)="(?!#|data:)[^"]+"', page)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert "sourceMappingURL" not in page


def test_only_the_page_s_own_script_may_run(made: Report):
    page = made.page.read_text("utf-8")
    assert page.count("<script>") == 1
    assert "default-src 'none'" in page
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", page)


def test_corpus_text_is_carried_whole_and_cannot_end_a_script_element(made: Report):
    page = made.page.read_text("utf-8")
    assert SCRIPT not in page
    tokens = {
        token
        for name, units in unpacked(page).items()
        if name != "index"
        for unit in units
        for context in unit["contexts"]
        for token in context[0]
    }
    assert " " + SCRIPT in tokens
    assert " ⟨U+202E⟩evil" in tokens


def test_the_table_of_sources_says_what_the_estimates_say(made: Report):
    with (made.folder / "tables" / "sources.csv").open(encoding="utf-8") as file:
        rows = {row["source"]: row for row in csv.DictReader(file)}
    # (2 + 2·3 + 4·4 + 4·5) / 11
    assert float(rows["features"]["mean"]) == pytest.approx(44 / 11)
    assert rows["features"]["n"] == "11"
    assert rows["features"]["refused"] == "1"
    assert rows["features"]["score_5"] == "4"


def test_a_floor_that_does_not_hold_is_said_before_anything_else(tmp_path: Path):
    made = report(["main"], tmp_path / "out", folder=make_runs(tmp_path, floor=4))
    first = made.panels[0].blocks[0]
    assert "cannot be trusted" in first.lead  # type: ignore[union-attr]
    assert "not at the floor" in made.warnings[0]
    summary = (made.folder / "summary.md").read_text("utf-8")
    assert summary.index("cannot be trusted") < summary.index("score higher")


def test_a_ceiling_that_does_not_hold_is_said_too(tmp_path: Path):
    made = report(["main"], tmp_path / "out", folder=make_runs(tmp_path, planted=2))
    assert "not at the ceiling" in made.warnings[0]


def test_controls_in_their_places_raise_no_warning(made: Report):
    assert [said for said in made.warnings if "never checked" not in said] == []


def test_a_rater_that_is_no_llm_is_said_to_be_none(tmp_path: Path):
    with fabricate_run(tmp_path / "runs", {"features": 6, "neurons": 6}) as run:
        add_all_scores(run, "lexical", {"features": [0, 0, 0, 0, 6], "neurons": [6, 0, 0, 0, 0]})
    made = report(["main"], tmp_path / "out", folder=tmp_path / "runs")
    assert "no language model" in (made.folder / "summary.md").read_text("utf-8")


def test_the_latest_check_of_a_rater_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    checked = made_check("model:a", 0.97)
    monkeypatch.setattr("autointerp.findings.checks.latest_check", lambda *_: checked)
    made = report(["main"], tmp_path / "out", folder=make_runs(tmp_path))
    told = (made.folder / "summary.md").read_text("utf-8")
    assert "| mixture of 2 | 0.97 \\[0.92, 1.00\\] |" in told
    said = f"against mixtures alone 0.97 on {checked.units} planted units"
    assert f"Its check: AUC 0.97 \\[0.92, 1.00\\], {said}" in told
    assert "never checked" not in told


def test_what_speaks_against_a_judge_stands_on_page_terminal_summary_and_in_json(tmp_path: Path):
    runs = tmp_path / "runs"
    with fabricate_run(runs, {"features": 6, "neurons": 6}) as run:
        add_all_scores(
            run, "lexical", {"features": [0, 0, 0, 0, 6], "neurons": [6, 0, 0, 0, 0]}, version="2"
        )
    (runs / ".checks").mkdir()

    def told() -> tuple[str, str, dict[str, object]]:
        made = report(["main"], tmp_path / "out", folder=runs)
        console = Console(width=100, record=True, file=StringIO())
        print_summary(made, console)
        judgement = made.material.comparisons[0].as_json()["judgements"][0]
        page = made.page.read_text("utf-8")
        return page, " ".join(console.export_text().split()), judgement

    page, terminal, judgement = told()
    command = "autointerp check-rater lexical --rubric interpretability-1-5"
    summary = (tmp_path / "out" / "summary.md").read_text("utf-8")
    assert all("The rater was never checked." in text for text in (page, terminal, summary))
    assert all(command in text for text in (page, terminal, summary))
    assert (judgement["check_state"], judgement["check"]) == ("never", None)
    assert judgement["versions"] == [["2", 12]]

    keep(made_check("lexical", 0.55, version="2", low=0.41), runs)
    page, terminal, judgement = told()
    assert "The rater failed its check." in page
    assert "not shown to be better than chance" in terminal
    assert "lexical on planted units: AUC 0.55 [0.41, 1.00]" in terminal
    assert judgement["check_state"] == "chance"

    def state() -> str | None:
        with open_run("main", folder=runs, read_only=True) as run:
            return compare(run).judgements[0].check_state

    keep(made_check("lexical", 0.97, version="1"), runs)  # later, but of another version
    assert state() == "chance"
    keep(made_check("lexical", 0.97, version="2"), runs)
    assert state() == "passed"


def test_several_runs_stand_side_by_side_in_one_page(tmp_path: Path):
    make_runs(tmp_path, "one")
    make_runs(tmp_path, "two")
    made = report(["one", "two"], tmp_path / "out", folder=tmp_path / "runs")
    assert {j.run for j in made.material.judgements} == {"one", "two"}
    index = unpacked(made.page.read_text("utf-8"))["index"]
    assert index["runs"] == ["one", "two"]
    assert len(index["units"]["name"]) == 2 * 36


def test_over_the_limit_the_list_has_all_units_and_the_page_some_contexts(
    tmp_path: Path, runs: Path
):
    made = report(["main"], tmp_path / "out", units_shown=8, folder=runs)
    text = made.page.read_text("utf-8")
    packed = unpacked(text)
    units = packed["index"]["units"]
    assert len(units["name"]) == 8
    assert min(units["page"]) == 0
    assert sum(len(page) for name, page in packed.items() if name != "index") == 8
    assert set(units["source"]) == {"features", "neurons", "planted", "shuffled"}
    assert "the 8 that this file carries" in text
    assert "'strict-dynamic'" in text  # its own script may load those beside it, and no other
    whole = beside(made.folder)
    listed = whole["index"]["units"]
    assert len(listed["name"]) == 36
    eligible = [page >= 0 for page in listed["page"]]
    assert eligible == [outcome == "eligible" for outcome in listed["outcome"]]
    assert sum(len(page) for name, page in whole.items() if name != "index") == sum(eligible)
    # What a unit has here, it has there.
    for at, name in enumerate(units["name"]):
        other = listed["name"].index(name)
        mine = packed[str(units["page"][at])][units["place"][at]]
        theirs = whole[str(listed["page"][other])][listed["place"][other]]
        assert mine == theirs
        assert [column[at] for column in units["scores"]] == [
            column[other] for column in listed["scores"]
        ]


def test_a_report_that_carries_all_units_has_no_files_beside_it(tmp_path: Path, runs: Path):
    made = report(["main"], tmp_path / "out", units_shown=8, folder=runs)
    assert (made.folder / "units").is_dir()
    made = report(["main"], tmp_path / "out", folder=runs)
    assert not (made.folder / "units").exists()
    assert "strict-dynamic" not in made.page.read_text("utf-8")
    made = report(["main"], tmp_path / "out", units_shown=0, folder=runs)  # a list without contexts
    assert not (made.folder / "units").exists()
    assert len(unpacked(made.page.read_text("utf-8"))["index"]["units"]["name"]) == 36


def beside(folder: Path) -> dict[str, Any]:
    """What the scripts in a report's folder `units` hand over, by name."""
    found = {}
    for file in (folder / "units").iterdir():
        name, content = re.fullmatch(
            r'autointerpUnits\("(\w+)","([A-Za-z0-9+/=]*)"\);\n', file.read_text("ascii")
        ).groups()  # type: ignore[union-attr]
        assert f"{name}.js" == file.name
        found[name] = json.loads(gzip.decompress(base64.b64decode(content)))
    return found


def test_a_report_replaces_the_former_one_whole(tmp_path: Path, runs: Path, out: Path):
    stale = [out / "figures" / f"stale.{kind}" for kind in ("png", "svg", "pdf")]
    for file in stale:
        file.write_bytes(b"")
    report(["main"], out, folder=runs)
    assert not any(file.exists() for file in stale)
    assert not list(tmp_path.glob(".*partial"))


def test_files_of_others_in_a_report_s_folder_stay(runs: Path, out: Path):
    (out / "notes.md").write_text("mine")
    (out / "figures" / "for-the-talk.key").write_text("mine too")
    report(["main"], out, folder=runs)
    assert (out / "notes.md").read_text() == "mine"
    assert (out / "figures" / "for-the-talk.key").read_text() == "mine too"


@pytest.mark.parametrize("left", [["tables/units.csv"], ["figures/scores.svg", "summary.md"], []])
def test_what_a_kill_left_of_a_report_is_replaced(tmp_path: Path, runs: Path, left: list[str]):
    for name in left:
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text("")
    made = report(["main"], tmp_path / "out", folder=runs)
    assert made.page.stat().st_size > 1000


def test_a_kill_between_taking_a_report_away_and_putting_the_new_one_there_loses_none(
    tmp_path: Path, runs: Path, out: Path
):
    (out / "notes.md").write_text("mine")
    out.rename(tmp_path / f".out.{2**22 + 1}.former")  # no such process
    report(["main"], out, folder=runs)
    assert (out / "notes.md").read_text() == "mine"
    assert not list(tmp_path.glob(".out.*"))


def test_raters_whose_names_look_alike_have_pictures_of_their_own(tmp_path: Path):
    with fabricate_run(tmp_path / "runs", {"features": 4, "neurons": 4}) as run:
        for rater in ("m:a-b", "m:a_b", "m:A_b"):
            add_all_scores(run, rater, {"features": [0, 0, 2, 1, 1], "neurons": [1, 2, 1, 0, 0]})
    with whole_pictures():
        made = report(["main"], tmp_path / "out", folder=tmp_path / "runs")
    drawn = [name for name in made.figures if name.startswith("scores")]
    assert len(drawn) == 3
    assert len({name.casefold() for name in drawn}) == 3
    ids = re.findall(r'<g id="([^"]+)"', made.page.read_text("utf-8"))
    assert len(ids) == len(set(ids))


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path, runs: Path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("")
    with pytest.raises(BadInput, match="precious holds other things"):
        report(["main"], tmp_path / "precious", folder=runs)
    assert (tmp_path / "precious" / "thesis.tex").exists()


def test_an_unknown_run_is_named(tmp_path: Path):
    with pytest.raises(UnknownName, match="unknown run 'nowhere'"):
        report(["nowhere"], tmp_path / "out", folder=tmp_path / "runs")


def test_a_panel_stands_right_behind_the_one_that_it_names():
    after = {"b": "a", "a": "", "d": "c", "c": "b"}
    assert in_order(after) == ["a", "b", "c", "d"]
    # One more behind `a`: right behind it, before all that follows on `b`; equals go by name.
    assert in_order(after | {"z": "a"}) == ["a", "z", "b", "c", "d"]
    assert in_order(after | {"z": "a", "y": "a"}) == ["a", "y", "z", "b", "c", "d"]
    shuffled = dict(sorted((after | {"z": "a", "y": "a"}).items(), reverse=True))
    assert in_order(shuffled) == ["a", "y", "z", "b", "c", "d"]


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_a_panel_may_give_its_blocks_as_a_list_a_tuple_or_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, kind: Any
):
    monkeypatch.setattr(extensions, "names", lambda package: ["method"])
    monkeypatch.setattr(panels.method, "AFTER", "")
    monkeypatch.setattr(panels.method, "show", lambda material: kind([panels.Prose("one")]))
    (panel,) = write.assemble(panels.Material((), ()))
    assert panel.blocks == (panels.Prose("one"),)


@pytest.mark.parametrize("shown", [None, "text", {"a": "b"}])
def test_a_panel_that_shows_no_list_is_named(monkeypatch: pytest.MonkeyPatch, shown: Any):
    monkeypatch.setattr(extensions, "names", lambda package: ["method"])
    monkeypatch.setattr(panels.method, "AFTER", "")
    monkeypatch.setattr(panels.method, "show", lambda material: shown)
    with pytest.raises(BadInput, match=r"panel 'method': show\(\) returned .* must return list"):
        write.assemble(panels.Material((), ()))


def test_a_panel_behind_one_that_is_not_there_is_refused():
    with pytest.raises(UnknownName, match="unknown panel 'verdit'; did you mean 'verdict'"):
        in_order({"verdict": "", "mine": "verdit"})


def test_panels_behind_one_another_in_a_circle_are_refused():
    with pytest.raises(BadInput, match="circle: 'a' behind 'b', 'b' behind 'a'"):
        in_order({"verdict": "", "a": "b", "b": "a"})
    with pytest.raises(BadInput, match="'a' behind 'a'"):
        in_order({"a": "a"})


def test_pictures_and_tables_are_at_hand_beside_the_files(made: Report):
    assert {path.stem for path in (made.folder / "figures").glob("*.png")} == set(made.figures)
    assert {path.stem for path in (made.folder / "tables").glob("*.csv")} == set(made.tables)
    assert made.figures["scores"].axes
    assert set(made.tables["sources"].source) == {"features", "neurons", "planted", "shuffled"}


def test_the_summary_shows_text_as_text() -> None:
    spoof = "[x](http://evil)<img src=y> **b** | `c` \x1b[31m &lt; ~~d~~"
    written = _escaped(spoof)
    assert "\x1b" not in written
    for mark in "[]<>*|`~":
        assert all(written[place - 1] == "\\" for place, c in enumerate(written) if c == mark)
    assert "&amp;lt;" in written


def test_the_summary_keeps_commands_as_code_and_no_other_backticks() -> None:
    assert _escaped("(`autointerp plan --write main_1` first)") == (
        "(`autointerp plan --write main_1` first)"
    )
    assert _escaped("joined by `--group` *x*") == r"joined by `--group` \*x\*"
    assert _escaped("`autointerp <b>` and `rm`") == r"\`autointerp \<b\>\` and \`rm\`"
