import pytest
from support.fabricate import add_all_scores, fabricate_run

from autointerp.findings.agreement import agreements, attention, contexts_shown, text_asked_for
from autointerp.findings.comparison import compare
from autointerp.questions.rubric_files import load_rubric
from autointerp.records import Rating
from autointerp.store.run import open_run
from autointerp.store.tables import now

RUBRIC = load_rubric("interpretability-1-5")


@pytest.fixture
def run(own_runs, tiny_run_name):
    with open_run(tiny_run_name, folder=own_runs) as opened:
        yield opened


def items_of(run, *sources: str) -> list[str]:
    marks = ", ".join("?" * len(sources))
    rows = run.rows(
        "SELECT item_id FROM key JOIN unit USING (unit_id)"
        f" WHERE source IN ({marks}) ORDER BY item_id",
        list(sources),
    )
    return [row[0] for row in rows]


def rate(run, rater: str, scores: dict[str, int], repeat: int = 0) -> None:
    run.add_ratings(
        [
            Rating(item, RUBRIC.id, RUBRIC.digest, rater, repeat, "ok", score)
            for item, score in scores.items()
        ]
    )


def test_people_agree_with_each_other_themselves_and_models(run):
    items = items_of(run, "features", "neurons")
    scores = {item: 1 + place % 5 for place, item in enumerate(items)}
    rate(run, "human:ann", scores)
    rate(run, "human:bob", {i: min(5, s + 1) for i, s in scores.items()})
    rate(run, "human:ann", {i: scores[i] for i in items[:5]}, repeat=1)
    rate(run, "openai:x", {i: 6 - s for i, s in scores.items()})
    found = {(one.kind, one.raters): one for one in agreements(run, RUBRIC)}
    assert ("people", ("human:ann", "human:bob")) in found
    oneself = found["oneself", ("human:ann", "human:ann")]
    assert (oneself.units, oneself.alpha.value) == (5, 1.0)
    assert ("oneself", ("human:bob", "human:bob")) not in found  # nobody asked bob again
    against = found["person and model", ("human:ann", "openai:x")]
    assert against.spearman.value == pytest.approx(-1)
    people = found["people", ("human:ann", "human:bob")]
    assert people.units == 16
    assert people.kappa.value is not None
    assert people.kappa.low is None
    assert "at least 20 needed" in people.kappa.note
    assert people.spearman.low is not None
    assert people.spearman.low <= people.spearman.value <= people.spearman.high
    # scripted:4 gives one score only: it is in the table, and says why it has no figure.
    flat = found["person and model", ("human:ann", "scripted:4")]
    assert flat.spearman.value is None
    assert "constant" in flat.spearman.note


def test_controls_do_not_count(run):
    for name in ("human:ann", "human:bob"):
        rate(run, name, dict.fromkeys(items_of(run, "planted"), 5))
        rate(run, name, dict.fromkeys(items_of(run, "features"), 3))
    assert next(one.units for one in agreements(run, RUBRIC)) == 8


def test_attention_compares_planted_and_shuffled_items(run):
    rate(run, "human:ann", dict.fromkeys(items_of(run, "planted"), 5))
    rate(run, "human:ann", dict.fromkeys(items_of(run, "shuffled"), 1))
    rate(run, "human:bob", dict.fromkeys(items_of(run, "planted", "shuffled"), 3))
    ann, bob = attention(run, RUBRIC)
    assert (ann.planted, ann.shuffled, ann.pairs_right, ann.n) == (5, 1, 1, (4, 4))
    assert bob.pairs_right == 0.5
    # An item that came twice counts once, by its mean.
    rate(run, "human:ann", dict.fromkeys(items_of(run, "planted")[:1], 3), repeat=1)
    ann, _ = attention(run, RUBRIC)
    assert (ann.planted, ann.n) == ((4 + 5 + 5 + 5) / 4, (4, 4))


def test_controls_that_raters_agree_on_leave_the_agreement_on_studied_units_alone(tmp_path):
    units = {"features": 20, "neurons": 20, "planted": 10, "shuffled": 10}
    with fabricate_run(tmp_path, units, contexts=0) as run:
        for rater, seed in (("model:a", 1), ("model:b", 2)):
            add_all_scores(
                run,
                rater,
                {source: [4, 4, 4, 4, 4] for source in ("features", "neurons")},
                seed=seed,
            )
        studied_only = compare(run).agreement
        for rater in ("model:a", "model:b"):
            add_all_scores(run, rater, {"planted": [0, 0, 0, 0, 10], "shuffled": [10, 0, 0, 0, 0]})
        tables = {table.units: table.agreement for table in compare(run).agreement}
    assert [table.units for table in studied_only] == ["studied"]
    assert tables["studied"] == studied_only[0].agreement
    assert tables["studied"].alpha.value < 0.5  # scores drawn apart
    assert tables["controls"].alpha.value == 1
    assert tables["controls"].alpha.n == (20,)


def test_who_asked_for_more_text_and_was_shown_how_many_contexts_is_counted_by_item(run):
    about = {"session_id": "s", "is_pack": False, "rater": None, "rubric": RUBRIC.id,
             "rubric_digest": RUBRIC.digest, "contexts": 10, "to_rate": 3, "gold": 0,
             "left_out": "{}", "made_at": now()}  # fmt: skip
    run.insert("human_session", [about, about | {"session_id": "t", "contexts": 4}])
    did = [
        ("human:ann", "rating", "widen", "a", 0), ("human:ann", "rating", "score", "a", 0),
        ("human:ann", "rating", "score", "b", 0), ("human:ann", "rating", "widen", "b", 1),
        ("human:ann", "training", "widen", "p", 0), ("human:ann", "training", "score", "p", 0),
        ("human:ann", "rating", "widen", "c", 0), ("human:ann", "rating", "score", "c", 0),
        ("human:ann", "rating", "undo", "c", 0),
        ("human:ann", "rating", "skip", "d", 0), ("human:ann", "guess", "widen", "b", 0),
        ("human:bob", "rating", "widen", "a", 0),
        ("human:cas", "rating", "score", "a", 0),
        # In a second sitting, of which nothing stands: the answer in the first one does.
        ("human:cas", "rating", "score", "a", 0, "t"), ("human:cas", "rating", "undo", "a", 0, "t"),
        ("human:dan", "rating", "score", "a", 0), ("human:dan", "rating", "score", "b", 0, "t"),
        ("human:dan", "rating", "score", "c", 0, "t"),
        ("human:dan", "rating", "score", "c", 1, "t"),
    ]  # fmt: skip
    run.insert(
        "human_answer",
        [
            {"session_id": sitting[0] if sitting else "s", "rater": rater, "seq": seq,
             "kind": kind, "verb": verb, "item_id": item, "repeat": repeat, "score": 3,
             "text": None, "seconds": 1.0,
             "answered_at": "2026-01-01T00:00:00+00:00", "chain": "x"}
            for seq, (rater, kind, verb, item, repeat, *sitting) in enumerate(did)
        ],
    )  # fmt: skip
    # ann answered a, b and d (c was taken back) and asked for more of a; bob answered nothing.
    found = {one.rater: (one.items, one.asked) for one in text_asked_for(run, RUBRIC)}
    assert found == {"human:ann": (3, 1), "human:cas": (1, 0), "human:dan": (3, 0)}
    # The first sitting showed 10 contexts of each item, the second 4; ann skipped d.
    shown = [(one.rater, one.contexts, one.units) for one in contexts_shown(run, RUBRIC)]
    assert shown == [
        ("human:ann", 10, 2), ("human:cas", 10, 1), ("human:dan", 10, 1), ("human:dan", 4, 2),
    ]  # fmt: skip
    assert {one.of_rubric for one in contexts_shown(run, RUBRIC)} == {RUBRIC.shows.contexts}
