import pytest

from autointerp.findings.groups import outcome_of
from autointerp.reports.words import finding, number
from autointerp.stats.superiority import superiority


def contrast(first, second):
    from types import SimpleNamespace

    found = superiority(first, second)
    return SimpleNamespace(
        first="features", second="neurons", superiority=found, outcome=outcome_of(found)
    )


@pytest.mark.parametrize(
    ("value", "told"), [(-0.001, "0.00"), (-0.006, "−0.01"), (0.0, "0.00"), (None, "–")]
)
def test_a_minus_sign_stands_before_no_zero(value, told):
    assert number(value) == told


def test_an_interval_over_most_of_the_scale_is_called_too_few_units():
    # Two against two: even complete separation leaves an interval of 0 to 0.8 or so.
    told = finding(contrast([1, 2], [3, 4]))
    assert told.startswith("Too few units to tell features from neurons, 2 and 2: a feature")
    assert "in 0 % of pairs [0–" in told


def test_a_narrow_interval_about_a_half_is_no_clear_difference():
    told = finding(contrast([1, 2, 3] * 20, [1, 2, 3] * 20))
    assert told.startswith("No clear difference between features and neurons")
