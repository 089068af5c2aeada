import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from autointerp.stats.logistic_curve import logistic_curve


def answers(n=80, seed=0, slope=1.5, intercept=-1.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(1.0, 1.3, n)
    return x, (rng.random(n) < 1 / (1 + np.exp(-(intercept + slope * x)))).astype(float)


def test_the_curve_is_that_of_statsmodels():
    x, y = answers()
    fit = sm.Logit(y, sm.add_constant(x)).fit(disp=False)
    curve = logistic_curve(x, y)
    assert curve.intercept == pytest.approx(fit.params[0], rel=1e-6)
    assert curve.slope.value == pytest.approx(fit.params[1], rel=1e-6)
    assert (curve.slope.low, curve.slope.high) == pytest.approx(fit.conf_int()[1], rel=1e-5)
    middle, low, high = curve.at([-1.0, 0.5, 2.0])
    predicted = fit.get_prediction(sm.add_constant(np.array([-1.0, 0.5, 2.0]))).summary_frame()
    assert middle == pytest.approx(predicted["predicted"].to_numpy(), rel=1e-5)
    assert (low < middle).all()
    assert (middle < high).all()


def test_the_middle_is_where_the_curve_is_one_half_and_its_ends_are_ends_of_the_band():
    curve = logistic_curve(*answers())
    # Fieller's ends are where the pointwise band for the log odds crosses 0.
    at, low, high = curve.at([curve.half.value, curve.half.low, curve.half.high])
    assert at[0] == pytest.approx(0.5)
    assert high[1] == pytest.approx(0.5, abs=1e-6)
    assert low[2] == pytest.approx(0.5, abs=1e-6)


def test_the_interval_of_the_slope_holds_the_truth_as_often_as_it_says():
    held = [logistic_curve(*answers(120, seed)).slope for seed in range(200)]
    share = np.mean([one.low <= 1.5 <= one.high for one in held])
    # 200 of 95 %: two standard errors are 3 %.
    assert 0.91 <= share <= 0.99


@pytest.mark.parametrize(
    ("x", "y", "why"),
    [
        ([], [], "no answers"),
        ([1, 2, 3], [1, 1, 1], "all answers are the same"),
        ([2, 2, 2], [0, 1, 1], "the same for all"),
        ([1, 2, 3, 4], [0, 0, 1, 1], "tells all answers apart"),
        ([1, 2, 2, 4], [1, 1, 0, 0], "tells all answers apart"),
        ([1, 2, 3, 4], [0, 1, 0, 1], "too few for a number: 4 pairs, at least 5 needed"),
    ],
)
def test_without_a_likeliest_curve_there_is_none_and_it_is_said(x, y, why):
    curve = logistic_curve(x, y)
    assert curve.slope.value is None
    assert why in curve.slope.note
    assert np.isnan(curve.at([0.0])[0]).all()


def test_few_answers_have_a_curve_without_an_interval():
    curve = logistic_curve([1, 2, 3, 4, 5], [0, 1, 0, 1, 0])
    assert curve.slope.value is not None
    assert curve.slope.low is None
    assert "5 pairs, 2 of the rarer" in curve.slope.note
    middle, low, _ = curve.at([curve.half.value])
    assert middle[0] == pytest.approx(0.5)
    assert np.isnan(low[0])


def test_answers_other_than_0_and_1_are_refused():
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        logistic_curve([1, 2], [0, 0.5])


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=2, max_size=40),
    st.floats(0.1, 100),
    st.floats(-50, 50),
)
def test_another_unit_of_x_leaves_the_fit_as_it_is(pairs, scale, shift):
    x, y = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs], float)
    moved = np.round(x, 3) * scale + shift
    one, other = logistic_curve(np.round(x, 3), y), logistic_curve(moved, y)
    assert (one.slope.value is None) == (other.slope.value is None)
    if one.slope.value is not None:
        assert other.slope.value * scale == pytest.approx(one.slope.value, rel=1e-4, abs=1e-6)
