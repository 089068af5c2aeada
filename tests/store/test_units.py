from pathlib import Path

import pytest
from support.fabricate import add_scores, fabricate_run

from autointerp.errors import BadInput
from autointerp.records import SourceKind
from autointerp.store.run import Run, open_run
from autointerp.units.sources import kind_of


@pytest.fixture
def fabricated(tmp_path: Path):
    excluded = {"features": {"dead": 2}}
    with fabricate_run(tmp_path, {"features": 5, "planted": 3}, excluded=excluded) as run:
        yield run


def test_contexts_come_back_as_they_were_stored(tiny_run: Path, tiny_run_name: str):
    with open_run(tiny_run_name, folder=tiny_run, read_only=True) as run:
        unit = next(u for u in run.units("features") if u.summary.outcome == "eligible")
        found = list(run.contexts([unit.unit_id])[unit.unit_id].values())
    assert {context.draw for context in found} == {"top", "interval", "random"}
    assert {context.split for context in found} == {"explain", "score"}
    assert max(context.activation for context in found) == pytest.approx(unit.summary.peak)
    for context in found:
        assert len(context.tokens) == len(context.activations)
        assert context.silent == (max(context.activations) <= 1e-5)


def test_outlines_say_of_contexts_what_a_choice_looks_at(tiny_run: Path, tiny_run_name: str):
    with open_run(tiny_run_name, folder=tiny_run) as run:
        units = [unit.unit_id for unit in run.sampled("features", 3)]
        contexts = run.contexts(units)
        everything = run.context_outlines(units)
        some = run.context_outlines(units, ("score", ["top", "random"]))
    for unit, outlines in everything.items():
        assert list(outlines) == list(contexts[unit])
        for number, outline in outlines.items():
            context = contexts[unit][number]
            assert outline == tuple(getattr(context, name) for name in outline._fields)
        wanted = [
            number
            for number, context in contexts[unit].items()
            if context.split == "score" and context.draw in ("top", "random")
        ]
        assert list(some[unit]) == wanted
        assert 0 < len(wanted) < len(outlines)


def test_a_sample_is_the_first_eligible_units_of_the_order(fabricated: Run):
    assert [unit.summary.order for unit in fabricated.units("features")] == list(range(7))
    assert [unit.summary.order for unit in fabricated.sampled("features", 3)] == [2, 3, 4]
    assert len(fabricated.sampled("features", 100)) == 5
    assert fabricated.sampled("nothing", 3) == []


def test_held_units_are_the_eligible_ones_of_each_source(fabricated: Run):
    assert fabricated.held_units() == {"features": (5, False), "planted": (3, True)}


def test_a_source_comes_back_with_what_it_said_of_itself(run: Run):
    kind = SourceKind("floor", ("a whim", "whims"), "#123456")
    run.replace_source("whims", 7, kind_of("features"))
    run.replace_source("whims", 8, kind)
    (stored,) = run.sources().values()
    assert (stored.name, stored.size, stored.is_control, stored.kind) == ("whims", 8, True, kind)


def test_the_views_put_items_ratings_and_guesses_beside_their_units(fabricated: Run):
    add_scores(fabricated, "features", "lexical", [1, 0, 2, 0, 1])
    assert fabricated.rows(
        "SELECT DISTINCT i.unit, i.source, i.is_control, r.score IS NOT NULL FROM unit_item i"
        " JOIN unit_rating r USING (item_id) WHERE i.unit_id = 2"
    ) == [("features/2", "features", False, True)]
    (item,) = fabricated.rows("SELECT item_id FROM unit_item WHERE unit_id = 3")[0]
    row = {"item_id": item, "rater": "human", "version": 0, "guess": "feature"}
    fabricated.insert("guess", [{**row, "made_at": fabricated.about["run"]["made"]}])
    assert fabricated.rows("SELECT unit, source, guess, rater FROM unit_guess") == [
        ("features/3", "features", "feature", "human")
    ]


def test_the_negative_half_of_a_unit_is_named_with_a_minus(run: Run):
    assert run.rows("SELECT unit_name('neurons', 5, -1), unit_name('neurons', 5, 1)") == [
        ("neurons/5-", "neurons/5")
    ]


def test_units_are_found_by_the_names_that_reports_give_them(own_runs: Path):
    rename = "UPDATE unit SET note = ? WHERE unit_id = ?"
    with open_run("tiny", folder=own_runs) as run:
        unit, other, negative = run.units("features")[:3]
        index = [one.summary.unit.index for one in (unit, other, negative)]
        run.connection.execute(rename, ["called 'mean'; more", other.unit_id])
        run.connection.execute("UPDATE unit SET sign = -1 WHERE unit_id = ?", [negative.unit_id])
        for name, meant in [
            (f"features/{index[0]}", unit), ("features/mean", other),
            (f"features/{index[1]}", other), (f"features/{index[2]}-", negative),
            (f"features/{index[2]}\N{MINUS SIGN}", negative),
        ]:  # fmt: skip
            assert run.units_called([name, name]) == [meant.unit_id]
        for name in ("features/99999", "features", "", f"features/{index[2]}"):
            with pytest.raises(BadInput, match="the run holds no such unit; `autointerp report"):
                run.units_called([name])
        run.connection.execute(rename, ["called 'of\ntwo lines'; more", other.unit_id])
        assert run.units_called(["features/of\ntwo lines"]) == [other.unit_id]
        run.connection.execute(rename, ["called 'mean'", other.unit_id])
        run.connection.execute(rename, ["called 'mean'", unit.unit_id])
        with pytest.raises(BadInput, match="2 units are called so"):
            run.units_called(["features/mean"])
