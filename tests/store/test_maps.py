from autointerp.store.run import open_run


def row(idx: int, x: float) -> dict[str, object]:
    return {
        "source": "features",
        "idx": idx,
        "sign": 1,
        "x": x,
        "y": -x,
        "near": [1 - idx],
        "cosines": [0.25],
        "is_exact": True,
    }


def test_layouts_are_kept_by_their_digest_and_one_of_the_same_is_replaced(own_runs):
    with open_run("tiny", folder=own_runs) as run:
        assert run.map_points("a") == []
        run.add_map("a", [row(0, 1.0), row(1, 2.0)])
        run.add_map("b", [row(0, 3.0)])
        run.add_map("a", [row(1, 5.0), row(0, 4.0)])
        assert run.map_points("a") == [
            (5.0, -5.0, [0], [0.25], True),
            (4.0, -4.0, [1], [0.25], True),
        ]
        assert [point[0] for point in run.map_points("b")] == [3.0]


def test_what_a_map_says_of_its_sources_is_replaced_with_the_map(own_runs):
    def about(source: str, kept: float) -> dict[str, object]:
        return {
            "source": source, "units": 3, "without": 0, "median": 0.5, "near_own": 1.0,
            "mixed": 0.5, "kept": kept, "neighbours": 15, "seed": 0,
        }  # fmt: skip

    with open_run("tiny", folder=own_runs) as run:
        run.replace_map_sources("a", [about("features", 0.1), about("random", 0.2)])
        run.replace_map_sources("b", [about("features", 0.3)])
        run.replace_map_sources("a", [about("features", 0.4)])
        assert run.rows("SELECT digest, place, source, kept FROM map_source ORDER BY ALL") == [
            ("a", 0, "features", 0.4), ("b", 0, "features", 0.3),
        ]  # fmt: skip
