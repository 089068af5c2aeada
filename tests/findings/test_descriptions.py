import pytest
from support.unit_scores import unit

from autointerp.findings.answers import ContextRating
from autointerp.findings.descriptions import scorer_results, specificity_results


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


def test_shuffled_units_at_chance_or_of_another_source_make_no_noise():
    (result,) = scorer_results([unit(n, False, 0.53 + n / 100, "shuffled") for n in range(5)])
    assert result.noise is None  # the interval reaches 0.5 ± 0.05
    (result,) = scorer_results([unit(n, False, 0.9, "features") for n in range(5)])
    assert result.noise is None


def test_calls_that_brought_nothing_are_counted_by_status():
    (result,) = scorer_results([unit(n, False, 0.9) for n in range(3)])
    assert result.lost == {"failed": 3}


def rating(unit, kind, interval, score, source="features", status="ok"):
    activation = None if kind == "other" else float(interval or 0)
    return ContextRating(
        unit, source, False, "specificity-0-3", "digest", "e", "r", kind, interval, activation,
        status, score,
    )  # fmt: skip


def test_shares_and_means_by_hand():
    # Unit 1: interval 1 has 0, 3; interval 2 has 3. Unit 2: interval 1 has 1.
    ratings = [
        rating(1, "firing", 1, 0), rating(1, "firing", 1, 3), rating(1, "firing", 2, 3),
        rating(2, "firing", 1, 1), rating(1, "silent", None, 0), rating(1, "other", None, 1),
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
