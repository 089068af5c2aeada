import base64
import gzip
import json

import pytest

from autointerp.reports.colours import CELL_DARK, PAPER, ink_on
from autointerp.reports.page import in_two, pack, themed, together, unbroken
from autointerp.reports.style import described


def test_what_is_packed_comes_back():
    values = {"a": [1, None, "</script>", "ü"]}
    assert json.loads(gzip.decompress(base64.b64decode(pack(values)))) == values


def test_ids_of_a_picture_are_its_own_and_its_colours_follow_the_theme():
    svg = '<?xml?>\n<svg width="9pt" height="9pt"><g id="a" style="fill: #1d2129"/></svg>'
    assert themed(svg, "x") == '<svg><g id="x-a" style="fill: var(--ink)"/></svg>'


def test_a_picture_says_what_it_shows_and_nothing_in_its_words_can_end_it():
    svg = described('<?xml?>\n<svg width="9pt"><g/></svg>', "Scores", "a < b </desc>")
    shown = themed(svg, "my-x")
    assert 'role="img" aria-labelledby="my_x-title my_x-description"' in shown
    assert '<title id="my_x-title">Scores</title>' in shown
    assert '<desc id="my_x-description">a &lt; b &lt;/desc&gt;</desc>' in shown
    assert described("<svg></svg>", "Scores", "") == "<svg></svg>"


@pytest.mark.parametrize(
    ("heading", "parts"),
    [
        ("Are they? They score higher.", ("Are they?", "They score higher.")),
        ("A against B: no difference is resolved. one + two",
         ("A against B:", "no difference is resolved. one + two")),
        ("How interpretable are these units? one + two",
         ("How interpretable are these units? one + two", "")),
        ("How interpretable are the features?", ("How interpretable are the features?", "")),
    ],
)  # fmt: skip
def test_a_heading_is_shown_as_a_question_and_its_answer(heading: str, parts: tuple[str, str]):
    assert in_two(heading) == parts


def test_no_line_breaks_inside_an_interval_or_before_a_unit_and_text_stays_text():
    assert unbroken("0.83 [0.79, 0.86]") == '0.83 <span class="nb">[0.79, 0.86]</span>'
    assert unbroken("in 72 % of") == 'in <span class="nb">72 %</span> of'
    assert unbroken("62 / 21 / 17 %") == '<span class="nb">62 / 21 / 17 %</span>'
    assert unbroken("1 in 5,100 tokens") == '<span class="nb">1 in 5,100</span> tokens'
    assert unbroken("features/12") == '<span class="nb">features/12</span>'
    assert unbroken("(`autointerp plan --write a-b` does)") == (
        "(<code>autointerp plan --write a-b</code> does)"
    )
    assert unbroken("`autointerp check-rater 'openai:a b@http://127.0.0.1:8000/v1'`") == (
        "<code>autointerp check-rater &#39;openai:a b@http://127.0.0.1:8000/v1&#39;</code>"
    )
    assert unbroken("a `<b>` [x]") == 'a `&lt;b&gt;` <span class="nb">[x]</span>'
    assert unbroken("p < 0.001") == 'p <span class="nb">&lt; 0.001</span>'
    assert unbroken("<b> [x]") == '&lt;b&gt; <span class="nb">[x]</span>'
    assert unbroken("[" + "long, " * 9 + "]").startswith("[long, ")


def test_letters_on_a_source_s_colour_can_be_read():
    # WCAG 2.2 by hand: white on black has 21, on #777777 4.48 and on #767676 4.54.
    assert ink_on("#000000") == PAPER
    assert ink_on("#767676") == PAPER
    assert ink_on("#777777") == CELL_DARK


def test_the_colour_of_a_new_source_follows_the_theme_without_an_edit_to_the_page(monkeypatch):
    from autointerp.records import SourceKind
    from autointerp.reports import colours

    kinds = {"rotated": SourceKind("control", ("a rotated neuron", "rotated neurons"), "#102030")}
    monkeypatch.setattr(colours, "described_sources", lambda: kinds)
    assert colours.on_page("#102030") == "var(--c102030)"
    # A share of 0.35 of the way to white: 16 + 0.35 · 239 = 99.65, 32 + 78.05, 48 + 72.45.
    assert "--c102030: light-dark(#102030, #646e78);" in colours.colours_css()
    assert colours.on_page("#a1a1a1") == "#a1a1a1"  # a shade of a figure, and of no source


def test_what_subjects_have_in_common_is_said_once():
    two = ["model m; site s; SAE a (9)", "model m; site s; SAE b (9)"]
    assert together(two) == ["model m; site s; SAE a (9), SAE b (9)"]
    assert together(two[:1]) == two[:1]
    other = ["model m; SAE a", "model n; SAE a"]
    assert together(other) == other
    without = ["model m; site s", "model m; site s; SAE a"]
    assert together(without) == without
