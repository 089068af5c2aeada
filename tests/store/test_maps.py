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
