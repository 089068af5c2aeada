import numpy as np
import pytest

from autointerp.errors import TooFewRatings
from autointerp.stats.ppi_superiority import predict_superiority
from autointerp.stats.superiority import superiority


def rated(n, others, centre, seed, noise=0.5):
    rng = np.random.default_rng(seed)
    signal = np.clip(np.rint(rng.normal(centre, 1.2, n + others)), 1, 5)
    judge = np.clip(np.rint(signal + 0.5 + noise * rng.standard_normal(n + others)), 1, 5)
    return signal[:n], judge[:n], judge[n:]


def test_a_constant_judge_leaves_peoples_own_estimate():
    first, second = rated(20, 50, 3.5, 1), rated(25, 60, 2.5, 2)
    blind = [(g[0], np.full_like(g[1], 3), np.full_like(g[2], 3)) for g in (first, second)]
    found = predict_superiority(*blind)
    assert found.superiority.value == pytest.approx(superiority(first[0], second[0]).value)
    assert found.power == (0, 0)
    assert found.judge_only.value == 0.5


def test_a_judge_whose_other_units_are_the_rated_ones_again_corrects_nothing():
    first, second = rated(20, 2, 3.5, 1), rated(20, 2, 2.5, 2)
    same = [(g[0], g[1], np.tile(g[1], 3)) for g in (first, second)]
    found = predict_superiority(*same)
    assert found.superiority.value == pytest.approx(found.human_only.value)


def test_a_good_judge_narrows_the_interval():
    first, second = rated(40, 1_000, 3.5, 1, noise=0.2), rated(40, 1_000, 2.5, 2, noise=0.2)
    found = predict_superiority(first, second)
    width = found.superiority.high - found.superiority.low
    assert width < 0.75 * (found.human_only.high - found.human_only.low)
    assert found.superiority.n == (40, 40, 1_000, 1_000)


def test_swapping_the_groups_mirrors_the_estimate():
    first, second = rated(20, 100, 3.5, 1), rated(15, 80, 2.5, 2)
    one, other = (predict_superiority(*pair) for pair in ((first, second), (second, first)))
    assert one.superiority.value == pytest.approx(1 - other.superiority.value)
    assert one.superiority.low == pytest.approx(1 - other.superiority.high)


def test_the_interval_covers_what_people_would_say_of_all_units():
    rng = np.random.default_rng(0)
    shares = np.array([4, 4, 6, 4, 30]) / 48, np.array([28, 7, 3, 7, 7]) / 52
    truth = float(shares[0] @ (np.cumsum(shares[1]) - shares[1] / 2))
    held = []
    for _ in range(300):
        groups = []
        for share in shares:
            human = rng.choice(5, 100, p=share) + 1.0
            judge = np.clip(human + rng.integers(-1, 2, 100), 1, 5)
            groups.append((human[:20], judge[:20], judge[20:]))
        found = predict_superiority(*groups).superiority
        held.append(found.low <= truth <= found.high)
    assert np.mean(held) >= 0.92  # 95 %, standard error 1.3 %


def test_few_human_ratings_have_no_interval_and_fewer_no_estimate():
    first, second = rated(9, 50, 3.5, 1), rated(20, 50, 2.5, 2)
    assert "9 rated by people" in predict_superiority(first, second).superiority.note
    with pytest.raises(TooFewRatings, match="people rated 2 of"):
        predict_superiority(([1, 2], [1, 2], [1, 2]), second)
    with pytest.raises(ValueError, match="pair by unit"):
        predict_superiority(([1, 2, 3], [1, 2], [1, 2]), second)
    apart = [(np.full(12, s), np.full(12, s), np.full(9, s)) for s in (5.0, 1.0)]
    assert predict_superiority(*apart).superiority.low is None
