"""The blinding check of a model, through the engine."""

from pathlib import Path

import pytest
from support.fabricate import add_scores, fabricate_run

from autointerp.errors import BadInput
from autointerp.findings.blinding import blinding_of
from autointerp.findings.comparison import compare
from autointerp.pipeline.guess import ask_guesses
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters.scripted import Scripted

RUBRIC = load_rubric("interpretability-1-5")


def test_a_model_is_asked_once_what_it_rated_and_its_guesses_are_no_ratings(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 5, "neurons": 5}) as run:
        for source in ("features", "neurons"):
            add_scores(run, source, "model:a", [1, 1, 1, 1, 1])
        rater = Scripted("model:a", [{"score": 1}])  # "a feature", always
        rater.is_llm = True
        before = compare(run).scores
        assert ask_guesses(run, RUBRIC, rater).statuses == {"ok": 10}
        assert compare(run).scores.equals(before)
        found = {s.source: s.bang.value for s in blinding_of(run, RUBRIC.digest, "model:a").sources}
        # All of one arm right; all of the other wrong, which counts 1 / (3 - 1) with three arms.
        assert found == {"features": 1.0, "neurons": -0.5}
        assert ask_guesses(run, RUBRIC, rater).before == 10
        assert rater.sent == 10
        assert run.rows("SELECT count(*) FROM guess") == [(10,)]


def test_a_rater_that_is_no_model_is_not_asked(tmp_path: Path):
    with fabricate_run(tmp_path, {"features": 4}) as run:
        add_scores(run, "features", "scripted:3", [1, 0, 1, 1, 1])
        with pytest.raises(BadInput, match="no language model"):
            ask_guesses(run, RUBRIC, Scripted("scripted:3", [{"score": 1}]))
