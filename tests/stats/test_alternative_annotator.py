import math

import numpy as np
import pytest
from scipy import stats

from autointerp.stats.alternative_annotator import alternative_annotator

NAN = math.nan

# On the paper's own ratings (lesion, cebab_stars, 10k_prompts, summeval of its repository) the
# function gives the winning rate and the advantage of all 22 judges as printed there.


def people_and_judge(noise, seed=0, units=60):
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, 6, units).astype(float)
    people = np.stack([np.clip(truth + rng.integers(-1, 2, units), 1, 5) for _ in range(3)], axis=1)
    return people, np.clip(truth + np.rint(rng.normal(0, noise, units)), 1, 5)


def test_a_judge_as_good_as_the_truth_passes_and_a_random_one_fails():
    people, judge = people_and_judge(noise=0)
    assert alternative_annotator(people, judge, ["a", "b", "c"]).answer == "passes"
    random = np.random.default_rng(1).integers(1, 6, len(judge)).astype(float)
    found = alternative_annotator(people, random, ["a", "b", "c"])
    assert found.answer == "fails"
    assert found.winning_rate == 0


def test_units_go_to_the_nearer_one_and_the_p_value_is_that_of_a_paired_t_test():
    # 40 units, two people. Judge equal to the other on 20 where the person is not, the person on
    # 8 where the judge is not, both as near on 12: judge 32/40, person 20/40.
    other = np.full(40, 3.0)
    person, judge = np.full(40, 3.0), np.full(40, 3.0)
    person[:20], judge[20:28] = 5, 1
    found = alternative_annotator(
        np.stack([person, other], axis=1), judge, ["ann", "bob"], epsilon=0.1
    )
    ann = found.people[0]
    assert (ann.judge_share, ann.person_share) == (0.8, 0.5)
    gaps = np.r_[np.full(20, -1), np.full(8, 1), np.zeros(12)]
    theirs = stats.ttest_1samp(gaps, 0.1, alternative="less").pvalue
    assert ann.p_value == pytest.approx(theirs)


def test_p_values_are_adjusted_as_statsmodels_does():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    people, judge = people_and_judge(noise=1.2, seed=3)
    found = alternative_annotator(people, judge, ["a", "b", "c"])
    raw = [one.p_value for one in found.people]
    theirs = multitest.multipletests(raw, method="fdr_by")[1]
    assert [one.adjusted for one in found.people] == pytest.approx(list(theirs))
    assert found.winning_rate == np.mean([one.won for one in found.people])


def test_a_larger_epsilon_never_makes_it_harder():
    people, judge = people_and_judge(noise=1.0, seed=2)
    rates = [
        alternative_annotator(people, judge, ["a", "b", "c"], epsilon=e).winning_rate
        for e in (0.0, 0.1, 0.3)
    ]
    assert rates == sorted(rates)


def test_too_few_people_or_units_is_an_answer():
    people, judge = people_and_judge(noise=0)
    alone = alternative_annotator(people[:, :1], judge, ["a"])
    assert (alone.answer, alone.note) == ("too few", "1 person; at least 2 are needed")
    few = alternative_annotator(people[:29], judge[:29], ["a", "b", "c"])
    assert few.answer == "too few"
    assert "more than 29 units" in few.note
    single = alternative_annotator(people[:1], judge[:1], ["a", "b", "c"])
    assert "more than 1 unit that" in single.note
    apart = np.full((60, 2), NAN)
    apart[:30, 0], apart[30:, 1] = 3, 3
    assert alternative_annotator(apart, judge, ["a", "b"]).answer == "too few"
    with pytest.raises(ValueError, match="epsilon"):
        alternative_annotator(people, judge, ["a", "b", "c"], epsilon=2)
    with pytest.raises(ValueError, match="names"):
        alternative_annotator(people, judge, ["a"])


def test_a_person_of_few_units_is_left_out_of_the_rate():
    people, judge = people_and_judge(noise=0)
    people[10:, 2] = NAN
    found = alternative_annotator(people, judge, ["a", "b", "c"])
    assert found.people[2].p_value is None
    assert found.answer == "passes"
