"""Several runs on a page: the forest, the tables, and what is said where nothing can be."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from support.fabricate import add_all_scores, add_scores, fabricate_run

from autointerp.findings.across import across_runs
from autointerp.findings.comparison import compare
from autointerp.findings.looks import Declared
from autointerp.findings.sweep_plan import SweepPlan, declare_sweep
from autointerp.pipeline.looks import with_looks_across
from autointerp.reports.against import objections
from autointerp.reports.page import title
from autointerp.reports.panels import Figure, Material, Prose, Table, across, looks, verdict
from autointerp.store.run import open_run

HIGH, LOW = [1, 2, 4, 8, 10], [10, 8, 4, 2, 1]
CONTROLS = {"planted": [0, 0, 0, 0, 6], "shuffled": [6, 0, 0, 0, 0]}


def make_run(
    folder: Path,
    name: str,
    counts: Mapping[str, Sequence[int]],
    rater: str = "model:a",
    density: str = "density",
) -> None:
    every = {**counts, **CONTROLS}
    sizes = {source: sum(scores) for source, scores in every.items()}
    with fabricate_run(folder, sizes, name, contexts=0) as run:
        add_all_scores(run, rater, every)
        run.execute(f"UPDATE unit SET density = {density}")


def material(
    folder: Path,
    runs: Mapping[str, Any],
    groups: Any = None,
    density: str = "density",
    **raters: str,
) -> Material:
    """Return the material of runs; `density` is an expression over the columns of `unit`."""
    for name, counts in runs.items():
        make_run(folder, name, counts, raters.get(name, "model:a"), density)
    opened = [open_run(name, folder=folder, read_only=True) for name in runs]
    comparisons = [compare(run) for run in opened]
    made = Material(
        tuple(comparisons), tuple(opened), across=across_runs(comparisons, opened, groups)
    )
    for run in opened:
        run.close()
    return made


def text_of(shown: Material) -> str:
    return " ".join(f"{b.lead} {b.text}" for b in across.show(shown) if isinstance(b, Prose))


def test_two_runs_with_a_side_each_are_headed_by_their_contrast(tmp_path: Path):
    shown = material(tmp_path, {"a": {"features": HIGH}, "b": {"neurons": LOW}})
    expected = "Are features of a more interpretable than neurons of b? They score higher."
    assert title(shown) == expected
    said = " ".join(f"{b.lead} {b.text}" for b in verdict.show(shown) if isinstance(b, Prose))
    assert "than planted units" not in said
    assert "It is compared with the other runs below." in said
    assert "speaks of these runs" in text_of(shown)


def test_density_is_held_against_a_contrast_across_runs_that_is_the_answer(tmp_path: Path):
    def against(folder: str, runs: Mapping[str, Any], density: str = "density") -> str:
        found = objections(material(tmp_path / folder, runs, density=density))
        return {one.lead: one.text for one in found}.get("Density.", "")

    # Half of b's units fire as often as a's and score as they do; the rest fire more rarely and
    # score 1.
    equal, low = [0, 0, 5, 10, 15], [30, 0, 5, 10, 15]
    rare = (
        "CASE WHEN unit_id IN (SELECT unit_id FROM unit_rating WHERE score = 1) THEN 0.0005"
        " ELSE 0.01 END"
    )
    runs = {"a": {"features": [2 * n for n in equal]}, "b": {"neurons": low}}
    assert against("falls", runs, rare).startswith(
        "At like density no difference is resolved: 0.50 ["
    )
    assert against("falls-not", {"a": {"features": HIGH}, "b": {"neurons": LOW}}, "0.01") == ""
    refused = against("refused", {"a": {"features": HIGH}, "b": {"neurons": LOW}})
    assert refused == (
        "Features of a and neurons of b have too few units of like density to compare there."
    )
    unknown = against("unknown", {"a": {"features": HIGH}, "b": {"neurons": LOW}}, "NULL")
    assert "not compared at like density" in unknown
    same = {"a": {"features": LOW}, "b": {"neurons": LOW}}
    assert against("nothing", same) == ""  # no difference that density could explain


def test_many_contrasts_are_asked_about_and_not_answered_in_the_title(tmp_path: Path):
    shown = material(tmp_path, {name: {"features": HIGH} for name in "abc"})
    assert title(shown) == "Which of these units are more interpretable? a + b + c"


def test_the_forest_holds_every_contrast_and_is_drawn(tmp_path: Path):
    both = {"features": HIGH, "neurons": LOW}
    groups = {"topk": ["a", "b", "c"]}
    shown = material(tmp_path, {**dict.fromkeys("abc", both), "d": {"features": LOW}}, groups)
    blocks = across.show(shown)
    (figure,) = (block for block in blocks if isinstance(block, Figure))
    labels = [tick.get_text() for tick in figure.draw().axes[0].get_yticklabels()]
    assert labels == [
        "features of topk against features of d",
        "neurons of topk against features of d",
        *(f"features against neurons, {run}" for run in "abc"),
        "features against neurons, combined (topk)",
        "features against neurons, runs such as these (topk)",
    ]
    assert "features of d" in figure.alt
    assert "with its 95 % interval" in figure.caption  # the runs' plans may have other levels
    tables = {block.name: block for block in blocks if isinstance(block, Table)}
    assert all(tables[name].summary for name in ("across_runs", "within_runs"))
    assert list(tables["across_runs"].frame.over_first) == ["runs", "runs"]
    text = text_of(shown)
    assert "speaks of runs like these" in text
    assert "For runs such as these, each counted alike" in text


def test_runs_of_different_raters_say_why_they_are_not_compared(tmp_path: Path):
    runs = {"a": {"features": HIGH}, "b": {"neurons": LOW}}
    shown = material(tmp_path, runs, b="model:b")
    assert title(shown) == "How interpretable are these units? a + b"
    assert "Nothing to compare across runs." in text_of(shown)
    (table,) = (block for block in across.show(shown) if isinstance(block, Table))
    assert table.summary
    assert "scores of different raters are not compared" in table.rows[0][1]


def test_one_run_has_no_such_panel(tmp_path: Path):
    make_run(tmp_path, "a", {"features": HIGH})
    from autointerp.store.run import open_run

    with open_run("a", folder=tmp_path) as run:
        assert across.show(Material((compare(run),), (run,))) == []


def test_the_command_prints_compares_and_writes_contrasts(
    command_line: Callable[..., Any], tmp_path: Path
):
    for name, counts in (("a", {"features": HIGH}), ("b", {"neurons": LOW})):
        make_run(tmp_path / "runs", name, counts)
    result = command_line("report", "a", "b")
    assert result.code == 0, result.err
    assert "Features of a score higher than neurons of b: probability of superiority" in result.out
    folder = tmp_path / "reports" / "a+b"
    assert (folder / "figures" / "across_runs.svg").exists()
    summary = (folder / "summary.md").read_text("utf-8")
    assert "| features of a | neurons of b |" in summary
    printed = json.loads(command_line("report", "a", "b", "--json").out)
    assert printed["across"]["judged"][0]["contrasts"][0]["outcome"] == "higher"
    assert json.loads(command_line("report", "a", "--json").out)["across"] is None


def test_groups_that_cannot_be_are_refused_in_a_line(
    command_line: Callable[..., Any], tmp_path: Path
):
    for name in "ab":
        make_run(tmp_path / "runs", name, {"features": HIGH})
    for arguments, says in (
        (["a", "b", "--group", "topk"], "write NAME=RUN,RUN"),
        (["a", "b", "--group", "g=a,z"], "unknown run 'z'"),
        (["a", "--group", "g=a"], "name the others too"),
        (["a", "b", "--group", "g=a", "--group", "g=b"], "given twice"),
    ):
        result = command_line("report", *arguments)
        assert result.code == 2
        assert says in result.err
        assert not (tmp_path / "reports").exists()


def test_from_the_second_look_across_runs_on_it_says_what_holds_at_all_looks(tmp_path: Path):
    first = material(tmp_path, {"a": {"features": HIGH}, "b": {"neurons": LOW}})
    assert "which no run's plan declares. This is the first look at each of" in text_of(first)
    assert "2 looks could not be recorded" not in text_of(first)
    assert "1 look could not be recorded: no run concerned can be written." in text_of(first)
    with open_run("a", folder=tmp_path) as a, open_run("b", folder=tmp_path) as b:
        across_runs([compare(a), compare(b)], [a, b])
        add_scores(b, "neurons", "model:a", LOW, repeat=1, seed=5)
        comparisons = [compare(a), compare(b)]
        made = across_runs(comparisons, [a, b])
        comparisons = with_looks_across(comparisons, [a, b], made, lambda event: None)
        second = Material(tuple(comparisons), (a, b), across=made)
        (ledger,) = (b for b in looks.show(second) if isinstance(b, Table) and b.name == "looks")
    text = text_of(second)
    assert "1 of these 1 had a look before, on other ratings (up to 2 looks" in text
    assert "asymptotic confidence sequence" in text
    assert "could not be recorded" not in text
    (table,) = (b for b in across.show(second) if isinstance(b, Table) and b.name == "across_runs")
    assert table.rows[0][-1] == "2"
    # The two looks across runs stand once each, with the runs whose ledgers hold them.
    both = [row for row in ledger.rows if row[0] == "a, b"]
    assert [row[1] for row in both] == ["1", "2"]


def test_a_sweeps_plan_is_named_before_any_look_that_it_declares(tmp_path: Path):
    make_run(tmp_path, "sw.a", {"features": HIGH})
    make_run(tmp_path, "sw.b", {"features": LOW})
    with open_run("sw.a", folder=tmp_path) as a, open_run("sw.b", folder=tmp_path) as b:
        comparisons, opened = [compare(a), compare(b)], [a, b]

        def said() -> str:
            made = across_runs(comparisons, opened)
            return text_of(Material(tuple(comparisons), tuple(opened), across=made))

        assert "a sweep whose plan" not in said()
        of_one = {"sw.a": "1", "sw.c": "3"}
        plan = SweepPlan("other", (), "a", "model:a", "r", "d", 50, 10, 0, of_one)
        declare_sweep(plan, tmp_path, ())
        assert "a sweep whose plan" not in said()
        plan = replace(plan, name="sw", settings={**of_one, "sw.b": "2"})
        digest = declare_sweep(plan, tmp_path, ()).digest[:12]
        assert f"of a sweep whose plan ({digest}) declares a fixed n" in said()


def test_what_a_sweeps_plan_declares_is_said_to_be_so_by_a_report_of_its_runs(tmp_path: Path):
    make_run(tmp_path, "a", {"features": HIGH})
    make_run(tmp_path, "b", {"features": LOW})
    with open_run("a", folder=tmp_path) as a, open_run("b", folder=tmp_path) as b:
        comparisons, opened = [compare(a), compare(b)], [a, b]

        def said(declares: Any = None) -> str:
            made = across_runs(comparisons, opened, declares=declares)
            return text_of(Material(tuple(comparisons), tuple(opened), across=made))

        plan = Declared("d" * 64, (25, 25))
        assert "the sweep's plan declares with a fixed n" in said(lambda *arms: plan)
        text = said()  # the same ratings: the ledgers hold the look
        assert "which no run's plan declares. 1 of them is declared by a sweep's plan" in text
        assert f"({'d' * 12})" in text
        assert "`autointerp sweep FILE --no-rate`" in text
        strayed = Declared("e" * 64, (25, 25), ("rater is b, not a",))
        a.execute("UPDATE rating SET score = 5 WHERE score = 4")
        comparisons[0] = compare(a)
        said(lambda *arms: strayed)
        assert "declared by a sweep's plan" not in said()
