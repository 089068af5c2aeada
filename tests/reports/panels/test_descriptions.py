import json
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
from support.fabricate import fabricate_run
from support.loopback.server import LoopbackServer

from autointerp.errors import TooFewRatings
from autointerp.findings.answers import UnitScore
from autointerp.findings.descriptions import (
    scorer_results,
    scorer_results_of,
    specificity_results_of,
)
from autointerp.pipeline.describe import explain, score
from autointerp.pipeline.job import Job
from autointerp.pipeline.rate import rate
from autointerp.pipeline.report import report
from autointerp.questions.score import Design
from autointerp.raters import RaterOptions
from autointerp.reports.panels import Figure, Prose, Table, UnitBrowser, Verbatim, specificity
from autointerp.reports.panels import scorers as scores
from autointerp.store.run import open_run

WORD = "a </script> word"


@pytest.fixture(scope="module")
def tried_run(tiny_run, tmp_path_factory):
    """A copy of the tiny run, explained, scored and rated by `lexical`; read it only."""
    import shutil

    runs = shutil.copytree(tiny_run, tmp_path_factory.mktemp("tried") / "runs")
    score(Job(run="tiny", runs=runs, scorers=("detection", "simulation"), design=Design(6, 4)))
    rate(Job(run="tiny", runs=runs, rubric="specificity-0-3", contexts=20))
    return runs


def material(scorers=(), specificity=()):
    comparison = SimpleNamespace(run="main", scorers=scorers, specificity=specificity)
    return SimpleNamespace(comparisons=(comparison,), several_runs=False)


def material_of(run):
    return material(scorer_results_of(run), specificity_results_of(run))


def test_the_founding_figure_has_a_stack_for_every_source(tried_run):
    with open_run("tiny", folder=tried_run, read_only=True) as run:
        blocks = specificity.show(material_of(run))
        figures = [block for block in blocks if isinstance(block, Figure)]
        assert [figure.name for figure in figures] == ["specificity"]
        drawing = figures[0].draw()
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in drawing.axes]
    for source in ("features", "neurons", "planted", "random", "shuffled"):
        assert any(source in title for title in titles)
        assert source in figures[0].alt
    for axes in drawing.axes[:5]:  # stacks of 100 %, or nothing where nothing was rated
        tops = {}
        for bar in axes.patches:
            place = round(bar.get_x(), 3)
            tops[place] = max(tops.get(place, 0), bar.get_y() + bar.get_height())
        assert all(top == pytest.approx(1) or top == 0 for top in tops.values())
        assert any(tops.values())


def test_tables_hold_plain_and_weighted_means_and_the_shares(tried_run):
    with open_run("tiny", folder=tried_run, read_only=True) as run:
        tables = {b.name: b for b in specificity.show(material_of(run)) if isinstance(b, Table)}
    frame = tables["specificity"].frame.set_index("source")
    assert frame.loc["planted", "mean"] == 3
    assert {"mean_by_density", "silent", "other", "ratings_ok"} <= set(frame)
    shares = tables["specificity_shares"].frame
    total = shares[[f"share_{level}" for level in range(4)]].sum(axis=1)
    assert total.to_numpy() == pytest.approx(1)


def test_scores_stand_beside_their_controls(tried_run):
    with open_run("tiny", folder=tried_run, read_only=True) as run:
        blocks = scores.show(material_of(run))
    table = next(block for block in blocks if isinstance(block, Table))
    planted = table.frame.set_index(["scorer", "source"]).loc[("detection", "planted")]
    assert planted["score"] > 0.95
    assert planted["permuted_units"] == 4
    assert {"no_score", "calls", "spearman, weighted", "explained variance"} <= set(table.frame)
    figure = next(block for block in blocks if isinstance(block, Figure))
    assert "permuted" in figure.alt
    figure.draw()


def unit(number, permuted, value, source="features"):
    return UnitScore(
        number, source, source == "shuffled", "fuzzing", "a", "b", "20 of each kind", permuted,
        value,
        "ok" if value is not None else "too few silent tokens", 10, 9, {"ok": 1, "failed": 1},
    )  # fmt: skip


def test_a_scorer_that_does_not_fall_to_chance_is_called_broken():
    found = [unit(n, False, 0.9 + n / 100) for n in range(5)]
    found += [unit(n, True, 0.7 + n / 100) for n in range(5)]
    blocks = scores.show(material(scorer_results(found)))
    (warning,) = [b for b in blocks if isinstance(b, Prose) and b.tone == "warning"]
    assert "features still score 0.72" in warning.text
    (lost,) = [b for b in blocks if isinstance(b, Prose) and "10 failed" in b.text]
    assert "missing from the scores, not wrong" in lost.text


def test_results_of_several_designs_say_which_is_whose():
    few = [replace(unit(n, False, 0.9), design="5 of each kind") for n in range(3)]
    found = [*few, *(unit(n, False, 0.9) for n in range(3))]
    captions = [
        b.caption for b in scores.show(material(scorer_results(found)))
        if isinstance(b, Figure)
    ]  # fmt: skip
    assert [caption.partition(".")[0] for caption in captions] == [
        f"described by a, judged by b · {n} of each kind" for n in (20, 5)
    ]


def test_a_picture_of_controls_alone_has_their_scores_for_a_headline():
    both = [unit(n, False, 0.9, "shuffled") for n in range(3)]
    assert scores.finding(scorer_results(both)) == "Shuffled*: fuzzing 0.90"
    both += [unit(n + 9, False, 0.7) for n in range(3)]
    assert scores.finding(scorer_results(both)) == "Features: fuzzing 0.70"
    assert scores.finding(scorer_results([unit(1, False, None)])) == "No description has a score"


def test_shuffled_units_that_score_above_chance_call_the_scorer_broken():
    found = [unit(n, False, 0.6 + n / 100, "shuffled") for n in range(5)]
    blocks = scores.show(material(scorer_results(found)))
    (warning,) = [b for b in blocks if isinstance(b, Prose) and b.tone == "warning"]
    assert "shuffled units fire with no regard to the text and still score 0.62" in warning.text
    (result,) = scorer_results([unit(n, False, 0.53 + n / 100, "shuffled") for n in range(5)])
    assert result.noise is None  # the interval reaches 0.5 ± 0.05
    (result,) = scorer_results([unit(n, False, 0.9, "features") for n in range(5)])
    assert result.noise is None


def test_a_control_at_chance_and_one_too_uncertain_to_say_are_not():
    for values in ([0.48, 0.5, 0.52], [0.3, 0.9, 0.95], [0.56, 0.5, 0.57]):
        found = [unit(n, True, value) for n, value in enumerate(values)]
        (result,) = scorer_results(found)
        assert result.broken == []
    (result,) = scorer_results([unit(1, False, 0.9)])
    assert result.sources["features"].is_at_chance is None
    (under,) = scorer_results([unit(n, True, 0.2 + n / 100) for n in range(3)])
    assert under.broken == ["features"]  # what is reliably wrong knows something


def test_an_interval_ends_where_the_scale_does():
    # Student's t over 0.7, 0.8, 1 and 1: 0.875 ± 3.182 · 0.15 / 2 = 0.64 to 1.11.
    (result,) = scorer_results([unit(n, False, v) for n, v in enumerate([0.7, 0.8, 1, 1])])
    found = result.sources["features"].scored
    assert (found.low, found.high) == (pytest.approx(0.636, abs=1e-3), 1)


def test_features_and_neurons_are_compared_over_units():
    found = [unit(n, False, 0.9 + n / 100) for n in range(3)]
    found += [unit(n + 10, False, 0.5 + n / 100, "neurons") for n in range(3)]
    (result,) = scorer_results([*found, unit(20, False, None, "neurons")])
    assert result.contrast is not None
    assert result.contrast.value == 1
    assert result.sources["neurons"].outcomes == {"too few silent tokens": 1}


def test_runs_without_descriptions_have_no_such_panels(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as run:
        assert scores.show(material_of(run)) == []
        assert specificity.show(material_of(run)) == []


def test_the_report_carries_both(tried_run, tmp_path):
    made = report(["tiny"], tmp_path / "report", folder=tried_run)
    names = {panel.name for panel in made.panels}
    assert {"scores", "specificity"} <= names
    for name in ("specificity", "scorers"):
        assert (tmp_path / "report" / "figures" / f"{name}.png").exists()
        assert (tmp_path / "report" / "tables" / f"{name}.csv").exists()


def test_the_method_says_who_described_from_what_and_prints_what_was_asked(own_runs, tmp_path):
    with LoopbackServer() as server:
        options = RaterOptions(base_url=server.openai_url, structured="json_schema")
        for rater, with_effects in (("lexical", False), ("openai:m", True)):
            asked = {"options": options, "n": 2, "logit_effects": with_effects}
            explain(Job(rater=rater, run="tiny", runs=own_runs, **asked))
    made = report(["tiny"], tmp_path / "out", folder=own_runs)
    (method,) = [panel for panel in made.panels if panel.name == "method"]
    told = {b.lead: b.text for b in method.blocks if isinstance(b, Prose) and b.lead}
    plain, effects = told["lexical"], next(t for name, t in told.items() if "+logits" in name)
    units = "2 features, 2 neurons, 2 planted units, 2 random directions and 2 shuffled units"
    assert units in plain
    assert "logits" not in plain
    assert "of features, neurons and random directions, by the tokens" in effects
    assert "Planted units and shuffled units have none, so their items look other." in effects
    asked = {b.caption.split(",")[0]: b.text for b in method.blocks if isinstance(b, Verbatim)}
    assert "`promotes` lists the tokens" in asked["The instructions of explain-logits"]
    assert "`promotes`" not in asked["The instructions of explain"]
    assert '"fires"' in asked["An item of explain as it was shown"]


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
    assert [panel.name for panel in unrated.panels] == ["verdict", "cost", "method", "units"]
    (first,) = unrated.panels[0].blocks
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
