import pytest

from autointerp.stats.results import Statistic


def test_what_is_undefined_must_say_why():
    with pytest.raises(ValueError, match="note"):
        Statistic(None, None, None, (0,), "none")
    with pytest.raises(ValueError, match="note"):
        Statistic(1.0, None, None, (1,), "none")
    assert Statistic(1.0, None, None, (1,), "none", note="one unit").value == 1.0


def test_an_interval_has_two_ends():
    with pytest.raises(ValueError, match="half an interval"):
        Statistic(1.0, 0.5, None, (3,), "t", note="odd")


def test_a_statistic_is_written_with_its_interval_or_with_the_reason_why_it_has_none():
    assert str(Statistic(0.834, 0.791, 0.862, (200, 200), "t")) == "0.83 [0.79, 0.86]"
    few = Statistic(0.5, None, None, (3, 3), "t", note="too few units")
    assert str(few) == "0.50, no interval (too few units)"
    assert str(Statistic(None, None, None, (0,), "t", note="no unit")) == "undefined (no unit)"
