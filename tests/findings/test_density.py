import numpy as np
import pytest

from autointerp.findings.density import STRATA, means_by_stratum


def test_each_stratum_has_its_units_mean_and_the_geometric_mean_of_what_it_goes_by():
    # 20 units of density 1, 2, … 20: five strata of four. The first has 1 to 4.
    by = np.arange(1.0, 21.0)
    found = means_by_stratum(by, by)
    assert [stratum.n for stratum in found] == [4] * STRATA
    assert found[0].at == pytest.approx(24 ** (1 / 4))
    assert found[0].mean.value == pytest.approx(2.5)
    assert [stratum.at for stratum in found] == sorted(stratum.at for stratum in found)


def test_units_of_unknown_density_do_not_count_and_fewer_than_20_give_none():
    by = np.concatenate([np.arange(1.0, 21.0), [np.nan, 0.0]])
    scores = np.ones(22)
    assert sum(stratum.n for stratum in means_by_stratum(by, scores)) == 20
    assert means_by_stratum(by[1:], scores[1:]) == ()
