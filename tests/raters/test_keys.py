from __future__ import annotations

import pytest

from autointerp.errors import BadInput
from autointerp.raters import RaterOptions
from autointerp.raters._keys import find_key, normal_url, own_variable, redact
from autointerp.raters.anthropic import AnthropicRater
from autointerp.raters.openai import OpenAIRater

OPENAI = "https://api.openai.com/v1"


def test_the_providers_own_address_has_the_usual_variable() -> None:
    assert OpenAIRater("m", RaterOptions()).key_variable == "OPENAI_API_KEY"
    assert AnthropicRater("m", RaterOptions()).key_variable == "ANTHROPIC_API_KEY"
    slashed = RaterOptions(base_url=OPENAI + "/")
    assert OpenAIRater("m", slashed).key_variable == "OPENAI_API_KEY"


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("http://127.0.0.1:11434/v1", "AUTOINTERP_KEY_127_0_0_1_11434"),
        ("https://llm.example.org/v1/", "AUTOINTERP_KEY_LLM_EXAMPLE_ORG"),
        ("https://api.openai.com.evil.org/v1", "AUTOINTERP_KEY_API_OPENAI_COM_EVIL_ORG"),
        ("http://api.openai.com/v1", "AUTOINTERP_KEY_API_OPENAI_COM"),
        ("http://[::1]:8080/v1", "AUTOINTERP_KEY_1_8080"),
    ],
)
def test_another_address_has_a_variable_of_its_own(url: str, variable: str) -> None:
    assert own_variable(normal_url(url)) == variable
    assert OpenAIRater("m", RaterOptions(base_url=url)).key_variable == variable


def test_a_key_is_found_under_its_own_address_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " secret ")
    elsewhere = OpenAIRater("m", RaterOptions(base_url="http://127.0.0.1:1/v1"))
    assert find_key(OpenAIRater("m", RaterOptions()).key_variable) == "secret"
    assert find_key(elsewhere.key_variable) is None


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:80",
        "ftp://x/v1",
        "http://",
        "http://u:p@h/v1",
        "http://h/v1?key=x",
        "http://h:x/",
    ],
)
def test_an_address_that_is_none_or_holds_a_key_is_refused(url: str) -> None:
    with pytest.raises(BadInput) as refused:
        normal_url(url)
    assert "u:p" not in str(refused.value)


def test_keys_and_what_looks_like_one_are_taken_out_of_texts() -> None:
    text = "bad key hunter2hunter2, or sk-proj-abcdefghij0123456789"
    assert redact(text, "hunter2hunter2") == "bad key [key], or [key]"
    assert redact("nothing here", None, "none") == "nothing here"
