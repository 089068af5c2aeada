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


def material(folder: Path, scores: Mapping[str, list[int]], density: str = "density") -> Material:
    """Return the material of a run of one rater; `density` is an expression over table `unit`."""
    units = {source: sum(counts) for source, counts in scores.items()}
    with fabricate_run(folder, units, contexts=0) as run:
        add_all_scores(run, "model:x", scores)
        run.execute(f"UPDATE unit SET density = {density}")
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


def test_a_difference_that_does_not_matter_is_not_called_unresolved(tmp_path: Path):
    # 8 of 150 untrained features are lower: ½ + 8/300, an interval from above ½ to below 0.55.
    features, untrained = [0, 0, 0, 0, 150], [8, 0, 0, 0, 142]
    arms = {"features": features, "neurons": LOW, "untrained": untrained, **CONTROLS}
    shown = material(tmp_path, arms)
    (judgement,) = shown.judgements
    baseline = judgement.baseline
    assert baseline is not None
    assert baseline.outcome == "equivalent"
    assert 0.5 < baseline.superiority.low < baseline.superiority.high < 0.55
    first = answer(shown)
    assert first is not None
    claim = "Features score higher than neurons, but about as high as untrained features."
    assert (first.claim, first.tone) == (claim, "plain")
    told = dict(first.against)["An untrained model comes as far."]
    assert told.startswith("Features and untrained features score alike: ")
    assert title(shown).endswith("They score higher, but about as high as the untrained features.")
    against = next(p for p in verdict(judgement, shown) if p.lead == "Against untrained features.")
    assert "an untrained model's features score alike." in against.text


def test_a_finding_that_does_not_survive_at_like_density_says_so_on_every_face(tmp_path: Path):
    # Half of the untrained features score 1 and fire far more rarely than any feature; the others
    # fire as often as features and score as they do.
    features, untrained = [0, 0, 10, 20, 30], [30, 0, 5, 10, 15]
    arms = {"features": features, "neurons": LOW, "untrained": untrained, **CONTROLS}
    rare = (
        "CASE WHEN unit_id IN (SELECT unit_id FROM unit_rating WHERE source = 'untrained'"
        " AND score = 1) THEN 0.0005 ELSE 0.01 END"
    )
    shown = material(tmp_path / "rare", arms, rare)
    (judgement,) = shown.judgements
    assert judgement.survives_baseline
    assert judgement.survives_at_like_density is False
    assert judgement.baseline is not None
    assert judgement.baseline.adjusted is not None
    assert judgement.baseline.adjusted.superiority.value == 0.5
    first = answer(shown)
    assert first is not None
    assert first.against[0][0] == "An untrained model may come as far at like density."
    assert first.against[0][1].startswith(
        "Against untrained features of like density no difference is resolved: 0.50 ["
    )
    assert first.against[0][1].endswith("on 60 of 60 features and 30 of 60 untrained features.")
    (told,) = [p for p in verdict(judgement, shown) if p.lead == "Against untrained features."]
    assert "At like density the probability of superiority is 0.50 [" in told.text
    assert told.text.endswith("against this baseline, but not among units of like density.")

    shown = material(tmp_path / "alike", {**arms, "untrained": [20, 20, 10, 5, 5]}, "0.01")
    (judgement,) = shown.judgements
    assert judgement.survives_at_like_density is True
    first = answer(shown)
    assert first is not None
    assert not [lead for lead, _ in first.against if lead.startswith("An untrained model")]
    (told,) = [p for p in verdict(judgement, shown) if p.lead == "Against untrained features."]
    assert told.text.endswith("What is found above holds against this baseline.")


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
