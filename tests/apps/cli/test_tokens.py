import json
from collections.abc import Callable
from pathlib import Path

from autointerp.apps.service._tokens import Tokens


def test_a_token_is_made_listed_and_revoked(command_line: Callable, tmp_path: Path):
    made = command_line("tokens", "new", "--role", "viewer", "--for", "the sweep")
    text = made.out.strip()
    token = Tokens(tmp_path / "runs").find(text)
    assert token is not None
    assert (token.role, token.label) == ("viewer", "the sweep")
    listed = command_line("tokens", "list")
    assert "the sweep" in listed.out
    assert text not in listed.out
    assert command_line("tokens", "revoke", token.id).code == 0
    (shown,) = json.loads(command_line("tokens", "list", "--json").out)
    assert shown["state"] == "revoked"
    assert "hash" not in shown


def test_what_only_reads_or_is_refused_makes_no_folder(command_line: Callable, tmp_path: Path):
    for command in ("tokens list", "tokens revoke x", "tokens new --days 99999", "jobs list",
                    "jobs watch", "jobs watch x", "jobs pause x"):  # fmt: skip
        command_line(*command.split())
        assert not list(tmp_path.iterdir()), command


def test_revoking_an_unknown_token_is_one_line(command_line: Callable):
    refused = command_line("tokens", "revoke", "nothing")
    assert refused.code == 2
    assert refused.err.startswith("autointerp: token 'nothing'")
