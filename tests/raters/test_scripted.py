from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from autointerp.errors import BadInput
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import AttemptFailed, RaterOptions
from autointerp.raters.scripted import create
from autointerp.records import Item, Request

REQUEST = Request("k", "i", {})


def test_a_number_is_the_score_of_everything() -> None:
    rater = create("4", RaterOptions())
    assert rater.name == "scripted:4"
    assert json.loads(asyncio.run(rater.send(REQUEST)).text)["score"] == 4


def test_a_file_is_played_line_by_line_and_its_last_line_stays(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text('{"score": 2}\n{"fail": "busy"}\n{"text": "no", "stop": "refusal"}\n')
    rater = create(str(script), RaterOptions())
    assert json.loads(asyncio.run(rater.send(REQUEST)).text)["score"] == 2
    with pytest.raises(AttemptFailed):
        asyncio.run(rater.send(REQUEST))
    assert [asyncio.run(rater.send(REQUEST)).stop for _ in range(2)] == ["refusal"] * 2


@pytest.mark.parametrize("line", ["{", "[]", '{"scores": 1}', '{"fail": "sometimes"}'])
def test_a_line_that_is_no_reply_is_named(tmp_path: Path, line: str) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text('{"score": 2}\n' + line + "\n")
    with pytest.raises(BadInput, match="line 2"):
        create(str(script), RaterOptions())


def test_neither_a_number_nor_a_file_is_refused() -> None:
    with pytest.raises(BadInput, match="scripted:4"):
        create("four", RaterOptions())


def test_requests_of_different_scripts_have_different_keys() -> None:
    rubric = load_rubric("interpretability-1-5")
    item = Item("aa", rubric.id, ())
    keys = {create(n, RaterOptions()).request(item, rubric).key for n in ("1", "2")}
    assert len(keys) == 2
