from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from support.judges import Judge, lessons, panel_of, taught

from autointerp.errors import BadInput, RaterError
from autointerp.questions.explain import EXPLAIN
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import Lesson, MemberAnswer, RaterOptions, load_rater
from autointerp.raters import panel as panel_module
from autointerp.raters.panel import Panel
from autointerp.records import Item

RUBRIC = load_rubric("interpretability-1-5")


def panel(spec: str) -> Panel:
    made = load_rater(f"panel:{spec}", RaterOptions())
    assert isinstance(made, Panel)
    return made


def of_two(folder: Path, **optional: bool) -> Panel:
    return taught(panel_of(Judge("a"), Judge("b"), optional=optional), folder, RUBRIC)


# ----------------------------------------------------------------------------------- members


def test_members_are_raters_as_they_are_written_alone_and_the_name_tells_them():
    made = panel("lexical, optional:openai:m@http://127.0.0.1:9/v1")
    assert [member.name for member in made.members] == ["lexical", "openai:m@127.0.0.1:9"]
    assert made.optional == (False, True)
    assert made.name == "panel:lexical,optional:openai:m@127.0.0.1:9"
    assert made.is_llm
    assert made.evidence == "all"  # as one of them needs


def test_the_options_of_a_panel_hold_for_each_member():
    options = RaterOptions(base_url="http://127.0.0.1:9/v1", price_in=1.0, price_out=2.0)
    made = load_rater("panel:openai:a,openai:b", options)
    assert isinstance(made, Panel)
    assert [member.name for member in made.members] == [
        "openai:a@127.0.0.1:9", "openai:b@127.0.0.1:9",
    ]  # fmt: skip
    assert made.evidence == "shown"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "two members or more"),
        ("lexical", "two members or more"),
        ("lexical,", "two members or more"),
        ("lexical,lexical", "lexical is named twice"),
        ("lexical,likelyhood:x.gguf", "'likelyhood' is not among"),
        ("lexical,human:ann", "cannot be a member"),
        ("lexical,panel:lexical,scripted:3", "cannot be a member"),
        ("optional:lexical,optional:scripted:3", "all members are optional"),
        ("lexical,lexical:1,lexical:3,scripted:1,scripted:2,scripted:3,scripted:4", "at most 6"),
        ("lexical,likelihood", "name a model"),
    ],
)
def test_what_cannot_be_a_panel_is_refused_in_a_line(spec: str, words: str):
    with pytest.raises(BadInput, match=words):
        panel(spec)


# ----------------------------------------------------------------------------------- weights


def test_a_panel_that_was_never_checked_refuses_with_the_command_to_type(tmp_path: Path):
    made = panel("lexical,scripted:3")
    command = "autointerp check-rater panel:lexical,scripted:3 --rubric interpretability-1-5"
    with pytest.raises(RaterError, match=f"never checked.*{command}"):
        made.prepare(tmp_path, RUBRIC)
    made = Panel("lexical,openai:m", RaterOptions("http://h/v1", structured="choice"))
    command = "check-rater panel:lexical,openai:m --base-url http://h/v1 --structured choice"
    with pytest.raises(RaterError, match=f"{command} --rubric interpretability-1-5`"):
        made.prepare(tmp_path, RUBRIC)


def test_what_one_process_learned_another_reads(tmp_path: Path):
    made = of_two(tmp_path)
    other = panel_of(Judge("a"), Judge("b"))
    other.prepare(tmp_path, RUBRIC)
    assert other.learned == made.learned
    assert other.version == made.version != ""
    assert other.probability([0.3, 2.0]) == made.probability([0.3, 2.0])


def test_weights_of_another_version_of_a_member_are_refused(tmp_path: Path):
    of_two(tmp_path)
    other = panel_of(Judge("a"), Judge("b", version="2"))
    with pytest.raises(RaterError, match="version '1' of b, which is '2' now"):
        other.prepare(tmp_path, RUBRIC)


def test_weights_of_another_kit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    of_two(tmp_path)
    monkeypatch.setattr(panel_module, "KIT", panel_module.KIT + 1)
    with pytest.raises(RaterError, match="of kit"):
        panel_of(Judge("a"), Judge("b")).prepare(tmp_path, RUBRIC)


def test_weights_of_another_rubric_are_none(tmp_path: Path):
    of_two(tmp_path)
    with pytest.raises(RaterError, match="never checked on interpretability-0-3"):
        panel_of(Judge("a"), Judge("b")).prepare(tmp_path, load_rubric("interpretability-0-3"))


@pytest.mark.parametrize("content", ["", "[]", '{"form": 9}', '{"form": 1}'])
def test_a_damaged_file_of_weights_is_said_with_a_remedy(tmp_path: Path, content: str):
    of_two(tmp_path)
    (path,) = tmp_path.glob("panel-*.json")
    path.write_text(content)
    with pytest.raises(RaterError, match="cannot be read; run `autointerp check-rater"):
        panel_of(Judge("a"), Judge("b")).prepare(tmp_path, RUBRIC)


def test_weights_follow_what_the_members_tell(tmp_path: Path):
    first, second = of_two(tmp_path).weights()
    assert first > second >= 0
    assert first + second == pytest.approx(1)


def test_too_few_planted_units_teach_nothing(tmp_path: Path):
    made = panel_of(Judge("a"), Judge("b"))
    unread = [replace(one, values=(math.nan, 1.0)) for one in lessons(2)[6:]]
    with pytest.raises(RaterError, match="3 planted units of one concept and 3 others"):
        made.learn(tmp_path, RUBRIC, [*lessons(2)[:6], *unread])
    assert not list(tmp_path.iterdir())


def test_a_member_whose_values_have_no_common_order_teaches_nothing(tmp_path: Path):
    made = panel_of(Judge("a"), Judge("b"))
    mixed = [replace(one, are_scores=(False, n % 2 == 0)) for n, one in enumerate(lessons(2))]
    with pytest.raises(RaterError, match="b gave a number behind some of its scores"):
        made.learn(tmp_path, RUBRIC, mixed)


def test_a_score_without_the_number_that_the_member_else_gives_is_missing(tmp_path: Path):
    made = of_two(tmp_path, b=True)
    bare = MemberAnswer(5.0, True, 5)  # beside numbers of 0 to 1 it would be the highest of all
    _, reply = made.compose("i", RUBRIC, 0, [answer(0.2), bare])
    assert reply.details["missing"] == ["b"]
    assert reply.details["statistic"] == made.probability([0.2, math.nan])


def test_the_version_changes_with_what_was_learned(tmp_path: Path):
    made = of_two(tmp_path)
    before = made.version
    made.learn(tmp_path, RUBRIC, [*lessons(2), Lesson((5.0, 5.0), (False, False), False, "token")])
    assert made.version != before


# ------------------------------------------------------------------------------------ scores


def answer(value: float | None, **more: str) -> MemberAnswer:
    if value is None:
        return MemberAnswer(None, problem="failed (no verdict)", latency_s=0.25)
    return MemberAnswer(value, False, 3, more.get("description"), 0.5)


def test_the_score_is_the_probability_in_equal_parts_of_the_scale(tmp_path: Path):
    made = of_two(tmp_path)
    for value in (-9.0, -1.0, 0.0, 0.7, 1.0, 2.0, 9.0):
        request, reply = made.compose("i", RUBRIC, 0, [answer(value), answer(value)])
        p = made.probability([value, value])
        read = RUBRIC.read(reply)
        assert read.status == "ok"
        assert read.score == min(5, 1 + int(5 * p))
        assert reply.details["expected_score"] == pytest.approx(1 + 4 * p)
        assert (request.item, reply.latency_s, reply.cost_usd) == ("i", 1.0, 0.0)


def test_units_of_equal_answers_are_calls_of_their_own(tmp_path: Path):
    made = of_two(tmp_path)
    keys = {
        made.compose(item, RUBRIC, repeat, [answer(1.0), answer(1.0)])[0].key
        for item in ("i", "j")
        for repeat in (0, 1)
    }
    assert len(keys) == 4


def test_the_first_description_of_a_member_is_the_panels(tmp_path: Path):
    made = of_two(tmp_path)
    said = [answer(1.0, description="Unknown"), answer(1.0, description="commas")]
    assert json.loads(made.compose("i", RUBRIC, 0, said)[1].text)["description"] == "commas"


def test_without_a_member_that_must_answer_there_is_no_score(tmp_path: Path):
    _, reply = of_two(tmp_path).compose("i", RUBRIC, 0, [answer(1.0), answer(None)])
    assert reply.stop == "error"
    assert reply.error == "b: failed (no verdict)"
    assert RUBRIC.read(reply).status == "failed"


def test_without_an_optional_member_the_others_decide_and_the_missing_one_is_named(tmp_path: Path):
    made = of_two(tmp_path, b=True)
    _, reply = made.compose("i", RUBRIC, 0, [answer(1.0), answer(None)])
    assert reply.details["missing"] == ["b"]
    assert reply.details["statistic"] == made.probability([1.0, 0.0], without=[1])
    assert "Without b: failed" in json.loads(reply.text)["rationale"]
    _, neither = made.compose("i", RUBRIC, 0, [answer(None), answer(None)])
    assert neither.stop == "error"


def test_a_panel_answers_nothing_but_how_interpretable_a_unit_is(tmp_path: Path):
    made = of_two(tmp_path)
    for question in (EXPLAIN, load_rubric("specificity-0-3")):
        with pytest.raises(RaterError, match="only rates units"):
            made.request(Item("i", question.id, ()), question)
        with pytest.raises(RaterError, match="only rates units"):
            made.prepare(tmp_path, question)
