import json

import pytest

from autointerp.questions.guess import guess_rubric, read_guess
from autointerp.questions.rubric_files import load_rubric
from autointerp.records import Reply

RUBRIC = load_rubric("interpretability-1-5")


def test_the_question_to_models_shows_what_the_rubric_shows():
    question = guess_rubric(RUBRIC)
    assert question.shows == RUBRIC.shows
    assert question.digest != RUBRIC.digest
    text = question.system()
    assert "3 = a control" in text
    assert "4 = cannot be told" in text


@pytest.mark.parametrize(
    ("score", "guess"), [(1, "feature"), (2, "neuron"), (3, "control"), (4, "unknown"), (5, None)]
)
def test_a_model_s_reply_is_a_guess_or_none(score, guess):
    reply = Reply(json.dumps({"rationale": "because", "score": score}))
    assert read_guess(guess_rubric(RUBRIC), reply) == guess
