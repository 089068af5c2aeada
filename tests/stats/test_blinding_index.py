import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autointerp.errors import TooFewRatings
from autointerp.stats.blinding_index import bang_index, blinding_decision, james_index

# Rows treatment and placebo; guessed treatment, placebo, don't know.
CRISP = [[82, 25, 170], [27, 29, 83]]  # Bang, Ni & Davis 2004, table 7
HOUWELING = [[48, 4, 330], [22, 30, 319]]  # Houweling et al. 2014, table 2, investigators


def test_james_index_of_published_trials():
    # CRISP: 0.75 in the paper. Houweling: 0.896 (0.875 to 0.918), standard error 0.011, printed
    # by BlindingIndex.jl.
    assert james_index(CRISP).value == pytest.approx(0.75, abs=0.005)
    found = james_index(HOUWELING)
    assert found.value == pytest.approx(0.896, abs=5e-4)
    assert (found.low, found.high) == pytest.approx((0.875, 0.918), abs=5e-4)


def test_bang_index_of_published_trials():
    # Houweling, printed by BlindingIndex.jl: 0.115 (0.08 to 0.15) and 0.022 (-0.016 to 0.06).
    treatment = bang_index(48, 4, 330)
    assert treatment.value == pytest.approx(0.115, abs=5e-4)
    assert (treatment.low, treatment.high) == pytest.approx((0.08, 0.15), abs=5e-4)
    placebo = bang_index(30, 22, 319)
    assert placebo.value == pytest.approx(0.022, abs=5e-4)
    assert (placebo.low, placebo.high) == pytest.approx((-0.016, 0.06), abs=5e-4)
    # CRISP by hand: (82 - 25) / 277 and (29 - 27) / 139.
    assert bang_index(82, 25, 170).value == pytest.approx(57 / 277)
    assert bang_index(29, 27, 83).value == pytest.approx(2 / 139)


def test_bang_index_of_three_arms_is_zero_where_guesses_are_chance():
    # A third right by chance: 10 right, 20 wrong, each wrong one counting half.
    assert bang_index(10, 20, 5, arms=3).value == pytest.approx(0)
    assert bang_index(30, 0, 0, arms=3).value == 1
    assert bang_index(0, 30, 0, arms=3).value == -0.5


def test_james_index_at_its_marks():
    assert james_index([[9, 0, 0], [0, 9, 0]]).value == 0  # all told
    assert james_index([[5, 5, 0], [5, 5, 0]]).value == pytest.approx(0.5)  # chance
    assert james_index([[0, 0, 9], [0, 0, 9]]).value == 1  # nobody knows
    three = np.array([[4, 4, 4, 0], [4, 4, 4, 0], [4, 4, 4, 0]])
    assert james_index(three).value == pytest.approx(0.5)


def test_intervals_of_james_index_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(3)
    shares = np.array([[0.2, 0.08, 0.22], [0.12, 0.15, 0.23]])
    truth = james_index(np.round(shares * 1e9)).value
    tables = rng.multinomial(200, shares.ravel(), size=1000).reshape(-1, 2, 3)
    found = [james_index(table) for table in tables]
    held = np.mean([f.low <= truth <= f.high for f in found])
    assert 0.93 < held < 0.97  # 0.95, standard error 0.007


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(2, 4))
def test_bang_index_stays_within_its_ends(right, wrong, unknown, arms):
    if right + wrong + unknown < 5:
        return
    found = bang_index(right, wrong, unknown, arms=arms)
    assert -1 <= found.value <= 1
    if found.low is not None:
        assert -1 <= found.low <= found.value <= found.high <= 1


def test_what_was_never_asked_has_no_index():
    with pytest.raises(TooFewRatings):
        bang_index(0, 0, 0)
    with pytest.raises(TooFewRatings):
        james_index([[0, 0, 0], [0, 0, 0]])
    with pytest.raises(ValueError, match="shape"):
        james_index([[1, 2], [3, 4]])
    assert james_index([[9, 0, 3], [0, 0, 0]]).value is None


def test_the_decision_is_fishers_exact_test_of_each_source():
    # Features named "feature" 18 of 20, the controls 4 of 20.
    found = blinding_decision([[18, 1, 1], [4, 14, 2]], [0, 1])
    theirs = stats.fisher_exact([[18, 2], [4, 16]], alternative="greater").pvalue
    assert found.p_values[0] == pytest.approx(theirs)
    assert found.adjusted[0] == pytest.approx(max(2 * min(found.p_values), theirs))
    assert found.told == (True, True)
    assert found.broken


@given(st.integers(1, 40), st.integers(0, 2))
def test_who_always_gives_one_answer_tells_nothing(n, answer):
    counts = np.zeros((4, 4), dtype=int)
    counts[:, answer] = n
    found = blinding_decision(counts, [0, 1, 2, 2])
    assert found.p_values == (1, 1, 1, 1)
    assert not found.broken


@pytest.mark.parametrize("n", [1, 2, 3, 10, 50])
@pytest.mark.parametrize("shares", [(1 / 3, 1 / 3, 1 / 3, 0), (0.6, 0.2, 0.2, 0)])
def test_guessers_are_held_to_tell_in_five_percent_at_most(n, shares):
    rng = np.random.default_rng(n)
    tables = rng.multinomial(n, shares, (300, 5))
    alarms = np.mean([blinding_decision(table, [0, 1, 2, 2, 2]).broken for table in tables])
    assert alarms <= 0.05


def test_a_rater_who_tells_is_caught_and_one_source_alone_cannot_be_told():
    assert blinding_decision([[6, 0, 0], [0, 6, 0]], [0, 1]).broken
    assert blinding_decision([[6, 0, 0]], [0]).p_values == (None,)
    assert blinding_decision([[6, 0, 0], [0, 0, 0]], [0, 1]).p_values == (None, None)
    with pytest.raises(ValueError, match="arms"):
        blinding_decision([[6, 0, 0]], [3])
    with pytest.raises(ValueError, match="shape"):
        blinding_decision([[6, 0, 0]], [0, 1])


def test_few_answers_have_an_index_and_no_normal_interval():
    assert bang_index(3, 1, 1).note == "fewer than 20 answers: too few for a normal interval"
    assert james_index([[3, 1, 1], [1, 3, 1]]).low is None


@pytest.mark.parametrize("answers", [1, 4])
def test_fewer_than_5_answers_have_no_index(answers):
    few = "answer" if answers == 1 else "answers"
    for found in (bang_index(answers, 0, 0, arms=3), james_index([[answers, 0, 0], [0, 0, 0]])):
        assert found.value is None
        assert found.note == f"too few for a number: {answers} {few}, at least 5 needed"
