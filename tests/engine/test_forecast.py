import json
from dataclasses import replace

import pytest

from autointerp.engine.forecast import Forecast, forecast_calls, forecast_trials, reply_tokens
from autointerp.questions.explain import EXPLAIN, eligible_units, explain_trials
from autointerp.questions.forms import make_task
from autointerp.questions.items import load_items
from autointerp.questions.rubric_files import load_rubric
from autointerp.questions.scorers import scorer
from autointerp.questions.trials import add_trials
from autointerp.raters import Price, RaterOptions, load_rater, version_of
from autointerp.raters.openai import create
from autointerp.records import Item, ItemContext, Rating, Reply, Request
from autointerp.store.run import open_run

DETECTION = scorer("detection").TASK


def test_a_reply_is_as_long_as_its_form_and_the_contexts_asked_about():
    assert reply_tokens(DETECTION, 48) == 36 + 36  # eight keys, and three letters for four texts
    assert reply_tokens(make_task("any", 1, "?", "judge", ""), 5) == 10 + 5 * 12
    assert reply_tokens(scorer("simulation").TASK, 5) == 10 + 5 * 30
    assert reply_tokens(scorer("intruder").TASK, 5) == reply_tokens(EXPLAIN, 20) == 60
    assert reply_tokens(load_rubric("specificity-0-3"), 1) == 60
    assert reply_tokens(load_rubric("interpretability-1-5"), 10) == 90


@pytest.mark.parametrize("rubric", [DETECTION, load_rubric("interpretability-1-5")])
def test_replies_to_the_same_question_say_how_long_the_next_are_and_others_do_not(own_runs, rubric):
    rater = create("m", RaterOptions())
    context = ItemContext((" a", " cat"), None, None, "score", False)
    item = Item("aa", rubric.id, (context,) * 5, "cats", descriptions=("cats", "dogs"))
    with open_run("tiny", folder=own_runs) as run:
        before = forecast_calls(rater, rubric, 100, [item], run)
        assert before.tokens_out == 100 * reply_tokens(rubric, 5)
        for place, asked in enumerate((EXPLAIN, rubric)):
            request = Request(f"key{place}", "aa", {})
            reply = Reply("{}", tokens_in=1000 + place, tokens_out=7 + place)
            rating = Rating("aa", asked.id, asked.digest, rater.name, place, "ok", 1,
                            call_key=request.key)  # fmt: skip
            run.add_ratings([rating], [(request, 0, reply)], rater.name)
            after = forecast_calls(rater, rubric, 100, [item], run)
            # The first reply was to another question; the second has 1001 tokens in and 8 out.
            expected = (before.tokens_in, before.tokens_out) if place == 0 else (100_100, 800)
            assert (after.tokens_in, after.tokens_out) == expected


def test_calls_about_units_are_told_by_1000_units_and_others_by_the_call():
    price = Price(2.0, 10.0)
    plain = Forecast("openai:m", 40, None, 80_000, 4_000, price.cost_usd(80_000, 4_000), price)
    assert str(plain) == "40 calls, about 80,000 tokens in and 4,000 out, about $0.20 (your price)"
    # Of 20 units: 1,000 units are 50 times as many calls, tokens and dollars.
    assert str(replace(plain, units=20, made_before=3)) == (
        "40 calls about 20 units (2,000 per 1,000 units); per 1,000 units about 4.0M tokens in, "
        "0.20M out, $10.00 (these 20: $0.20); 3 of them were asked before"
    )
    assert str(Forecast("lexical", 2, 1)) == (
        "2 calls about 1 unit (2,000 per 1,000 units); lexical costs nothing"
    )
    assert str(Forecast("lexical", 0, 0)) == "nothing to ask"
    assert str(Forecast("openai:m", 1, 1, 900, 60)).endswith(
        "price unknown (--price-in, --price-out)"
    )


def test_a_forecast_by_a_listed_price_is_written_as_json():
    listed = create("gpt-4o-mini", RaterOptions()).price
    values = Forecast("openai:gpt-4o-mini", 1, 1, 900, 60, 0.1, listed).as_json()
    assert json.loads(json.dumps(values))["price"]["as_of"] == listed.as_of.isoformat()
    assert Forecast("lexical", 1).as_json()["price"] is None


def test_trials_are_priced_by_their_own_size_and_those_asked_before_are_counted(own_runs):
    known = create("gpt-4o-mini", RaterOptions())
    with open_run("tiny", folder=own_runs) as run:
        trials = explain_trials(run, eligible_units(run), "shown")
        items = load_items(run, add_trials(run, trials), EXPLAIN)
        expected = forecast_trials(run, known, EXPLAIN, trials, len(trials))
        assert (expected.calls, expected.units, expected.made_before) == (28, 28, 0)
        sizes = [known.extent(known.request(item, EXPLAIN)).prompt_bytes for item in items]
        assert expected.tokens_in == round(sum(sizes) / 3.6)
        assert expected.tokens_out == 28 * 60
        assert expected.cost_usd == known.price.cost_usd(expected.tokens_in, expected.tokens_out)
        lexical = load_rater("lexical", RaterOptions())
        rating = Rating(items[0].id, "explain", EXPLAIN.digest, "lexical", 0, "ok", 1)
        run.add_ratings([replace(rating, rater_version=version_of(lexical))], [], "lexical")
        assert forecast_trials(run, lexical, EXPLAIN, trials, 28).made_before == 1
        assert forecast_trials(run, lexical, EXPLAIN, [], 0).calls == 0
