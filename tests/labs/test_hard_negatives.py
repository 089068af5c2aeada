from types import SimpleNamespace

import numpy as np
import pytest

from autointerp.errors import RunMismatch
from autointerp.findings.answers import unit_scores
from autointerp.labs.hard_negatives import Firing, _chosen, firing_in_candidates, hard_contexts
from autointerp.pipeline.describe import score
from autointerp.pipeline.job import Job
from autointerp.questions.explain import eligible_units
from autointerp.questions.score import Design
from autointerp.records import Context
from autointerp.store.run import open_run
from autointerp.subjects.load import load_subject
from autointerp.units.sources import features
from autointerp.units.stream import calibrate, quiet_torch


def test_hard_contexts_are_other_units_and_silent_though_a_usual_token_stands_there(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as run:
        units = list(eligible_units(run, ["features", "planted"]))
        found = hard_contexts(run, units)
        owned = {unit: set(run.contexts([unit])[unit]) for unit in units}
    assert set(found) == set(units)
    assert any(found.values())
    for unit, contexts in found.items():
        for number, (context, why) in contexts.items():
            assert number not in owned[unit]
            assert context.split == "score"
            assert why in ("same token", "neighbour")


def test_firing_is_what_the_harvest_stored(tiny_run):
    with open_run("tiny", folder=tiny_run, read_only=True) as run:
        units = list(eligible_units(run, ["features"]))
        subject = load_subject(run.settings.subject)
        seed = run.settings.seed
        with quiet_torch():
            calibration = calibrate(subject, run.settings.harvest, seed)
            source = features.create(subject, calibration, seed)
            firing = firing_in_candidates(run, subject, "features", source, units)
        contexts = run.contexts_numbered(firing.candidates)
    assert len(firing.candidates) > 100
    for row, number in enumerate(firing.candidates):
        column = firing.units.index(firing.owners[row])
        assert firing.anywhere[row, column] == any(contexts[number].activations)
        assert firing.at_focus[row, column] == (contexts[number].activation > 0)


def context(number: int, *tokens: str) -> Context:
    return Context(tokens, (0.0,) * len(tokens), 0, "top", 1, "score", False, number, 0)


def test_a_usual_token_comes_before_the_neighbour_and_what_fires_is_never_taken():
    # Unit 1 fires on ` cat`. Contexts 2 to 5 are of unit 2, 6 of unit 3.
    held = {
        1: context(1, " cat"), 2: context(2, " dog", " cat"), 3: context(3, " dog"),
        4: context(4, " dog"), 5: context(5, " cat"), 6: context(6, " dog"),
    }  # fmt: skip
    run = SimpleNamespace(contexts_numbered=lambda numbers: {n: held[n] for n in numbers})
    fires = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)
    firing = Firing((1, 2, 3), tuple(held), np.array([1, 2, 2, 2, 2, 3]), fires, fires)
    found = _chosen(run, firing)[1]  # its neighbour is unit 2, with which it fires twice
    assert {number: why for number, (_, why) in found.items()} == {2: "same token", 3: "neighbour"}


def test_another_subject_than_the_runs_is_refused(own_runs):
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        run.about["digests"]["model"] = "another"
        with pytest.raises(RunMismatch, match="this model is not the run's"):
            hard_contexts(run, list(eligible_units(run)))


def test_hard_scores_stay_apart_from_plain_ones(own_runs):
    for hard in (False, True):
        score(
            Job(
                sources="planted",
                rater="scripted:truth",
                run="tiny",
                runs=own_runs,
                scorers=("detection",),
                design=Design(8, 4, hard),
            )
        )
    with open_run("tiny", folder=own_runs, read_only=True) as run:
        scores = [one for one in unit_scores(run) if one.source == "planted"]
    assert {one.design for one in scores} == {
        "8 of each kind", "8 of each kind, half of the silent ones hard",
    }  # fmt: skip
    # The rule of a planted unit is its word, so no silent text has it: hard ones are neighbours'.
    # The other descriptions of so small a call are not exactly at 0.5 on the same texts.
    assert all(one.score > 0.9 for one in scores if not one.permuted)
