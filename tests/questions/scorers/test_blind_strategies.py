"""Raters that never read the description score one half, whatever the units are like.

They look at each text alone, or compare the texts of a call.
"""

from functools import cache

import numpy as np
import pytest

from autointerp.questions.scorers import scorer
from bench.scorers import (
    ARTIFICIAL,
    SCORERS,
    artificial_scores,
    artificial_unit,
    blind_score,
    is_blind,
    strategies,
)

UNITS = 60
COUNT = 20
CELLS = [(name, rule) for name in SCORERS for rule in strategies(scorer(name).TASK)]


@cache
def scores(name):
    # A unit has few questions of `intruder`: its means need more units.
    return artificial_scores(name, 2 * UNITS if name == "intruder" else UNITS, COUNT)


# Over 60 units the standard error of a mean is 0.003 to 0.007 in simulation and 0.005 to 0.014 in
# the others, so 0.03 is two of them at least and four as a rule; but about 0.025 for the longest
# token of planted units, each of which fires on one word, long or short. Of some four hundred means
# a few are two errors off, so three are allowed; `python -m bench scorers` has twice the units.
# Seeds are fixed.
@pytest.mark.parametrize(("name", "rule"), CELLS)
def test_a_rule_that_reads_no_description_scores_one_half_on_every_source(name, rule):
    by_source = scores(name)[rule]
    assert set(ARTIFICIAL) <= set(by_source)
    blind = {source: v for source, v in by_source.items() if is_blind(name, rule, source)}
    assert blind
    for source, values in blind.items():
        assert len(values) >= UNITS * 0.8, source
        error = np.std(values) / len(values) ** 0.5
        assert error < 0.03, source
        assert np.mean(values) == pytest.approx(0.5, abs=max(0.03, 3 * error)), source


def test_a_rule_that_compares_texts_would_find_out_a_call_of_several_firing_ones():
    # The rules do work: ten texts of planted units in a call, as fuzzing and detection had them.
    found = {}
    for name, rule in (
        ("fuzzing", "on the token marked most often"),
        ("detection", "has the word of most texts"),
    ):
        module = scorer(name)
        values = []
        for number in range(10):
            held_out = artificial_unit("planted", number)
            pieces = [p for call in module.choose(held_out, COUNT, False).calls for p in call]
            calls = [
                [(p, held_out.contexts[p.context]) for p in pieces[begin : begin + 10]]
                for begin in range(0, len(pieces), 10)
            ]
            strategy = strategies(module.TASK)[rule]
            values.append(blind_score(module, strategy, calls, 1.0, 0.02, (1.0,) * 10))
        found[name] = np.mean(values)
    assert found["fuzzing"] > 0.9
    assert found["detection"] > 0.65
