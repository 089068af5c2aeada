from types import SimpleNamespace

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from autointerp.findings.agreement import (
    MOST_REPEATS,
    ContextsShown,
    RatersAgreement,
    TableAgreement,
)
from autointerp.reports.panels import Prose
from autointerp.reports.panels.agreement import _table, draw, explanation, show
from autointerp.reports.style import house_style
from autointerp.stats.agreement import Agreement, agreement
from autointerp.stats.results import Statistic


def table(of: str = "raters", units: str = "studied") -> SimpleNamespace:
    return SimpleNamespace(of=of, units=units)


def compared(found: TableAgreement, *shown: ContextsShown) -> SimpleNamespace:
    """Return a comparison that holds an agreement and nothing else of people."""
    return SimpleNamespace(
        run="main", agreement=[found], people=[], attention=[], text_asked_for=[],
        contexts_shown=shown,
    )  # fmt: skip


def test_averaged_repeats_are_called_averages_and_single_ratings_are_not():
    assert "not of single ratings" in explanation([table()], repeated=True)
    assert "averaged" not in explanation([table()], repeated=False)
    assert "averaged" not in explanation([table("model:a with itself")], repeated=True)


def test_controls_are_said_to_stand_apart_only_where_they_do():
    assert "rows of its own" in explanation([table(), table(units="controls")], repeated=False)
    assert "rows of its own" not in explanation([table()], repeated=False)


def test_the_intraclass_correlation_says_on_how_few_units_it_rests():
    none = np.nan
    # Nine units with two ratings or more; the third rater rated five of them, the fourth none.
    ratings = np.array(
        [[1, 1, 2], [5, 4, 5], [2, 3, 3], [4, 4, 5], [3, 2, 3], *[[1, 2, none], [4, 3, none]] * 2]
    )
    names = ("model:a", "model:b", "human:ann")
    rows = {}
    for raters, scores in ((names, ratings), ((*names, "human:bob"), np.c_[ratings, [none] * 9])):
        found = TableAgreement("main", "r", "raters", "studied", raters, agreement(scores, raters))
        comparison = compared(found)
        material = SimpleNamespace(comparisons=[comparison], judgements=[])
        (table,) = (block for block in show(material) if hasattr(block, "rows"))
        rows |= {row[3]: row[4:] for row in table.rows}
    units, _, icc, *_ = rows["all 3 raters"]
    assert (units, icc.split(" on ")[-1]) == ("9", "5")
    assert " on " not in rows["model:a, model:b"][2]
    # No unit has four ratings, and none that bob rated: nothing agrees or disagrees there.
    assert rows["all 4 raters"][2] == "too few units"
    assert not any("human:bob" in who for who in rows)
    assert table.caption == (
        "Agreement by pairs. Left out here: 3 pairs with no unit that both rated"
    )
    assert len(table.frame) == len(table.rows) + 3


def test_pairs_of_people_with_nothing_in_common_are_counted_and_not_listed():
    names = ("human:ann", "human:bob")
    agreed = agreement(np.array([[1, 2], [2, 2], [3, 4]], dtype=float), names)
    found = TableAgreement("main", "r", "raters", "studied", names, agreed)
    none = Statistic(None, None, None, (0,), "", 0.95, "no unit")
    comparison = compared(found)
    comparison.people = [
        RatersAgreement("r", "people", ("human:ann", other), units, none, none, none)
        for other, units in (("human:bob", 3), ("human:cas", 0), ("human:dan", 0))
    ]
    material = SimpleNamespace(comparisons=[comparison], judgements=[])
    (people,) = (block for block in show(material) if getattr(block, "name", "") == "people")
    assert [row[2] for row in people.rows] == ["human:ann, human:bob"]
    assert people.caption.endswith("Left out here: 2 pairs with no unit that both rated")
    assert list(people.frame.units) == [3, 0, 0]


def test_repeats_beyond_those_that_are_counted_are_not_called_all():
    for repeats, said in ((2, "all 2 repeats"), (MOST_REPEATS, "first 5 repeats")):
        names = tuple(f"repeat {place}" for place in range(repeats))
        agreed = Agreement(*[agreement(np.eye(5)[:, :2], ("a", "b")).alpha] * 2, ())
        found = TableAgreement("main", "r", "m with itself", "studied", names, agreed)
        assert _table([found]).rows[0][3] == said


def test_people_who_saw_unlike_numbers_of_contexts_are_said_to_have():
    names = ("human:ann", "human:bob")
    found = TableAgreement(
        "main", "r", "raters", "studied", names, agreement(np.eye(5)[:, :2], names)
    )
    ann = ContextsShown("r", "human:ann", 10, 40, 10)
    bob = ContextsShown("r", "human:bob", 10, 1, 10), ContextsShown("r", "human:bob", 4, 12, 10)
    said = []
    for shown in ((ann, bob[0]), (ann, *bob), (bob[1],)):
        material = SimpleNamespace(comparisons=[compared(found, *shown)], judgements=[])
        texts = [block.text for block in show(material) if isinstance(block, Prose)]
        said.append([text for text in texts if "unlike" in text])
    as_many, unlike, fewer = said
    assert as_many == []
    assert "human:ann 10 (40 units); human:bob 10 (1 unit) and 4 (12 units)." in unlike[0]
    assert "main: r shows judges 10 contexts of a unit" in fewer[0]


def test_long_names_of_raters_stay_inside_the_picture():
    names = ("anthropic:claude-haiku-4-5-20251001", "openai:m@gateway.example.org/team/models/v2")
    ratings = np.array([[1, 1], [5, 4], [2, 3], [4, 4]], dtype=float)
    found = TableAgreement("main", "r", "raters", "studied", names, agreement(ratings, names))
    with house_style("long"):
        figure = draw(found)
        FigureCanvasAgg(figure).draw()
        (axes,) = figure.axes
        labels = [*axes.get_xticklabels(), *axes.get_yticklabels()]
        boxes = [label.get_window_extent() for label in labels]
    assert all(figure.bbox.x0 <= box.x0 and figure.bbox.y0 <= box.y0 for box in boxes)
