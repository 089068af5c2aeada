import base64
import gzip
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from autointerp.errors import BadInput, UnknownName
from autointerp.findings.comparison import compare
from autointerp.findings.mapped import maps_of
from autointerp.pipeline import map as verb
from autointerp.pipeline.events import Harvesting, Note, Step
from autointerp.pipeline.map import as_text, map_dictionary
from autointerp.pipeline.report import report
from autointerp.store.run import open_run
from autointerp.subjects.autoencoder import load_autoencoder
from autointerp.units.sources.features import Features


@pytest.fixture(scope="module")
def mapped(tiny_run, tmp_path_factory):
    """A folder of runs, the map of `tiny` with its page, and the events of making it."""
    folder = tmp_path_factory.mktemp("mapped")
    runs = shutil.copytree(tiny_run, folder / "runs")
    events = []
    made = map_dictionary("tiny", out=folder / "page", runs=runs, on=events.append)
    return runs, made, events


def test_all_units_of_the_studied_sources_and_random_directions_lie_on_the_map(mapped):
    _, made, _ = mapped
    found = made.map
    assert [one.source for one in found.sources] == ["features", "neurons", "random"]
    sizes = [one.units + one.without for one in found.sources]
    assert sizes == [64, 32, 512]
    assert len(found.layout.points) == len(found.units) == sum(one.units for one in found.sources)
    assert np.isfinite(found.layout.points).all()
    # Axes are at right angles to one another, so that no neuron's nearest is a neuron.
    assert found.sources[1].near_own == 0


def test_the_nearest_features_are_those_of_their_dictionary_vectors(mapped, tiny_subject):
    found = mapped[1].map
    vectors = load_autoencoder(tiny_subject / "sae.safetensors").W_dec.numpy()
    is_feature = np.array([unit.source == "features" for unit in found.units])
    place = {unit.index: n for n, unit in enumerate(found.units) if unit.source == "features"}
    scaled = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    products = scaled @ scaled.T
    checked = 0
    for index, point in place.items():
        nearest, cosine = found.layout.index[point, 0], found.layout.cosine[point, 0]
        if is_feature[nearest]:
            other = found.units[nearest].index
            products[index, index] = -1
            assert products[index, other] == pytest.approx(cosine, abs=1e-4)
            assert products[index].max() == pytest.approx(cosine, abs=1e-4)
            checked += 1
    assert checked > 5


def test_units_of_the_run_come_with_their_scores_descriptions_and_contexts(mapped):
    runs, made, _ = mapped
    found = made.map
    with open_run("tiny", folder=runs, read_only=True) as run:
        rated = dict(run.rows("SELECT unit_id, score FROM unit_rating WHERE source = 'features'"))
        densities = dict(
            run.rows("SELECT idx, density FROM unit WHERE source = 'features' AND tokens > 0")
        )
    (judged,) = found.judged
    assert {int(found.unit_id[p]) for p in np.flatnonzero(~np.isnan(judged.score))} >= set(rated)
    for point, unit in enumerate(found.units):
        if unit.source == "features":
            expected = densities.get(unit.index, np.nan)
            assert found.density[point] == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert set(found.contexts) <= {int(p) for p in np.flatnonzero(found.unit_id >= 0)}
    for contexts in found.contexts.values():
        peaks = [context.activations[context.focus] for context in contexts]
        assert peaks == sorted(peaks, reverse=True)
        assert 1 <= len(contexts) <= 5
    assert set(found.descriptions.values()) == {"scripted"}


def test_the_layout_is_kept_and_another_seed_makes_another(mapped, monkeypatch):
    runs, made, _ = mapped
    with open_run("tiny", folder=runs, read_only=True) as run:
        stored = run.rows(
            "SELECT source, idx, sign, x, y FROM map_point WHERE digest = ? ORDER BY place",
            [made.map.digest],
        )
    assert [row[:3] for row in stored] == [
        (unit.source, unit.index, unit.sign) for unit in made.map.units
    ]
    monkeypatch.setattr(verb, "lay_out", lambda *_: pytest.fail("it was laid out again"))
    events = []
    again = map_dictionary("tiny", page=False, runs=runs, on=events.append)
    assert again.page is None
    assert (again.map.layout.points == made.map.layout.points).all()
    assert (again.map.layout.index == made.map.layout.index).all()
    assert again.map.layout.cosine == pytest.approx(made.map.layout.cosine)
    assert again.map.layout.is_exact
    assert Step("the layout is in the run") in events


def test_the_run_s_report_and_json_say_how_far_the_map_is_to_be_trusted(mapped, tmp_path):
    runs, made, _ = mapped
    with open_run("tiny", folder=runs, read_only=True) as run:
        held = next(one for one in maps_of(run) if one.digest == made.map.digest)
        fields = compare(run).as_json()["maps"]
    assert (held.neighbours, held.seed) == (15, 0)
    for stored, said in zip(held.sources, made.map.sources, strict=True):
        assert (stored.source, stored.units, stored.without) == (
            said.source, said.units, said.without,
        )  # fmt: skip
        assert (stored.median, stored.near_own, stored.kept) == (
            said.median, said.near_own, said.kept,
        )  # fmt: skip
    assert made.map.digest in {one["digest"] for one in fields}
    report("tiny", tmp_path / "page", folder=runs)
    assert "Maps of the dictionary" in (tmp_path / "page" / "index.html").read_text()
    table = pd.read_csv(tmp_path / "page" / "tables" / "maps.csv")
    assert set(table.source) == {"features", "neurons", "random"}


def test_the_page_is_whole_and_its_table_holds_every_point(mapped):
    _, made, events = mapped
    folder = made.page.parent
    page = made.page.read_text()
    assert '<div id="atlas">' in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert "default-src 'none'" in page
    assert "preact" not in page
    points = pd.read_csv(folder / "tables" / "points.csv")
    assert len(points) == len(made.map.units)
    assert {"unit", "x", "y", "density", "nearest", "cosine", "description"} <= set(points)
    assert "neighbours kept" in (folder / "summary.md").read_text()
    assert Step(f"laying out {len(points)} directions of 32 axes") in events


def test_what_is_found_is_json_and_lines(mapped):
    found = mapped[1].map
    told = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert told["points"] == len(found.units)
    assert [one["source"] for one in told["sources"]] == ["features", "neurons", "random"]
    assert all(0 <= one["neighbours_kept"] <= 1 for one in told["sources"])
    text = as_text(found)
    assert "features: median cosine with the nearest unit" in text
    assert "512 random directions" in text


def test_counting_gives_every_unit_a_density(mapped, tmp_path):
    runs = shutil.copytree(mapped[0], tmp_path / "runs")
    events = []
    found = map_dictionary(
        "tiny", ["features"], page=False, count_all=True, runs=runs, on=events.append
    ).map
    assert not np.isnan(found.density).any()
    assert any(isinstance(event, Harvesting) for event in events)
    assert not any("is known of" in note for note in found.notes)
    assert any("is known of" in note for note in mapped[1].map.notes)


def test_units_are_linked_to_the_run_s_report_where_there_is_one(mapped, tmp_path, monkeypatch):
    runs = shutil.copytree(mapped[0], tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    assert linked(map_dictionary("tiny", runs=runs).page) == ""
    (tmp_path / "reports" / "tiny").mkdir()
    (tmp_path / "reports" / "tiny" / "index.html").write_text("the report")
    assert linked(map_dictionary("tiny", runs=runs).page) == "../tiny/index.html"


def linked(page):
    packed = re.search(r'id="packed-index">([^<]*)<', page.read_text())[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))["report"]


def test_a_source_without_directions_is_refused_where_it_is_named_and_left_out_where_not(mapped):
    runs, _, events = mapped
    with pytest.raises(BadInput, match="units of planted are no directions"):
        map_dictionary("tiny", ["features", "planted"], page=False, runs=runs)
    with pytest.raises(UnknownName, match="featurs"):
        map_dictionary("tiny", ["featurs"], page=False, runs=runs)
    assert not any("no directions" in event.text for event in events if isinstance(event, Note))


def test_what_a_transcoder_writes_makes_no_map_with_what_stands_where_it_reads(mapped, monkeypatch):
    runs, _, _ = mapped
    monkeypatch.setattr(Features, "transcodes", True)
    events = []
    found = map_dictionary("tiny", page=False, runs=runs, on=events.append).map
    assert [one.source for one in found.sources] == ["features"]
    told = [event.text for event in events if isinstance(event, Note)]
    assert [text.split(" are in different spaces")[0] for text in told[:2]] == [
        "directions of neurons and features", "directions of random and features",
    ]  # fmt: skip
    with pytest.raises(BadInput, match=r"different spaces.* name other sources by --source"):
        map_dictionary("tiny", ["random", "features"], page=False, runs=runs)


def test_a_folder_of_other_things_is_refused_before_anything_is_read(mapped, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(BadInput, match="other things"):
        map_dictionary("tiny", out=tmp_path, runs=mapped[0])
