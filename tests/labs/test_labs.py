"""What is given to a lab, and what a lab may yield."""

import pytest

from autointerp.errors import BadInput, UnknownName
from autointerp.labs import check_row, described_lab, load_lab, options_of


def test_a_lab_that_does_not_exist_is_named_beside_those_that_do():
    with pytest.raises(UnknownName, match=r"unknown lab 'logit-effect'; did you mean 'logit-eff"):
        load_lab("logit-effect")
    assert described_lab("logit-effect") == ("", {})


def test_options_take_the_type_of_their_default():
    assert options_of("logit-effects", {}) == {"tokens": 10}
    assert options_of("logit-effects", {"tokens": "3"}) == {"tokens": 3}


def test_an_option_that_a_lab_does_not_have_and_a_value_of_another_type_are_refused():
    with pytest.raises(BadInput, match=r"--option token=3: .* no option 'token' \(it has: tokens"):
        options_of("logit-effects", {"token": "3"})
    with pytest.raises(BadInput, match=r"no option 'tokens' \(it has: none"):
        options_of("hard-negatives", {"tokens": "3"})
    with pytest.raises(BadInput, match="--option tokens=few: give a value like the default, 10"):
        options_of("logit-effects", {"tokens": "few"})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (None, r"lab 'lengths': run\(\) yielded None; it must yield dict"),
        ("unit_id", r"run\(\) yielded a value of type str; it must yield dict"),
        ({"unit_id": 1}, "yields a row of unit_id; give unit_id and the COLUMNS, length"),
        ({"unit_id": 1, "length": 1, "width": 1}, "a row of length, unit_id, width"),
        ({"unit_id": 9, "length": 1}, "a row of unit 9, which it was not asked for"),
        ({"unit_id": 1, "length": float("nan")}, "no JSON .*; use None for what is undefined"),
        ({"unit_id": 1, "length": {1}}, "no JSON .*set is not JSON serializable"),
    ],
)
def test_a_row_that_cannot_be_stored_as_the_lab_s_is_refused(row, message):
    with pytest.raises(BadInput, match=message):
        check_row("lengths", {"length"}, {1, 2}, row)
    check_row("lengths", {"length"}, {1, 2}, {"unit_id": 1, "length": None})
