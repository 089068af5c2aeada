from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.stats import stacked
from autointerp.stats.ranks import auc
from autointerp.stats.stacked import auc_gain, cross_validated, fit, normal_scores, out_of_fold


def planted(seed: int, n: int = 120) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return scores of three judges, the class of each unit, and folds: the first judge tells much,
    the second a little, the third the contrary of the truth."""
    rng = np.random.default_rng(seed)
    first = np.arange(n) % 3 == 0
    signal = np.where(first, 1.0, -1.0)[:, None] * np.array([1.2, 0.6, -0.5])
    return signal + rng.normal(size=(n, 3)), first, [place % 10 for place in range(n)]


def test_without_a_pull_the_weights_are_those_of_a_weighted_logistic_regression(
    monkeypatch: pytest.MonkeyPatch,
):
    import statsmodels.api as sm

    monkeypatch.setattr(stacked, "RIDGE", 0.0)
    scores, first, _ = planted(1)
    scores = scores[:, :2]
    weights = np.where(first, 0.5 / first.sum(), 0.5 / (~first).sum())
    design = np.column_stack([np.ones(len(scores)), scores])
    model = sm.GLM(first.astype(float), design, sm.families.Binomial(), freq_weights=weights)
    expected = model.fit().params
    found = fit(scores, first, 0.0)
    assert [found.intercept, *found.weights] == pytest.approx(list(expected), abs=1e-4)


def test_no_weight_is_negative_and_a_judge_of_the_contrary_gets_none():
    scores, first, folds = planted(2)
    found, _ = cross_validated(scores, first, folds)
    assert min(found.weights) >= 0
    assert found.weights[2] < 0.1 * found.weights[0]
    assert found.weights[0] > found.weights[1]


def test_two_judges_that_say_the_same_share_one_weight():
    scores, first, _ = planted(3)
    found = fit(scores[:, [0, 0]], first, 0.03)
    assert found.weights[0] == pytest.approx(found.weights[1], rel=1e-3)


@given(st.integers(0, 2**32 - 1), st.integers(0, 1))
def test_a_better_value_of_any_judge_never_lowers_the_whole(seed: int, judge: int):
    scores, first, _ = planted(seed, 30)
    model = fit(scores[:, :2], first, 0.03)
    better = scores[:, :2].copy()
    better[:, judge] += 1.0
    assert (model.probability(better) >= model.probability(scores[:, :2])).all()


def test_complete_separation_leaves_the_weights_finite():
    first = np.arange(20) < 8
    model = fit(np.where(first, 1.0, -1.0)[:, None], first, 0.03)
    assert 0 < model.weights[0] < 100
    assert model.probability([[1.0]])[0] > 0.9


def test_a_unit_is_predicted_without_the_units_of_its_fold():
    scores, first, folds = planted(4, 60)
    told = out_of_fold(scores, first, folds, 0.03)
    turned = first.copy()
    turned[7] = not turned[7]  # what one unit is, its own prediction cannot know
    again = out_of_fold(scores, turned, folds, 0.03)
    assert again[7] == told[7]
    assert not np.array_equal(again, told)


def test_a_fold_without_the_other_class_elsewhere_is_not_predicted():
    told = out_of_fold([[0.0], [1.0], [2.0]], [True, False, False], [0, 1, 1], 0.03)
    assert math.isnan(told[0])
    assert math.isnan(told[1])


@pytest.mark.parametrize("first", [[True, True], [False, False]])
def test_one_class_alone_teaches_nothing(first: list[bool]):
    with pytest.raises(ValueError, match="both classes"):
        fit([[0.0], [1.0]], first, 0.03)
    with pytest.raises(ValueError, match="both groups"):
        auc_gain([0.0, 1.0], [0.0, 1.0], first)


def test_normal_scores_are_symmetric_and_share_ties():
    # Of 3 values the shares are (0.5 + 0.5)/4, (1.5 + 0.5)/4, (2.5 + 0.5)/4.
    z = normal_scores([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert z == pytest.approx([-0.6744898, 0.0, 0.6744898])  # quartiles of the normal
    assert normal_scores([5.0], [5.0, 5.0, 5.0])[0] == pytest.approx(0.0)
    # Beyond all of the reference: (0 + 0.5)/4 and (3 + 0.5)/4.
    ends = normal_scores([-9.0, 9.0], [1.0, 2.0, 3.0])
    assert ends == pytest.approx([-1.1503494, 1.1503494])


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20), st.floats(-5, 5), st.floats(0, 5))
def test_normal_scores_keep_the_order(reference: list[float], value: float, step: float):
    low, high = normal_scores([value, value + step], reference)
    assert low <= high


def test_the_gain_is_the_difference_of_the_areas_with_delongs_interval():
    # Placements by hand, over = first two. One score separates all: areas 1. The other has
    # 3 > 1, 3 > 2, 1.5 > 1, 1.5 < 2: area 3/4; placements 1 and 1/2 above, 1 and 1/2 below.
    one = [9.0, 8.0, 1.0, 2.0]
    other = [3.0, 1.5, 1.0, 2.0]
    over = [True, True, False, False]
    gain = auc_gain(one, other, over)
    assert gain.value == 0.25 == auc([9, 8], [1, 2]) - auc([3, 1.5], [1, 2])
    # Differences 0 and 1/2 in either group: variance 1/8 each, over 2 units: 1/16 + 1/16.
    assert gain.low == pytest.approx(0.25 - 1.959964 * math.sqrt(0.125))
    assert gain.high == pytest.approx(0.25 + 1.959964 * math.sqrt(0.125))


def test_the_gain_of_a_score_over_itself_is_nothing():
    rng = np.random.default_rng(5)
    scores = rng.normal(size=30)
    gain = auc_gain(scores, scores, np.arange(30) < 10)
    assert (gain.value, gain.low, gain.high) == (0.0, 0.0, 0.0)
