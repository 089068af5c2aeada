import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import BadInput, TooFewRatings
from autointerp.people.assign import latest_plan
from autointerp.people.plans import LEAST, allocate, draw_for_people, plan_humans
from autointerp.questions.rubric_files import load_rubric
from autointerp.store.run import open_run

RUBRIC = load_rubric("interpretability-1-5")
STRATA = st.dictionaries(
    st.tuples(st.sampled_from(["features", "neurons"]), st.integers(1, 5)),
    st.integers(1, 60),
    min_size=1,
)


@given(STRATA, st.integers(1, 200))
def test_an_allocation_draws_what_was_asked_and_no_more_than_there_is(sizes, n):
    drawn = allocate(sizes, n)
    assert sum(drawn.values()) == min(n, sum(sizes.values()))
    assert all(0 <= drawn[stratum] <= size for stratum, size in sizes.items())


def test_sources_share_equally_and_strata_by_the_root_of_their_size():
    sizes = {("features", 5): 100, ("features", 1): 4, ("neurons", 1): 100, ("neurons", 2): 100}
    drawn = allocate(sizes, 48)
    assert drawn["features", 5] + drawn["features", 1] == 24
    # 24 by roots 10 : 2 is 20 : 4; neurons 12 : 12.
    assert drawn == {
        ("features", 5): 20,
        ("features", 1): 4,
        ("neurons", 1): 12,
        ("neurons", 2): 12,
    }


def test_no_stratum_is_forgotten_where_there_is_room():
    drawn = allocate({("features", score): 1000 if score == 5 else 3 for score in range(1, 6)}, 10)
    assert min(drawn.values()) == LEAST


def test_the_draw_is_random_within_strata_with_the_probability_that_it_says():
    scores = {f"i{i:02}": ("features", 1 if i < 4 else 5) for i in range(20)}
    rng = np.random.default_rng(0)
    hits = dict.fromkeys(scores, 0)
    for _ in range(2000):
        for one in draw_for_people(scores, 6, rng):
            hits[one.item] += 1
            assert one.inclusion == one.stratum_drawn / one.stratum_size
    # 6 by roots 2 : 4 is 2 : 4, so 2 of 4 and 4 of 16; the standard error is at most 0.011.
    for item, count in hits.items():
        assert count / 2000 == pytest.approx(0.5 if item < "i04" else 0.25, abs=0.05)


def test_a_plan_is_stored_and_the_last_one_counts(own_runs, tiny_run_name):
    with open_run(tiny_run_name, folder=own_runs) as run:
        first = plan_humans(run, RUBRIC, 6, np.random.default_rng(0))
        assert first.rater == "scripted:4"
        assert {one.source for one in first.items} == {"features", "neurons"}  # no controls
        second = plan_humans(run, RUBRIC, 4, np.random.default_rng(1))
        chosen, contexts = latest_plan(run, RUBRIC)
        assert chosen == {one.item for one in second.items}
        assert contexts == second.contexts > 0
        stored = run.rows("SELECT sum(1 / inclusion) FROM human_plan WHERE plan = 1")[0][0]
        assert stored == pytest.approx(16)  # weights sum to the units there are: 8 and 8


def test_plans_that_cannot_be_are_refused(own_runs, tiny_run_name):
    with open_run(tiny_run_name, folder=own_runs) as run:
        with pytest.raises(BadInput, match="--n 0"):
            plan_humans(run, RUBRIC, 0, np.random.default_rng(0))
        with pytest.raises(TooFewRatings, match="let it rate first"):
            plan_humans(run, RUBRIC, 4, np.random.default_rng(0), "openai:none")
        with pytest.raises(BadInput, match="human:ann is a person; name the judge"):
            plan_humans(run, RUBRIC, 4, np.random.default_rng(0), "human:ann")
        with pytest.raises(TooFewRatings, match="no model has rated"):
            plan_humans(run, load_rubric("interpretability-0-3"), 4, np.random.default_rng(0))
        with pytest.raises(BadInput, match="plan-humans"):
            latest_plan(run, RUBRIC)
