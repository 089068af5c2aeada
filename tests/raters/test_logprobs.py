from __future__ import annotations

import math

import pytest

from autointerp.raters._logprobs import expected_score, score_alternatives


def token(text: str, **others: float) -> dict[str, object]:
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
