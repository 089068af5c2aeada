import numpy as np
import pytest

from autointerp.errors import BadInput
from autointerp.findings.match import match_dictionaries


class FakeRun:
    """A run of which only what a match asks is there: no unit read, no description, no score."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.about = {"digests": {"sae": name}}

    def rows(self, query, parameters=()):
        return []

    def stored_plans(self):
        return []

    def firing_counts(self, source):
        return {}

    def frame(self, query, parameters=()):
        import pandas as pd

        return pd.DataFrame(columns=["rubric", "rubric_digest", "rater", "idx", "score"])


def matched(first, second, related=0.7):
    return match_dictionaries(
        (FakeRun("one"), FakeRun("other")),
        (np.array(first, np.float32), np.array(second, np.float32)),
        related,
    )


AXES = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]


def test_vectors_without_a_direction_are_left_out_and_counted():
    found = matched([[0, 0, 0, 0], *AXES], AXES)
    assert found.first.size == 4
    assert found.first.number.tolist() == [1, 2, 3]
    assert found.first.nearest.tolist() == [0, 1, 2]
    assert found.second.nearest.tolist() == [1, 2, 3]  # by their numbers, not their places
    assert found.second.partner.tolist() == [1, 2, 3]
    assert any("1 vector of 'one' is 0" in note for note in found.notes)
    assert found.as_json()["first"]["without_direction"] == 1


def test_of_equal_sizes_the_first_counts_as_the_smaller():
    found = matched(AXES, [[1, 0, 0, 0], [0.9, 0.1, 0, 0], [0, 0, 0, 1]])
    assert found.small is found.first
    (family,) = found.families
    assert (family.parent, [child for child, _ in family.children]) == (0, [0, 1])
    assert found.unrelated == (2,)


def test_an_opposite_direction_is_no_relative():
    found = matched([[1, 0, 0, 0]], [[-1, 0, 0, 0]])
    assert found.first.cosine.tolist() == [-1]
    assert found.first.share_related(0.7) == 0
    assert found.unrelated == (0,)


def test_cosines_at_both_ends_are_in_the_histogram():
    found = matched([[1, 0, 0, 0], [-1, 0, 0, 0]], [[1, 0, 0, 0]])
    counts = found.first.histogram(found.first.cosine)
    assert (counts[0], counts[-1], counts.sum()) == (1, 1, 2)


def test_a_threshold_that_chance_reaches_is_said():
    # In two dimensions a random direction is within 45 degrees of one of four axes.
    found = matched([[1, 0]], [[1, 0], [0, 1], [-1, 0], [0, -1]], 0.7)
    assert any("raise --related" in note for note in found.notes)
    assert found.first.chance.min() >= np.cos(np.pi / 4) - 1e-6


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (AXES, [[1, 0]], "4 axes and those of 'other' 2"),
        ([[0, 0, 0, 0]], AXES, "all its dictionary vectors are 0"),
        ([[np.nan, 0, 0, 0]], AXES, "not finite"),
    ],
)
def test_dictionaries_that_cannot_be_matched_are_refused(first, second, said):
    with pytest.raises(BadInput, match=said):
        matched(first, second)
