"""Raters that never read the description score one half, whatever the units are like."""

from functools import cache

import numpy as np
import pytest

from autointerp.questions.scorers import scorer
from bench.scorers import ARTIFICIAL, COMPARING, SCORERS, artificial_scores, strategies

UNITS = 60
COUNT = 20
CELLS = [
    (name, rule)
    for name in SCORERS
    for rule in strategies(scorer(name).TASK)
    if rule not in COMPARING
]


@cache
def scores(name):
    return artificial_scores(name, UNITS, COUNT)


# Over 60 units the standard error of a mean is 0.003 to 0.007 in simulation and 0.005 to 0.014 in
# the others, so 0.03 is two of them at least and four as a rule; but about 0.025 for the longest
# token of planted units, each of which fires on one word, long or short. Seeds are fixed.
@pytest.mark.parametrize(("name", "rule"), CELLS)
def test_a_rule_that_reads_no_description_scores_one_half_on_every_source(name, rule):
    by_source = scores(name)[rule]
    assert set(ARTIFICIAL) <= set(by_source)
    for source, values in by_source.items():
        assert len(values) >= UNITS * 0.8, source
        assert np.std(values) / len(values) ** 0.5 < 0.03, source
        assert np.mean(values) == pytest.approx(0.5, abs=0.03), source
