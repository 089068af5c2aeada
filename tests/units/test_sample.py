from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autointerp.errors import CorpusError, TooFewUnits
from autointerp.settings import RunSettings, SampleSettings, load_settings
from autointerp.store.run import Run, open_run
from autointerp.subjects import Subject
from autointerp.subjects.windows import TokenisedDocuments, cut_windows
from autointerp.units import sample
from autointerp.units.counts import count_firings
from autointerp.units.draws import random_order
from autointerp.units.sample import draw_units, likely_shares
from autointerp.units.sources import Source, load_source
from autointerp.units.stream import calibrate
from autointerp.units.together import Member, draw_together


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
    draw_units(run, subject, {"features": np.int64(5)})
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


def test_a_corpus_of_one_document_is_refused_before_the_pass(run: Run, subject: Subject) -> None:
    tokens = np.concatenate([w.ids[w.attention] for w in subject.cut(32, 64)])
    one = replace(
        subject,
        cut=lambda length, rows: cut_windows(
            TokenisedDocuments(tokens, np.array([0, len(tokens)])), length, 0, 1, rows
        ),
    )
    with pytest.raises(CorpusError, match="is 1 document, copies aside, all in the split"):
        draw_units(run, one, {"neurons": 2}, lambda label, tokens: pytest.fail("a pass began"))
    with pytest.raises(CorpusError, match="is 1 document, copies aside, all in the split"):
        draw_together([Member(run, one, {"neurons": 2})], 0)
    # Units of a run that has some are not withheld: they are read as the others were.
    draw_units(run, subject, {"neurons": 1})
    draw_units(run, one, {"features": 1})


def test_where_no_unit_passes_the_filter_what_helps_is_said_and_not_to_ask_for_none(
    subject: Subject, tiny_settings: Path, tmp_path: Path
) -> None:
    all_dense = SampleSettings(min_density=0.0, max_density=1e-9)
    settings = replace(load_settings(str(tiny_settings)), sample=all_dense)
    with open_run("none", settings, subject, tmp_path) as run:
        with pytest.raises(TooFewUnits, match="only 0 of 64 features pass") as raised:
            draw_units(run, subject, {"features": 3})
        assert str(raised.value).endswith(
            "(4 dead, 60 dense); raise sample.max_density, or read more text"
        )


@pytest.fixture(scope="module")
def features(subject: Subject, tiny_settings: Path) -> dict[str, Source]:
    calibration = calibrate(subject, load_settings(str(tiny_settings)).harvest, 0)
    return {"features": load_source("features", subject, calibration, 0)}


@pytest.fixture(scope="module")
def half(tiny_settings: Path, subject: Subject, features: dict[str, Source]) -> RunSettings:
    """Settings with which about half of the features are too rare."""
    settings = load_settings(str(tiny_settings))
    fired, tokens = count_firings(subject, features, settings.harvest, 0)
    rare = float(np.median(fired["features"] / tokens))
    return replace(settings, sample=SampleSettings(rare, 1.0))


def test_a_look_at_the_first_tokens_saves_a_second_pass_and_changes_no_sample(
    half: RunSettings, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn(name: str) -> tuple[list[int], list[str]]:
        passes: dict[str, int] = {}
        with open_run(name, half, subject, tmp_path) as run:
            draw_units(run, subject, {"features": 20}, lambda *read: passes.update([read]))
            return numbers(run, "features", 20), [*passes]

    looked, in_one = drawn("looked")
    monkeypatch.setattr(sample, "LOOKED_SHARE", 10**9)
    guessed, in_turn = drawn("guessed")
    assert looked == guessed
    assert (len(in_one), len(in_turn)) == (1, 2)


def test_a_sweep_looks_as_a_run_alone_does(
    half: RunSettings, subject: Subject, tmp_path: Path
) -> None:
    wanted = {"features": 20, "neurons": 8}
    with (
        open_run("alone", half, subject, tmp_path) as alone,
        open_run("swept", half, subject, tmp_path) as swept,
    ):
        draw_units(alone, subject, wanted)
        draw_together([Member(swept, subject, wanted)], 0)
        for name in wanted:
            assert alone.units(name) == swept.units(name)


def test_of_few_tokens_and_of_dead_units_no_share_is_concluded(
    half: RunSettings, subject: Subject, features: dict[str, Source]
) -> None:
    first = {"features": np.arange(64)}
    assert 0.2 < likely_shares(subject, features, first, half)["features"] < 0.8
    rarer = replace(half, sample=SampleSettings(1e-4, 1.0))  # .03 firings in what is looked at
    assert likely_shares(subject, features, first, rarer) == {}
    never = replace(half, sample=SampleSettings(0.99, 1.0))
    assert likely_shares(subject, features, first, never) == {"features": sample.LEAST_LIKELY}
