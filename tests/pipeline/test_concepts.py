"""Known concepts, on points whose clusters are known and on text."""

from __future__ import annotations

import json
import shutil

import duckdb
import numpy as np
import pandas as pd
import pytest

from autointerp import Job
from autointerp.errors import BadInput, SubjectError, TooFewUnits, UnknownName
from autointerp.pipeline.concepts import as_text, concepts
from autointerp.pipeline.events import Harvesting, Note
from autointerp.pipeline.harvest import harvest
from autointerp.pipeline.plan import write_plan
from autointerp.pipeline.train import make_clusters
from autointerp.store.run import open_run


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """A folder: a subject of 8 clusters, the run `points` in `runs`, and labels with coins."""
    folder = tmp_path_factory.mktemp("points")
    make_clusters(folder)
    harvest(Job(sources=("features", "neurons"), n=4, controls=0, run="points",
                subject=str(folder / "autointerp.toml"), runs=folder / "runs"))  # fmt: skip
    frame = duckdb.execute(f"SELECT * FROM '{folder / 'labels.parquet'}'").df()
    rng = np.random.default_rng(0)
    coins = pd.DataFrame(
        {"document": frame.document, "position": 0}
        | {f"coin{number}": rng.random(len(frame)) < 0.1 for number in range(6)}
    )
    with duckdb.connect() as connection:
        connection.register("coins", coins)
        connection.execute(f"COPY coins TO '{folder / 'coins.parquet'}' (FORMAT parquet)")
    return folder


@pytest.fixture(scope="module")
def known(points):
    """The clusters against features, neurons and random directions, with page and events."""
    events = []
    made = concepts([f"{points / 'labels.parquet'}:cluster"], "points", out=points / "page",
                    runs=points / "runs", on=events.append)  # fmt: skip
    return made, events


def test_each_cluster_is_known_by_one_feature_of_its_own_and_by_no_axis(known):
    found = known[0].concepts
    features, neurons, _ = found.sources
    assert [one.source for one in found.sources] == ["features", "neurons", "random"]
    assert (features.found.value, neurons.found.value) == (1, 0)
    # Exact: 8 of 8 has the lower end 0.025 ** (1/8), 0 of 8 the upper end 1 less that.
    assert features.found.low == pytest.approx(0.025 ** (1 / 8))
    assert neurons.found.high == pytest.approx(1 - 0.025 ** (1 / 8))
    best = [found.of(f"cluster={n}", "features").best.unit for n in range(8)]
    assert len(set(best)) == 8
    assert all(found.of(f"cluster={n}", "features").threshold.f1 > 0.99 for n in range(8))
    # An axis points between two clusters: it beats 6 of the 7 others, and ties with one.
    assert neurons.mean == pytest.approx(6.5 / 7, abs=0.01)
    assert found.compared[0].best.test.p_value == pytest.approx(2 / 2**8)


def test_of_512_random_directions_some_point_at_each_cluster_but_not_of_few(known):
    found = known[0].concepts
    features, _, random = found.sources
    assert random.found.value == 1
    assert found.equal == 4  # as many as there are half axes
    assert features.equal_found == pytest.approx(4 / 8)  # its one feature is among the 4 or not
    assert random.equal_found < 0.4


def test_two_axes_together_know_what_none_knows_alone(known):
    found = known[0].concepts
    neurons = found.sources[1]
    assert neurons.probes[1].value == 0
    assert neurons.probes[2].value == 1
    known_of = found.of("cluster=0", "neurons")
    assert known_of.probes[1].k == 2 == len(known_of.probes[1].units)
    # A probe of one unit is the best unit, whose order it keeps.
    assert known_of.probes[0].units == (known_of.best.unit,)
    assert known_of.probes[0].auroc.value == pytest.approx(known_of.best.auroc.value, abs=0.01)


def test_a_search_among_many_units_does_not_find_a_coin(points):
    made = concepts([str(points / "coins.parquet")], "points", page=False, runs=points / "runs")
    found = made.concepts
    random = [one.best for one in found.known if one.source == "random"]
    assert min(one.search for one in random) > 0.52  # the largest of 512 looks like something
    assert np.mean([one.auroc.value for one in random]) == pytest.approx(0.5, abs=0.03)
    assert all(one.found.value == 0 for one in found.sources)
    covered = [one.best.auroc.low <= 0.5 <= one.best.auroc.high for one in found.known]
    assert np.mean(covered) > 0.8
    probes = [probe.auroc.value for one in found.known for probe in one.probes]
    assert np.mean(probes) == pytest.approx(0.5, abs=0.03)


def test_the_table_of_the_run_holds_every_figure(known, points):
    found = known[0].concepts
    with open_run("points", folder=points / "runs", read_only=True) as run:
        rows = run.rows(
            "SELECT concept, source, picked, k, units, auroc, low, f1, tokens_with FROM concept"
            " WHERE labels = ? ORDER BY ALL",
            [found.digest],
        )
    assert len(rows) == 8 * 3 * (1 + 1 + 4)
    by_key = {row[:4]: row[4:] for row in rows}
    for one in found.known:
        units, auroc, low, f1, tokens = by_key[one.concept, one.source, "auroc", 1]
        assert (units, auroc, low, f1) == (
            [one.best.unit], one.best.auroc.value, one.best.auroc.low, None
        )  # fmt: skip
        assert tokens == next(c for c in found.concepts if c.name == one.concept).tokens_with[1]
        assert by_key[one.concept, one.source, "f1", 1][3] == one.threshold.f1
        for probe in one.probes:
            units, auroc, *_ = by_key[one.concept, one.source, "probe", probe.k]
            assert (units, auroc) == (list(probe.units), probe.auroc.value)


def test_measuring_again_replaces_the_rows_of_the_same_labels_and_sources(points, tmp_path):
    runs = shutil.copytree(points / "runs", tmp_path / "runs")
    labels = [f"{points / 'labels.parquet'}:cluster"]
    for sources in (("features", "neurons"), ("features",)):
        made = concepts(labels, "points", sources, sizes=(1,), page=False, runs=runs)
    with open_run("points", folder=runs, read_only=True) as run:
        rows = run.rows(
            "SELECT source, count(*) FROM concept WHERE labels = ? AND source <> 'random'"
            " GROUP BY ALL ORDER BY ALL",
            [made.concepts.digest],
        )
    # By AUROC, by F1, and a probe of one unit; of neurons the four probes that were there.
    assert rows[0] == ("features", 8 * 3)
    assert rows[1][0] == "neurons"


def test_intervals_of_the_page_follow_the_level_of_the_runs_plan(points, tmp_path):
    runs = shutil.copytree(points / "runs", tmp_path / "runs")
    write_plan(Job(n=4, run="points", runs=runs), alpha=0.01)
    labels = [f"{points / 'labels.parquet'}:cluster"]
    made = concepts(labels, "points", ("features",), sizes=(1,), out=tmp_path / "page", runs=runs)
    assert made.concepts.sources[0].found.level == 0.99
    assert {one.best.auroc.level for one in made.concepts.known} == {0.99}
    page = made.page.read_text()
    assert "exact 99 % interval over concepts" in page
    assert "95 %" not in page


def test_page_terminal_and_json_say_the_same(known):
    made, events = known
    page = made.page.read_text()
    assert "know 8 of 8 concepts by a unit each" in page.replace("</span>", "")
    for name in ("sources", "compared", "concepts", "probes"):
        assert (made.page.parent / "tables" / f"{name}.csv").exists()
    assert (made.page.parent / "figures" / "concepts.svg").exists()
    text = as_text(made.concepts)
    assert "features, 8 units: share found 1.00 [0.63, 1.00]; 0.50 where 4 may be" in text
    fields = json.loads(json.dumps(made.concepts.as_json(), allow_nan=False))
    assert fields["sources"][0]["found"]["value"] == 1
    assert len(fields["known"]) == 24
    read = [event for event in events if isinstance(event, Harvesting)]
    assert str(read[0]).startswith("concepts searching: ")
    assert read[-1].tokens <= read[-1].total == 4_000


def test_a_concept_with_too_few_tokens_is_left_out_with_the_reason(points, tmp_path):
    duckdb.execute(
        f"COPY (SELECT document, position, cluster = 0 AND document < 100 AS few, cluster = 1 AS"
        f" one FROM '{points / 'labels.parquet'}') TO '{tmp_path / 'few.parquet'}'"
    )
    events = []
    made = concepts([str(tmp_path / "few.parquet")], "points", ("features",), sizes=(2,), n=6,
                    out=tmp_path / "page", runs=points / "runs", on=events.append)  # fmt: skip
    assert [one.name for one in made.concepts.measured] == ["one"]
    (note,) = (event for event in events if isinstance(event, Note))
    assert "1 of 2 concepts are not measured (few: " in str(note)
    assert "tokens with it; 10 are needed" in made.page.read_text()
    (alone,) = made.concepts.sources
    assert alone.searched == 6
    duckdb.execute(
        f"COPY (SELECT * EXCLUDE one FROM '{tmp_path / 'few.parquet'}')"
        f" TO '{tmp_path / 'none.parquet'}'"
    )
    with pytest.raises(BadInput, match="1 of 1 concepts are not measured"):
        concepts([str(tmp_path / "none.parquet")], "points", ("features",), runs=points / "runs",
                 page=False)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"over": 0.5}, BadInput, "--over 0.5: give an AUROC"),
        ({"over": 1.0}, BadInput, "--over 1: give an AUROC"),
        ({"n": 0}, BadInput, "--n 0: ask for at least 1"),
        ({"tokens": -1}, BadInput, "--tokens -1"),
        ({"sizes": (0,)}, BadInput, "--k 0"),
        ({"sizes": ()}, BadInput, "--k none"),
        ({"sizes": (1, 33)}, BadInput, "--k 33: a probe chooses from 32 units"),
        ({"n": 9, "sources": ("features",)}, TooFewUnits, "only 8 features"),
        ({"sources": ("feature",)}, UnknownName, "did you mean 'features'"),
        ({"sources": ("untrained",)}, SubjectError, "no untrained twin"),
    ],
)
def test_what_cannot_be_asked_is_refused(points, options, error, message):
    with pytest.raises(error, match=message):
        concepts(["x=re:0"], "points", runs=points / "runs", page=False, **options)


def test_on_text_from_the_command_line(tiny_run, command_line, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "runs")
    sources = ("--source", "features", "--source", "random")
    done = command_line("concepts", "cat=re: cat", "the=re:The", "--run", "tiny", "--n", "60",
                        *sources, "--k", "1", "--k", "2")  # fmt: skip
    assert done.code == 0, done.err
    assert "features, 60 units: share found" in done.out
    assert "page: reports/concepts-tiny/index.html" in done.out
    asked = command_line("concepts", "cat=re: cat", "--run", "tiny", "--source", "neurons",
                         "--json", "--tokens", "3k", "-q")  # fmt: skip
    fields = json.loads(asked.out)
    assert sum(fields["tokens"]) == 3_000
    assert fields["compared"] == []
    wrong = command_line("concepts", "cat", "--run", "tiny")
    assert (wrong.code, wrong.out) == (2, "")
    assert "labels 'cat': write NAME=re:PATTERN" in wrong.err
