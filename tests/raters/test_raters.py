from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autointerp import raters
from autointerp.errors import BadInput, RaterError, UnknownName
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import (
    RaterOptions,
    check_keys,
    libraries,
    load_rater,
    rater_names,
    require_rates,
    require_used,
    what,
)
from autointerp.records import rater_kind

PROVIDER = '''"""A provider whose library is not installed."""

WHAT = "an oracle"
LIBRARIES = ("duckdb", "oracle-client")
URL = "https://oracle.example.org/v1"
VARIABLE = "ORACLE_API_KEY"

raise ImportError("no oracle-client")
'''


@pytest.fixture
def oracle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A provider's file among those that ship, which cannot be imported here."""
    (tmp_path / "oracle.py").write_text(PROVIDER)
    monkeypatch.setattr(raters, "__path__", [*raters.__path__, str(tmp_path)])
    yield
    sys.modules.pop("autointerp.raters.oracle", None)


def test_a_rater_is_named_by_its_file_and_perhaps_a_model() -> None:
    assert load_rater("scripted:4", RaterOptions()).name == "scripted:4"
    assert load_rater("lexical", RaterOptions()).name == "lexical"
    assert rater_kind("openai:a:b") == "openai"
    assert rater_kind("lexical") == "lexical"


@pytest.mark.parametrize("made", [None, "majority", 3])
def test_a_file_whose_create_gives_no_rater_is_named(
    monkeypatch: pytest.MonkeyPatch, made: object
) -> None:
    monkeypatch.setattr("autointerp.raters.lexical.create", lambda model, options: made)
    with pytest.raises(BadInput, match=r"rater 'lexical': create\(\) returned .*; it must return"):
        load_rater("lexical", RaterOptions())


@pytest.mark.parametrize(
    ("rater", "options", "idle"),
    [
        ("lexical", {"effort": "high"}, "--effort"),
        ("embed:folder", {"max_output_tokens": 99}, "--max-output-tokens"),
        ("likelihood:m.gguf", {"structured": "tool", "price_in": 1.0}, "--price-in, --structured"),
        ("local:m.gguf", {"base_url": "http://h/v1"}, "--base-url"),
        ("openai-embeddings:m", {"structured": "text"}, "--structured"),
        ("panel:lexical,optional:likelihood:m.gguf", {"timeout_s": 9.0}, "--timeout"),
        ("detector:alone:local:m.gguf", {"price_out": 1.0}, "--price-out"),
        ("openai:m@http://h/v1", {"base_url": "http://other/v1"}, "--base-url"),
        ("panel:lexical,openai:m@http://h/v1", {"base_url": "http://other/v1"}, "--base-url"),
    ],
)
def test_options_that_a_rater_has_no_use_for_are_refused(
    rater: str, options: dict[str, Any], idle: str
) -> None:
    with pytest.raises(BadInput, match=rf"^{idle}: {re.escape(rater)} has no use for "):
        require_used(rater, RaterOptions(**options))


def test_options_are_taken_where_the_rater_or_one_of_its_members_has_a_use_for_them() -> None:
    require_used("lexical", RaterOptions(seed=3))  # of every draw
    require_used("openai:m", RaterOptions("http://h/v1", 9.0, 99, 1.0, 2.0, 3, "tool", "high"))
    require_used("local:m.gguf", RaterOptions(structured="choice", timeout_s=9.0))
    require_used("panel:lexical,openai:m@http://h/v1", RaterOptions(effort="high"))
    require_used("detector:openai:m", RaterOptions(base_url="http://h/v1"))


def test_an_unknown_rater_lists_those_there_are() -> None:
    with pytest.raises(UnknownName, match="unknown rater 'lexicon'; did you mean 'lexical'"):
        load_rater("lexicon:2", RaterOptions())


def test_what_a_rater_is_stands_in_its_file_and_is_read_without_an_import(oracle: None) -> None:
    assert what("oracle:delphi") == "an oracle"
    assert what("human:ann") == "a person"
    assert what("a-tool-of-others:m") is None
    assert "oracle" in rater_names()
    assert {"duckdb", "oracle-client"} <= set(libraries())
    assert len(set(libraries())) == len(libraries())
    assert "autointerp.raters.oracle" not in sys.modules


def test_each_providers_key_is_looked_for_and_none_is_shown(
    oracle: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORACLE_API_KEY", "0123456789abcdef")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    found = {finding.about: finding.words for finding in check_keys()}
    assert found["ORACLE_API_KEY"] == "set"
    assert found["OPENAI_API_KEY"] == "not set: raters openai:MODEL need it"
    assert "0123456789abcdef" not in "".join(found.values())


def test_the_key_of_a_server_of_ones_own_has_its_own_variable(
    oracle: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOINTERP_KEY_127_0_0_1_80", "secret")
    (*_, last) = check_keys("http://127.0.0.1:80/v1")
    assert (last.about, last.words) == ("AUTOINTERP_KEY_127_0_0_1_80", "set")
    (*_, last) = check_keys("http://127.0.0.1:81/v1")
    assert last.words == "empty: http://127.0.0.1:81/v1 is sent no key"
    assert len(check_keys("https://oracle.example.org/v1/")) == len(check_keys())
    with pytest.raises(BadInput, match="give one such as"):
        check_keys("nowhere")


@pytest.mark.parametrize(
    "name",
    ["likelihood:no.gguf", "likelihood:./no", "likelihood:~/no", "embed:/no/model", "embed:a/b/c"],
)
def test_a_model_named_by_a_path_at_which_nothing_is_is_refused_at_once(name: str) -> None:
    with pytest.raises(BadInput, match=rf"rater '{name}': no such file or folder; give an"):
        load_rater(name, RaterOptions())


@pytest.mark.parametrize("name", ["likelihood:organisation/model", "embed:model"])
def test_a_model_of_a_hub_is_not_looked_for_among_files(name: str) -> None:
    assert load_rater(name, RaterOptions()).name == name


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("human:ann", "a person cannot be called"),
        ("embed:model", "it answers one scorer"),
        ("openai-embeddings:m", "it answers one scorer"),
        ("openai-completions:m", "it answers one scorer"),
    ],
)
def test_who_does_not_rate_units_is_told_before_there_are_any(name: str, says: str) -> None:
    with pytest.raises((BadInput, RaterError), match=says):
        require_rates(load_rater(name, RaterOptions()), load_rubric("interpretability-1-5"))


@pytest.mark.parametrize(
    "name", ["lexical", "likelihood:m", "detector:openai:m", "scripted:4", "anthropic:m"]
)
def test_who_rates_units_is_let_through(name: str) -> None:
    require_rates(load_rater(name, RaterOptions()), load_rubric("interpretability-1-5"))
