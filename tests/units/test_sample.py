from __future__ import annotations

from pathlib import Path

import pytest

from autointerp.errors import TooFewUnits
from autointerp.settings import load_settings
from autointerp.store.run import Run, open_run
from autointerp.subjects import Subject
from autointerp.subjects.load import load_subject
from autointerp.units.draws import random_order
from autointerp.units.sample import draw_units


@pytest.fixture(scope="module")
def subject(tiny_settings: Path) -> Subject:
    return load_subject(load_settings(str(tiny_settings)).subject)


@pytest.fixture
def run(tiny_settings: Path, subject: Subject, tmp_path: Path) -> Run:
    return open_run("r", load_settings(str(tiny_settings)), subject, tmp_path)


def numbers(run: Run, source: str, n: int) -> list[int]:
    return [unit.summary.unit.index for unit in run.sampled(source, n)]


def test_a_sample_is_the_first_eligible_units_of_the_random_order(
    run: Run, subject: Subject
) -> None:
    draw_units(run, subject, {"features": 20})
    stored = run.units("features")
    order = random_order(0, "features", 64)
    assert [u.summary.unit.index for u in stored] == order[: len(stored)].tolist()
    eligible = [u for u in stored if u.summary.outcome == "eligible"]
    assert numbers(run, "features", 20) == [u.summary.unit.index for u in eligible[:20]]
    assert {u.summary.outcome for u in stored} - {"eligible"}  # the passed over are kept


def test_asking_for_more_goes_on_where_the_sample_ended(
    run: Run, subject: Subject, tiny_settings: Path, tmp_path: Path
) -> None:
    draw_units(run, subject, {"features": 5})
    first = numbers(run, "features", 5)
    draw_units(run, subject, {"features": 30})
    assert numbers(run, "features", 30)[:5] == first
    with open_run("once", load_settings(str(tiny_settings)), subject, tmp_path) as other:
        draw_units(other, subject, {"features": 30})
        assert numbers(other, "features", 30) == numbers(run, "features", 30)


def test_drawing_twice_reads_the_corpus_once(run: Run, subject: Subject) -> None:
    passes: list[str] = []
    draw_units(run, subject, {"neurons": 4}, lambda label, tokens: passes.append(label))
    assert passes
    passes.clear()
    draw_units(run, subject, {"neurons": 4}, lambda label, tokens: passes.append(label))
    assert not passes


def test_more_units_than_there_are_is_refused_with_their_number(run: Run, subject: Subject) -> None:
    with pytest.raises(TooFewUnits, match=r"--n 33: source 'neurons' .* has only 32 units"):
        draw_units(run, subject, {"neurons": 33})
    assert run.units("neurons") == []
    with pytest.raises(TooFewUnits, match=r"--n or --controls 9999: source 'planted' .* has only"):
        draw_units(run, subject, {"planted": 9999})


def test_more_units_than_pass_the_filter_is_refused_with_the_outcomes_of_the_rest(
    run: Run, subject: Subject
) -> None:
    with pytest.raises(TooFewUnits, match=r"only 60 of 64 features pass .* \(4 dead\)"):
        draw_units(run, subject, {"features": 64})
    assert len(run.units("features")) == 64  # what was found is kept
    assert len(draw_units(run, subject, {"features": 60})["features"]) == 60
