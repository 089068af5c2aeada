"""A headline must survive the untrained baseline, on every face of a report."""

import io
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console
from support.fabricate import add_all_scores, fabricate_run

from autointerp.apps.cli._summary import summary
from autointerp.findings.comparison import compare
from autointerp.findings.json_values import plain
from autointerp.reports.answer import answer
from autointerp.reports.page import title
from autointerp.reports.panels import Material
from autointerp.reports.panels.scores import heading
from autointerp.reports.panels.verdict import verdict

HIGH, LOW, FLAT = [0, 0, 5, 10, 15], [15, 10, 5, 0, 0], [6, 6, 6, 6, 6]
TOP = [0, 0, 0, 0, 30]
CONTROLS = {"planted": [0, 0, 0, 0, 6], "shuffled": [6, 0, 0, 0, 0]}


def material(folder: Path, scores: Mapping[str, list[int]]) -> Material:
    units = {source: sum(counts) for source, counts in scores.items()}
    with fabricate_run(folder, units, contexts=0) as run:
        add_all_scores(run, "model:x", scores)
        return Material((compare(run),), (run,))


CASES = {
    "survives": (LOW, ", and than untrained features", True, "good"),
    "alike": (HIGH, ", but whether higher than untrained features is not resolved", False, "plain"),
    "lower": (TOP, ", but lower than untrained features", False, "plain"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_claim_says_whether_it_survives(case: str, tmp_path: Path):
    untrained, words, survives, tone = CASES[case]
    arms = {"features": HIGH, "neurons": LOW, "untrained": untrained}
    shown = material(tmp_path, {**arms, **CONTROLS})
    (judgement,) = shown.judgements
    assert judgement.survives_baseline is survives
    first = answer(shown)
    assert first is not None
    assert (first.claim, first.tone) == (f"Features score higher than neurons{words}.", tone)
    assert any(line.startswith("Against untrained features it is ") for line in first.support)
    leads = {
        "alike": "An untrained model may come as far.",
        "lower": "An untrained model comes as far.",
    }
    told = [lead for lead, _ in first.against if lead.startswith("An untrained model")]
    assert told == ([] if survives else [leads[case]])

    found, *rest = verdict(judgement, shown)
    assert found.lead.startswith(f"Features score higher than neurons{words}: ")
    assert found.tone == tone
    (against,) = [part for part in rest if part.lead == "Against untrained features."]
    assert against.tone == ("plain" if survives else "warning")
    assert heading(judgement) + "." == found.lead
    assert ("but that is not shown against the untrained features" in title(shown)) is not survives
    assert plain(judgement)["survives_baseline"] is survives

    console = Console(width=100, record=True, file=io.StringIO())
    console.print(summary(judgement, shown, 100))
    printed = " ".join(console.export_text().split())
    assert f"Features score higher than neurons{words}" in printed
    assert ("Against untrained features. " in printed) is not survives  # warnings are printed


def test_without_the_baseline_nothing_changes(tmp_path: Path):
    shown = material(tmp_path, {"features": HIGH, "neurons": LOW, **CONTROLS})
    (judgement,) = shown.judgements
    assert judgement.survives_baseline is None
    first = answer(shown)
    assert first is not None
    assert first.claim == "Features score higher than neurons."
    assert not any("untrained" in line for line in first.support)


def test_where_nothing_scores_higher_nothing_has_to_survive(tmp_path: Path):
    shown = material(tmp_path, {"features": LOW, "neurons": HIGH, "untrained": HIGH, **CONTROLS})
    (judgement,) = shown.judgements
    assert judgement.survives_baseline is None
    # The contrast is there all the same.
    leads = [part.lead for part in verdict(judgement, shown)]
    assert "Against untrained features." in leads


def test_without_neurons_the_baseline_is_the_verdict_itself(tmp_path: Path):
    shown = material(tmp_path, {"features": HIGH, "untrained": LOW, **CONTROLS})
    (judgement,) = shown.judgements
    assert (judgement.verdict.first, judgement.verdict.second) == ("features", "untrained")
    assert judgement.survives_baseline is None
    first = answer(shown)
    assert first is not None
    assert first.claim == "Features score higher than untrained features."
