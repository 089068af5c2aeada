"""Every rater in `autointerp/raters`, and one that is written from the protocol's words alone."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.conformance import (
    check_replies,
    check_requests,
    every_question,
    example_of,
    items_of,
    modules_in,
)
from support.made_up import made_up_run

from autointerp import raters
from autointerp.engine.work import rate_items
from autointerp.pipeline.job import sources_by_role
from autointerp.questions.question import Question
from autointerp.questions.scorers import scorer_names
from autointerp.raters import (
    RaterOptions,
    ServedRater,
    load_rater,
    rater_names,
    version_of,
    what,
)
from autointerp.records import Item, rater_kind
from autointerp.store.run import Run

QUESTIONS = every_question()
NAMES = modules_in(raters)
Items = Callable[[Question, str], list[Item]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with made_up_run(tmp_path_factory.mktemp("raters")) as run:
        yield run


@pytest.fixture(scope="module")
def items(run: Run) -> Items:
    """Items by question and evidence, made once."""
    made: dict[tuple[str, str], list[Item]] = {}

    def get(question: Question, evidence: str) -> list[Item]:
        which = (question.id, evidence)
        if which not in made:
            made[which] = items_of(run, question, evidence)
        return made[which]

    return get


@pytest.mark.parametrize("name", NAMES)
def test_a_rater_says_what_it_is(name: str, tmp_path: Path):
    module = importlib.import_module(f"autointerp.raters.{name}")
    rater = example_of(module, tmp_path)
    assert rater_kind(rater.name) == name.replace("_", "-")
    assert rater.evidence in ("shown", "all")
    assert isinstance(rater.is_llm, bool)
    assert what(rater.name) == module.WHAT
    assert module.WHAT.strip().rstrip(".") == module.WHAT
    assert isinstance(getattr(module, "LIBRARIES", ()), tuple)
    options = getattr(module, "OPTIONS", ())
    assert isinstance(options, tuple)  # ("base_url") would be letters, of which none is an option
    assert set(options) <= {one.name for one in dataclasses.fields(RaterOptions)}
    assert version_of(rater) == version_of(example_of(module, tmp_path))
    # Rules or prompts with a number of their own answer otherwise under another number.
    assert not hasattr(module, "VERSION") or str(module.VERSION) in version_of(rater).split()


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_a_rater_asks_purely_and_its_replies_are_read(
    items: Items, name: str, question: Question, tmp_path: Path
):
    module = importlib.import_module(f"autointerp.raters.{name}")
    rater = example_of(module, tmp_path)
    asked = items(question, rater.evidence)
    asks = check_requests(rater, question, asked)
    alone = not isinstance(rater, ServedRater) and not getattr(module, "LIBRARIES", ())
    if asks and alone:  # else it needs a server or a model
        check_replies(rater, question, asked)


@pytest.mark.parametrize("name", NAMES)
def test_a_provider_says_its_address_and_the_variable_of_its_key(name: str, tmp_path: Path):
    module = importlib.import_module(f"autointerp.raters.{name}")
    assert hasattr(module, "URL") == hasattr(module, "VARIABLE")
    if hasattr(module, "URL"):
        rater = example_of(module, tmp_path)
        assert isinstance(rater, ServedRater)
        assert module.URL.startswith("https://")
        assert not module.URL.endswith("/")
        assert module.VARIABLE.isupper()


# -------------------------------------------------------------- one that is written elsewhere

TOY = '''"""Answers every form without reading the texts."""

import json

from autointerp.raters import call_key
from autointerp.records import Reply, Request

WHAT = "a stopped clock"


class Toy:
    name = "toy"
    evidence = "shown"
    is_llm = False

    def request(self, item, question, repeat=0):
        body = {
            "item": item.id,
            "form": question.form,
            "scores": list(question.scores),
            "contexts": len(item.contexts),
        }
        return Request(call_key("toy", "1", body, question, repeat), item.id, body, repeat)

    async def send(self, request):
        numbers = range(1, request.body["contexts"] + 1)
        form = request.body["form"]
        if form == "rate":
            reply = {"rationale": "as ever", "score": request.body["scores"][-1]}
        elif form == "describe":
            reply = {"rationale": "as ever", "description": "cats"}
        elif form == "judge":
            reply = {"answers": [{"context": number, "yes": True} for number in numbers]}
        elif form == "match":
            reply = {str(number): "A" for number in range(1, 9)}
        elif form == "predict":
            active = [{"token": 1, "activation": 5}]
            reply = {"contexts": [{"context": number, "active": active} for number in numbers]}
        elif form == "write":
            reply = {"texts": [f"It was {number}." for number in range(8)]}
        elif form == "embed":
            reply = {"similarities": [{"context": number, "cosine": 0.5} for number in numbers]}
        elif form == "expect":
            loss = {"given": 2.0, "without": 2.0}
            reply = {"losses": [{"context": number, **loss} for number in numbers]}
        else:
            reply = {"rationale": "as ever", "context": 1}
        return Reply(json.dumps(reply))


def create(model, options):
    return Toy()
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a rater that stands, for a test, among those that ship."""
    folder = tmp_path / "more_raters"
    folder.mkdir()
    (folder / "toy.py").write_text(TOY)
    monkeypatch.setattr(raters, "__path__", [*raters.__path__, str(folder)])
    yield "toy"
    sys.modules.pop("autointerp.raters.toy", None)
    if hasattr(raters, "toy"):
        del raters.toy


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_a_rater_written_to_the_protocol_answers_every_form(
    run: Run, items: Items, toy: str, question: Question
):
    rater = load_rater(toy, RaterOptions())
    asked = items(question, "shown")
    assert check_requests(rater, question, asked)
    assert check_replies(rater, question, asked) == {"ok"}
    counts = rate_items(run, [item.id for item in asked], question, rater)
    assert counts.statuses == {"ok": len(asked)}
    assert rate_items(run, [item.id for item in asked], question, rater).before == len(asked)


def test_a_file_makes_a_rater_that_is_listed_and_rates_explains_and_scores(
    toy: str, command_line, own_runs: Path, tiny_settings: Path
):
    assert toy in rater_names()
    assert what(toy) == "a stopped clock"
    few = ("-n", 4, "--controls", 2, "--subject", tiny_settings)
    rated = command_line("rate", "--run", "tiny", "--rater", toy, *few)
    asked = 4 + 2 * len(sources_by_role(controls=True))
    assert f"toy on interpretability-1-5: {asked} ok" in rated.err
    explained = command_line("explain", "tiny", "--rater", toy)
    assert re.search(r"toy describes (\d+) of \1 units", explained.err)
    scorers = [part for name in scorer_names() for part in ("--scorer", name)]
    scored = command_line("score", "tiny", "--rater", toy, "--contexts", 5, *scorers)
    assert scored.code == 0, scored.err
    for name in scorer_names():
        assert f"{name}: " in scored.err
    assert "unparsed" not in scored.err + explained.err + rated.err
