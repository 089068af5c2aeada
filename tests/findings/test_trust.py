"""Which side of the limits the controls are on, and what the verdict speaks of."""

from pathlib import Path

import pytest
from support.fabricate import add_all_scores, fabricate_run

from autointerp.findings.comparison import compare
from autointerp.findings.groups import Judgement
from autointerp.reports.words import trust_text


def judged(folder: Path, counts: dict[str, list[int]]) -> Judgement:
    units = {source: sum(scores) for source, scores in counts.items()}
    with fabricate_run(folder, units, contexts=0) as run:
        add_all_scores(run, "model:a", counts)
        (judgement,) = compare(run).judgements
    return judgement


HIGH, LOW = [0, 0, 0, 0, 6], [6, 0, 0, 0, 0]
PAIR = {"features": HIGH, "neurons": LOW}


def test_a_quarter_of_the_scale_at_either_end_is_floor_and_ceiling(tmp_path: Path):
    # 1 to 5: the floor ends at 1 + 0.25 · 4 = 2, the ceiling begins at 5 - 0.25 · 4 = 4.
    trust = judged(tmp_path, PAIR | {"planted": [0, 0, 0, 6, 0], "shuffled": [0, 6, 0, 0, 0]}).trust
    assert trust.state == "held"
    assert {(c.control, c.end, c.limit, c.state) for c in trust.controls} == {
        ("shuffled", "floor", 2.0, "held"),
        ("planted", "ceiling", 4.0, "held"),
    }


def test_a_mean_at_the_floor_whose_interval_goes_beyond_is_said_to_be_unsure(tmp_path: Path):
    few, many = [[5, 0, 0, 0, 0], [40, 0, 0, 0, 0]]
    for n, (shuffled, is_sure) in enumerate(((few, False), (many, True))):
        folder = tmp_path / str(n)
        folder.mkdir()
        trust = judged(folder, PAIR | {"planted": many[::-1], "shuffled": shuffled}).trust
        assert trust.state == "held"
        assert [check.is_sure for check in trust.controls] == [is_sure, True]
        floor, ceiling = trust_text(trust).split(" 'planted'")
        assert ceiling.endswith(": at the ceiling.")
        unsure = " (2.00 or less) by its mean, but too few units to be sure"
        assert floor.endswith(f" units: at the floor{'' if is_sure else unsure}.")


@pytest.mark.parametrize(
    ("planted", "shuffled", "states"),
    [
        (HIGH, [3, 0, 3, 0, 0], ("held", "held")),  # a mean of exactly 2
        (HIGH, [2, 0, 4, 0, 0], ("broken", "held")),
        ([0, 0, 4, 0, 2], LOW, ("held", "broken")),
        (LOW, HIGH, ("broken", "broken")),
    ],
)
def test_a_control_that_is_not_where_it_must_be_breaks_the_trust(
    tmp_path: Path, planted: list[int], shuffled: list[int], states: tuple[str, str]
):
    judgement = judged(tmp_path, PAIR | {"planted": planted, "shuffled": shuffled})
    assert tuple(c.state for c in judgement.trust.controls) == states
    expected = "broken" if "broken" in states else "held"
    assert judgement.trust.state == judgement.verdict.trust == expected


def test_four_units_of_a_control_cannot_say_and_a_broken_one_weighs_more(tmp_path: Path):
    trust = judged(tmp_path / "few", PAIR | {"planted": HIGH, "shuffled": [4, 0, 0, 0, 0]}).trust
    floor = trust.controls[0]
    assert (trust.state, floor.state, floor.n, floor.mean) == ("unknown", "unknown", 4, None)
    trust = judged(tmp_path / "none", PAIR | {"planted": LOW}).trust
    assert (trust.state, trust.controls[0].n) == ("broken", None)


def test_the_verdict_speaks_of_the_primary_contrast_undeclared_without_a_plan(tmp_path: Path):
    verdict = judged(tmp_path, PAIR | {"other": [3, 3, 0, 0, 0]}).verdict
    assert (verdict.outcome, verdict.first, verdict.second) == ("higher", "features", "neurons")
    assert not verdict.declared


def test_without_the_declared_pair_it_speaks_of_what_is_studied(tmp_path: Path):
    judgement = judged(tmp_path, {"neurons": LOW, "other": HIGH, "planted": HIGH})
    verdict = judgement.verdict
    assert (verdict.outcome, verdict.first, verdict.second) == ("lower", "neurons", "other")
    assert not verdict.declared
    assert judgement.decisive is not None


def test_a_source_alone_gets_no_verdict_against_a_control(tmp_path: Path):
    judgement = judged(tmp_path, {"features": LOW, "planted": HIGH, "random": LOW})
    assert judgement.verdict.outcome == "nothing to compare"
    assert (judgement.verdict.first, judgement.decisive) == (None, None)
    assert judgement.contrasts  # with the controls, in the table of pairs


def test_one_source_alone_is_nothing_to_compare(tmp_path: Path):
    judgement = judged(tmp_path, {"features": HIGH})
    assert judgement.verdict.outcome == "nothing to compare"
    assert judgement.decisive is None


@pytest.mark.parametrize(
    ("features", "neurons", "outcome"),
    [
        ([0, 0, 0, 0, 4], [0, 0, 0, 0, 4], "not resolved"),
        ([1, 0, 0, 0, 2], [2, 0, 0, 0, 1], "not resolved"),
        ([20, 20, 20, 20, 20], [20, 20, 20, 20, 20], "not resolved"),
        ([0, 0, 10, 20, 20], [20, 20, 10, 0, 0], "higher"),
        ([20, 20, 10, 0, 0], [0, 0, 10, 20, 20], "lower"),
    ],
)
def test_the_declared_rule_decides_the_outcome(
    tmp_path: Path, features: list[int], neurons: list[int], outcome: str
):
    assert judged(tmp_path, {"features": features, "neurons": neurons}).verdict.outcome == outcome
