import base64
import gzip
import json

from autointerp.reports.page import pack, themed


def test_what_is_packed_comes_back():
    values = {"a": [1, None, "</script>", "ü"]}
    assert json.loads(gzip.decompress(base64.b64decode(pack(values)))) == values


def test_ids_of_a_picture_are_its_own_and_its_colours_follow_the_theme():
    svg = '<?xml?>\n<svg width="9pt" height="9pt"><g id="a" style="fill: #1d2129"/></svg>'
    assert themed(svg, "x") == '<svg><g id="x-a" style="fill: var(--ink)"/></svg>'


def test_the_colour_of_a_new_source_follows_the_theme_without_an_edit_to_the_page(monkeypatch):
    from autointerp.records import SourceKind
    from autointerp.reports import colours

    kinds = {"rotated": SourceKind("control", ("a rotated neuron", "rotated neurons"), "#102030")}
    monkeypatch.setattr(colours, "described_sources", lambda: kinds)
    assert colours.on_page("#102030") == "var(--c102030)"
    # A share of 0.35 of the way to white: 16 + 0.35 · 239 = 99.65, 32 + 78.05, 48 + 72.45.
    assert "--c102030: #646e78;" in colours.colours_css()
    assert colours.on_page("#a1a1a1") == "#a1a1a1"  # a shade of a figure, and of no source
