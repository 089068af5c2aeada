from autointerp.questions.scorers.surprisal import TASK
from autointerp.raters._losses import NEUTRAL


def test_the_prefix_ends_with_the_description_and_holds_no_other_place_for_one():
    assert TASK.text.count("{description}") == 1
    assert TASK.text.endswith("Description: {description}\nSentences:")


def test_the_neutral_description_is_none_of_the_examples():
    assert NEUTRAL not in TASK.text
