"""The site's activations on disk: used where they are of this model and whole, and only there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from autointerp.errors import BadInput
from autointerp.pipeline.events import Event, Note
from autointerp.pipeline.harvest import harvest
from autointerp.pipeline.job import Job
from autointerp.pipeline.rate import forecast
from autointerp.records import HarvestedUnit
from autointerp.settings import RunSettings, byte_count, load_settings
from autointerp.store.run import open_run
from autointerp.subjects import Subject
from autointerp.subjects.load import load_subject
from autointerp.units import passes
from autointerp.units.passes import Wanted
from autointerp.units.site_cache import INDEX, VALUES, remove_cache, row_bytes, with_cache
from autointerp.units.sources import load_source
from autointerp.units.stream import at_site, calibrate, quiet_torch, readings

PLENTY = 10**8


class Unread:
    """A model that must not be run."""

    def activations(self, ids: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the model was run")


def units_of(subject: Subject, settings: RunSettings) -> list[HarvestedUnit]:
    source = load_source("features", subject, calibrate(subject, settings.harvest, 0), 0)
    numbers = np.arange(8)
    wanted = [Wanted("features", source, numbers, numbers)]
    return passes.harvest(subject, wanted, settings.harvest, 0, 0.0, 1.0)


def unread(subject: Subject) -> Subject:
    return replace(subject, model=Unread())  # type: ignore[arg-type]


def test_a_second_pass_runs_no_model_and_gives_the_same_units(
    subject: Subject, settings: RunSettings, tmp_path: Path
) -> None:
    bare = units_of(subject, settings)
    said: list[str] = []
    with with_cache(subject, settings, tmp_path / "main", PLENTY, said.append) as keeping:
        assert units_of(keeping, settings) == bare
    with with_cache(unread(subject), settings, tmp_path / "main", PLENTY, said.append) as keeping:
        assert units_of(keeping, settings) == bare
    assert len(said) == 1  # the second finds what is there
    length = subject.length()
    assert length is not None
    # One float32 for each of the corpus's tokens and axes, each window once.
    assert (tmp_path / "main" / "site_cache" / VALUES).stat().st_size == (
        4 * length.tokens * subject.d_site
    )


def test_fewer_tokens_are_read_from_the_windows_of_more(
    subject: Subject, settings: RunSettings, tmp_path: Path
) -> None:
    fewer = replace(settings.harvest, tokens=3001)
    with with_cache(subject, settings, tmp_path / "main", PLENTY, print) as keeping, quiet_torch():
        for reading in readings(keeping, settings.harvest):
            at_site(keeping, reading, 0)
        for reading in readings(subject, fewer):
            here = at_site(replace(keeping, model=Unread()), reading, 0)  # type: ignore[arg-type]
            there = at_site(subject, reading, 0)
            assert torch.equal(here.activations[here.kept], there.activations[there.kept])


def spoil(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda folder: spoil(folder / VALUES, 5000), "is damaged"),
        (lambda folder: (folder / VALUES).write_bytes(b"\0" * 40), "is missing or cut"),
        (lambda folder: (folder / VALUES).unlink(), "is missing or cut"),
        (lambda folder: (folder / INDEX).write_bytes(b"PK\3\4 no archive"), "cannot be read"),
    ],
)
def test_a_damaged_cache_is_said_and_made_again(
    subject: Subject,
    settings: RunSettings,
    tmp_path: Path,
    harm: Callable[[Path], object],
    why: str,
) -> None:
    bare = units_of(subject, settings)
    with with_cache(subject, settings, tmp_path / "main", PLENTY, print) as keeping:
        units_of(keeping, settings)
    harm(tmp_path / "main" / "site_cache")
    said: list[str] = []
    with with_cache(subject, settings, tmp_path / "main", PLENTY, said.append) as keeping:
        assert units_of(keeping, settings) == bare
    assert sum(why in text for text in said) == 1
    with with_cache(unread(subject), settings, tmp_path / "main", PLENTY, said.append) as keeping:
        assert units_of(keeping, settings) == bare


def test_a_cache_of_another_model_corpus_or_window_is_not_used(
    subject: Subject, settings: RunSettings, tmp_path: Path
) -> None:
    others = [
        (replace(subject, digests={**subject.digests, "model": "another"}), settings),
        (replace(subject, digests={**subject.digests, "corpus": "another"}), settings),
        (replace(subject, bos=None), settings),
        (subject, replace(settings, harvest=replace(settings.harvest, window=9))),
        (subject, replace(settings, harvest=replace(settings.harvest, tokens=3000))),
        (subject, replace(settings, subject=replace(settings.subject, dtype="float16"))),
    ]
    for other, other_settings in others:
        with (
            with_cache(subject, settings, tmp_path / "main", PLENTY, print) as keeping,
            quiet_torch(),
        ):
            reading = next(readings(keeping, settings.harvest))
            at_site(keeping, reading, 0)
        said: list[str] = []
        with with_cache(other, other_settings, tmp_path / "main", PLENTY, said.append) as keeping:
            assert keeping.cache is not None
            assert keeping.cache.recall(reading.order, reading.kept) is None
        assert "it is of another model, corpus or setting" in said[0]


def test_what_does_not_fit_is_said_before_and_not_kept(
    subject: Subject, settings: RunSettings, tmp_path: Path
) -> None:
    length = subject.length()
    assert length is not None
    needed = length.tokens * row_bytes(subject)
    said: list[str] = []
    with with_cache(subject, settings, tmp_path / "main", needed - 1, said.append) as keeping:
        assert keeping.cache is None
    assert "more than --cache-site" in said[0]
    assert not list(tmp_path.iterdir())


def test_a_corpus_of_unknown_length_is_kept_as_far_as_there_is_room(
    subject: Subject, settings: RunSettings, tmp_path: Path
) -> None:
    unknown = replace(subject, length=lambda: None)
    said: list[str] = []
    room = 3000 * row_bytes(subject)
    bare = units_of(subject, settings)
    with with_cache(unknown, settings, tmp_path / "main", room, said.append) as keeping:
        assert units_of(keeping, settings) == bare
    assert any("is used up after" in text for text in said)
    assert (tmp_path / "main" / "site_cache" / VALUES).stat().st_size <= room
    with with_cache(unknown, settings, tmp_path / "main", room, said.append) as keeping:
        assert units_of(keeping, settings) == bare


def test_what_a_killed_process_added_is_not_taken_for_read(
    subject: Subject, settings: RunSettings, tmp_path: Path
) -> None:
    with with_cache(subject, settings, tmp_path / "main", PLENTY, print) as keeping, quiet_torch():
        reading = next(readings(keeping, settings.harvest))
        at_site(keeping, reading, 0)
        assert not (tmp_path / "main" / "site_cache" / INDEX).exists()  # written at the end alone
    (tmp_path / "main" / "site_cache" / INDEX).unlink()  # as a kill leaves it
    with with_cache(subject, settings, tmp_path / "main", PLENTY, print) as keeping:
        assert keeping.cache is not None
        assert keeping.cache.recall(reading.order, reading.kept) is None


def test_a_control_is_added_without_the_model_and_without_reading_the_other_sources_again(
    tiny_settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def on(event: Event) -> None:
        if isinstance(event, Note):
            said.append(event.text)

    first = Job(
        sources=("features", "neurons"), n=3, controls=0, subject=str(tiny_settings),
        runs=tmp_path, cache_site="10M",
    )  # fmt: skip
    assert "keeping the site's activations in 10 MB at most" in str(forecast(first))
    harvest(first, on=on)
    with open_run("main", folder=tmp_path) as run:
        before = run.rows("SELECT * FROM context ORDER BY ALL")
        rows = run.rows("SELECT * FROM unit ORDER BY ALL")
    model = type(load_subject(load_settings(str(tiny_settings)).subject).model)
    runs: list[int] = []
    real = model.activations

    def counted(self: object, ids: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
        runs.append(len(ids))
        return real(self, ids, attention)

    monkeypatch.setattr(model, "activations", counted)
    harvest(replace(first, sources=("random",)), on=on)
    assert runs == []
    with open_run("main", folder=tmp_path) as run:
        added = {unit.unit_id for unit in run.units("random")}
        context = run.rows("SELECT * FROM context ORDER BY ALL")
        assert [row for row in context if row[1] not in added] == before
        assert [
            row for row in run.rows("SELECT * FROM unit ORDER BY ALL") if row[0] not in added
        ] == rows
    log = [json.loads(line) for line in (tmp_path / "main" / "log.jsonl").read_text().splitlines()]
    harvested = [set(line["units"]) for line in log if line["event"] == "harvested"]
    assert {"features", "neurons"} in harvested
    assert harvested[-1] == {"random"}
    assert any("are kept in" in line["text"] for line in log if line["event"] == "cache")
    # Another seed draws other units in another run, and reads what this one keeps.
    harvest(replace(first, run="other", seed=5), on=on)
    assert runs == []
    assert not (tmp_path / "other" / "site_cache").exists()
    assert any("are read from" in text for text in said)
    spoil(tmp_path / "main" / "site_cache" / VALUES, 5000)
    kept = (tmp_path / "main" / "site_cache" / VALUES).read_bytes()
    harvest(replace(first, run="third", seed=6), on=on)
    assert runs  # what is damaged is not used, and is left to its run
    assert (tmp_path / "main" / "site_cache" / VALUES).read_bytes() == kept
    harvest(replace(first, cache_site=0), on=on)
    assert not (tmp_path / "main" / "site_cache").exists()
    assert "are deleted" in said[-1]
    assert remove_cache(tmp_path / "main") == 0


def test_sizes_are_read_as_people_write_them() -> None:
    assert [byte_count(size) for size in ("2G", "500MB", "1.5 g", "7", 12, "0")] == [
        2 * 10**9, 5 * 10**8, 15 * 10**8, 7, 12, 0,
    ]  # fmt: skip
    for wrong in ("two", "-1", "2X", "", "1e9", "nan", "2 G B", True, "99999999T"):
        with pytest.raises(BadInput, match="--cache-site"):
            byte_count(wrong)
