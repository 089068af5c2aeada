"""What follows from a job: the subject, the units, and what is said of them."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autointerp
from autointerp.engine.loop import RatingPolicy
from autointerp.errors import BadInput, RaterError, RunMismatch, UnknownName
from autointerp.people.session import Sitting
from autointerp.pipeline.events import Event, Harvesting, Note, RunOpened
from autointerp.pipeline.job import Job, Resolved, default_subject, sources_by_role
from autointerp.questions.score import Design
from autointerp.raters import RaterOptions
from autointerp.settings import HarvestSettings, RunSettings


@pytest.fixture
def events() -> list[Event]:
    return []


def test_sources_may_be_one_name_and_stand_once():
    assert Job(sources="features").sources == ("features",)
    assert Job(sources=("features", "neurons", "features")).sources == ("features", "neurons")


def test_paths_of_files_may_be_paths():
    job = Job(rubric=Path("own.md"), subject=Path("mine/autointerp.toml"), runs="elsewhere")
    assert (job.rubric, job.subject) == ("own.md", "mine/autointerp.toml")
    assert job.runs == Path("elsewhere")


def test_numbers_of_numpy_become_pythons_own():
    job = Job(
        rater="openai:m",
        n=np.int64(8),
        controls=np.int8(2),
        seed=np.uint16(3),
        tokens=np.int64(3000),
        scorers=["detection"],
        policy=RatingPolicy(budget_usd=np.float32(0.5), concurrency=np.int64(2)),
        options=RaterOptions(max_output_tokens=np.int32(64)),
        design=Design(count=np.int64(6)),
        sitting=Sitting(overlap=np.int64(2)),
    )
    numbers = (job.n, job.controls, job.seed, job.tokens, job.policy.concurrency)
    numbers += (job.options.max_output_tokens, job.design.count, job.sitting.overlap)
    assert [(type(number), number) for number in numbers] == [
        (int, number) for number in (8, 2, 3, 3000, 2, 64, 6, 2)
    ]
    assert (type(job.policy.budget_usd), job.scorers) == (float, ("detection",))
    settings = RunSettings(harvest=HarvestSettings(top=np.int64(5)), seed=np.int64(1))
    assert json.loads(json.dumps(asdict(settings)))["seed"] == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"n": "5"}, "--n '5': give a whole number from 1 on"),
        ({"n": 2.5}, "--n 2.5: give a whole number from 1 on"),
        ({"controls": -1}, "--controls -1: give a whole number from 0 on"),
        ({"repeats": 0}, "--repeats 0: give a whole number from 1 on"),
        ({"seed": "a"}, "--seed 'a': give a whole number from 0 on"),
        ({"scorers": "detection"}, "scorers='detection': give a tuple of names"),
    ],
)
def test_what_a_job_cannot_mean_is_refused_when_it_is_made(given: dict[str, Any], words: str):
    with pytest.raises(BadInput) as raised:
        Job(**given)
    assert str(raised.value).startswith(words)
    assert Job(n=np.int64(5)).n == 5  # type: ignore[arg-type]


def test_a_new_run_takes_features_and_200_of_them_with_its_controls(tmp_path: Path):
    resolved = Resolved(Job(runs=tmp_path))
    assert (resolved.sources, resolved.n) == (("features",), 200)
    controls = dict.fromkeys(sources_by_role(controls=True), 50)
    assert {"planted", "random", "shuffled"} <= set(controls)
    assert resolved.wanted == {"features": 200} | controls
    with pytest.raises(BadInput, match="ask for at least 1 unit"):
        Job(n=0)
    with pytest.raises(UnknownName, match="unknown source 'latents'"):
        _ = Resolved(Job("latents", runs=tmp_path)).wanted


def test_the_settings_file_of_the_current_folder_is_the_default_subject(
    tiny_subject: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert default_subject() == "embedded"
    shutil.copytree(tiny_subject, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    assert default_subject() == "autointerp.toml"
    assert Resolved(Job(run="new")).settings.harvest.top == 8  # the tiny subject's


def test_a_run_knows_its_subject_and_seed(
    own_runs: Path, tiny_run_name: str, events: list[Event], tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # no settings file here
    job = Job("features", 9, rater="scripted:4", run=tiny_run_name, controls=0, runs=own_runs)
    result = autointerp.rate(job, events.append)
    assert result.counts.statuses == {"ok": 1}  # one more than before
    (opened,) = [event for event in events if isinstance(event, RunOpened)]
    assert not opened.is_new
    assert opened.subject == "transformer.safetensors"
    with pytest.raises(RunMismatch, match="was made with seed 0"):
        autointerp.rate(Job(run=tiny_run_name, seed=5, runs=own_runs))


def test_settings_that_were_changed_since_are_said_and_the_run_keeps_its_own(
    own_runs: Path,
    tiny_run_name: str,
    tiny_subject: Path,
    events: list[Event],
    tmp_path,
    monkeypatch,
):
    text = (tiny_subject / "autointerp.toml").read_text().replace("top = 8", "top = 9")
    for name in ("transformer.safetensors", "sae.safetensors", "tokenizer.json", "corpus.npz"):
        text = text.replace(f'"{name}"', f'"{tiny_subject / name}"')
    (tmp_path / "autointerp.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    autointerp.rate(
        Job("features", 8, rater="scripted:4", run=tiny_run_name, controls=0, runs=own_runs),
        events.append,
    )
    (note,) = [event for event in events if isinstance(event, Note)]
    assert "harvest.top is 9, not 8; a new --run takes the new ones" in str(note)


def test_a_harvest_reports_its_tokens_as_events(tiny_settings, events, tmp_path):
    job = Job("neurons", 4, run="new", subject=str(tiny_settings), controls=0, runs=tmp_path)
    result = autointerp.harvest(job, on=events.append)
    assert str(result) == "run 'new' holds 4 neurons"
    passes = [event for event in events if isinstance(event, Harvesting)]
    assert passes
    assert passes[-1].tokens > 2_000


def test_a_person_is_not_asked_without_a_way_to_show_the_questions(tiny_run, tiny_run_name):
    with pytest.raises(BadInput, match="pass `ask=`"):
        autointerp.rate(Job(rater="human:ann", run=tiny_run_name, runs=tiny_run))


@pytest.mark.parametrize("rater", ["embed:x", "panel:lexical,embed:x"])
def test_a_rater_that_rates_no_units_is_refused_by_its_name_also_as_a_member(
    tmp_path: Path, rater: str
):
    resolved = Resolved(Job("features", rater=rater, runs=tmp_path))
    # Not `never checked`: a check could not help.
    with pytest.raises(RaterError, match=r"^embed:x cannot answer 'interpretability-1-5'"):
        resolved.prepare_rater(resolved.question)
