from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.judges import Judge, panel_of
from support.loopback.server import Call, Fault, LoopbackServer

from autointerp.engine.loop import RatingPolicy
from autointerp.errors import BadInput, RaterError
from autointerp.findings.checks import checks_file, latest_check
from autointerp.pipeline.check import check_rater
from autointerp.questions.kit import VALUE, KitItem, make_kit
from autointerp.questions.planter import GRADES
from autointerp.questions.rubric import Rubric
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import RaterOptions, load_rater
from autointerp.records import Item, ItemContext

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


@pytest.mark.parametrize("name", ["human:ann", "embed:model"])
def test_who_cannot_rate_the_kit_is_refused_before_it_is_made(name: str, tmp_path: Path) -> None:
    with pytest.raises((BadInput, RaterError), match="cannot"):
        check_rater(load_rater(name, RaterOptions()), RUBRIC, 4, runs=tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_a_key_or_a_price_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for name in ("openai:m", "detector:openai:m", "panel:lexical,openai:m"):
        with pytest.raises(RaterError, match="openai:m needs a key"):
            check_rater(load_rater(name, RaterOptions()), RUBRIC, 4, runs=tmp_path)
    unpriced = load_rater("openai:m", RaterOptions(base_url="http://127.0.0.1:9/v1"))
    with pytest.raises(BadInput, match="no price is known"):
        check_rater(unpriced, RUBRIC, 4, RatingPolicy(budget_usd=1), runs=tmp_path)
    assert not list(tmp_path.iterdir())


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


def test_all_models_that_answered_to_one_name_are_named(
    tmp_path: Path, quick_kit: list[KitItem]
) -> None:
    message = {"content": '{"rationale": "as ever", "description": "cats", "score": 3}'}
    body = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": None}
    with LoopbackServer() as server:
        server.fault_for = lambda call: Fault(
            raw=json.dumps({**body, "model": f"m-{len(server.calls) % 2}"}).encode()
        )
        options = RaterOptions(base_url=server.openai_url, structured="text")
        result = check_rater(load_rater("openai:m", options), RUBRIC, 4, runs=tmp_path)
    assert result.model == "m-0 and m-1"


def test_a_rater_that_refuses_everything_is_not_asked_to_the_end(
    tmp_path: Path, quick_kit: list[KitItem]
) -> None:
    with LoopbackServer() as server:
        server.fault_for = lambda call: Fault(text="no", stop="refusal")
        options = RaterOptions(base_url=server.openai_url)
        with pytest.raises(RaterError, match="refused 5 items"):
            check_rater(load_rater("openai:m", options), RUBRIC, 4, runs=tmp_path)


def test_a_check_that_its_budget_ends_is_none_and_more_of_it_goes_on(
    tmp_path: Path, quick_kit: list[KitItem]
) -> None:
    with LoopbackServer() as server:
        prices = {"price_in": 1000.0, "price_out": 1000.0, "max_output_tokens": 100}
        rater = load_rater("openai:m", RaterOptions(base_url=server.openai_url, **prices))
        with pytest.raises(RaterError, match=r"budget of \$3.005 for all checks together"):
            check_rater(rater, RUBRIC, 4, RatingPolicy(budget_usd=3.005), runs=tmp_path)
        assert server.completions
        assert latest_check(rater.name, runs=tmp_path) is None
        result = check_rater(rater, RUBRIC, 4, runs=tmp_path)
        assert result.statuses == {"ok": len(server.completions)}


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


# ------------------------------------------------------------------------------------ panels


def made_up_kit(side: str, evidence: str) -> list[KitItem]:
    """Six units of each grade, three of each kind of concept; its items all show the same."""
    shown = ItemContext(("a", "word"), (0.0, 10.0), 1, "explain", silent=False)
    return [
        KitItem(
            Item(f"{side}-{evidence}-{grade}-{number}".replace(" ", "_"), RUBRIC.id, (shown,)),
            grade,
            () if grade == "noise" else (f"kind{number % 2}",),
            dense=False,
        )
        for number in range(6)
        for grade in GRADES
    ]


@pytest.fixture
def tried_sides(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The sides and evidences for which a kit was made, in order; kits are made up."""
    asked = []

    def make(rubric: Rubric, evidence: str, per_grade: int, side: str, folder: Path):
        asked.append((side, evidence))
        return made_up_kit(side, evidence)

    monkeypatch.setattr("autointerp.pipeline.check.make_kit", make)
    monkeypatch.setattr("autointerp.findings.checks.is_held_back", lambda kind: False)
    monkeypatch.setattr("autointerp.findings.checks.load_kind", lambda kind: Level)
    return asked


class Level:
    LEVEL = 1


def by_grade(noise: float) -> Callable[[str], float]:
    """Return what a judge says that knows grades but for some noise, drawn by the item's id."""

    def says(item: str) -> float:
        grade = item.split("-")[2].replace("_", " ")
        draw = np.random.default_rng(zlib.crc32(item.encode())).normal()
        return float(VALUE[grade] + noise * draw)  # type: ignore[index]

    return says


def test_a_panel_learns_on_the_design_side_and_says_what_each_member_adds(
    tmp_path: Path, tried_sides: list[tuple[str, str]]
):
    good, poor = Judge("good", by_grade(0.5)), Judge("poor", by_grade(50.0), evidence="shown")
    panel = panel_of(good, poor)
    result = check_rater(panel, RUBRIC, 6, runs=tmp_path)
    assert [side for side, _ in tried_sides].index("test") > 0
    # each member: 42 units of the design side once, 42 of the test side twice
    assert (len(good.asked), len(poor.asked)) == (3 * 42, 3 * 42)
    assert result.statuses == {"ok": 84}
    assert result.version == panel.version != ""
    assert result.seconds_per_unit == 1.0  # half a second of either
    assert result.members is not None
    told = result.members["good"], result.members["poor"]
    assert told[0].weight > told[1].weight
    assert told[0].alone.value == 1.0
    assert told[0].gain.value is not None
    assert told[0].gain.value > 0.1
    assert told[0].without.value is not None
    assert told[1].alone.value == pytest.approx(told[0].without.value, abs=0.05)  # ranks
    assert result.auc["unclean"].value is not None
    assert result.auc["unclean"].value > 0.9
    assert latest_check(panel.name, RUBRIC.digest, tmp_path) == result
    # A second check asks nothing, and learns the same.
    again = check_rater(panel_of(good, poor), RUBRIC, 6, runs=tmp_path)
    assert (len(good.asked), len(poor.asked)) == (3 * 42, 3 * 42)
    assert (again.version, again.auc, again.members) == (
        result.version, result.auc, result.members,
    )  # fmt: skip


@pytest.mark.parametrize(("each", "total"), [(0.5, 42.0), (None, None)])
def test_a_panels_check_costs_what_its_members_took_also_on_items_of_other_evidence(
    tmp_path: Path, tried_sides: list[tuple[str, str]], each: float | None, total: float | None
):
    free, paid = Judge("free"), Judge("paid", evidence="shown", cost_usd=each)
    result = check_rater(panel_of(free, paid), RUBRIC, 6, runs=tmp_path)
    assert result.cost_usd == total  # of 42 units, each rated twice


def test_a_rater_of_another_version_is_checked_anew(
    tmp_path: Path, tried_sides: list[tuple[str, str]]
):
    judge = Judge("one", by_grade(0.5))
    first = check_rater(judge, RUBRIC, 6, runs=tmp_path)
    asked = len(judge.asked)
    judge.version = "2"
    second = check_rater(judge, RUBRIC, 6, runs=tmp_path)
    assert len(judge.asked) == 2 * asked
    assert (first.version, second.version) == ("1", "2")
    assert latest_check("one", runs=tmp_path, versions=["1"]) == first
    assert latest_check("one", runs=tmp_path, versions=["2"]) == second
    assert latest_check("one", runs=tmp_path, versions=["3"]) == second


def test_a_check_on_the_test_side_goes_before_a_later_one_where_raters_are_designed(
    tmp_path: Path, tried_sides: list[tuple[str, str]]
):
    judge = Judge("one", by_grade(0.5))
    tested = check_rater(judge, RUBRIC, 6, runs=tmp_path)
    check_rater(judge, RUBRIC, 6, side="design", runs=tmp_path)
    assert latest_check("one", runs=tmp_path) == tested


def test_a_panel_stopped_on_the_design_side_learns_nothing(
    tmp_path: Path, tried_sides: list[tuple[str, str]]
):
    with LoopbackServer() as server:
        options = RaterOptions(
            base_url=server.openai_url, structured="json_schema", price_in=1000.0, price_out=1000.0
        )
        panel = panel_of(Judge("a"), load_rater("openai:m", options))  # type: ignore[arg-type]
        with pytest.raises(RaterError, match="budget stopped openai:m"):
            check_rater(panel, RUBRIC, 6, RatingPolicy(budget_usd=1.0), runs=tmp_path)
    assert not list((tmp_path / ".checks").glob("panel-*"))


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
