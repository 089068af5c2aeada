"""Units nested in runs: one estimate, and an error that knows what was sampled."""

import numpy as np
import pytest

from autointerp.errors import TooFewRatings
from autointerp.stats.nested import Arm, compare_arms, within_runs
from autointerp.stats.superiority import pairs, superiority


def scores(rng: np.random.Generator, n: int, centre: float) -> np.ndarray:
    return np.clip(np.rint(rng.normal(centre, 1.2, n)), 1, 5)


def arm(name: str, *runs: np.ndarray) -> Arm:
    return Arm(
        tuple(runs), tuple([(name, k, i) for i in range(len(r))] for k, r in enumerate(runs))
    )


def test_arms_of_one_run_give_the_plain_estimate():
    rng = np.random.default_rng(0)
    x, y = scores(rng, 30, 3.5), scores(rng, 40, 2.5)
    made = compare_arms(arm("a", x), arm("b", y))
    plain = superiority(x, y)
    assert made.superiority.value == pytest.approx(plain.value)
    assert made.superiority.low == pytest.approx(plain.low, abs=0.01)
    assert made.superiority.high == pytest.approx(plain.high, abs=0.01)
    assert made.over == ("units", "units")
    shares, expected = made.pairs, pairs(x, y)
    for name in ("wins", "ties", "losses"):
        assert getattr(shares, name).value == pytest.approx(getattr(expected, name).value)


def test_each_run_counts_alike_however_many_units_it_has():
    # Run 1 beats all of b (P 1), run 2 loses to all (P 0); 2 and 20 units: the mean is ½, where
    # pooled units would give 2 / 22.
    b = np.array([2.0, 3.0, 3.0])
    made = compare_arms(arm("a", np.full(2, 5.0), np.full(20, 1.0)), arm("b", b))
    assert made.superiority.value == pytest.approx(0.5)
    assert made.pairs.wins.value == pytest.approx(0.5)
    assert made.superiority.n == (22, 3)


def test_arms_with_nearly_every_score_on_one_value_have_no_interval_over_units():
    ceiling = np.full(25, 5.0)
    made = compare_arms(arm("a", ceiling, ceiling), arm("b", ceiling, np.append(ceiling[1:], 1.0)))
    assert made.superiority.value == pytest.approx(0.51)  # 1 of 50 is lower: ½ + 1/100
    assert made.superiority.low is None
    assert made.superiority.note.startswith("too few units for a 95% interval")


def test_swapping_the_arms_mirrors_everything():
    rng = np.random.default_rng(1)
    a = arm("a", *(scores(rng, 15, 3 + k / 2) for k in range(3)))
    b = arm("b", scores(rng, 20, 2.5), scores(rng, 10, 3))
    one, other = compare_arms(a, b), compare_arms(b, a)
    assert one.superiority.value == pytest.approx(1 - other.superiority.value)
    assert one.superiority.low == pytest.approx(1 - other.superiority.high)
    assert one.pairs.wins.value == pytest.approx(other.pairs.losses.value)
    assert one.test.p_value == pytest.approx(other.test.p_value)
    assert (one.over, other.over) == (("runs", "units"), ("units", "runs"))


def test_runs_that_differ_widen_the_interval_and_runs_alike_do_not_narrow_it():
    rng = np.random.default_rng(2)
    b = arm("b", scores(rng, 200, 3))
    apart = compare_arms(arm("a", *(scores(rng, 50, c) for c in (2, 3, 4))), b)
    alike = compare_arms(arm("a", *(scores(rng, 50, 3) for _ in range(3))), b)
    pooled = superiority(np.concatenate([scores(rng, 50, 3) for _ in range(3)]), b.scores[0])
    widths = [s.high - s.low for s in (apart.superiority, alike.superiority, pooled)]
    assert widths[0] > 2 * widths[1]
    assert widths[1] > widths[2]


def test_units_that_all_runs_rated_are_counted_once():
    rng = np.random.default_rng(3)
    same = scores(rng, 40, 3)
    names = [("neurons", i) for i in range(40)]
    shared = Arm((same, same, same), (names, names, names))
    b = arm("b", scores(rng, 40, 2.5))
    made, once = compare_arms(shared, b), compare_arms(Arm((same,), (names,)), b)
    assert made.over == ("units", "units")
    assert made.superiority.n == (40, 40)
    # The smoothing adds a unit a run, so the ends agree to the second digit.
    assert made.superiority.low == pytest.approx(once.superiority.low, abs=0.01)


def test_the_interval_of_three_seeds_covers_what_the_recipe_gives():
    rng = np.random.default_rng(4)
    a = np.clip(np.rint(3.6 + np.hypot(0.4, 1.2) * rng.standard_normal(200_000)), 1, 5)
    c = np.clip(np.rint(3 + 1.2 * rng.standard_normal(200_000)), 1, 5)
    truth = (a > c).mean() + (a == c).mean() / 2
    held, plain = [], []
    for _ in range(200):
        runs = [scores(rng, 40, 3.6 + 0.4 * rng.standard_normal()) for _ in range(3)]
        other = scores(rng, 100, 3)
        made = compare_arms(arm("a", *runs), arm("b", other)).superiority
        pooled = superiority(np.concatenate(runs), other)
        held.append(made.low <= truth <= made.high)
        plain.append(pooled.low <= truth <= pooled.high)
    assert np.mean(held) >= 0.92  # nominal 0.95, standard error 0.015
    assert np.mean(plain) < 0.85  # units taken for one sample


def test_what_cannot_be_said_has_a_note():
    flat = compare_arms(arm("a", np.full(5, 3.0)), arm("b", np.full(5, 3.0)))
    assert (flat.superiority.value, flat.superiority.low) == (0.5, None)
    apart = compare_arms(arm("a", np.full(5, 5.0)), arm("b", np.full(5, 1.0), np.full(5, 2.0)))
    assert apart.superiority.low is None
    assert "error is not known" in apart.test.note
    with pytest.raises(TooFewRatings):
        compare_arms(arm("a", np.array([1.0])), arm("b", np.array([1.0, 2.0])))
    with pytest.raises(ValueError, match="name for each"):
        Arm((np.array([1.0, 2.0]),), ((1,),))


# ------------------------------------------------------------------------------ within runs


def table(*columns: np.ndarray, shared: bool = False) -> np.ndarray:
    if shared:
        return np.stack(columns, axis=1)
    rows = sum(map(len, columns))
    made = np.full((rows, len(columns)), np.nan)
    at = 0
    for k, column in enumerate(columns):
        made[at : at + len(column), k] = column
        at += len(column)
    return made


def test_within_runs_is_the_mean_of_the_runs_own():
    rng = np.random.default_rng(5)
    f = [scores(rng, 30, 3.5 + k / 4) for k in range(3)]
    n = [scores(rng, 30, 2.5) for _ in range(3)]
    made = within_runs(table(*f), table(*n), ["a", "b", "c"])
    own = [superiority(x, y).value for x, y in zip(f, n, strict=True)]
    assert made.such.value == pytest.approx(np.mean(own))
    assert [part.superiority.value for part in made.these.raters] == pytest.approx(own)
    assert made.such.low < made.these.superiority.low  # runs are fewer than units


def test_two_runs_say_nothing_of_others():
    rng = np.random.default_rng(6)
    made = within_runs(
        table(scores(rng, 30, 4), scores(rng, 30, 4)),
        table(scores(rng, 30, 2), scores(rng, 30, 2)),
        ["a", "b"],
    )
    assert made.such.low is None
    assert "2 runs; at least 3" in made.such.note
    assert made.these.superiority.low is not None


def test_neurons_that_all_runs_share_are_not_taken_for_three_samples():
    rng = np.random.default_rng(7)
    neurons = scores(rng, 30, 3)
    f = [scores(rng, 200, 3.5) for _ in range(3)]
    shared = within_runs(table(*f), table(neurons, neurons, neurons, shared=True), ["a", "b", "c"])
    apart = within_runs(table(*f), table(neurons, neurons, neurons), ["a", "b", "c"])
    assert shared.such.value == pytest.approx(apart.such.value)
    for one, other in ((shared.these.superiority, apart.these.superiority),
                       (shared.such, apart.such)):  # fmt: skip
        assert one.high - one.low > 1.3 * (other.high - other.low)


def test_the_spread_between_runs_is_what_units_do_not_explain():
    rng = np.random.default_rng(8)
    centres = (2.0, 3.0, 4.0)
    f = [scores(rng, 400, c) for c in centres]
    n = [scores(rng, 400, 3) for _ in centres]
    apart = within_runs(table(*f), table(*n), ["a", "b", "c"]).between
    own = [superiority(x, y).value for x, y in zip(f, n, strict=True)]
    assert apart == pytest.approx(np.std(own, ddof=1), abs=0.01)
    same = [scores(rng, 400, 3) for _ in centres]
    assert within_runs(table(*same), table(*n), ["a", "b", "c"]).between < 0.05
