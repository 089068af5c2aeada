from dataclasses import replace

import pytest
from support.unit_scores import unit

from autointerp.findings import descriptions
from autointerp.findings.answers import ContextRating
from autointerp.findings.descriptions import scorer_results, specificity_results
from autointerp.findings.plan import Plan, Stopping
from autointerp.reports.panels.scorers import contrast_text


def permuted(values):
    (result,) = scorer_results([unit(n, True, value) for n, value in enumerate(values)])
    return result


def test_a_control_is_called_broken_only_where_it_is_shown_not_to_be_at_chance():
    assert permuted([0.2 + n / 100 for n in range(30)]).broken == ["features"]  # under chance too
    assert permuted([0.6 + n / 1000 for n in range(30)]).broken == ["features"]
    (result,) = scorer_results([unit(1, False, 0.9)])
    assert result.sources["features"].permuted_at_chance is None


def test_the_sources_that_the_run_s_plan_names_are_compared(monkeypatch):
    scores = {"features": 0.9, "neurons": 0.9, "untrained": 0.5}
    tried = [unit(100 * k + n, False, score + n / 100, source)
             for k, (source, score) in enumerate(scores.items()) for n in range(4)]  # fmt: skip
    plan = Plan(("a",), "r", "d", "features", "untrained", Stopping("fixed", 4))
    monkeypatch.setattr(descriptions, "unit_scores", lambda run: tried)
    monkeypatch.setattr(descriptions, "plan_of", lambda run: plan)
    (result,) = descriptions.scorer_results_of(None)
    assert (result.first, result.second) == ("features", "untrained")
    assert result.contrast.value == 1.0  # of neurons it would be 0.5
    assert "of a feature scores higher than that of an untrained feature" in contrast_text(result)
    assert scorer_results(tried)[0].contrast.value == 0.5


def test_a_control_at_chance_needs_units_enough_to_show_it():
    many = permuted([0.49, 0.51] * 100)
    assert many.sources["features"].permuted_at_chance.answer == "equivalent"
    assert (many.broken, many.too_few) == ([], [])
    for values in ([0.5], [0.48, 0.52], [0.3, 0.9, 0.95]):
        few = permuted(values)
        assert (few.broken, few.too_few) == ([], ["features"])


def test_the_control_of_shared_calls_allows_for_descriptions_that_are_tried_on_several_units():
    # In each call of 8 one description suits all texts, so all others have the same beside them.
    rows = {
        n: {m: 0.5 + 0.3 * (m % 8 == 0) - 0.3 * (m % 8 == 1) * (m // 8 % 2) for m in call if m != n}
        for call in (range(k, k + 8) for k in range(0, 48, 8))
        for n in call
    }
    means = {n: sum(row.values()) / len(row) for n, row in rows.items()}
    alone, together = (
        scorer_results(
            [replace(unit(n, True, means[n]), others=rows[n] if shared else {}) for n in rows]
        )[0].sources["features"]
        for shared in (False, True)
    )
    assert together.permuted.value == alone.permuted.value
    wider = together.permuted.high - together.permuted.low
    assert wider > 1.2 * (alone.permuted.high - alone.permuted.low)
    assert together.permuted_at_chance.mean.low < alone.permuted_at_chance.mean.low


def test_an_interval_stays_on_the_scale_without_being_cut():
    (result,) = scorer_results([unit(n, False, v) for n, v in enumerate([0.7, 0.8, 1, 1])])
    mean = result.sources["features"].scored
    # Student's t would give 0.875 ± 3.182 · 0.15 / 2, up to 1.11; cut off, it would end at 1.
    assert mean.low is not None
    assert mean.high is not None
    assert mean.low < 0.875 < mean.high < 1


def test_units_without_a_score_bound_the_contrast():
    scored = [unit(n, False, 0.9) for n in range(3)]
    scored += [unit(n + 10, False, 0.5, "neurons") for n in range(3)]
    (whole,) = scorer_results(scored)
    assert whole.bounds.missing == (0, 0)
    assert whole.bounds.worst.value == whole.bounds.best.value == whole.contrast.value == 1
    (result,) = scorer_results([*scored, unit(20, False, None, "neurons")])
    # The neuron without a score at 1 wins its 3 pairs of 12; at 0 it loses them.
    assert result.bounds.missing == (0, 1)
    assert (result.bounds.worst.value, result.bounds.best.value) == (0.75, 1)
    assert result.pairs.wins.value == 1
    neurons = result.sources["neurons"].bounds
    assert (neurons.worst.value, neurons.best.value) == (1.5 / 4, 2.5 / 4)


def test_features_and_neurons_are_compared_over_units():
    found = [unit(n, False, 0.9 + n / 100) for n in range(3)]
    found += [unit(n + 10, False, 0.5 + n / 100, "neurons") for n in range(3)]
    (result,) = scorer_results([*found, unit(20, False, None, "neurons")])
    assert result.contrast is not None
    assert result.contrast.value == 1
    assert result.sources["neurons"].outcomes == {"too few silent tokens": 1}


def test_shuffled_units_at_chance_or_of_another_source_make_no_noise():
    (result,) = scorer_results([unit(n, False, 0.53 + n / 100, "shuffled") for n in range(5)])
    assert result.noise is None  # too few to tell
    (result,) = scorer_results([unit(n, False, 0.9, "features") for n in range(5)])
    assert result.noise is None


def test_calls_that_brought_nothing_are_counted_by_status():
    (result,) = scorer_results([unit(n, False, 0.9) for n in range(3)])
    assert result.lost == {"failed": 3}


def rating(unit, kind, interval, score, source="features", status="ok", is_silent=None):
    activation = None if kind == "other" else float(interval or 0)
    silent = kind == "silent" if is_silent is None else is_silent
    return ContextRating(
        unit, source, False, "specificity-0-3", "digest", "e", "r", kind, silent, interval,
        activation, status, score,
    )  # fmt: skip


SCALES = {"digest": (0, 1, 2, 3)}


def specificity(ratings):
    (result,) = specificity_results(ratings, {}, SCALES)
    return result.sources["features"]


def test_contexts_of_others_count_only_where_the_unit_is_known_to_be_silent():
    own = [rating(n, "firing", 1, 3) for n in range(6)]
    unknown = [rating(n, "other", None, 3, is_silent=False) for n in range(6)]
    one = specificity([*own, *unknown])
    assert (one.other.value, one.over_other, one.unverified) == (None, None, 6)
    assert one.counts["other"] == 6  # still in the picture
    verified = [rating(n, "other", None, 0, is_silent=True) for n in range(6)]
    one = specificity([*own, *unknown, *verified])
    assert one.other.value == 0
    assert one.over_other.difference.value == 3
    assert one.unverified == 6


def test_own_contexts_and_the_control_are_compared_unit_by_unit():
    # Units differ a lot, each by as much on both: the two means overlap, the pairs do not.
    levels = [(1, 0), (2, 1), (3, 2)] * 4
    ratings = [rating(n, "firing", 1, own) for n, (own, _) in enumerate(levels)]
    ratings += [rating(n, "silent", None, low) for n, (_, low) in enumerate(levels)]
    one = specificity(ratings)
    assert one.plain.low < one.silent.high
    assert one.over_silent.difference.value == 1
    assert one.over_silent.test.p_value == 2 / 2**12  # all signs alike, of 12 that differ
    same = specificity([rating(n, kind, 1 if kind == "firing" else None, 1 + n % 3)
                        for n in range(12) for kind in ("firing", "silent")])  # fmt: skip
    assert same.over_silent.test.p_value == 1


def test_shares_and_means_by_hand():
    # Unit 1: interval 1 has 0, 3; interval 2 has 3. Unit 2: interval 1 has 1.
    ratings = [
        rating(1, "firing", 1, 0), rating(1, "firing", 1, 3), rating(1, "firing", 2, 3),
        rating(2, "firing", 1, 1), rating(1, "silent", None, 0),
        rating(1, "other", None, 1, is_silent=True),
        rating(2, "firing", 2, None, status="failed"),
    ]  # fmt: skip
    tokens = {1: (90.0, 10.0), 2: (50.0, 50.0)}
    (result,) = specificity_results(ratings, tokens, {"digest": (0, 1, 2, 3)})
    one = result.sources["features"]
    # Interval 1: unit 1 has shares ½ 0 0 ½, unit 2 has 0 1 0 0; every unit alike.
    assert one.shares[1] == pytest.approx([0.25, 0.5, 0, 0.25])
    assert one.shares[2] == pytest.approx([0, 0, 0, 1])
    assert one.counts == {"other": 1, "silent": 1, 1: 3, 2: 1}
    # Intervals alike: unit 1 (1.5 + 3)/2 = 2.25, unit 2 has 1. By tokens: 0.9·1.5 + 0.1·3 = 1.65.
    assert one.plain.value == pytest.approx((2.25 + 1) / 2)
    assert one.weighted.value == pytest.approx((1.65 + 1) / 2)
    assert (one.silent.value, one.other.value) == (0, 1)
    assert one.statuses == {"failed": 1, "ok": 6}
    assert one.not_silent == 1
    assert (result.levels, result.intervals) == ((0, 1, 2, 3), 2)


def test_without_any_score_a_mean_is_undefined_and_not_zero():
    (result,) = specificity_results(
        [rating(1, "firing", 1, None, status="failed")], {1: (1.0,)}, {"digest": (0, 1, 2, 3)}
    )
    one = result.sources["features"]
    assert one.plain.value is None
    assert one.plain.note
    assert one.shares == {}


def test_intervals_are_at_the_level_that_is_asked_for_and_the_control_is_tested_at_5_per_cent():
    scores = [unit(n, n > 5, 0.5 + n / 40) for n in range(12)]
    wide, usual = (scorer_results(scores, level=level)[0] for level in (0.99, 0.95))
    one, other = wide.sources["features"], usual.sources["features"]
    for figure in ("scored", "with_unknown", "permuted"):
        assert getattr(one, figure).level == 0.99
        assert getattr(one, figure).low < getattr(other, figure).low
    assert one.permuted_at_chance == other.permuted_at_chance
    ratings = [
        ContextRating(n, "features", False, "r", "digest", "e", "a", "firing", False, 1, 9, "ok", s)
        for n, s in enumerate((1, 2, 3, 3))
    ]
    (found,) = specificity_results(ratings, {}, SCALES, 0.99)
    assert found.sources["features"].plain.level == 0.99
