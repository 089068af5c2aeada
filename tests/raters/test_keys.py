from __future__ import annotations

import base64
import json
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import BadInput, RaterError
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


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://127.0.0.1:11434/v1", "openai:m@127.0.0.1:11434"),
        ("http://127.0.0.1:11434", "openai:m@127.0.0.1:11434"),
        ("https://gateway.example/one/v1/", "openai:m@gateway.example/one/v1"),
        ("https://gateway.example/two/v1", "openai:m@gateway.example/two/v1"),
    ],
)
def test_two_models_behind_one_gateway_are_two_raters(url: str, name: str) -> None:
    assert OpenAIRater("m", RaterOptions(base_url=url)).name == name


def test_a_model_with_an_at_sign_is_one_of_a_server_of_ones_own_and_never_of_the_provider() -> None:
    # As a report names a model at an address, and Cloudflare its models.
    for rater, model in (
        (OpenAIRater, "m@127.0.0.1:11434"),
        (AnthropicRater, "m@20250101"),
        (OpenAIRater, "@cf/x/m"),
    ):
        with pytest.raises(BadInput, match=r"no model with an @; .*MODEL@http://HOST:PORT/v1"):
            rater(model, RaterOptions())
    gateway = OpenAIRater("@cf/x/m@http://h/v1", RaterOptions())
    assert (gateway.model, gateway.url) == ("@cf/x/m", "http://h/v1")
    assert gateway.name == "openai:@cf/x/m@h"


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
        "http://h:99999/v1",
        "http://m\u00fcller.example/v1",
        "http://h/\u4e2d",
        "http://h/a b",
        "http://h /v1",
        "http://h\x1b[31m/v1",
        "http://h\n/v1",
        "http://[::1/v1",
        "http://" + "h" * 300 + "/v1",
        "http://h/" + "x" * 5000,
        "http://a..b/v1",
        "http://.h/v1",
        "h/v1",
        "",
    ],
)
def test_an_address_that_is_none_or_holds_a_key_is_refused(url: str) -> None:
    with pytest.raises(BadInput) as refused:
        normal_url(url)
    assert "u:p" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "\x1b" not in str(refused.value)


def test_keys_and_what_looks_like_one_are_taken_out_of_texts() -> None:
    text = "bad key hunter2hunter2, or sk-proj-abcdefghij0123456789"
    assert redact(text, "hunter2hunter2") == "bad key [key], or [key]"
    assert redact("nothing here", None, "none") == "nothing here"


@pytest.mark.parametrize("key", ["se cret", "s\u00e9cret", "sec\nret", "sec\x00ret"])
def test_a_key_that_no_header_can_hold_is_refused_unseen(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"OPENAI_API_KEY": key}  # the real one cannot hold a NUL
    monkeypatch.setattr("os.environ", environment)
    with pytest.raises(RaterError, match="OPENAI_API_KEY") as refused:
        find_key("OPENAI_API_KEY")
    assert key not in str(refused.value)


keys = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=60)


@given(keys, st.text(max_size=9))
def test_a_key_is_taken_out_in_whatever_way_it_is_written(key: str, before: str) -> None:
    escaped = "".join(f"\\u{ord(character):04x}" for character in key)
    for written in (
        key,
        escaped,
        escaped.upper().replace("\\U", "\\u"),
        json.dumps(json.dumps(escaped)),
        key[0] + escaped[6:],
        "".join(f"\\x{ord(character):02x}" for character in key),
        "".join(f"%{ord(character):02X}" for character in key),
        urllib.parse.quote(key),
        "".join(f"&#{ord(character)};" for character in key),
        "".join(f"&#x{ord(character):x};" for character in key),
    ):
        assert "[key]" in redact(f"{before} {written} after", key)
        assert key not in redact(f"{before}{written}", key)


@given(keys, st.binary(max_size=9), st.binary(max_size=9))
def test_a_key_in_base64_is_taken_out(key: str, before: bytes, after: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        packed = encode(before + key.encode() + after).decode()
        assert "[key]" in redact(packed, key)


def test_a_text_without_the_key_stays_as_it_is() -> None:
    text = r"costs \u0024 5 and 100 %, see \x41"
    assert redact(text, "hunter2hunter2") == text
