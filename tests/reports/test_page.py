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
