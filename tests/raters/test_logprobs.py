from __future__ import annotations

import math
from typing import Any

import pytest

from autointerp.raters import _logprobs
from autointerp.raters._logprobs import expected_score, tokens_of


def score_alternatives(text: str, tokens: list[dict[str, Any]]) -> dict[str, Any] | None:
    return _logprobs.score_alternatives(text, tokens_of({"content": tokens}) or [])


def expected_activations(text: str, tokens: list[dict[str, Any]]) -> list[float] | None:
    return _logprobs.expected_activations(text, tokens_of({"content": tokens}) or [])


def token(text: str, **others: float) -> dict[str, Any]:
    top = [{"token": t, "logprob": math.log(p)} for t, p in others.items()]
    return {"token": text, "logprob": 0.0, "top_logprobs": top}


def test_the_expected_score_weighs_the_alternatives_at_the_score() -> None:
    text = '{"rationale": "3 of 5", "score": 4}'
    tokens = [
        token('{"rationale": "3'),
        token(' of 5", "score":'),
        token(" "),
        token("4", **{"4": 0.5, "5": 0.3, "x": 0.2}),
        token("}"),
    ]
    found = score_alternatives(text, tokens)
    assert found is not None
    mean, lost = expected_score(found, (1, 2, 3, 4, 5))
    # (0.5·4 + 0.3·5) / 0.8 = 4.375; 0.2 went to a word
    assert mean == pytest.approx(4.375)
    assert lost == pytest.approx(0.2)


def test_a_score_within_a_token_is_found_by_its_offset() -> None:
    text = '{"score": 2}'
    tokens = [token('{"score"'), token(": 2}", **{": 2}": 0.6, ": 1}": 0.2, ":1}": 0.2})]
    found = score_alternatives(text, tokens)
    assert found == {
        "before": ": ",
        "top": [[": 2}", math.log(0.6)], [": 1}", math.log(0.2)], [":1}", math.log(0.2)]],
    }
    mean, lost = expected_score(found, (0, 1, 2, 3))
    assert mean == pytest.approx((0.6 * 2 + 0.2 * 1) / 0.8)
    assert lost == pytest.approx(0.2)


def test_a_score_that_is_quoted_in_the_rationale_is_not_taken() -> None:
    text = r'{"rationale": "it says \"score\": 5", "score": 1}'
    tokens = [token(text[:-2]), token("1", **{"1": 1.0}), token("}")]
    found = score_alternatives(text, tokens)
    assert found is not None
    assert expected_score(found, (1, 5))[0] == 1.0


def test_a_digit_that_may_go_on_counts_for_no_score() -> None:
    # On a scale from 1 to 10 the token "1" may be the beginning of 10.
    found = {
        "before": "",
        "top": [["1", math.log(0.5)], ["10", math.log(0.3)], ["9", math.log(0.2)]],
    }
    mean, lost = expected_score(found, tuple(range(1, 11)))
    assert mean == pytest.approx((0.3 * 10 + 0.2 * 9) / 0.5)
    assert lost == pytest.approx(0.5)


def test_without_a_score_among_the_alternatives_there_is_no_mean() -> None:
    assert expected_score({"before": "", "top": [["x", 0.0]]}, (1, 2)) == (None, 1.0)


def test_tokens_that_do_not_spell_the_text_give_nothing() -> None:
    assert score_alternatives('{"score": 2}', [token("something else altogether")]) is None
    assert score_alternatives("no score", [token("no score")]) is None


def test_a_text_that_the_server_trimmed_is_aligned_by_its_tokens() -> None:
    # The tokens spell a newline, and a character in two halves, that the text has otherwise.
    text = '{"rationale": "é", "score": 4}'
    first, second = "é".encode()
    tokens = [
        token("\n\n"),
        token('{"rationale": "'),
        {**token("\ufffd"), "bytes": [first]},
        {**token("\ufffd"), "bytes": [second]},
        token('", "score": '),
        token("4", **{"4": 1.0}),
        token("}"),
    ]
    assert score_alternatives(text, tokens) == {"before": "", "top": [["4", 0.0]]}


def test_tokens_that_spell_another_score_give_nothing() -> None:
    assert score_alternatives('{"score": 4}', [token('{"score": '), token("5"), token("}")]) is None


def test_activations_of_a_tokenizer_of_single_digits_keep_what_was_written() -> None:
    # 10 is written as `1`, `0`. Whether another `1` is 1 or 10 cannot be known; the one that was
    # chosen is 10: (0.8·10 + 0.2·5) / 1 = 9.
    text = '{"active": [{"token": 3, "activation": 10}]}'
    begin = text.index("10")
    tokens = [token(text[:begin]), token("1", **{"1": 0.8, "5": 0.2}), token(text[begin + 1 :])]
    assert expected_activations(text, tokens) == pytest.approx([9.0])


def test_activations_to_which_little_probability_went_are_those_that_were_written() -> None:
    # A server that forces the form may choose a digit at 0.1, where 0.7 went to a word.
    text = '{"active": [{"token": 3, "activation": 2}]}'
    begin = text.index("2}")
    tokens = [
        token(text[:begin]),
        token("2", **{"no": 0.7, "9": 0.2, "2": 0.1}),
        token(text[begin + 1 :]),
    ]
    assert expected_activations(text, tokens) == [2.0]


def test_activations_are_found_though_the_server_trimmed_the_text_and_split_a_character() -> None:
    text = '{"rationale": "\u00e9", "active": [{"token": 3, "activation": 4}]}'.encode().decode()
    before, after = text.encode().split(b"4}")
    accent = before.index("\u00e9".encode()) + 1  # between its two bytes
    pieces = [b" " + before[:accent], before[accent:], b"4", b"}" + after, b"\n"]
    tokens = [{"token": "?", "logprob": 0.0, "bytes": list(piece)} for piece in pieces]
    tokens[2] |= {"token": "4", "top_logprobs": [{"token": "4", "logprob": 0.0}]}
    assert expected_activations(text, tokens) == [4.0]


def at_the_score(top: object) -> dict[str, Any] | None:
    tokens = [token('{"score": '), {"token": "4", "logprob": -0.1, "top_logprobs": top}, token("}")]
    return score_alternatives('{"score": 4}', tokens)


def test_a_null_among_the_alternatives_costs_that_one_alone() -> None:
    top = [{"token": "4", "logprob": -0.5}, {"token": "5", "logprob": None}, None, {"token": 3}]
    assert at_the_score(top) == {"before": "", "top": [["4", -0.5]]}
    assert at_the_score({"4": -0.5, "5": -1.5}) == {"before": "", "top": [["4", -0.5], ["5", -1.5]]}


def test_without_the_probability_of_the_score_that_was_chosen_the_others_are_no_mean() -> None:
    # 5 alone would be a mean of 5, where the reply says 4: what is left is the token's own.
    top = [{"token": "4", "logprob": None}, {"token": "5", "logprob": -3.0}]
    assert at_the_score(top) == {"before": "", "top": [["4", -0.1]]}


@pytest.mark.parametrize("logprob", [None, math.nan, math.inf, -math.inf, "0", True, 0.5])
def test_what_is_no_log_probability_is_left_out(logprob: object) -> None:
    tokens = [token('{"score": '), {"token": "4", "logprob": logprob}, token("}")]
    assert score_alternatives('{"score": 4}', tokens) is None


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        [],
        {},
        {"content": None},
        {"content": []},
        {"content": {}},
        {"content": [None]},
        {"content": [{"token": None}]},
        {"content": ["4"]},
    ],
)
def test_log_probabilities_of_another_form_are_none(logprobs: object) -> None:
    assert tokens_of(logprobs) is None


def test_the_score_is_sought_after_the_models_reasoning() -> None:
    text = '<think>{"score": 1}</think>{"score": 4}'
    tokens = [token('<think>{"score": '), token("1", **{"1": 1.0}), token('}</think>{"score": ')]
    tokens += [token("4", **{"4": 1.0}), token("}")]
    assert score_alternatives(text, tokens) == {"before": "", "top": [["4", 0.0]]}


def test_a_score_in_quotation_marks_has_its_alternatives() -> None:
    tokens = [token('{"score": "'), token("4", **{"4": 0.5, "5": 0.5}), token('"}')]
    found = score_alternatives('{"score": "4"}', tokens)
    assert found is not None
    assert expected_score(found, (1, 2, 3, 4, 5)) == (4.5, 0.0)


# ------------------------------------------------------------------------- lists of letters


def expected_matches(text: str, tokens: list[dict[str, Any]]) -> Any:
    return _logprobs.expected_matches(text, tokens_of({"content": tokens}) or [])


def test_each_text_has_the_probability_with_which_it_is_listed_where_it_could_be() -> None:
    # First A 0.1, B 0.6, C 0.2, none 0.1: A was passed over at 0.1, B listed at 0.6 of the 0.9
    # that was left. Then C 0.3, none 0.7; D and others were given nothing.
    tokens = [
        token('{"1":"'),
        token("B", **{"A": 0.1, "B": 0.6, "C": 0.2, '"': 0.1}),
        token('"', **{'"': 0.7, " C": 0.3}),
        token("}"),
    ]
    assert expected_matches('{"1":"B"}', tokens) == {
        "1": {"A": 0.1, "B": pytest.approx(0.6667, abs=1e-4), "C": 0.3}
    }


def test_what_parts_letters_may_be_a_token_of_its_own_or_go_with_either() -> None:
    # A space at 0.8, and behind it C at 0.5 and D at 0.5: 0.4 each; none 0.2. So C 0.4, and as it
    # was listed D is decided on behind it: at 0.25 of 1.
    apart = [
        token('{"1":"'), token("A", A=1.0), token(" ", **{" ": 0.8, '"': 0.2}),
        token("C", C=0.5, D=0.5), token('"', **{'"': 0.75, " D": 0.25}), token("}"),
    ]  # fmt: skip
    together = [
        token('{"1":'), token('"A', **{'"A': 1.0}), token(" C", **{" C": 0.4, " D": 0.4, '"': 0.2}),
        token('"}', **{'"}': 0.75, " D": 0.25}),
    ]  # fmt: skip
    for tokens in (apart, together):
        assert expected_matches('{"1":"A C"}', tokens) == {
            "1": {"A": 1.0, "C": pytest.approx(0.4), "D": pytest.approx(0.25)}
        }


def test_lists_out_of_order_have_no_probabilities_and_the_others_keep_theirs() -> None:
    tokens = [
        token('{"1":"'), token("B", B=1.0), token(" A", **{" A": 1.0}), token('","2":"'),
        token("A", A=0.9, B=0.1), token('"}', **{'"}': 1.0}),
    ]  # fmt: skip
    assert expected_matches('{"1":"B A","2":"A"}', tokens) == {"2": {"A": 0.9}}


def test_without_lists_or_with_other_tokens_than_the_text_there_are_none() -> None:
    tokens = [token('{"1":"'), token("B", B=1.0), token('"}')]
    assert expected_matches('{"1":"C"}', tokens) is None
    assert expected_matches('{"score": 3}', [token('{"score": 3}')]) is None
    empty = [token('{"1":"'), token('"}', **{'"}': 0.75, "B": 0.25})]
    assert expected_matches('{"1":""}', empty) == {"1": {"B": 0.25}}
