"""What a run holds of known concepts, read back as it was stored."""

from __future__ import annotations

import pytest
from support.fabricate import add_scores, fabricate_run

from autointerp.findings.comparison import compare
from autointerp.findings.known import known_concepts_of
from autointerp.pipeline.report import report


def row(concept, source, picked, auroc, k=1, f1=None):
    return {
        "concept": concept, "source": source, "picked": picked, "k": k,
        "units": [f"{source}/{n}" for n in range(k)], "search": 0.9, "auroc": auroc,
        "low": None if auroc is None else auroc - 0.01,
        "high": None if auroc is None else min(1, auroc + 0.01), "error": 0.001, "f1": f1,
        "threshold": None, "tokens_with": 50, "tokens_labelled": 1_000,
    }  # fmt: skip


def filled(folder):
    """Return an open run in which features know two of three concepts and neurons none."""
    run = fabricate_run(folder, {"features": 5}, contexts=0)
    add_scores(run, "features", "model:a", [1, 1, 1, 1, 1])
    rows = []
    for concept, features, neurons, probe in (
        ("a", 0.99, 0.8, 0.99), ("b", 0.96, 0.7, 0.97), ("c", 0.95, 0.6, 0.96)
    ):  # fmt: skip
        rows += [
            row(concept, "neurons", "auroc", neurons),
            row(concept, "features", "auroc", features),
            row(concept, "features", "f1", None, f1=0.5),
            row(concept, "features", "probe", probe, k=4, f1=0.6),
        ]
    run.replace_concepts("d1", ["features", "neurons"], rows)
    return run


def test_shares_found_are_counted_over_the_concepts(tmp_path):
    with filled(tmp_path) as run:
        (known,) = known_concepts_of(run)
    assert (known.labels, known.concepts, known.over) == ("d1", 3, 0.95)
    features, neurons = known.sources
    assert (features.source, neurons.source) == ("features", "neurons")
    assert features.found.value == pytest.approx(2 / 3)  # 0.95 itself is not over it
    assert neurons.found.value == 0
    # 0 of 3: the upper end solves (1 - p)³ = 0.025.
    assert neurons.found.high == pytest.approx(1 - 0.025 ** (1 / 3))
    assert features.mean == pytest.approx((0.99 + 0.96 + 0.95) / 3)
    assert (features.f1, neurons.f1) == (0.5, None)
    assert {k: share.value for k, share in features.probes.items()} == {4: 1}
    assert neurons.probes == {}
    assert len(known.rows) == 12


def test_the_report_shows_them_and_says_nothing_where_there_are_none(tmp_path):
    with filled(tmp_path / "a") as run:
        fields = compare(run).as_json()["known"]
    assert fields[0]["sources"][0]["found"]["n"] == [3]
    assert fields[0]["rows"][0]["units"] == ["features/0"]
    report("main", tmp_path / "page", folder=tmp_path / "a")
    page = (tmp_path / "page" / "index.html").read_text()
    assert "Known concepts" in page
    assert "The 6 of 6 best units" in page
    assert (
        "features/0, features/1, features/2, features/3"
        in (tmp_path / "page" / "tables" / "known_units.csv").read_text()
    )
    with fabricate_run(tmp_path / "b", {"features": 5}, contexts=0) as run:
        add_scores(run, "features", "model:a", [1, 1, 1, 1, 1])
        assert compare(run).known == ()
