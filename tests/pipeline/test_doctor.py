from __future__ import annotations

import json
from typing import Any

import pytest
from support.loopback.server import Fault, LoopbackServer


def test_doctor_names_the_keys_and_shows_none(
    command_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdef")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    result = command_line("doctor")
    assert result.code == 0
    assert "sk-0123" not in result.out + result.err
    lines = {line.split()[1]: line for line in result.out.splitlines()}
    assert lines["OPENAI_API_KEY"].endswith("set")
    assert "not set" in lines["ANTHROPIC_API_KEY"]
    assert "durable write" in lines["writing"]


def test_doctor_prints_its_checks_as_json(command_line: Any) -> None:
    nobody = ("--rater", "openai:m", "--base-url", "http://127.0.0.1:9/v1")
    result = command_line("doctor", *nobody, "--json")
    assert result.code == 1
    checks = {check["check"]: check for check in json.loads(result.out)}
    assert checks["python"]["ok"]
    assert checks["python"]["remedy"] is None
    assert not checks["openai:m@127.0.0.1:9"]["ok"]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_doctor_makes_one_call_and_says_whether_the_form_is_enforced(
    command_line: Any, provider: str
) -> None:
    with LoopbackServer() as server:
        url = server.openai_url if provider == "openai" else server.anthropic_url
        result = command_line("doctor", "--rater", f"{provider}:m", "--base-url", url)
        assert len(server.calls) == 1
        assert result.code == 0
        assert "enforced by the server" in result.out
        server.enforces = ()
        result = command_line("doctor", "--rater", f"{provider}:m", "--base-url", url)
        assert "not enforced" in result.out


def test_doctor_says_what_is_wrong_with_a_server(command_line: Any) -> None:
    nobody = command_line("doctor", "--rater", "openai:m", "--base-url", "http://127.0.0.1:9/v1")
    assert nobody.code == 1
    assert "!!  openai:m@127.0.0.1:9" in nobody.out


def test_doctor_shows_no_key_that_a_server_echoes(
    command_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackServer() as server:
        key = "0123456789abcdef"
        monkeypatch.setenv(f"AUTOINTERP_KEY_127_0_0_1_{server.port}", key)
        server.rejects = ("messages",)
        server.fault_for = lambda call: Fault(status=401, body={"error": {"message": key}})
        result = command_line("doctor", "--rater", "openai:m", "--base-url", server.openai_url)
    assert key not in result.out + result.err
