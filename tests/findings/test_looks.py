"""The ledger of looks, and which interval a look carries."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support.fabricate import add_all_scores, add_scores, fabricate_run, make_older
from support.unit_scores import unit

import autointerp.findings.comparison as comparison_module
from autointerp.findings.answers import UnitScore
from autointerp.findings.comparison import compare
from autointerp.findings.looks import Compared, Look, compared_in, looks_of, read, stopped_at
from autointerp.findings.plan import Plan, Stopping, declare
from autointerp.questions.rubric_files import load_rubric
from autointerp.reports.panels.scorers import contrast_text
from autointerp.stats.sequential import (
    STOPPED_EARLY,
    Stop,
    boundaries,
    confidence_sequence_multiplier,
    repeated_interval,
)
from autointerp.stats.superiority import superiority
from autointerp.store.run import Run, open_run

RUBRIC = load_rubric("interpretability-1-5")
HIGH, LOW = [0, 1, 2, 3, 4], [4, 3, 2, 1, 0]  # ten units each
PLAN = Plan(("model:a",), RUBRIC.id, RUBRIC.digest, "features", "neurons", Stopping("fixed", 20))


@pytest.fixture
def run(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 80, "neurons": 80}, contexts=0) as opened:
        yield opened


def rate_ten(run: Run, start: int, first: list[int] = HIGH, second: list[int] = LOW) -> None:
    """Rate the next ten units of both sources."""
    add_scores(run, "features", "model:a", first, start=start, seed=start)
    add_scores(run, "neurons", "model:a", second, start=start, seed=start + 1)


def reading_of(run: Run):
    comparison = compare(run)
    (judgement,) = comparison.judgements
    return judgement.reading, judgement.primary, comparison


# ------------------------------------------------------------------------------ the ledger


def test_the_same_ratings_looked_at_twice_are_one_look_and_new_ones_another(run: Run):
    rate_ten(run, 0)
    first, primary, comparison = reading_of(run)
    assert (first.number, first.rule, first.multiplier) == (1, "undeclared", None)
    (look,) = comparison.looks
    assert (look.n, look.asked, look.verb, look.plan) == ((10, 10), (10, 10), "compare", "")
    assert (look.value, look.low, look.high) == (
        primary.superiority.value,
        primary.superiority.low,
        primary.superiority.high,
    )
    assert look.p == primary.test.p_value
    again, _, comparison = reading_of(run)
    assert (again, comparison.looks) == (first, (look,))
    rate_ten(run, 10)
    second, _, comparison = reading_of(run)
    assert second.number == 2
    assert [look.number for look in comparison.looks] == [1, 2]
    assert comparison.looks[0] == look  # a line stays as it was written


def test_every_pair_of_studied_sources_has_looks_of_its_own(tmp_path: Path):
    """New untrained units alone are a look at each pair of theirs, and none at the verdict's."""
    sources = {"features": 20, "neurons": 20, "untrained": 30}
    with fabricate_run(tmp_path, sources, contexts=0) as run:
        rate_ten(run, 0)
        for look in range(3):
            add_scores(run, "untrained", "model:a", LOW, start=10 * look, seed=9 + look)
            comparison = compare(run)
        (judgement,) = comparison.judgements
        assert judgement.reading.number == 1  # nothing new there
        assert not judgement.primary.superiority.method.startswith("asymptotic")
        of_pair = {
            pair: [look for look in comparison.looks if (look.first, look.second) == pair]
            for pair in {(look.first, look.second) for look in comparison.looks}
        }
        assert {pair: len(looks) for pair, looks in of_pair.items()} == {
            ("features", "neurons"): 1,
            ("features", "untrained"): 3,
            ("neurons", "untrained"): 3,
        }
        last = of_pair["features", "untrained"][-1]
        assert (last.number, last.n, last.rule) == (3, (10, 30), "undeclared")
        shown = judgement.beside.superiority
        # The harmonic mean of 10 and 30 units is 15.
        wide = float(confidence_sequence_multiplier(15))
        groups = judgement.groups["features"].scores, judgement.groups["untrained"].scores
        assert shown.low == pytest.approx(repeated_interval(*groups, wide).low)
        assert (shown.low, shown.high) == (last.low, last.high)
        assert judgement.beside.test.p_value == last.p
        (other,) = (
            c for c in judgement.contrasts if (c.first, c.second) == ("neurons", "untrained")
        )
        assert other.superiority.method.startswith("asymptotic confidence sequence")
        assert other.test.p_value == of_pair["neurons", "untrained"][-1].p
        # Looks at the verdict's pair widen it as before.
        rate_ten(run, 10)
        (later,) = compare(run).judgements
        assert later.reading.number == 2
        assert later.beside.superiority.method.startswith("asymptotic confidence sequence")


def test_a_failed_rating_that_is_made_up_for_is_a_new_look(run: Run):
    rate_ten(run, 0)
    add_scores(run, "neurons", "model:a", [0] * 5, missing={"failed": 3}, start=10)
    compare(run)
    add_scores(run, "neurons", "model:a", [3, 0, 0, 0, 0], start=10)
    looks = compare(run).looks
    assert [look.n for look in looks] == [(10, 10), (10, 13)]
    assert [look.asked for look in looks] == [(10, 13), (10, 13)]


def test_each_rater_and_rubric_has_looks_of_its_own(run: Run):
    rate_ten(run, 0)
    compare(run)
    add_all_scores(run, "model:b", {"features": HIGH, "neurons": LOW})
    comparison = compare(run)
    assert [(look.rater, look.number) for look in comparison.looks] == [
        ("model:a", 1),
        ("model:b", 1),
    ]
    assert all(judgement.reading.multiplier is None for judgement in comparison.judgements)


def test_a_run_that_cannot_be_written_is_compared_and_says_that_the_look_is_not_kept(
    run: Run, tmp_path: Path
):
    rate_ten(run, 0)
    run.close()
    with open_run("main", folder=tmp_path, read_only=True) as read_only:
        reading, _, comparison = reading_of(read_only)
        assert not reading.recorded
        assert [look.recorded for look in comparison.looks] == [False]
        assert looks_of(read_only) == []
    with open_run("main", folder=tmp_path) as written:
        reading, _, comparison = reading_of(written)
    assert (reading.recorded, reading.number) == (True, 1)
    assert comparison.looks[0].recorded


def test_a_run_of_a_version_without_ledger_is_read_with_nothing_declared(run: Run, tmp_path: Path):
    rate_ten(run, 0)
    make_older(run.connection, "TABLE look", "TABLE plan")
    run.close()
    with open_run("main", folder=tmp_path, read_only=True) as old:
        reading, _, comparison = reading_of(old)
    assert comparison.plan is None
    assert (reading.number, reading.recorded) == (1, False)


def test_one_source_alone_is_nothing_to_look_at(run: Run):
    add_scores(run, "features", "model:a", HIGH)
    comparison = compare(run)
    assert comparison.looks == ()
    assert comparison.judgements[0].reading is None


def test_what_rate_looks_at_is_what_a_report_looks_at(run: Run):
    add_scores(run, "features", "model:a", HIGH, missing={"refused": 2})
    add_scores(run, "features", "model:a", LOW, repeat=1)
    add_scores(run, "neurons", "model:a", LOW)
    compared = compared_in(run, RUBRIC.id, RUBRIC.digest, "model:a", ("features", "neurons"))
    (look,) = compare(run).looks
    assert (compared.digest, compared.n, compared.asked) == (look.digest, look.n, look.asked)
    assert (compared.asked, compared.repeats) == ((12, 10), 2)


# ------------------------------------------------------------------------------ without a plan


def test_from_the_second_undeclared_look_on_the_interval_is_the_confidence_sequences(run: Run):
    for start in (0, 10, 20):
        rate_ten(run, start)
        reading, primary, _ = reading_of(run)
    # The third look, at 30 units of each source: c of Waudby-Smith et al. at n = 30.
    c = float(confidence_sequence_multiplier(30))
    assert reading.multiplier == pytest.approx(c)
    group = compare(run).judgements[0].groups
    scores = group["features"].scores, group["neurons"].scores
    expected = repeated_interval(*scores, c)
    assert (primary.superiority.low, primary.superiority.high) == (expected.low, expected.high)
    assert primary.superiority.method.startswith("asymptotic confidence sequence")
    assert (primary.delta.low, primary.delta.high) == pytest.approx(
        (2 * expected.low - 1, 2 * expected.high - 1)
    )
    ordinary = superiority(*scores)
    assert expected.low < ordinary.low < ordinary.high < expected.high


def test_the_decision_follows_the_interval_of_the_look_it_is_made_at(tmp_path: Path):
    # 4, 6, 8, 10, 12 against the reverse: .70 [.58, .80]; by the sequence [.49, .85].
    first, second = [4, 6, 8, 10, 12], [12, 10, 8, 6, 4]
    half = [n // 2 for n in first], [n // 2 for n in second]
    rest = (
        [a - b for a, b in zip(first, half[0], strict=True)],
        [a - b for a, b in zip(second, half[1], strict=True)],
    )
    outcomes = {}
    for looks in (1, 2):
        units = {"features": 40, "neurons": 40}
        with fabricate_run(tmp_path / str(looks), units, contexts=0) as run:
            done = 0
            for part in (half, rest):
                add_all_scores(
                    run, "model:a", {"features": part[0], "neurons": part[1]}, start=done
                )
                done += sum(part[0])
                if looks == 2 or part is rest:
                    (judgement,) = compare(run).judgements
            contrast = judgement.primary
            outcomes[looks] = contrast.outcome
            out = contrast.superiority.low > 0.5
            assert (contrast.test.p_value <= 0.05) == out
    assert outcomes == {1: "higher", 2: "not resolved"}


def test_comparisons_with_controls_are_read_as_one_look(tmp_path: Path):
    units = {"features": 40, "neurons": 40, "other": 40, "planted": 6}
    with fabricate_run(tmp_path, units, contexts=0) as run:
        add_scores(run, "planted", "model:a", [0, 0, 0, 0, 6])
        for start in (0, 10):
            rate_ten(run, start)
            add_scores(run, "other", "model:a", LOW, start=start)
            (judgement,) = compare(run).judgements
    several = {
        (contrast.first, contrast.second)
        for contrast in judgement.contrasts
        if contrast.superiority.method.startswith("asymptotic")
    }
    assert several == {("features", "neurons"), ("features", "other"), ("neurons", "other")}


# ------------------------------------------------------------------------------ by a plan


def test_a_fixed_n_is_interim_before_it_and_ordinary_at_it_however_often_one_looked(run: Run):
    declare(run, PLAN)
    rate_ten(run, 0)
    reading, primary, _ = reading_of(run)
    assert reading.interim == "not at its declared n yet (10 of 20 units of each source)"
    assert (primary.interim, primary.outcome) == (reading.interim, "not resolved")
    rate_ten(run, 10)
    reading, primary, comparison = reading_of(run)
    assert (reading.rule, reading.number, reading.interim) == ("fixed", 2, "")
    assert reading.multiplier is None
    assert primary.outcome == "higher"
    assert comparison.judgements[0].verdict.declared
    assert {look.plan for look in comparison.looks} == {comparison.plan.digest}


def test_units_beyond_the_declared_n_are_a_deviation_and_read_as_undeclared(run: Run):
    declare(run, PLAN)
    for start in (0, 10, 20):
        rate_ten(run, start)
        reading, _, comparison = reading_of(run)
    assert reading.rule == "undeclared"
    assert reading.deviations == ("30 units of a source are asked about, not 20",)
    assert reading.multiplier == pytest.approx(float(confidence_sequence_multiplier(30)))
    assert not comparison.judgements[0].verdict.declared


def test_a_rater_that_the_plan_does_not_name_deviates_and_the_planned_one_does_not(run: Run):
    declare(run, PLAN)
    rate_ten(run, 0)
    rate_ten(run, 10)
    add_all_scores(run, "model:b", {"features": HIGH, "neurons": LOW})
    readings = {j.rater: j.reading for j in compare(run).judgements}
    assert readings["model:a"].declared
    assert readings["model:b"].deviations == ("the rater is model:b, not model:a",)


def test_tests_that_the_plan_declares_and_that_are_to_come_count_for_holm(run: Run):
    """Else what the first of two raters finds at p = 0.04 is taken back after the second."""
    declare(run, dataclasses.replace(PLAN, raters=("model:a", "model:b")))
    rate_ten(run, 0, [1, 2, 2, 2, 3], [3, 3, 2, 1, 1])
    rate_ten(run, 10, [1, 2, 2, 2, 3], [3, 3, 2, 1, 1])
    (alone,) = compare(run).judgements
    p = alone.primary.test.p_value
    assert 0.025 < p <= 0.05
    assert alone.primary.holm_p == pytest.approx(2 * p)
    assert alone.verdict.outcome == "not resolved"
    # At ten units of twenty, the second's is to come, too, however small its p.
    add_all_scores(run, "model:b", {"features": [0, 0, 0, 0, 10], "neurons": [10, 0, 0, 0, 0]})
    first, second = compare(run).judgements
    assert second.reading.interim
    assert second.primary.test.p_value < 0.001
    assert first.primary.holm_p == pytest.approx(2 * p)
    add_all_scores(
        run, "model:b", {"features": [0, 0, 0, 0, 10], "neurons": [10, 0, 0, 0, 0]}, start=10
    )
    first, second = compare(run).judgements
    assert first.primary.holm_p == pytest.approx(p)
    assert (first.verdict.outcome, second.verdict.outcome) == ("higher", "higher")


def test_a_rater_that_the_plan_does_not_name_takes_no_declared_finding_away(run: Run):
    declare(run, PLAN)
    for start in (0, 10):
        rate_ten(run, start, [1, 2, 2, 2, 3], [3, 3, 2, 1, 1])
        for rater in ("model:b", "model:c"):
            neither = {"features": [2, 2, 2, 2, 2], "neurons": [3, 2, 1, 1, 3]}
            add_all_scores(run, rater, neither, start=start)
    declared, *beside = compare(run).judgements
    p = declared.primary.test.p_value
    assert 0.025 < p <= 0.05
    assert declared.primary.holm_p == p
    assert declared.verdict.outcome == "higher"
    # They are adjusted among all three: p of both is larger than that of the first.
    smaller = min(one.primary.test.p_value for one in beside)
    assert smaller > p
    assert min(one.primary.holm_p for one in beside) == pytest.approx(min(1, 2 * smaller))


def test_a_rater_that_the_plan_does_not_name_waits_for_no_other(run: Run):
    declare(run, PLAN)
    add_all_scores(run, "model:b", {"features": HIGH, "neurons": LOW})
    (judgement,) = compare(run).judgements
    assert judgement.reading.deviations
    assert judgement.primary.holm_p == judgement.primary.test.p_value


def test_another_level_than_the_plans_is_a_deviation_and_its_own_is_the_default(run: Run):
    declare(run, dataclasses.replace(PLAN, alpha=0.1))
    rate_ten(run, 0)
    rate_ten(run, 10)
    comparison = compare(run)
    assert comparison.level == 0.9
    assert comparison.judgements[0].primary.superiority.level == 0.9
    assert compare(run, 0.95).judgements[0].reading.deviations == (
        "intervals are at 0.95, not 0.9",
    )


def test_the_plans_pair_is_primary_and_its_bounds_decide(tmp_path: Path):
    units = {"features": 20, "neurons": 20, "random": 20}
    with fabricate_run(tmp_path, units, contexts=0) as run:
        plan = dataclasses.replace(PLAN, first="neurons", second="random", equivalence=(0.1, 0.9))
        declare(run, plan)
        for source in units:
            add_scores(run, source, "model:a", [4, 4, 4, 4, 4])
        comparison = compare(run)
        (judgement,) = comparison.judgements
        assert (judgement.primary.first, judgement.primary.second) == ("neurons", "random")
        assert judgement.primary.outcome == "equivalent"
        assert comparison.primary == ("neurons", "random")


def test_half_of_the_declared_pair_is_compared_with_nothing(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 20, "planted": 20}, contexts=0) as run:
        declare(run, PLAN)
        add_all_scores(run, "model:a", {"features": [0, 0, 0, 0, 20], "planted": [0, 0, 0, 0, 20]})
        (judgement,) = compare(run).judgements
    assert judgement.decisive is None
    assert judgement.reading is None


def test_until_clear_spends_by_the_looks_that_were_taken_and_says_that_it_is_biased(run: Run):
    declare(run, dataclasses.replace(PLAN, stopping=Stopping("clear", 80)))
    rate_ten(run, 0)
    reading, primary, _ = reading_of(run)
    assert reading.interim.startswith("too early to look (10 scored units")
    rate_ten(run, 10)
    reading, _, _ = reading_of(run)
    # The look at 10 spent nothing: this is the first of those that do, at 20 of 80 units.
    assert reading.fractions == (0.25,)
    rate_ten(run, 20)
    reading, primary, comparison = reading_of(run)
    assert reading.fractions == (0.25, 0.375)
    assert reading.multiplier == pytest.approx(boundaries([0.25, 0.375])[-1])
    assert primary.superiority.method.startswith("repeated interval of look 2")
    assert reading.stopped.stop
    assert reading.bias == STOPPED_EARLY
    assert comparison.looks[-1].stopped
    rate_ten(run, 30)  # repeated intervals hold after a stop, too
    assert reading_of(run)[0].deviations == ()


def test_until_clear_stops_one_of_several_raters_where_holm_lets_its_finding_stand():
    def stop_of(raters: tuple[str, ...], wins: int) -> Stop:
        first, second = np.repeat([5.0, 1.0], [wins, 40 - wins]), np.repeat([5.0, 1.0], 20)
        ids = np.arange(40)
        compared = Compared(
            PLAN.rubric, PLAN.rubric_digest, "model:a", PLAN.first, PLAN.second, (ids, ids),
            (first, second), (40, 40), 1,
        )  # fmt: skip
        plan = dataclasses.replace(PLAN, raters=raters, stopping=Stopping("clear", 40))
        stopped = read(compared, plan, (), 0.95).stopped
        assert stopped is not None
        return stopped

    # P(superiority) with 29 of 40 against 20 of 40 is 0.61: p is 0.04 at the only look.
    assert stop_of(("model:a",), 29).stop
    both = stop_of(("model:a", "model:b"), 29)
    assert (both.stop, both.why) == (False, "the interval holds ½, at alpha over 2 raters")
    assert stop_of(("model:a", "model:b"), 32).stop


def test_until_narrow_decides_at_its_stop_and_going_on_deviates(run: Run):
    declare(run, dataclasses.replace(PLAN, stopping=Stopping("width", 70, 0.14)))
    stops = []
    for start in range(0, 70, 10):
        rate_ten(run, start)
        reading, primary, comparison = reading_of(run)
        stops.append(reading.stopped.stop if reading.stopped else None)
        if reading.rule == "width" and not stops[-1]:
            assert reading.interim
            assert primary.outcome == "not resolved"
        elif reading.rule == "width":
            assert primary.outcome == "higher"
            assert (primary.superiority.high - primary.superiority.low) / 2 <= 0.14
            assert primary.superiority.method.startswith("2.000 standard errors")
    first = stops.index(True)
    assert first >= 1  # not before 20 units a source
    at = stopped_at(comparison.looks)
    assert at == 10 * (first + 1)
    assert reading.deviations == (
        f"rating went on after the rule had stopped it at {at} units a source",
    )


# ------------------------------------------------------------------------------ error rates


def compared_of(x: np.ndarray, y: np.ndarray) -> Compared:
    ids = np.arange(len(x))
    return Compared(
        "rubric", "digest", "model:a", "features", "neurons", (ids, ids), (x, y),
        (len(x), len(y)), 1,
    )  # fmt: skip


def line(reading, compared: Compared) -> Look:
    """A line of the ledger, of which only the rule, the stop and the units are read."""
    stop = reading.stopped
    return Look(
        reading.number, "then", "rate", "rubric", "digest", "model:a", "features", "neurons",
        compared.n, compared.asked, 0.5, None, None, None, 0.95, "", reading.rule,
        bool(stop and stop.stop), "", str(reading.number), "",
    )  # fmt: skip


@pytest.mark.parametrize("stopping", [None, Stopping("clear", 100), Stopping("width", 100, 0.1)])
def test_null_looks_by_each_rule_rarely_leave_out_one_half(stopping: Stopping | None):
    # 200 nulls, 9 looks each at up to 100: at most 5 % err, 10 of 200; 18 are 2.6 deviations more.
    plan = Plan(
        ("model:a",), "rubric", "digest", "features", "neurons", stopping
    ) if stopping else None  # fmt: skip
    rng = np.random.default_rng(12)
    wrong = 0
    for _ in range(200):
        x, y = rng.integers(1, 6, (2, 100)).astype(float)
        before: list[Look] = []
        for n in range(20, 101, 10):
            compared = compared_of(x[:n], y[:n])
            reading = read(compared, plan, before, 0.95)
            before.append(line(reading, compared))
            interval = reading.interval(x[:n], y[:n])
            if not reading.interim and not interval.low <= 0.5 <= interval.high:
                wrong += 1
                break
            if reading.stopped and reading.stopped.stop:
                break
    assert wrong <= 18


def test_the_comparison_of_scored_descriptions_is_a_look_too(
    run: Run, monkeypatch: pytest.MonkeyPatch
):
    rate_ten(run, 0)
    scores: list[UnitScore] = []
    monkeypatch.setattr(comparison_module, "unit_scores", lambda run: scores)

    def score(n: int) -> None:
        scores.extend(unit(k, False, 0.6 + k / 100, "features") for k in range(n))
        scores.extend(unit(100 + k, False, 0.5 + k / 100, "neurons") for k in range(n))

    score(8)
    (first,) = compare(run).scorers
    assert (first.reading.number, first.reading.multiplier) == (1, None)
    assert compare(run).scorers[0].reading == first.reading
    scores.clear()
    score(12)
    comparison = compare(run)
    (second,) = comparison.scorers
    assert second.reading.number == 2
    assert second.contrast.method.startswith("asymptotic confidence sequence")
    assert contrast_text(second).count("look 2, undeclared") == 1
    assert "look" not in contrast_text(first)
    assert [(look.rater == "model:a", look.number) for look in comparison.looks] == [
        (True, 1),
        (False, 1),
        (False, 2),
    ]
