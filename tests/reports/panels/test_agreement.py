from types import SimpleNamespace

from autointerp.reports.panels.agreement import explanation


def table(of: str = "raters", units: str = "studied") -> SimpleNamespace:
    return SimpleNamespace(of=of, units=units)


def test_averaged_repeats_are_called_averages_and_single_ratings_are_not():
    assert "not of single ratings" in explanation([table()], repeated=True)
    assert "averaged" not in explanation([table()], repeated=False)
    assert "averaged" not in explanation([table("model:a with itself")], repeated=True)


def test_controls_are_said_to_stand_apart_only_where_they_do():
    assert "rows of its own" in explanation([table(), table(units="controls")], repeated=False)
    assert "rows of its own" not in explanation([table()], repeated=False)
