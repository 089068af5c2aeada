from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.loopback.server import Fault, LoopbackServer

from autointerp.errors import StorageError
from autointerp.records import Rating
from autointerp.store.ratings import came_record
from autointerp.store.repair import Copies, diagnose
from autointerp.store.replies import ReplyJournal
from autointerp.store.run import open_run


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


# ------------------------------------------------------------------------------------- a run

CALL = (
    "call_key", "attempt", "item_id", "rater", "repeat", "stop", "reply", "error", "model",
    "tokens_in", "tokens_out", "cost_usd", "latency_s", "details",
)  # fmt: skip
OWN_TABLES = ("about", "state")  # of the store, made anew


def checks_of(result: Any) -> dict[str, str]:
    """Return what doctor printed of each check, with its mark in front."""
    lines = [line.split(maxsplit=2) for line in result.out.splitlines()]
    return {about: f"{mark} {words}" for mark, about, words in lines}


def damage(path: Path, at: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 4
    path.write_bytes(content)


@pytest.fixture
def killed(own_runs: Path, tiny_run_name: str) -> Path:
    """The tiny run as a kill leaves it: two ratings in the log, a third in the journal alone."""
    with open_run(tiny_run_name, folder=own_runs) as run:
        for number in range(3):
            if number == 2:
                run.take_in_replies()
            rating = Rating(f"more{number}", "rubric", "digest", "m", 0, "ok", 1)
            run.write_reply(came_record("m", None, rating))
        shutil.copytree(run.path, own_runs / "killed")
    return own_runs / "killed"


def more(runs: Path) -> int:
    with open_run("killed", folder=runs) as run:
        return int(run.rows("SELECT count(*) FROM rating WHERE starts_with(item_id, 'more')")[0][0])


def test_a_run_in_order_passes_and_nothing_is_changed(
    command_line: Any, own_runs: Path, tiny_run_name: str
) -> None:
    before = {path: path.read_bytes() for path in (own_runs / tiny_run_name).iterdir()}
    for options in (("--dry-run",), ()):
        result = command_line("doctor", tiny_run_name, *options)
        assert result.code == 0
        assert {line[:2] for line in result.out.splitlines()} == {"ok"}
        assert {"run.toml", "run.duckdb", "keys", "digests"} <= checks_of(result).keys()
    assert set(before) == set((own_runs / tiny_run_name).iterdir())
    assert (
        before[own_runs / tiny_run_name / "run.toml"]
        == (own_runs / tiny_run_name / "run.toml").read_bytes()
    )


@pytest.mark.parametrize("how", ["gone", "cut", "flipped"])
def test_replies_outlive_the_loss_of_the_database_s_log(
    command_line: Any, killed: Path, how: str
) -> None:
    log = killed / "run.duckdb.wal"
    whole = log.read_bytes()
    if how == "gone":
        log.unlink()
    elif how == "cut":
        log.write_bytes(whole[: len(whole) // 2])
    else:
        damage(log)
    dry = command_line("doctor", "killed", "--dry-run")
    assert dry.code == 1
    assert checks_of(dry)["run.duckdb"].startswith("!!")
    assert not list(killed.glob("before-doctor-*"))
    result = command_line("doctor", "killed")
    assert result.code == 0, result.out
    assert more(killed.parent) == 3  # all three were in the journal of replies
    (copies,) = killed.glob("before-doctor-*")
    assert (copies / "run.duckdb").exists()
    assert (copies / "run.duckdb.wal").exists() == (how != "gone")


def test_a_run_toml_that_is_lost_comes_back_from_the_database(
    command_line: Any, own_runs: Path, tiny_run_name: str
) -> None:
    file = own_runs / tiny_run_name / "run.toml"
    with open_run(tiny_run_name, folder=own_runs):
        text = file.read_text()
    for content in (None, "run = 3\n"):
        file.unlink() if content is None else file.write_text(content)
        assert command_line("doctor", tiny_run_name, "--dry-run").code == 1
        result = command_line("doctor", tiny_run_name)
        assert "restored from the database" in checks_of(result)["run.toml"]
        assert result.code == 0
        assert file.read_text() == text


def test_what_can_be_read_of_a_damaged_database_is_saved(
    command_line: Any, own_runs: Path, tiny_run_name: str
) -> None:
    def rows() -> int:
        with open_run(tiny_run_name, folder=own_runs) as run:
            tables = [
                name
                for (name,) in run.rows("SELECT table_name FROM duckdb_tables()")
                if name not in OWN_TABLES
            ]
            return sum(run.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables)

    file = own_runs / tiny_run_name / "run.duckdb"
    before, whole = rows(), file.read_bytes()
    saved = 0
    for at in (0.2, 0.35, 0.5, 0.65, 0.8):
        file.write_bytes(whole)
        damage(file, at)
        if not diagnose(file.parent).trouble:
            continue  # a free block
        result = command_line("doctor", tiny_run_name)
        words = checks_of(result)["run.duckdb"]
        if words.startswith("ok"):
            saved += 1
            told = words.partition("written anew without the rows that cannot be read")[2]
            parts = re.findall(r"([\d,]+) of (\w+)", told)
            lost = sum(int(n.replace(",", "")) for n, name in parts if name not in OWN_TABLES)
            assert lost < before
            assert rows() == before - lost
            assert diagnose(file.parent).trouble == ""
    assert saved


def test_a_database_that_must_not_be_read_is_no_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise duckdb.IOException('IO Error: Cannot open file "run.duckdb": Permission denied')

    (tmp_path / "run.duckdb").write_bytes(b"x")
    monkeypatch.setattr(duckdb, "connect", refused)
    with pytest.raises(StorageError, match=r"Permission denied\); let yourself read and write it"):
        diagnose(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["run.duckdb"]


def test_settings_that_must_not_be_read_are_not_restored_and_leave_no_folder_of_copies(
    command_line: Any, own_runs: Path, tiny_run_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(path.name for path in (own_runs / tiny_run_name).iterdir())

    def refused(*arguments: object, **more: object) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refused)
    result = command_line("doctor", tiny_run_name)
    assert result.code == 1
    assert "Permission denied" in checks_of(result)["run.toml"]
    assert sorted(path.name for path in (own_runs / tiny_run_name).iterdir()) == before


def test_a_copy_that_cannot_be_made_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.toml").write_text("")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copy2", full)
    with pytest.raises(StorageError, match="No space left"):
        Copies(tmp_path).keep(tmp_path / "run.toml")
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]


def test_orphans_and_digests_that_do_not_fit_are_told(
    command_line: Any, own_runs: Path, tiny_run_name: str
) -> None:
    with open_run(tiny_run_name, folder=own_runs) as run:
        run.execute("DELETE FROM key WHERE item_id IN (SELECT item_id FROM key LIMIT 2)")
        run.execute(
            "UPDATE item SET rubric_digest = 'x' WHERE item_id IN (SELECT min(item_id) FROM key)"
        )
    result = command_line("doctor", tiny_run_name)
    assert result.code == 1
    assert "2 items without a key; `autointerp rate" in checks_of(result)["keys"]
    assert "1 digest does not fit: item" in checks_of(result)["digests"]


def test_a_run_without_its_database_and_with_nothing_beside_it_says_what_to_do(
    command_line: Any, own_runs: Path, tiny_run_name: str
) -> None:
    folder = own_runs / tiny_run_name
    (folder / "run.duckdb").unlink()
    result = command_line("doctor", tiny_run_name)
    assert result.code == 1
    assert (
        "nothing of it is left: neither replies.jsonl nor journals; restore it from a copy"
        in (checks_of(result)["run.duckdb"])
    )
    assert not (folder / "run.duckdb").exists()


def test_a_lost_database_is_made_anew_from_replies_and_the_same_questions_are_not_paid_again(
    command_line: Any, own_runs: Path, tiny_run_name: str
) -> None:
    folder = own_runs / tiny_run_name
    with LoopbackServer() as server:
        asked = ("rate", "--run", tiny_run_name, "--rater", "openai:m", "--n", 2, "--controls", 0)
        asked += ("--source", "features")
        asked += ("--base-url", server.openai_url, "--structured", "json_schema", "--quiet")
        assert command_line(*asked).code == 0
        paid = len(server.calls)
        with open_run(tiny_run_name, folder=own_runs) as run:
            rater = run.rows("SELECT DISTINCT rater FROM call")[0][0]
            rows = run.rows(f"SELECT {', '.join(CALL)} FROM call ORDER BY item_id")
        # As a killed command leaves them, before they are taken in.
        journal = ReplyJournal(folder / "replies.jsonl")
        for values in rows:
            call = dict(zip(CALL, values, strict=True))
            journal.write(
                    {
                        "kind": "came", "at": "2026-01-01T00:00:00", "rater": rater,
                        "key": call["call_key"], "sent": None, "usd": 0.0, "call": call,
                        "rating": None,
                    }
                )  # fmt: skip
        journal.close()
        (folder / "run.duckdb").unlink()
        refused = command_line(*asked)
        assert refused.code == 1
        assert "is missing or empty, but the run has been in use" in refused.err, refused.err
        dry = command_line("doctor", tiny_run_name, "--dry-run")
        assert f"beside it are {len(rows)} replies of models" in checks_of(dry)["run.duckdb"]
        result = command_line("doctor", tiny_run_name)
        assert f"made anew with {len(rows)} replies of models" in checks_of(result)["run.duckdb"]
        assert command_line(*asked).code == 0
        assert len(server.calls) == paid
    with open_run(tiny_run_name, folder=own_runs, read_only=True) as run:
        ((rated,),) = run.rows("SELECT count(*) FROM current_rating WHERE status = 'ok'")
    assert rated == 2


def test_a_run_that_is_not_there_and_options_that_do_not_go_together_are_one_line(
    command_line: Any, own_runs: Path, tiny_run_name: str
) -> None:
    for arguments, words in (
        (("nowhere",), "unknown run 'nowhere'"),
        ((tiny_run_name, "--rater", "lexical"), "give RUN, or --rater"),
        (("--dry-run",), "goes with a RUN"),
    ):
        result = command_line("doctor", *arguments)
        assert result.code == 2
        assert words in result.err
        assert result.err.count("\n") == 1
