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
