"""The cumulative logit model of raters, against R's `ordinal`, statsmodels and simulated truth."""

import numpy as np
import pytest

from autointerp.stats.rater_effects import drift, fit_ordered, rater_effects

# Randall 1989, bitterness of wine: nine judges, in turn two bottles of cold without contact, cold
# with contact, warm without, warm with.
WINE = np.array(
    [
        [2, 3, 3, 4, 4, 4, 5, 5],
        [1, 2, 1, 3, 2, 3, 5, 4],
        [2, 3, 3, 2, 5, 5, 4, 4],
        [3, 2, 3, 2, 3, 2, 5, 3],
        [2, 3, 4, 3, 3, 3, 3, 3],
        [3, 2, 3, 2, 2, 4, 5, 4],
        [1, 1, 2, 2, 2, 3, 2, 3],
        [2, 2, 2, 3, 3, 3, 3, 4],
        [1, 2, 3, 2, 3, 2, 4, 4],
    ]
)
WARM, CONTACT = np.tile([0, 0, 0, 0, 1, 1, 1, 1], 9), np.tile([0, 0, 1, 1, 0, 0, 1, 1], 9)
JUDGE = np.repeat(np.arange(9), 8)
DESIGN = np.stack([WARM, CONTACT], axis=1).astype(float)
ONE = np.zeros(72, dtype=np.int64)


def test_without_a_unit_effect_it_is_the_published_proportional_odds_fit():
    # Christensen 2019, "Cumulative link models for ordinal regression with the R package ordinal",
    # table of fm1: clm(rating ~ temp + contact, data = wine).
    fit = fit_ordered(WINE.ravel() - 1, np.arange(72), ONE, DESIGN, 1, unit_effect=False)
    assert fit.thresholds == pytest.approx([-1.3444, 1.2508, 3.4669, 5.0064], abs=1e-3)
    assert fit.beta == pytest.approx([2.5031, 1.5278], abs=1e-3)
    assert fit.error(2) == pytest.approx([0.5287, 0.4766], abs=1e-3)
    assert fit.log_likelihood == pytest.approx(-86.49, abs=0.01)


def test_with_a_unit_effect_it_is_the_published_mixed_fit():
    # The same, clmm(rating ~ temp + contact + (1 | judge)): temp 3.063 (0.595), contact 1.835
    # (0.513), variance of judges 1.28, thresholds -1.62, 1.51, 4.23, 6.09, log-likelihood -81.57 by
    # Laplace's approximation; quadrature moves the third digit.
    fit = fit_ordered(WINE.ravel() - 1, JUDGE, ONE, DESIGN, 1)
    assert fit.beta == pytest.approx([3.063, 1.835], abs=0.01)
    assert fit.error(2) == pytest.approx([0.595, 0.513], abs=0.01)
    assert fit.sigma**2 == pytest.approx(1.28, abs=0.02)
    assert fit.thresholds == pytest.approx([-1.62, 1.51, 4.23, 6.09], abs=0.02)
    assert fit.log_likelihood == pytest.approx(-81.57, abs=0.05)


def test_raters_as_columns_give_what_statsmodels_gives():
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    rng = np.random.default_rng(0)
    rater = np.tile([0, 1, 2], 60)
    y = np.searchsorted([-1, 0, 1.5], rng.logistic(size=180) - np.array([-0.7, 0, 0.7])[rater])
    own = fit_ordered(
        y, np.arange(180), rater, np.zeros((180, 0)), 3, spread=False, unit_effect=False
    )
    dummies = np.stack([rater == 1, rater == 2], axis=1).astype(float)
    other = OrderedModel(y, dummies, distr="logit").fit(method="bfgs", disp=False)
    # Severity is the negative of a coefficient; it is centred over raters.
    assert own.severity[0] - own.severity[1:] == pytest.approx(other.params[:2], abs=1e-3)
    assert own.log_likelihood == pytest.approx(other.llf, abs=1e-4)


CUTS = np.array([-2.0, -0.7, 0.6, 1.9])
SEVERITY, SPREAD = np.array([-1.0, 0.0, 1.0]), np.array([1.3, 1.0, 1 / 1.3])


def simulated(rng: np.random.Generator, units: int, missing: float = 0.0):
    """Return scores of three raters, and the units' groups, 0.8 apart in quality."""
    group = rng.integers(0, 2, units)
    quality = 1.5 * rng.standard_normal(units) + 0.8 * group
    scores = np.empty((units, 3))
    for k in range(3):
        cuts = CUTS.mean() + (CUTS - CUTS.mean()) / SPREAD[k] + SEVERITY[k]
        read = quality + rng.logistic(size=units)
        scores[:, k] = 1 + (read[:, None] > cuts).sum(axis=1)
    scores[rng.random(scores.shape) < missing] = np.nan
    return scores, ["features" if one else "neurons" for one in group]


NAMES = ["lenient", "middling", "severe"]
PAIR = ("features", "neurons")


def test_severity_spread_and_quality_are_those_that_were_simulated():
    scores, groups = simulated(np.random.default_rng(1), 3_000, missing=0.3)
    made = rater_effects(scores, groups, NAMES, PAIR)
    assert [e.severity.value for e in made.raters] == pytest.approx(SEVERITY, abs=0.12)
    assert [e.spread.value for e in made.raters] == pytest.approx(SPREAD, abs=0.08)
    assert made.unit_sd == pytest.approx(1.5, abs=0.1)
    assert made.odds_ratio.value == pytest.approx(np.exp(0.8), rel=0.2)
    full, _ = simulated(np.random.default_rng(1), 3_000)
    assert [e.mean for e in made.raters] == pytest.approx(full.mean(axis=0), abs=0.08)


def test_the_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(2)
    held = {"severity": [], "spread": [], "odds": []}
    for _ in range(80):
        made = rater_effects(*simulated(rng, 60, missing=0.2), NAMES, PAIR)
        for effect, severity, spread in zip(made.raters, SEVERITY, SPREAD, strict=True):
            held["severity"].append(effect.severity.low <= severity <= effect.severity.high)
            held["spread"].append(effect.spread.low <= spread <= effect.spread.high)
        held["odds"].append(made.odds_ratio.low <= np.exp(0.8) <= made.odds_ratio.high)
    assert all(np.mean(shares) > 0.9 for shares in held.values())  # nominal 0.95


def test_a_severe_rater_who_saw_more_neurons_does_not_move_the_sources():
    rng = np.random.default_rng(3)
    scores, _ = simulated(rng, 600)
    groups = ["features"] * 300 + ["neurons"] * 300
    quality_alike = scores[rng.permutation(600)]
    quality_alike[:200, 2] = np.nan  # the severe rater skipped features, the lenient one neurons
    quality_alike[400:, 0] = np.nan
    means = [np.nanmean(quality_alike[s]) for s in (slice(300), slice(300, 600))]
    assert means[0] - means[1] > 0.15
    ratio = rater_effects(quality_alike, groups, NAMES, PAIR).odds_ratio
    assert ratio.low < 1 < ratio.high


def test_raters_who_share_no_units_or_never_vary_are_left_out():
    scores, groups = simulated(np.random.default_rng(4), 60)
    more = np.column_stack([scores, np.full(60, 3.0), np.where(np.arange(60) < 19, 2.0, np.nan)])
    more[0, 4] = 5
    made = rater_effects(more, groups, [*NAMES, "flat", "brief"])
    assert made.left_out == ("flat", "brief")
    assert [effect.rater for effect in made.raters] == NAMES
    assert made.odds_ratio is None
    apart = np.full((60, 2), np.nan)
    apart[:30, 0], apart[30:, 1] = scores[:30, 0], scores[30:, 1]
    alone = rater_effects(apart, groups, ["a", "b"])
    assert alone.raters == ()
    assert "too few" in alone.note
    assert rater_effects(np.zeros((0, 0)), [], []).raters == ()
    with pytest.raises(ValueError, match="do not fit"):
        rater_effects(scores, groups, ["a"])


def test_scores_that_separate_raters_have_no_interval():
    scores = np.column_stack([np.tile([1.0, 2.0], 20), np.tile([4.0, 5.0], 20)])
    made = rater_effects(scores, ["features"] * 40, ["low", "high"])
    assert made.raters[0].severity.low is None
    assert "separate" in made.raters[0].severity.note


# ------------------------------------------------------------------------------ drift


def session(rng: np.random.Generator, n: int, slope: float):
    position = np.arange(n) / (n - 1)
    group = rng.integers(0, 2, n)
    read = 2 * group + slope * position + rng.logistic(size=n)
    return 1 + (read[:, None] > [-1, 0, 1.5, 3]).sum(axis=1), position, list(group)


def test_drift_is_found_and_its_size_is_that_which_was_simulated():
    made = drift(*session(np.random.default_rng(5), 2_000, 1.0))
    assert made.odds_ratio.low < np.e < made.odds_ratio.high
    assert made.test.p_value < 1e-6


def test_a_steady_person_is_called_drifting_in_one_session_of_twenty():
    rng = np.random.default_rng(6)
    p = [drift(*session(rng, 50, 0.0)).test.p_value for _ in range(150)]
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.085


def test_few_or_flat_ratings_say_nothing_of_drift():
    few = drift([1, 2, 3], [0, 0.5, 1], ["a"] * 3)
    assert "at least 30" in few.odds_ratio.note
    flat = drift([3] * 40, np.linspace(0, 1, 40), ["a"] * 40)
    assert flat.test.p_value is None
    still = drift([3, 4] * 20, np.zeros(40), ["a"] * 40)
    assert "one position" in still.test.note
    with pytest.raises(ValueError, match="positions"):
        drift([1], [0, 1], ["a"])
