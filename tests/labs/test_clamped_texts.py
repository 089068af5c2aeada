"""Texts written under clamping: beside a random direction of equal norm, from the same prompts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autointerp.errors import BadInput
from autointerp.labs.clamped_texts import LENGTH, beside
from autointerp.labs.completions import completions
from autointerp.pipeline.lab import run_lab
from autointerp.store.run import open_run
from autointerp.subjects.interventions import Levers
from autointerp.units.levers import levers_of, model_of
from autointerp.units.reopen import numbers_again, sources_again, subject_again

OPTIONS = {"prompts": "3", "tokens": "4"}


def rows_of(runs, sources=("features",), n=2, **options):
    given = {**OPTIONS, **{name: str(value) for name, value in options.items()}}
    return run_lab("clamped-texts", "tiny", sources, n, given, runs).rows


def test_every_unit_continues_the_same_prompts_under_itself_and_under_a_direction_as_long(
    own_runs,
):
    rows = rows_of(own_runs, ("features", "random"))
    assert len(rows) == 2 * 2 * 2 * 3
    prompts = [row["prompt"] for row in rows[:3]]
    assert len(set(prompts)) == 3
    for begin in range(0, len(rows), 3):
        part = rows[begin : begin + 3]
        assert [row["prompt"] for row in part] == prompts
        arm = ("unit", "random direction")[begin // 3 % 2]
        assert {row["clamped"] for row in part} == {arm}
        assert all(len(row["tokens"]) <= 4 for row in part)
    for one, other in zip(rows[0::6], rows[3::6], strict=True):
        assert one["norm"] == pytest.approx(other["norm"], rel=1e-5)


def test_the_texts_of_a_unit_are_those_of_the_lab_completions_from_the_same_prompt(own_runs):
    # Greedy, so that neither draws; the batch of all prompts against one at a time.
    rows = rows_of(own_runs, n=1, temperature=0, factor=3)
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        unit = rows[0]["unit_id"]
        subject = subject_again(run, "test")
        ((name, source, ids),) = list(sources_again(run, subject, [unit]))
        levers = levers_of(source, numbers_again(run, name, source, ids))
        model = model_of(subject, name, source)
        given = {"tokens": 4, "temperature": 0.0, "seed": 0}
        for row in rows[:3]:
            prompt = [subject.bos, *subject.tokenise([row["prompt"]])[0]]
            assert len(prompt) == LENGTH + 1
            (written,) = completions(subject, model, levers, prompt, [row["value"]], given)
            assert "".join(row["tokens"]) == written["completion"]
            assert row["perplexity"] == (
                None if written["perplexity"] is None else pytest.approx(written["perplexity"])
            )
        peak = run.units_numbered([unit])[0].summary.peak
    assert rows[0]["value"] == pytest.approx(3 * peak)


def test_the_control_moves_by_the_unit_s_own_amounts_along_another_direction():
    direction = torch.tensor([[3.0, 4.0]])
    levers = Levers(lambda x: x[..., :1], direction)
    other = beside(levers, 0, 7)
    assert other.directions.norm() == pytest.approx(5.0)
    assert other.activations is levers.activations
    assert torch.equal(other.directions, beside(levers, 0, 7).directions)
    drawn = torch.cat([beside(levers, 0, unit).directions for unit in range(500)])
    # No direction is favoured: the mean of 500 unit vectors is within 3 / sqrt(500) of 0.
    assert float(drawn.mean(0).norm()) / 5 < 3 / np.sqrt(500)


def test_what_cannot_be_clamped_says_why_and_alone_is_an_error(own_runs):
    with pytest.raises(
        BadInput, match=r"no unit can be clamped \(planted: units of planted are no"
    ):
        rows_of(own_runs, ("planted",))
    by_source = {row["source"]: row for row in rows_of(own_runs, ("features", "planted"), 1)}
    assert "are no directions in the model" in by_source["planted"]["outcome"]
    assert by_source["planted"]["tokens"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompts": 0}, "prompts=0: give at least 1"),
        ({"tokens": 0}, "tokens=0: give at least 1"),
        ({"factor": "nan"}, "factor=nan: give a number"),
        ({"temperature": -1}, "temperature=-1.0: give 0 or more"),
        ({"tokens": 500}, r"with a prompt of 9 tokens that is more than .* reads, 32"),
        ({"prompts": 5000}, r"random contexts for \d+ prompts of 8 tokens; ask for fewer by"),
    ],
)
def test_options_that_cannot_be_are_one_line_with_a_remedy(own_runs, options, message):
    with pytest.raises(BadInput, match=message):
        rows_of(own_runs, **options)
