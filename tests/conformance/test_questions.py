"""Every rubric in `rubrics/`, every scorer's task, every explainer's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.conformance import check_question, every_question, items_of
from support.made_up import made_up_run

from autointerp.questions.explain import EXPLAINING
from autointerp.questions.question import Question
from autointerp.questions.rubric_files import load_rubric, rubrics_folder
from autointerp.questions.scorers import load_question
from autointerp.store.run import Run

QUESTIONS = every_question()
FILES = sorted(rubrics_folder().glob("*.md"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with made_up_run(tmp_path_factory.mktemp("questions")) as run:
        yield run


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_prompts_schema_and_reader_agree(run: Run, question: Question):
    check_question(question, items_of(run, question)[0])


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_a_question_is_found_by_its_id_and_is_like_no_other(question: Question):
    assert load_question(question.id) == question
    assert [one.id for one in QUESTIONS.values() if one.digest == question.digest] == [question.id]


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_a_prompt_names_no_source(question: Question):
    assert not re.search(r"neuron|feature|autoencoder|dictionary", question.system(), re.I)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_rubric_bears_the_name_of_its_file_and_labels_its_levels(file: Path):
    rubric = load_rubric(file)
    assert rubric.id == file.stem
    text = rubric.system()
    assert all(f"{score} = {label}" in text for score, label in rubric.scale)
    assert rubric == load_rubric(rubric.id)


def test_what_is_asked_of_explainers_is_no_rating():
    assert {(task.form, task.about) for task in EXPLAINING} == {("describe", "unit")}
