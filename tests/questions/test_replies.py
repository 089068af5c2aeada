from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.questions.replies import (
    Unreadable,
    answer_start,
    number,
    object_in,
    truth,
    whole_number,
)

GOOD = '{"rationale": "cats, see </think> and ```", "score": 4}'
FIELDS = json.loads(GOOD)
PLAIN = '{"rationale": "cats", "score": 4}'


@pytest.mark.parametrize(
    "text",
    [
        "<think>\nPerhaps 3? {no}\n</think>\n\n{}",
        "<think></think>{}",
        "<THINK>a</THINK>\n{}",
        "<thinking>a {{ 5 }} b</thinking>{}",
        '<think>{"score": 1}</think>{}',
        "\u25c1think\u25b7a\u25c1/think\u25b7{}",
        "[THINK]a[/THINK]{}",
        "All cats, so 4.\n</think>\n{}",  # the chat template opened the tag
        "<|channel|>analysis<|message|>Maybe 3.<|end|><|start|>assistant"
        "<|channel|>final <|constrain|>json<|message|>{}",
        "<|channel|>final<|message|>{}<|return|>",
        "{}<|eot_id|>",
        "{}<|im_end|>\n<|endoftext|>",
        "{}</s>",
        "{}<end_of_turn>\n",
        "\ufeff{}",
        "{}\x00\x00",
        "```JSON\n{}\n```",
        "```json {} ```",
        "```{}```",
        "~~~json\n{}\n~~~",
        "Sure!\n```json\n{}\n```\nHope this helps.",
        "<think>a</think>\nHere it is:\n```json\n{}\n```<|im_end|>",
    ],
)
def test_what_stands_round_an_object_and_says_nothing_is_passed_over(text: str) -> None:
    assert object_in(text.replace("{}", PLAIN)) == json.loads(PLAIN)


def test_what_an_object_says_of_tags_and_fences_is_its_own_text() -> None:
    assert object_in(GOOD) == FIELDS
    assert object_in(f"<think>a</think>{GOOD}") == FIELDS
    assert object_in(f"```json\n{GOOD}\n```") == FIELDS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4",
        "[{}]",
        "null",
        "{} {}",
        "{}\n```json\n{}\n```",
        "```json\n{}\n```\nor\n```json\n{}\n```",
        "```json\n{}\n```\nActually 3 is better.",
        "```json\n{}\n```\nOn reflection: four.",
        "My answer: {}",
        "{} as asked",
        "<think>{}",  # not closed: a draft
        "<think>a</think>",
        "<think>a</think>b</think>{}",
        '{"score": 3}</think>{}',
        "<|channel|>analysis<|message|>{}",
        "<|channel|>final<|message|>{}<|channel|>final<|message|>{}",
        '{"score": 4, "score": 5}',
        '{"score": NaN}',
        '{"score": 4',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"score": ' + "9" * 5000 + "}",
    ],
)
def test_what_leaves_a_doubt_is_refused_in_a_few_words(text: str) -> None:
    with pytest.raises(Unreadable) as refused:
        object_in(text.replace("{}", PLAIN))
    assert 0 < len(str(refused.value)) < 200


def test_a_line_break_or_a_backslash_within_a_text_is_itself() -> None:
    assert object_in('{"rationale": "a\nb", "score": 4}') == {"rationale": "a\nb", "score": 4}
    # \\$ and \\x are no escapes of JSON; \\n and \\u00e9 beside them are.
    text = r'{"rationale": "costs \$5, \xe4, \u00e9, \n", "score": 4}'
    assert object_in(text)["rationale"] == "costs \\$5, \\xe4, \u00e9, \n"


@pytest.mark.parametrize("long", [" ", "`", "```{", "<think>", "</s>", "\\", "<|", "a </think>"])
def test_a_long_reply_of_one_mark_is_read_in_linear_steps(long: str) -> None:
    # A quadratic reader would take 200,000² steps, which is minutes: the suite would not end.
    with pytest.raises(Unreadable):
        object_in(long * (200_000 // len(long)) + "x")


@settings(deadline=None)
@given(st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.booleans()))
def test_any_object_is_read_as_it_is_after_any_closed_reasoning(
    thought: str, fields: dict[str, object]
) -> None:
    text = json.dumps(fields)
    assert object_in(text) == fields
    if "</think>" not in thought.lower():
        assert object_in(f"<think>{thought}</think>\n{text}") == fields


@settings(deadline=None)
@given(st.text() | st.text('<>{}[]`~\\/|" :,0think').map("".join))
def test_reading_a_text_raises_nothing_else(text: str) -> None:
    with contextlib.suppress(Unreadable):
        assert isinstance(object_in(text), dict)


def test_the_answer_begins_after_closed_reasoning() -> None:
    spelled = "<think>é</think>\n{}".encode()
    assert spelled[answer_start(spelled) :] == b"{}"
    assert answer_start(b"{}") == 0


@pytest.mark.parametrize(
    ("value", "whole", "real"),
    [
        (4, 4, 4.0),
        (4.0, 4, 4.0),
        ("4", 4, 4.0),
        (" 4.0 ", 4, 4.0),
        ("-2", -2, -2.0),
        (4.5, None, 4.5),
        ("4.5", None, 4.5),
        ("4/5", None, None),
        ("four", None, None),
        ("\u0664", None, None),  # an Arabic figure
        ("4_0", None, None),
        (True, None, None),
        (None, None, None),
        ([4], None, None),
        (float("inf"), None, float("inf")),
    ],
)
def test_numbers_are_read_in_figures_only(value: object, whole: object, real: object) -> None:
    assert whole_number(value) == whole
    assert number(value) == real


def test_yes_and_no_are_read_in_words_too() -> None:
    assert [truth(value) for value in (True, "true", "Yes")] == [True] * 3
    assert [truth(value) for value in (False, "False", "no ")] == [False] * 3
    assert [truth(value) for value in (1, "1", None, "maybe")] == [None] * 4
