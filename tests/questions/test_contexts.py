import numpy as np
import pytest
from support.held_out import make_context

from autointerp.questions.contexts import over_intervals


def contexts_of(*intervals: int) -> dict:
    rng = np.random.default_rng(0)
    return {
        number: make_context(rng, True, "interval", interval, document=number)
        for number, interval in enumerate(intervals)
    }


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [10]),
        (2, [10, 1]),
        (4, [10, 7, 4, 1]),  # 0, 3, 6, 9 of ten
        (10, [*range(10, 0, -1)]),
        (12, [*range(10, 0, -1), 10, 9]),
    ],
)
def test_few_contexts_lie_evenly_from_strong_to_weak_and_many_take_turns(count, expected):
    contexts = contexts_of(*range(1, 11), *range(1, 11))
    chosen = over_intervals(contexts, count)
    assert [contexts[number].interval for number in chosen] == expected
    assert len(set(chosen)) == count


def test_a_place_that_two_intervals_share_is_taken_once_and_made_up_for():
    contexts = contexts_of(1, 2, 3, 4)
    contexts[0] = make_context(np.random.default_rng(0), True, "interval", 1, document=3)
    chosen = over_intervals(contexts, 2)  # of intervals 4 and 1, which are one place here
    assert [contexts[number].interval for number in chosen] == [4, 3]


def test_no_contexts_are_asked_for_and_there_are_none():
    assert over_intervals(contexts_of(1, 2), 0) == []
    assert over_intervals({}, 3) == []
