import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from autointerp.errors import TooFewRatings
from autointerp.stats.agreement import (
    _patterns,
    agreement,
    intraclass_correlation,
    krippendorff_alpha,
    quadratic_kappa,
    spearman,
)

NAN = math.nan

# Krippendorff 2011, section D: four observers, twelve units.
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
).T

# Shrout & Fleiss 1979, table 2: six subjects, four judges.
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
)

table = st.lists(
    st.lists(st.sampled_from([1, 2, 3, 4, 5, NAN]), min_size=3, max_size=3), min_size=4, max_size=15
)


@pytest.fixture(scope="module")
def krippendorff():
    return pytest.importorskip("krippendorff")


def generator():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("metric", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_gives_krippendorffs_published_values(metric, published):
    assert krippendorff_alpha(KRIPPENDORFF, metric=metric).value == pytest.approx(
        published, abs=5e-4
    )


@given(table, st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_equals_the_krippendorff_package(krippendorff, ratings, metric):
    scores = np.array(ratings)
    pairable = scores[(~np.isnan(scores)).sum(axis=1) >= 2]
    if len(pairable) == 0:
        with pytest.raises(TooFewRatings):
            krippendorff_alpha(scores)
    elif len(pairable) < 5 or len(np.unique(pairable[~np.isnan(pairable)])) == 1:
        # The package refuses these; there is nothing to agree beyond chance.
        assert krippendorff_alpha(scores, metric=metric).value is None
    else:
        theirs = krippendorff.alpha(pairable.T, level_of_measurement=metric)
        assert krippendorff_alpha(scores, metric=metric).value == pytest.approx(theirs)


@pytest.mark.parametrize(
    ("form", "published"),
    [("ICC(1,1)", 0.17), ("ICC(2,1)", 0.29), ("ICC(3,1)", 0.71), ("ICC(2,k)", 0.62)],
)
def test_icc_gives_shrout_and_fleiss_published_values(form, published):
    found = intraclass_correlation(SHROUT_FLEISS, form=form)
    assert found.value == pytest.approx(published, abs=5e-3)


def test_quadratic_kappa_equals_statsmodels():
    inter_rater = pytest.importorskip("statsmodels.stats.inter_rater")
    rng = generator()
    a = rng.integers(1, 6, 60)
    b = np.clip(a + rng.integers(-1, 3, 60), 1, 5)
    counts = np.zeros((5, 5))
    np.add.at(counts, (a - 1, b - 1), 1)
    theirs = inter_rater.cohens_kappa(counts, wt="quadratic").kappa
    assert quadratic_kappa(a, b).value == pytest.approx(theirs)


def test_quadratic_kappa_matches_hand_calculation():
    # (1,1), (2,3), (3,3), each twice: observed 1/3; means 2 and 7/3, variances 2/3 and 8/9, so
    # expected 2/3 + 8/9 + 1/9 = 5/3; kappa 1 - 1/5. The unit with one rating does not count.
    found = quadratic_kappa([1, 2, 3, 1, 2, 3, 5], [1, 3, 3, 1, 3, 3, NAN])
    assert found.value == pytest.approx(0.8)
    assert found.n == (6,)


@pytest.mark.parametrize("n", [2, 4, 5])
def test_of_fewer_than_5_units_no_coefficient_is_a_number(n):
    # As of 1, whose alpha would be 0 whatever its ratings; of 2, whose rho is 1 or -1.
    first, second = np.arange(n) + 1.0, np.arange(n) + 1.0
    second[:2] = second[:2][::-1]
    both = np.stack([first, second], axis=1)
    for found in (
        krippendorff_alpha(both),
        quadratic_kappa(first, second),
        intraclass_correlation(both),
        spearman(first, second),
    ):
        assert found.n == (n,)
        assert (found.value is not None) == (n == 5)
        assert found.low is None or n == 5
        assert n == 5 or found.note == f"too few for a number: {n} units, at least 5 needed"


def test_agreement_on_one_value_is_undefined_not_perfect():
    same = np.full((5, 2), 3.0)
    for found in (
        krippendorff_alpha(same),
        quadratic_kappa(same[:, 0], same[:, 1]),
        intraclass_correlation(same),
    ):
        assert (found.value, found.low, found.high) == (None, None, None)
        assert found.note == "undefined: all ratings agree"
    assert spearman([3, 3, 3], [1, 2, 3]).value is None


def test_two_constant_raters_who_differ_agree_as_by_chance():
    # Observed and expected disagreement are the same square.
    assert quadratic_kappa([1] * 5, [2] * 5).value == pytest.approx(0)


def test_full_agreement_on_several_values_is_one():
    scores = np.repeat(np.arange(1, 6)[:, None], 3, axis=1)
    assert krippendorff_alpha(scores).value == pytest.approx(1)
    assert intraclass_correlation(scores).value == pytest.approx(1)
    assert quadratic_kappa(scores[:, 0], scores[:, 1]).value == pytest.approx(1)


@settings(max_examples=30)
@given(table, st.permutations([0, 1, 2]), st.randoms(use_true_random=False))
def test_order_of_units_and_raters_leaves_alpha_unchanged(ratings, columns, random):
    scores = np.array(ratings)
    if ((~np.isnan(scores)).sum(axis=1) >= 2).any():
        value = krippendorff_alpha(scores).value
        moved = np.array(random.sample(ratings, len(ratings)))[:, columns]
        assert krippendorff_alpha(moved).value == pytest.approx(value)
        assert krippendorff_alpha(np.exp(scores)).value == pytest.approx(value)  # ordinal


@settings(max_examples=30)
@given(table)
def test_agreement_intervals_hold_their_estimates(ratings):
    scores = np.array(ratings)
    found = agreement(scores, ["a", "b", "c"])
    every = [found.alpha, found.icc]
    every += [s for p in found.pairs for s in (p.kappa, p.alpha, p.icc, p.spearman)]
    for statistic in every:
        if statistic.low is not None:
            assert statistic.low <= statistic.value <= statistic.high


def test_interval_keeps_its_level_over_repeated_samples_of_units():
    # Two raters = signal + noise of equal variance on a fine scale: ICC in truth ½.
    rng = generator()
    held = 0
    for _ in range(100):
        signal, noise = rng.standard_normal((60, 1)), rng.standard_normal((60, 2))
        found = intraclass_correlation(signal + noise)
        held += found.low <= 0.5 <= found.high
    assert held >= 86  # 95 % nominal; a binomial sd is 2.2


def test_pairs_without_a_common_unit_say_so_and_hide_no_others():
    thrice = [[1, 1, NAN], [2, 3, NAN], [3, 3, NAN]]
    scores = np.array([*thrice, *thrice, [4, NAN, 5]])
    found = agreement(scores, ["ann", "bob", "cyd"])
    assert [pair.raters for pair in found.pairs] == [("ann", "bob"), ("ann", "cyd"), ("bob", "cyd")]
    assert [pair.units for pair in found.pairs] == [6, 1, 0]
    assert found.pairs[0].kappa.value == pytest.approx(0.8)
    assert found.pairs[2].kappa.value is None
    assert "0 units rated by all" in found.pairs[2].kappa.note
    assert found.icc.value is None  # no unit was rated by all three
    assert found.alpha.value is not None
    with pytest.raises(ValueError, match="3 columns of ratings for 2"):
        agreement(scores, ["ann", "bob"])


def two_raters(counts):
    """Return [units, 2] from pairs of ratings and how often each was given."""
    return np.array([pair for pair, times in counts.items() for _ in range(times)], dtype=float)


def test_the_interval_of_kappa_is_the_jackknifes_on_fishers_scale():
    # Leaving out units one by one, by brute force.
    ratings = two_raters({(1, 1): 6, (1, 2): 3, (2, 2): 5, (3, 2): 4, (3, 3): 6, (1, 3): 1})
    n = len(ratings)
    found = quadratic_kappa(ratings[:, 0], ratings[:, 1])
    left = np.array([quadratic_kappa(*np.delete(ratings, i, axis=0).T).value for i in range(n)])
    scaled = np.arctanh(left)
    error = math.sqrt((n - 1) / n * ((scaled - scaled.mean()) ** 2).sum())
    half = stats.t.ppf(0.975, n / 2 - 1) * error
    assert (found.low, found.high) == pytest.approx(
        (math.tanh(math.atanh(found.value) - half), math.tanh(math.atanh(found.value) + half))
    )


def test_units_too_few_for_an_interval_that_holds_have_none():
    found = krippendorff_alpha(KRIPPENDORFF)
    assert found.low is None
    assert found.note == "too few units for a 95% interval: 11, at least 20 needed"


def test_ratings_nearly_all_alike_have_no_interval():
    ratings = two_raters({(1, 1): 40, (1, 2): 5, (2, 2): 5})
    found = quadratic_kappa(ratings[:, 0], ratings[:, 1])
    assert found.value is not None
    assert found.low is None
    assert "85% of the ratings are the same value" in found.note
    assert spearman(ratings[:, 0], ratings[:, 1]).low is None


def test_perfect_agreement_shows_no_spread_and_has_no_interval():
    scores = np.repeat(np.tile([1.0, 2.0, 3.0], 10)[:, None], 2, axis=1)
    assert krippendorff_alpha(scores).note == "perfect agreement shows no spread"


def test_spearman_equals_scipy_with_bonett_and_wrights_interval():
    x, y = [1, 2, 2, 4, 5, 3, 1, 5], [2, 1, 3, 4, 4, 3, 1, 4]
    found = spearman(x, y)
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    half = 1.959964 * math.sqrt((1 + found.value**2 / 2) / 5)
    assert found.low == pytest.approx(math.tanh(math.atanh(found.value) - half))
    assert found.low < found.value < found.high
    assert spearman([1, 2, 3, 4, 5], [2, 4, 6, 8, 9]).low is None
    with pytest.raises(ValueError, match="same units"):
        spearman([1, 2, 3], [2, 1])


def test_too_little_to_agree_on_is_refused():
    with pytest.raises(TooFewRatings, match="no unit has two ratings"):
        krippendorff_alpha([[1, NAN], [NAN, 2]])
    with pytest.raises(TooFewRatings, match="one rater"):
        intraclass_correlation([1, 2, 3])
    with pytest.raises(TooFewRatings, match="0 units"):
        quadratic_kappa([1, NAN], [NAN, 2])
    with pytest.raises(ValueError, match="at most 64"):
        krippendorff_alpha(np.arange(140.0).reshape(70, 2))


@given(
    values=st.sampled_from([(1.0, 2.0, 3.0), (0.0, 0.5, 4.25, np.nan), tuple(np.arange(60) / 7)]),
    raters=st.integers(2, 5),
    units=st.integers(1, 60),
    seed=st.integers(0, 1000),
)
def test_rows_are_counted_as_sorting_them_would(values, raters, units, seed):
    scores = np.random.default_rng(seed).choice(values, (units, raters))
    patterns, counts = _patterns(scores)
    rows = Counter(tuple(row) for row in np.nan_to_num(scores, nan=-1.0).tolist())
    found = np.nan_to_num(patterns, nan=-1.0).tolist()
    tallied = Counter()
    for row, n in zip(found, counts.tolist(), strict=True):
        tallied[tuple(row)] += n
    assert tallied == rows
