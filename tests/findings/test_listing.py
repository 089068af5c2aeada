"""One unit's place in the list: what trying its description came to."""

import shutil
from pathlib import Path

import numpy as np
from support.scored import job

from autointerp.findings.answers import context_ratings
from autointerp.findings.listing import worth_of_units
from autointerp.pipeline.rate import rate
from autointerp.store.run import open_run


def test_contexts_that_were_rated_against_a_description_are_counted_by_kind(
    truth_run: Path, tmp_path: Path
):
    runs = Path(shutil.copytree(truth_run, tmp_path / "runs"))
    rate(job(runs, "lexical", rubric="specificity-0-3", contexts=6, explainer="scripted:truth"))
    with open_run("tiny", folder=runs, read_only=True) as run:
        ratings = context_ratings(run)
        worth = worth_of_units(run)
    assert ratings
    by_unit = {unit_id: one.fits for unit_id, one in worth.items() if one.fits}
    assert by_unit.keys() == {rating.unit_id for rating in ratings}
    for unit_id, fits in by_unit.items():
        kinds = [fit.kind for fit in fits]
        assert len(set(kinds)) == len(kinds)
        for fit in fits:
            own = [r for r in ratings if (r.unit_id, r.kind) == (unit_id, fit.kind)]
            given = [rating.score for rating in own if rating.score is not None]
            assert (fit.questions, fit.answered) == (len(own), len(given))
            assert fit.score == (np.mean(given) if given else None)
