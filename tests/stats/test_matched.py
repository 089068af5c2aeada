import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.errors import TooFewRatings
from autointerp.stats.matched import density_edges, density_strata, matched_contrast
from autointerp.stats.means import mean_difference
from autointerp.stats.superiority import brunner_munzel, placements, superiority


def test_density_edges_split_the_pooled_log_densities_evenly():
    # Pooled 1e-4 … 1e-1: the median of the logs is -2.5.
    edges = density_edges([1e-4, 1e-3], [1e-2, 1e-1], strata=2)
    assert edges == pytest.approx([10**-2.5])
    assert density_strata([1e-4, 10**-2.5, 0.5], edges).tolist() == [0, 1, 1]


def test_equal_densities_make_fewer_strata():
    assert len(density_edges([0.1] * 10, strata=5)) == 1
    assert len(density_edges([0.1, 0.2], strata=1)) == 0


def test_a_dead_unit_has_no_density_stratum():
    with pytest.raises(ValueError, match="dead"):
        density_edges([0.1, 0.0])
    with pytest.raises(TooFewRatings):
        density_edges([])
    with pytest.raises(ValueError, match="0 strata"):
        density_edges([0.1], strata=0)


def test_one_stratum_gives_the_raw_contrast():
    x, y = [1, 4, 4, 5, 2, 5], [1, 1, 2, 3, 4]
    found = matched_contrast(x, y, [0] * 6, [0] * 5)
    assert found.superiority.value == pytest.approx(superiority(x, y).value)
    welch = mean_difference(x, y)
    assert (found.difference.low, found.difference.high) == pytest.approx((welch.low, welch.high))
    assert found.test.p_value == pytest.approx(brunner_munzel(x, y).p_value)
    assert found.unmatched == (0, 0)


def test_density_that_drives_both_scores_and_groups_is_taken_out():
    # Scores depend on the stratum alone (1-2 in sparse, 4-5 in dense), groups sit 90:10.
    x = np.tile([4, 5], 45).tolist() + np.tile([1, 2], 5).tolist()
    y = np.tile([4, 5], 5).tolist() + np.tile([1, 2], 45).tolist()
    x_stratum, y_stratum = [1] * 90 + [0] * 10, [1] * 10 + [0] * 90
    assert superiority(x, y).value > 0.85
    found = matched_contrast(x, y, x_stratum, y_stratum)
    assert found.superiority.value == pytest.approx(0.5)
    assert found.difference.value == pytest.approx(0)
    assert found.test.p_value == pytest.approx(1)


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [
        # Stratum 0: n = 2, 1, P = 1; stratum 1: n = 2, 4, P = ¼.
        ("overlap", (1 * 2 / 3 + 0.25 * 8 / 6) / (2 / 3 + 8 / 6)),
        ("van_elteren", (1 * 2 / 4 + 0.25 * 8 / 7) / (2 / 4 + 8 / 7)),
        ("first", (1 * 2 + 0.25 * 2) / 4),
        ("second", (1 * 1 + 0.25 * 4) / 5),
        ("pooled", (1 * 3 + 0.25 * 6) / 9),
    ],
)
def test_strata_are_combined_with_the_stated_weights(weighting, expected):
    # Stratum 1: {1, 3} against {2, 3, 3, 4}: 1 wins 0; 3 wins 1 + ½ + ½ = 2 of 4; P = 2/8.
    found = matched_contrast(
        [2, 3, 1, 3], [1, 2, 3, 3, 4], [0, 0, 1, 1], [0, 1, 1, 1, 1], weighting
    )
    assert found.superiority.value == pytest.approx(expected)
    assert sum(stratum.weight for stratum in found.strata) == pytest.approx(1)


def test_variances_add_with_squared_weights():
    # Two like strata: each weighs ½, so the variance is half that of one.
    x, y = [1, 3, 4, 5], [1, 2, 3, 3]
    one = matched_contrast(x, y, [0] * 4, [0] * 4)
    two = matched_contrast(x + x, y + y, [0] * 4 + [1] * 4, [0] * 4 + [1] * 4)
    counts = [np.bincount(group, minlength=6) for group in (x, y)]
    variance = float(placements(*counts).variance)
    assert one.test.statistic == pytest.approx((one.superiority.value - 0.5) / variance**0.5)
    assert two.test.statistic == pytest.approx(2**0.5 * one.test.statistic)


def test_a_stratum_without_one_group_is_reported_as_unmatched():
    found = matched_contrast([1, 2, 5, 5, 5], [1, 3, 2, 2], [0, 0, 2, 2, 2], [0, 0, 1, 1])
    assert found.unmatched == (3, 2)
    assert [(s.label, s.n, s.weight) for s in found.strata] == [
        (0, (2, 2), 1.0),
        (1, (0, 2), 0.0),
        (2, (3, 0), 0.0),
    ]
    assert found.strata[1].superiority is None
    assert found.superiority.n == (2, 2)


def test_no_overlap_at_all_is_undefined_and_said_so():
    found = matched_contrast([1, 2], [1, 3], [0, 0], [1, 1])
    assert found.superiority.value is None
    assert found.difference.value is None
    assert found.test.p_value is None
    assert found.superiority.note == "no stratum holds units of both groups"


def test_a_single_unit_borrows_spread_and_single_units_alone_have_no_interval():
    with_others = matched_contrast([3, 1, 4, 5], [2, 1, 2, 4], [0, 1, 1, 1], [0, 1, 1, 1])
    assert with_others.superiority.low is not None
    assert with_others.difference.low is not None
    alone = matched_contrast([3, 1], [2, 4], [0, 1], [0, 1])
    assert alone.superiority.value == pytest.approx(0.5)
    assert alone.superiority.low is None
    assert alone.difference.low is None


def test_scores_without_strata_are_refused():
    with pytest.raises(ValueError, match="stratum"):
        matched_contrast([1, 2], [1], [0], [0])
    with pytest.raises(TooFewRatings):
        matched_contrast([], [1], [], [0])


def test_interval_keeps_its_level_in_sparse_strata():
    # Five strata of 8:1 to 1:8 units; measured over 600 draws: 97.5 % and 94.7 %.
    rng = np.random.default_rng(0)
    sizes = np.array([[8, 1], [6, 2], [4, 4], [2, 6], [1, 8]])
    shares = np.array(
        [[0.5, 0.3, 0.2], [0.4, 0.3, 0.3], [1 / 3] * 3, [0.3, 0.3, 0.4], [0.2, 0.3, 0.5]]
    )
    labels = [np.repeat(np.arange(5), sizes[:, group]) for group in (0, 1)]
    held = held_mean = 0
    for _ in range(120):
        x, y = (
            np.concatenate(
                [rng.choice(3, n, p=p) for n, p in zip(sizes[:, g], shares, strict=True)]
            )
            for g in (0, 1)
        )
        found = matched_contrast(x, y, *labels)  # the same distribution in each stratum: P = ½
        held += found.superiority.low <= 0.5 <= found.superiority.high
        held_mean += found.difference.low <= 0 <= found.difference.high
    assert held / 120 > 0.9
    assert held_mean / 120 > 0.88


units = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 2)), min_size=1, max_size=20)


@settings(max_examples=50)
@given(units, units)
def test_swapping_the_groups_mirrors_the_contrast(first, second):
    (x, x_label), (y, y_label) = zip(*first, strict=True), zip(*second, strict=True)
    one = matched_contrast(x, y, x_label, y_label)
    other = matched_contrast(y, x, y_label, x_label)
    assert one.unmatched == other.unmatched[::-1]
    if one.superiority.value is not None:
        assert one.superiority.value == pytest.approx(1 - other.superiority.value)
        assert one.difference.value == pytest.approx(-other.difference.value)
    if one.superiority.low is not None:
        assert one.superiority.low <= one.superiority.value <= one.superiority.high
        assert one.superiority.low == pytest.approx(1 - other.superiority.high)
