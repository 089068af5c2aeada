import pytest

from autointerp.engine.forecast import forecast, reply_tokens
from autointerp.questions.explain import EXPLAIN
from autointerp.questions.rubric_files import load_rubric
from autointerp.questions.scorers import scorer
from autointerp.raters import RaterOptions
from autointerp.raters.openai import create
from autointerp.records import Item, ItemContext, Rating, Reply, Request
from autointerp.store.run import open_run

DETECTION = scorer("detection").TASK


def test_a_reply_is_as_long_as_its_form_and_the_contexts_asked_about():
    assert reply_tokens(DETECTION, 5) == 10 + 5 * 12
    assert reply_tokens(scorer("simulation").TASK, 5) == 10 + 5 * 30
    assert reply_tokens(scorer("intruder").TASK, 5) == reply_tokens(EXPLAIN, 20) == 60
    assert reply_tokens(load_rubric("specificity-0-3"), 1) == 60
    assert reply_tokens(load_rubric("interpretability-1-5"), 10) == 90


@pytest.mark.parametrize("rubric", [DETECTION, load_rubric("interpretability-1-5")])
def test_replies_to_the_same_question_say_how_long_the_next_are_and_others_do_not(own_runs, rubric):
    rater = create("m", RaterOptions())
    context = ItemContext((" a", " cat"), None, None, "score", False)
    item = Item("aa", rubric.id, (context,) * 5, "cats")
    with open_run("tiny", folder=own_runs) as run:
        before = forecast(rater, rubric, 100, [item], run)
        assert before.tokens_out == 100 * reply_tokens(rubric, 5)
        for place, asked in enumerate((EXPLAIN, rubric)):
            request = Request(f"key{place}", "aa", {})
            reply = Reply("{}", tokens_in=1000 + place, tokens_out=7 + place)
            rating = Rating("aa", asked.id, asked.digest, rater.name, place, "ok", 1,
                            call_key=request.key)  # fmt: skip
            run.add_ratings([rating], [(request, 0, reply)], rater.name)
            after = forecast(rater, rubric, 100, [item], run)
            # The first reply was to another question; the second has 1001 tokens in and 8 out.
            expected = (before.tokens_in, before.tokens_out) if place == 0 else (100_100, 800)
            assert (after.tokens_in, after.tokens_out) == expected
