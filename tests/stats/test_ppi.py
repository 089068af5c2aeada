from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from autointerp.errors import TooFewRatings
from autointerp.people.plans import draw_for_people
from autointerp.stats import ppi
from autointerp.stats.means import mean, mean_difference
from autointerp.stats.ppi import power_mean

SCALE = (1, 5)
predict_mean = partial(ppi.predict_mean, scale=SCALE)
predict_difference = partial(ppi.predict_difference, scale=SCALE)
predict_mean_stratified = partial(ppi.predict_mean_stratified, scale=SCALE)
predict_difference_stratified = partial(ppi.predict_difference_stratified, scale=SCALE)


def rated(n, others, seed=0, noise=0.7):
    """Human and judge ratings of `n` units, and the judge's of `others`; the judge is biased."""
    rng = np.random.default_rng(seed)
    signal = rng.integers(1, 6, n + others)
    judge = np.clip(np.rint(signal + 1 + noise * rng.standard_normal(n + others)), 1, 5)
    return signal[:n].astype(float), judge[:n], judge[n:]


def test_estimate_is_the_human_mean_corrected_by_the_judges_on_the_others():
    # human mean 2; judge 1, 2, 3 mean 2, others mean 3; cov/var of (1, 2, 3) and (1, 3, 2): ½;
    # λ = ½ / (1 + 3/6) = 1/3; estimate 2 + 1/3·(3 - 2).
    found = predict_mean([1, 3, 2], [1, 2, 3], [2, 3, 4, 2, 3, 4])
    assert found.power == pytest.approx(1 / 3)
    assert found.mean.value == pytest.approx(7 / 3)
    assert found.mean.n == (3, 6)


def test_point_estimate_equals_ppi_py_for_any_power():
    ppi_py = pytest.importorskip("ppi_py")
    human, judge, others = rated(30, 400)
    for power in (0.0, 0.4, 1.0):
        theirs = ppi_py.ppi_mean_pointestimate(human, judge, others, lam=power)
        assert predict_mean(human, judge, others, power=power).mean.value == pytest.approx(
            float(np.squeeze(theirs))
        )


def test_power_and_interval_come_near_ppi_pys_where_samples_are_large():
    # ppi_py takes z, ddof 0 and the variance of all judge ratings; the rest is the same.
    ppi_py = pytest.importorskip("ppi_py")
    human, judge, others = rated(4_000, 20_000)
    low, high = ppi_py.ppi_mean_ci(human, judge, others, alpha=0.05)
    found = predict_mean(human, judge, others)
    assert (found.mean.low, found.mean.high) == pytest.approx(
        (float(np.squeeze(low)), float(np.squeeze(high))), abs=2e-3
    )


def test_at_small_n_the_interval_is_wider_than_ppi_pys():
    # theirs holds the truth in 92 % at n = 20: no t, no ddof, λ taken as known
    ppi_py = pytest.importorskip("ppi_py")
    human, judge, others = rated(20, 400)
    low, high = ppi_py.ppi_mean_ci(human, judge, others, alpha=0.05)
    found = predict_mean(human, judge, others).mean
    assert found.high - found.low > 1.05 * float(np.squeeze(high - low))


def test_variance_is_the_leave_one_out_one():
    # λ fixed at 0 leaves the human mean: each residual is from the mean of the others,
    # y·n/(n-1), so Σ(y/(n-1))² = s²/(n-1).
    human, judge, others = rated(12, 100)
    fixed = power_mean(human, judge, others, power=0.0)
    assert float(fixed.variance) == pytest.approx(human.var(ddof=1) / 11)
    # With λ found and others without number, the residual is that of a line fitted to the
    # other eleven units.
    found = power_mean(human, judge, np.tile(others, 100_000))
    gap = others.mean() - judge.mean()
    f = judge - judge.mean()
    expected = 0.0
    for left in range(12):
        rest = np.arange(12) != left
        line = np.polyfit(judge[rest], human[rest], 1)
        part = 1 / 12 + gap * f[left] / (f @ f)
        expected += (part * (human[left] - np.polyval(line, judge[left]))) ** 2
    assert float(found.variance) == pytest.approx(expected, rel=1e-4)


def test_a_good_judge_narrows_the_interval_and_multiplies_the_effective_n():
    human, judge, others = rated(50, 2_000, noise=0.3)
    found = predict_mean(human, judge, others)
    width = found.mean.high - found.mean.low
    assert width < 0.6 * (found.human_only.high - found.human_only.low)
    assert found.effective_n > 2.5 * 50
    assert found.correlation > 0.9
    assert found.human_only == mean(human, scale=SCALE)


def test_a_judge_that_ranks_the_wrong_way_round_is_left_out():
    human, judge, others = rated(50, 2_000)
    found = predict_mean(human, 6 - judge, 6 - others)
    assert found.power == 0
    assert found.mean.value == pytest.approx(human.mean())
    assert found.effective_n <= 50


def test_a_constant_judge_is_left_out():
    human, _, _ = rated(20, 50)
    found = predict_mean(human, np.full(20, 3), np.full(50, 3))
    assert found.power == 0
    assert found.correlation is None
    assert found.mean.value == pytest.approx(human.mean())


def test_agreeing_humans_leave_the_interval_undefined():
    found = predict_mean([5, 5, 5], [3, 4, 5], [3, 4, 4])
    assert found.mean.value == 5
    assert found.mean.low is None
    assert found.effective_n is None
    other = [1, 3, 2], [1, 2, 3], [2, 3, 4, 2, 3, 4]
    difference = predict_difference(([5, 5, 5], [3, 4, 5], [3, 4, 4]), other)
    assert difference.difference.value == pytest.approx(5 - 7 / 3)
    assert difference.difference.low is None
    assert "agree" in difference.difference.note


def test_a_judge_equal_to_the_human_without_spread_elsewhere_is_undefined():
    found = predict_mean([1, 2, 3], [1, 2, 3], [2, 2, 2], power=1.0)
    assert found.mean.low is None
    assert found.mean.note == "no spread is left once the judge is known"


def test_difference_is_made_from_both_intervals_and_takes_the_power_of_each_group():
    first, second = rated(40, 500, seed=1), rated(30, 400, seed=2, noise=2.0)
    found = predict_difference(first, second)
    assert found.difference.value == pytest.approx(found.first.mean.value - found.second.mean.value)
    # MOVER: each end adds the squares of the nearer half-widths of both means.
    a, b = found.first.mean, found.second.mean
    below = np.hypot(a.value - a.low, b.high - b.value)
    assert found.difference.low == pytest.approx(found.difference.value - below)
    assert found.first.power > found.second.power
    assert found.human_only == mean_difference(first[0], second[0], scale=SCALE)
    assert found.difference.n == (40, 30, 500, 400)
    assert found.effective_n > 70


def test_too_few_or_unpaired_ratings_are_refused():
    with pytest.raises(TooFewRatings, match="people rated 2 of the judge's 4 units"):
        predict_mean([1, 2], [1, 2], [1, 2])
    with pytest.raises(TooFewRatings, match="at least 2 more are needed that the judge alone"):
        predict_mean([1, 2, 3], [1, 2, 3], [1])
    with pytest.raises(TooFewRatings, match="people rated 3 of the judge's 3 units"):
        predict_mean([1, 2, 3], [1, 2, 3], [])
    with pytest.raises(ValueError, match="pair by unit"):
        predict_mean([1, 2, 3], [1, 2], [1, 2])


ratings = st.integers(1, 5)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(ratings, ratings), min_size=3, max_size=15),
    st.lists(ratings, min_size=2, max_size=15),
    st.randoms(use_true_random=False),
)
def test_order_of_units_does_not_matter_and_the_interval_holds_the_estimate(pairs, others, random):
    human, judge = zip(*pairs, strict=True)
    found = predict_mean(human, judge, others)
    moved = random.sample(pairs, len(pairs))
    again = predict_mean(*zip(*moved, strict=True), random.sample(others, len(others)))
    assert again.mean.value == pytest.approx(found.mean.value)
    if found.mean.low is not None:
        assert 1 <= found.mean.low < found.mean.value < found.mean.high <= 5
        assert again.mean.low == pytest.approx(found.mean.low)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.floats(0.2, 5), st.floats(-10, 10))
def test_a_judges_own_scale_does_not_matter(seed, scale, shift):
    human, judge, others = rated(15, 60, seed)
    found = predict_mean(human, judge, others).mean
    moved = predict_mean(human, scale * judge + shift, scale * others + shift).mean
    assert (moved.value, moved.low, moved.high) == pytest.approx(
        (found.value, found.low, found.high), rel=1e-6
    )


def test_a_stratified_prediction_weighs_each_stratum_by_its_size():
    # 80 units that the judge gave 1, people 1, 1, 3 (mean 5/3); 20 that it gave 5, people 5, 4.
    found = predict_mean_stratified([1, 1, 3, 5, 4], [1, 1, 1, 5, 5], {1: 80, 5: 20})
    assert found.mean.value == pytest.approx(0.8 * 5 / 3 + 0.2 * 4.5)
    assert found.human_only.value == pytest.approx(found.mean.value)  # both weigh by 1/π
    assert found.mean.n == (5, 95)
    assert found.mean.low < found.mean.value < found.mean.high


def test_a_stratified_difference_is_that_of_its_means():
    first = ([1, 1, 3, 5, 4], [1, 1, 1, 5, 5], {1: 80, 5: 20})
    second = ([1, 2, 2, 5, 3], [1, 1, 1, 5, 5], {1: 20, 5: 80})
    found = predict_difference_stratified(first, second)
    assert found.difference.value == pytest.approx(
        predict_mean_stratified(*first).mean.value - predict_mean_stratified(*second).mean.value
    )
    assert found.difference.low < found.difference.value < found.difference.high


def test_a_stratum_that_nobody_rated_gives_no_prediction():
    with pytest.raises(TooFewRatings, match="the judge gave 4"):
        predict_mean_stratified([1, 2, 5], [1, 1, 5], {1: 9, 4: 3, 5: 9})


def test_stratified_predictions_cover_the_mean_and_unweighted_ones_would_not():
    rng = np.random.default_rng(0)
    covered = naive = 0
    truth = float(latent_scores(rng, 400_000)[0].mean())
    for _ in range(400):
        human, judge = latent_scores(rng, 200)
        strata = {f"i{place}": ("features", int(score)) for place, score in enumerate(judge)}
        drawn = draw_for_people(strata, 30, rng)
        places = [int(one.item[1:]) for one in drawn]
        sizes = {int(score): int((judge == score).sum()) for score in np.unique(judge)}
        found = predict_mean_stratified(human[places], [int(judge[p]) for p in places], sizes)
        covered += found.mean.low <= truth <= found.mean.high
        plain = stats.t.interval(0.95, 29, human[places].mean(), stats.sem(human[places]))
        naive += plain[0] <= truth <= plain[1]
    # Nominal 95 %; the standard error of 400 draws is 1.1 %.
    assert covered / 400 >= 0.93
    assert naive / 400 < 0.85


def latent_scores(rng, n):
    """Return human and judge scores 1 to 5 of correlation about 0.7; high ones are scarce."""
    latent = rng.normal(size=n)
    cuts = [0.2, 0.8, 1.3, 1.8]
    human, judge = (
        1.0 + np.digitize(latent + rng.normal(scale=0.5, size=n), cuts) for _ in range(2)
    )
    return human, judge
