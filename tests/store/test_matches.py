from autointerp.store.run import open_run


def row(idx: int, nearest: int, partner: int | None) -> dict[str, object]:
    return {
        "other_sae": "digest",
        "idx": idx,
        "cosine": 0.5,
        "nearest": nearest,
        "partner_cosine": None if partner is None else 0.4,
        "partner": partner,
        "is_exact": True,
    }


def side(splits: int) -> dict[str, object]:
    return {
        "other_sae": "digest", "features": 9, "directed": 8, "counted": 7, "dead": 1,
        "related": 0.7, "share_related": 0.5, "share_related_one_to_one": 0.25, "median": 0.6,
        "median_one_to_one": None, "chance_median": 0.1, "chance_99": 0.2, "splits": splits,
        "is_exact": True,
    }  # fmt: skip


def test_a_match_replaces_the_former_one_with_the_same_run_alone(own_runs):
    query = "SELECT other, idx, nearest, partner FROM match ORDER BY ALL"
    with open_run("tiny", folder=own_runs) as run:
        run.replace_match("a", [row(0, 3, 1), row(1, 4, None)], side(1), [])
        run.replace_match("b", [row(0, 5, 5)], side(2), [])
        run.replace_match("a", [row(1, 6, 2)], side(3), [])
        assert run.rows(query) == [("a", 1, 6, 2), ("b", 0, 5, 5)]
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        assert len(run.rows(query)) == 2
        assert run.rows("SELECT other, splits FROM match_side ORDER BY other") == [
            ("a", 3), ("b", 2),
        ]  # fmt: skip
