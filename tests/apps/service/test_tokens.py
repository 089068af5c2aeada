import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autointerp.apps.service._tokens import Tokens
from autointerp.errors import BadInput, StorageError


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path)


def test_a_token_is_found_by_its_text_and_by_no_other(tokens: Tokens):
    token, text = tokens.issue("viewer")
    assert tokens.find(text) == token
    assert tokens.find(text[:-1]) is None
    assert tokens.find("") is None


def test_the_file_holds_no_token_and_is_its_owners_alone(tokens: Tokens):
    _, text = tokens.issue("owner")
    assert text not in tokens.path.read_text()
    assert tokens.path.stat().st_mode & 0o777 == 0o600
    assert tokens.path.parent.stat().st_mode & 0o777 == 0o700


def test_what_another_process_issues_or_revokes_is_seen_at_once(tokens: Tokens):
    other = Tokens(tokens.path.parents[1])
    token, text = other.issue("rater", run="main", rater="human:ann")
    assert tokens.find(text) == token
    other.revoke(token.id)
    assert tokens.find(text) is None


def test_a_token_ends_after_its_days(tokens: Tokens):
    token, text = tokens.issue("viewer", days=0)
    assert tokens.find(text) is None
    assert token.state(datetime.now(UTC)) == "expired"


def test_a_token_that_ended_a_month_ago_is_forgotten(tokens: Tokens):
    old, _ = tokens.issue("viewer")
    tokens.revoke(old.id)
    fields = json.loads(tokens.path.read_text())
    fields["tokens"][0]["revoked_at"] = "2020-01-01T00:00:00+00:00"
    tokens.path.write_text(json.dumps(fields))
    new, _ = tokens.issue("viewer")
    assert [token.id for token in tokens.all()] == [new.id]


@pytest.mark.parametrize(
    ("role", "given"), [("rater", {}), ("owner", {"run": "main", "rater": "human:ann"})]
)
def test_a_run_belongs_to_a_raters_token_and_to_no_other(tokens: Tokens, role: str, given: dict):
    with pytest.raises(BadInput, match="names run and rater"):
        tokens.issue(role, **given)


def test_revoking_what_is_not_there_is_refused(tokens: Tokens):
    with pytest.raises(BadInput, match="token 'x': there is none; `autointerp tokens list`"):
        tokens.revoke("x")


def test_a_file_that_cannot_be_read_is_an_error_and_not_an_empty_list(tokens: Tokens):
    tokens.issue("owner")
    tokens.path.write_text("{")
    with pytest.raises(StorageError, match="issue new tokens"):
        tokens.all()


@pytest.mark.parametrize("days", [1e9, float("nan"), float("inf")])
def test_a_validity_that_no_calendar_has_is_refused(tmp_path, days):
    with pytest.raises(BadInput, match=r"--days .*; give at most 36,500"):
        Tokens(tmp_path).issue("viewer", days=days)
    assert not list(tmp_path.rglob("tokens.json"))


def test_revoking_what_is_not_there_makes_no_file(tmp_path):
    with pytest.raises(BadInput, match="there is none"):
        Tokens(tmp_path).revoke("x")
    assert not list(tmp_path.rglob("tokens.*"))
