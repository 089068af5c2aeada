from __future__ import annotations

import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from autointerp.questions.items import choose_contexts, item_id, load_items, make_items
from autointerp.questions.rubric_files import load_rubric
from autointerp.records import Context
from autointerp.store.run import Run, open_run

RUBRIC = load_rubric("interpretability-1-5")


@pytest.fixture
def run(own_runs: Path, tiny_run_name: str) -> Run:
    return open_run(tiny_run_name, folder=own_runs)


def prompts(run: Run) -> dict[str, bytes]:
    ids = [row[0] for row in run.rows("SELECT item_id FROM item ORDER BY item_id")]
    return {
        item.id: (RUBRIC.system() + RUBRIC.user(item)).encode()
        for item in load_items(run, ids, RUBRIC)
    }


def test_swapping_the_sources_of_two_units_leaves_every_prompt_byte_the_same(run: Run) -> None:
    before = prompts(run)
    one, other = (
        run.rows(
            "SELECT unit_id, source, idx FROM unit WHERE source = ? AND outcome = 'eligible'",
            [name],
        )[0]
        for name in ("features", "neurons")
    )
    for (unit_id, _, _), (_, source, index) in ((one, other), (other, one)):
        run.connection.execute(
            "UPDATE unit SET source = ?, idx = ? WHERE unit_id = ?", [source, index + 1000, unit_id]
        )
    run.connection.execute("DELETE FROM item; DELETE FROM key;")
    for name in ("features", "neurons", "random", "shuffled", "planted"):
        units = [u for u in run.units(name) if u.summary.outcome == "eligible"]
        make_items(run, units, RUBRIC, "shown")
    after = prompts(run)
    assert {key: after[key] for key in before} == before


def test_scaling_a_units_activations_leaves_its_items_the_same(run: Run) -> None:
    [(unit_id,)] = run.rows("SELECT unit_id FROM unit WHERE outcome = 'eligible' LIMIT 1")
    [(item,)] = run.rows("SELECT item_id FROM key WHERE unit_id = ?", [unit_id])
    everything = replace(RUBRIC, shows=replace(RUBRIC.shows, activations="scaled"))
    before = load_items(run, [item], everything)[0]
    run.connection.execute(
        "UPDATE context SET activations = list_transform(activations, lambda x: x * 8)"
        " WHERE unit_id = ?",
        [unit_id],
    )
    run.connection.execute("UPDATE key SET scale = scale * 8 WHERE unit_id = ?", [unit_id])
    assert load_items(run, [item], everything)[0] == before


def test_an_item_tells_nothing_of_its_unit(run: Run) -> None:
    units = run.frame("SELECT * FROM unit WHERE outcome = 'eligible'")
    for item in load_items(run, run.frame("SELECT item_id FROM item").item_id.tolist(), RUBRIC):
        shown = json.dumps(asdict(replace(item, contexts=())))
        for source in units.source.unique():
            assert source not in shown
        for context in item.contexts:
            assert context.activations is None


def test_items_of_all_sources_are_mixed(run: Run) -> None:
    sources = [
        row[0]
        for row in run.rows(
            "SELECT source FROM item JOIN key USING (item_id) JOIN unit USING (unit_id)"
            " ORDER BY item.ord"
        )
    ]
    changes = sum(a != b for a, b in itertools.pairwise(sources))
    # Sorted by source, 28 items would change source 4 times; at random about 22 times.
    assert changes > 12


def test_making_items_twice_makes_them_once(run: Run) -> None:
    units = [u for u in run.units("features") if u.summary.outcome == "eligible"]
    first = make_items(run, units, RUBRIC, "shown")
    count = run.rows("SELECT count(*) FROM item")
    assert make_items(run, units, RUBRIC, "shown") == first
    assert run.rows("SELECT count(*) FROM item") == count


def test_ids_are_opaque_and_depend_on_seed_unit_rubric_and_evidence() -> None:
    ids = {
        item_id(seed, unit, digest, evidence)
        for seed in (0, 1)
        for unit in (0, 1)
        for digest in ("a", "b")
        for evidence in ("shown", "all")
    }
    assert len(ids) == 16
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids)


def context(
    number: int, draw: str, activation: float, interval: int | None, **more: object
) -> Context:
    made = Context(
        ("a", f" {number}"), (0.0, activation), 1, draw, interval,  # type: ignore[arg-type]
        "explain", activation == 0, number, 0,
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def test_shown_contexts_are_the_rubrics_draws_strongest_first() -> None:
    contexts = {n: context(n, "top", 20.0 - n, 5) for n in range(15)}
    contexts[99] = context(99, "top", 50.0, 5, split="score")
    contexts[98] = context(98, "random", 49.0, 5)
    chosen = choose_contexts(contexts, RUBRIC, "shown", "00")
    assert chosen == list(range(10))


def test_interval_draws_are_taken_from_all_intervals_in_turn() -> None:
    contexts = {
        10 * level + n: context(10 * level + n, "interval", level + n / 10, level)
        for level in range(1, 6)
        for n in range(4)
    }
    rubric = replace(RUBRIC, shows=replace(RUBRIC.shows, draws=("interval",)))
    chosen = choose_contexts(contexts, rubric, "shown", "00")
    assert sorted(contexts[n].interval or 0 for n in chosen) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_no_text_is_shown_twice_though_it_stands_in_two_documents() -> None:
    copies = {n: context(n, "top", 9.0 - n, 5, tokens=("a", " b")) for n in range(3)}
    others = {n: context(n, "top", 5.0 - n, 5) for n in range(3, 5)}
    for evidence in ("shown", "all"):
        chosen = choose_contexts({**copies, **others}, RUBRIC, evidence, "0a")  # type: ignore[arg-type]
        assert sorted(chosen) == [0, 3, 4]


def test_no_place_is_shown_twice() -> None:
    contexts = {
        0: context(7, "top", 3.0, 5),
        1: context(7, "interval", 3.0, 5),
        2: context(8, "random", 0.0, None),
    }
    assert sorted(choose_contexts(contexts, RUBRIC, "all", "0a")) == [0, 2]
