from autointerp.records import Context, HarvestedUnit, Unit, UnitSummary
from autointerp.store.run import open_run


def row(concept: str, idx: int, is_main: bool | None) -> dict[str, object]:
    return {
        "concept": concept,
        "kind": "strongest",
        "place": 1,
        "idx": idx,
        "sign": 1,
        "activation": 0.5,
        "description": None,
        "status": "missing" if is_main is None else "ok",
        "is_main": is_main,
        "occurrences": 3,
        "tokens": 100,
    }


def asked(*concepts: str) -> list[dict[str, object]]:
    return [
        {"concept": name, "prompts": [name], "occurrences": 3, "tokens": 100} for name in concepts
    ]


def test_answers_about_a_concept_replace_the_rater_s_former_ones_alone(own_runs):
    query = "SELECT rater, concept, idx, is_main FROM cover ORDER BY ALL"
    with open_run("tiny", folder=own_runs) as run:
        run.replace_cover(
            "features",
            "a",
            asked("king", "cat", "none"),
            [row("king", 0, True), row("cat", 1, None)],
        )
        run.replace_cover("features", "b", asked("king"), [row("king", 2, False)])
        run.replace_cover("features", "a", asked("king"), [row("king", 3, False)])
        assert run.rows(query) == [
            ("a", "cat", 1, None), ("a", "king", 3, False), ("b", "king", 2, False),
        ]  # fmt: skip
        assert run.rows("SELECT rater, concept FROM cover_concept ORDER BY ALL") == [
            ("a", "cat"), ("a", "king"), ("a", "none"), ("b", "king"),
        ]  # fmt: skip


def test_units_by_name_come_back_with_their_contexts_in_order_and_are_no_units_of_the_run(own_runs):
    unit = Unit("features", 60)
    contexts = [
        Context(("a", "b"), (0.0, 2.0), 1, "top", 3, "explain", False, 5, 7),
        Context(("c",), (1.0,), 0, "interval", 1, "explain", False, 6, 0),
    ]
    summary = UnitSummary(unit, 0.01, 100, 2.0, 0, "eligible")
    dead = UnitSummary(Unit("features", 61), 0.0, 100, 0.0, 0, "dead")
    with open_run("tiny", folder=own_runs) as run:
        before = run.rows("SELECT count(*) FROM unit")
        run.add_asides([HarvestedUnit(summary), HarvestedUnit(dead)], [contexts, []])
        assert run.asides("features") == {
            unit: (2.0, contexts), Unit("features", 61): (0.0, []),
        }  # fmt: skip
        assert run.asides("neurons") == {}
        assert run.rows("SELECT count(*) FROM unit") == before
