from __future__ import annotations

from autointerp.findings.checks import injection
from autointerp.questions.kit import KitItem
from autointerp.questions.rubric_files import load_rubric
from autointerp.records import Item

RUBRIC = load_rubric("interpretability-1-5")


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
