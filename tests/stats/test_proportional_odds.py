import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.stats.proportional_odds import proportional_odds


def drawn(seed, n, slopes, cuts):
    """Return levels that follow the model, and the design."""
    rng = np.random.default_rng(seed)
    design = rng.standard_normal((n, len(slopes)))
    latent = design @ np.array(slopes) + rng.logistic(size=n)
    levels = np.unique(np.searchsorted(np.array(cuts), latent), return_inverse=True)[1]
    return levels, design


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(60, 400),
    slopes=st.lists(st.floats(-1.5, 1.5), min_size=1, max_size=4),
    cuts=st.sampled_from([(0.0,), (-1.0, 0.0, 2.0), (-2.0, -1.0, 0.0, 1.0), tuple(range(-4, 5))]),
)
@settings(max_examples=25, deadline=None)
def test_slopes_and_errors_equal_statsmodels(seed, n, slopes, cuts):
    ordinal = pytest.importorskip("statsmodels.miscmodels.ordinal_model")
    levels, design = drawn(seed, n, slopes, cuts)
    fit = proportional_odds(levels, design)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = ordinal.OrderedModel(levels, design, distr="logit").fit(
            method="bfgs", maxiter=500, gtol=1e-9, disp=False
        )
    columns = len(slopes)
    assert fit.slopes == pytest.approx(other.params[:columns], abs=2e-3)
    assert fit.errors == pytest.approx(other.bse[:columns], rel=5e-3)


def test_two_groups_of_two_levels_have_the_odds_ratio_of_their_table():
    # 30 of 40 high against 10 of 40: odds 3 and 1/3, ratio 9; its error is the root of the sum of
    # the reciprocals, 1/30 + 1/10 + 1/10 + 1/30 (Woolf 1955).
    levels = np.repeat([1, 0, 1, 0], [30, 10, 10, 30])
    design = np.repeat([1.0, 0.0], 40)[:, None]
    fit = proportional_odds(levels, design)
    assert fit.slopes[0] == pytest.approx(np.log(9))
    assert fit.errors[0] == pytest.approx((2 / 30 + 2 / 10) ** 0.5)


@pytest.mark.parametrize(
    ("levels", "design"),
    [
        (np.repeat([0, 1], 20), np.repeat([0.0, 1.0], 20)[:, None]),  # separated
        (np.arange(40) % 3, np.ones((40, 1))),  # no other than the cuts
        (np.arange(40) % 3, np.repeat(np.arange(40.0)[:, None], 2, axis=1)),  # twice the same
    ],
)
def test_without_a_single_maximum_there_is_no_fit(levels, design):
    assert proportional_odds(levels, design) is None


def test_a_level_that_does_not_occur_is_refused():
    with pytest.raises(ValueError, match="each of them must occur"):
        proportional_odds(np.array([0, 2, 2, 0]), np.zeros((4, 1)))
