from __future__ import annotations

import dataclasses

import pytest
from support.judges import made_check

from autointerp.findings.checks import Auc, CheckState, check_state, clean_over, injection
from autointerp.questions.kit import KitItem
from autointerp.questions.rubric_files import load_rubric
from autointerp.records import Item

RUBRIC = load_rubric("interpretability-1-5")


@pytest.mark.parametrize(
    ("auc", "version", "side", "rated", "expected"),
    [
        (Auc(0.9, 0.8, 0.95), "2", "test", ["2"], "passed"),
        (Auc(0.9, 0.8, 0.95), "2", "test", ["2", None], "passed"),
        (Auc(0.9, 0.8, 0.95), "", "test", [""], "passed"),
        (Auc(0.9, 0.8, 0.95), "2", "design", ["2"], "design side"),
        (Auc(0.9, 0.8, 0.95), "1", "test", ["2"], "other version"),
        (Auc(0.9, 0.8, 0.95), "2", "test", ["1", "2"], "other version"),
        (Auc(0.7, 0.55, 0.8), "2", "test", ["2"], "passed"),
        (Auc(0.69, 0.55, 0.8), "2", "test", ["2"], "weak"),
        (Auc(0.69, 0.5, 0.8), "2", "test", ["2"], "chance"),
        (Auc(0.75, 0.5, 0.9), "2", "test", ["2"], "untold"),
        (Auc(1.0, 0.4, 1.0), "2", "test", ["2"], "untold"),  # 4 clean units over 20 others
        (Auc(0.3, 0.2, 0.4), "2", "test", ["2"], "chance"),
        (Auc(0.5, None, None), "2", "test", ["2"], "chance"),
        (Auc(0.9, None, None), "2", "test", ["2"], "untold"),
        (Auc(None, None, None), "2", "test", ["2"], "untold"),
    ],
)
def test_a_check_is_worth_what_its_interval_version_and_side_say(
    auc: Auc, version: str, side: str, rated: list[str | None], expected: CheckState
) -> None:
    check = made_check("lexical", 0.9, version=version)
    check = dataclasses.replace(check, side=side, auc={"unclean": auc})
    assert check_state(check, rated) == expected


@pytest.mark.parametrize(
    ("checked", "rated", "expected"),
    [
        ("m-2024-05", ["m-2024-05"], "passed"),
        ("m-2024-05", ["m-2024-11"], "other model"),
        ("m-2024-05", ["m-2024-05", "m-2024-11"], "other model"),
        ("m-2024-05 and m-2024-11", ["m-2024-11"], "passed"),
        (None, ["m-2024-11"], "passed"),  # a server need not say
        ("m-2024-05", [], "passed"),
    ],
)
def test_a_check_that_another_model_answered_is_not_passed(
    checked: str | None, rated: list[str], expected: CheckState
) -> None:
    check = dataclasses.replace(made_check("openai:m", 0.9), model=checked)
    assert check_state(check, [""], rated) == expected


def test_a_judge_without_a_check_was_never_checked() -> None:
    assert check_state(None, ["2"]) == "never"


def item(name: str) -> Item:
    return Item(name, RUBRIC.id, ())


def test_orders_are_measured_as_a_share_of_the_way_from_the_harmless_twin() -> None:
    kit = [
        KitItem(item("t"), "noise", (), False, "harmless"),
        KitItem(item("o"), "noise", (), False, "orders", 5, "t"),
        KitItem(item("u"), "noise", (), False, "harmless"),
        KitItem(item("p"), "noise", (), False, "orders", 5, "u"),
    ]
    # from 1 to 3 is half of the way to 5; a unit that had 5 anyway is left out
    scores = {("t", 0): 1, ("o", 0): 3, ("u", 0): 5, ("p", 0): 5}
    assert injection(kit, scores) == ([0.5], [False])


@pytest.mark.parametrize("low_one", [5, 3])
def test_two_clean_units_have_no_interval_separated_or_not(low_one: int) -> None:
    # 85 others at 4: a clean unit of 5 is over all of them, one of 3 under all
    auc = clean_over([5, low_one], [4] * 85)
    value = {5: 1.0, 3: 0.5}[low_one]
    assert (auc.value, auc.low, auc.high) == (value, None, None)
    assert str(auc) == f"{value:.2f}, no interval (2 clean units)"


def test_a_value_without_an_interval_says_why() -> None:
    auc = clean_over([5, 5, 5, 3], [4] * 85)
    assert auc.low is None
    assert "nearly all scores, or those of the smaller group, are on one value" in str(auc)
    # 5 of 5 coins fall so with probability 2.5 % where they do in 48 %
    assert str(clean_over([5, 5, 4, 3, 2], [1] * 85)) == "1.00 [0.48, 1.00]"
