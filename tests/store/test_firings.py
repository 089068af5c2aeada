import numpy as np

from autointerp.records import Unit
from autointerp.store.run import open_run


def test_counts_of_a_source_replace_the_former_ones_and_harvested_units_keep_their_own(own_runs):
    with open_run("tiny", folder=own_runs) as run:
        harvested = run.firing_counts("features")
        assert not run.has_firings("features")
        ((idx, _), (fires, tokens)) = next(iter(harvested.items()))
        units = [Unit("features", number) for number in range(64)]
        run.replace_firings("features", units, np.full(64, 5), 100)
        run.replace_firings("features", units, np.full(64, 7), 100)
        counts = run.firing_counts("features")
        assert run.has_firings("features")
        assert not run.has_firings("neurons")
    assert len(counts) == 64
    assert counts[idx, 1] == (fires, tokens)
    assert {counts[n, 1] for n in range(64) if (n, 1) not in harvested} == {(7, 100)}
