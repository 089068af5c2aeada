import html
import re

import numpy as np
import pandas as pd
import pytest

from autointerp.errors import BadInput
from autointerp.findings.match import Family, Match, Side
from autointerp.reports.match import RELATIVES, SHOWN, write_match

HOSTILE = '<script>alert(1)</script> & "x"'


def side(run: str, n: int, descriptions=None) -> Side:
    number = np.arange(n)
    return Side(
        run, n, run, number, np.full(n, 0.5), np.zeros(n, int), np.full(n, np.nan),
        np.full(n, -1), np.full(n, np.nan), descriptions or {}, np.linspace(0, 0.4, 1_000), (),
    )  # fmt: skip


def page_of(match: Match, folder) -> str:
    return re.sub("</?span[^>]*>", "", write_match(match, folder / "page").read_text())


def test_descriptions_are_text_on_the_page(tmp_path):
    match = Match(side("a", 2), side("b", 3, {1: HOSTILE}), 0.7, True,
                  (Family(0, ((1, 0.9), (2, 0.8))),), (1,))  # fmt: skip
    page = page_of(match, tmp_path)
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)") == 2  # in the tree, and without a relative
    assert "b features/1: " in page


def test_the_page_shows_the_first_and_the_tables_hold_all(tmp_path):
    many = SHOWN + 7
    children = tuple((n, 0.9) for n in range(RELATIVES + 3))
    families = tuple(Family(n, children) for n in range(many))
    match = Match(side("a", many), side("b", many + 1), 0.7, False, families, tuple(range(many)))
    page = page_of(match, tmp_path)
    assert f"The first {SHOWN} of {many} families" in page
    assert page.count("<li>3 more</li>") == SHOWN
    tables = tmp_path / "page" / "tables"
    assert len(pd.read_csv(tables / "unrelated.csv")) == many
    assert len(pd.read_csv(tables / "families.csv")) == many * len(children)
    assert len(pd.read_csv(tables / "features_second.csv")) == many + 1


def test_a_match_without_anything_to_list_says_so(tmp_path):
    match = Match(side("a", 2), side("b", 2), 0.7, True, (), ())
    page = html.unescape(page_of(match, tmp_path))
    assert "No feature of 'a' has several relatives in 'b'" in page
    assert "Every feature of 'b' has a relative in 'a'" in page
    assert "No feature of either run has a score" in page


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(BadInput, match="other things"):
        write_match(Match(side("a", 2), side("b", 2), 0.7, True, (), ()), tmp_path)
