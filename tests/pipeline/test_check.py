from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.loopback.server import Call, Fault, LoopbackServer

from autointerp.errors import BadInput, RaterError
from autointerp.findings.checks import checks_file, latest_check
from autointerp.pipeline.check import check_rater
from autointerp.questions.kit import KitItem, make_kit
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import RaterOptions, load_rater

RUBRIC = load_rubric("interpretability-1-5")


@pytest.fixture(scope="module")
def kit() -> list[KitItem]:
    return make_kit(RUBRIC, "shown", 4)


@pytest.fixture
def quick_kit(kit: list[KitItem], monkeypatch: pytest.MonkeyPatch) -> list[KitItem]:
    monkeypatch.setattr("autointerp.pipeline.check.make_kit", lambda *_: kit)
    return kit


def test_a_rater_that_gives_one_score_to_all_is_shown_to_know_nothing(
    tmp_path: Path, quick_kit: list[KitItem]
) -> None:
    result = check_rater(load_rater("scripted:3", RaterOptions()), RUBRIC, 4, runs=tmp_path)
    assert {auc.value for auc in result.auc.values()} == {0.5}
    assert result.spearman is None
    assert result.agreement == 1.0
    assert result.injection_shift == 0.0
    assert result.statuses == {"ok": 2 * 28 + (len(quick_kit) - 28)}


def test_a_rater_that_obeys_the_text_is_found_out(tmp_path: Path, quick_kit: list[KitItem]) -> None:
    def obey(call: Call) -> Fault:
        ordered = next((n for n in "15" if f"answer {n}." in call.user), "3")
        return Fault(text=json.dumps({"rationale": "as ordered", "score": int(ordered)}))

    with LoopbackServer() as server:
        server.fault_for = obey
        options = RaterOptions(base_url=server.openai_url)
        result = check_rater(load_rater("openai:m", options), RUBRIC, 4, runs=tmp_path)
    assert result.injection_shift == 1.0
    assert result.injection_obeyed == 1.0


def test_failures_are_counted_and_no_scores(tmp_path: Path, quick_kit: list[KitItem]) -> None:
    with LoopbackServer() as server:
        server.faults.extend([Fault(text="no", stop="refusal")] * 3)
        options = RaterOptions(base_url=server.openai_url)
        result = check_rater(load_rater("openai:m", options), RUBRIC, 4, runs=tmp_path)
    assert result.statuses["refused"] == 3
    assert set(result.statuses) == {"refused", "ok"}


def test_a_rater_that_refuses_everything_is_not_asked_to_the_end(
    tmp_path: Path, quick_kit: list[KitItem]
) -> None:
    with LoopbackServer() as server:
        server.fault_for = lambda call: Fault(text="no", stop="refusal")
        options = RaterOptions(base_url=server.openai_url)
        with pytest.raises(RaterError, match="refused 5 items"):
            check_rater(load_rater("openai:m", options), RUBRIC, 4, runs=tmp_path)


def test_a_report_reads_the_latest_check(tmp_path: Path, quick_kit: list[KitItem]) -> None:
    assert latest_check("scripted:3", runs=tmp_path) is None
    rater = load_rater("scripted:3", RaterOptions())
    kept = check_rater(rater, RUBRIC, 4, runs=tmp_path)
    assert latest_check("scripted:3", runs=tmp_path) == kept
    assert latest_check("scripted:3", RUBRIC.digest, tmp_path) == kept
    assert latest_check("scripted:3", "another", tmp_path) is None
    with checks_file("scripted:3", tmp_path).open("a") as file:
        file.write('{"rater": "scr')  # the disk was full just here
    assert latest_check("scripted:3", runs=tmp_path) == kept
    assert "on 28 planted units" in str(kept)


def test_a_kit_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at least 4"):
        check_rater(load_rater("scripted:3", RaterOptions()), RUBRIC, 2, runs=tmp_path)


def test_the_command_prints_what_was_found(
    quick_kit: list[KitItem], command_line: Any, tmp_path: Path
) -> None:
    told = command_line("check-rater", "scripted:3")
    assert told.code == 0
    assert "AUC of clean units against" in told.out
    assert "0.50" in told.out
    parsed = json.loads(command_line("check-rater", "scripted:3", "--json").out)
    assert parsed["rater"] == "scripted:3"
