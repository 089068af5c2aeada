"""A run in which all is drawn is rated without its subject, unless that may be another one."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import printed

from autointerp import Job, harvest, rate
from autointerp.errors import RunMismatch
from autointerp.pipeline.harvest import harvest_shard, merge_shards
from autointerp.store.run import Run, open_run
from autointerp.subjects import load, part_files
from autointerp.units.subject_record import RECORD, is_unchanged

FILES = ("transformer.safetensors", "sae.safetensors", "tokenizer.json", "corpus.npz")


@pytest.fixture(scope="module")
def made(tiny_subject: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a subject of its own, and `runs` in which one of it is drawn and rated."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(tiny_subject, folder / "subject")
    rate(job(folder))
    return folder


@pytest.fixture
def own(made: Path, tmp_path: Path):
    """The same with copies of the runs; the subject's files are put back after the test."""
    shutil.copytree(made / "runs", tmp_path / "runs")
    (tmp_path / "subject").symlink_to(made / "subject")
    kept = {name: (made / "subject" / name).read_bytes() for name in FILES}
    yield tmp_path
    for name, content in kept.items():
        if (made / "subject" / name).read_bytes() != content:
            (made / "subject" / name).write_bytes(content)


def job(folder: Path, n: int = 5) -> Job:
    """A job on the run of a folder; a new run is of the subject there."""
    runs = folder / "runs"
    subject = None if runs.exists() else str(folder / "subject" / "autointerp.toml")
    return Job("features", n, rater="scripted:4", run="one", subject=subject, controls=2, runs=runs)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models of subjects that are loaded from now on."""
    loaded: list[str] = []
    load_subject = load.load_subject

    def counted(settings, *more, **others):
        loaded.append(Path(settings.model).name)
        return load_subject(settings, *more, **others)

    monkeypatch.setattr(load, "load_subject", counted)
    return loaded


def flip_last_bit(file: Path) -> None:
    """Change a file's content, and neither its size nor the time when it was changed."""
    stat, content = file.stat(), bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_nothing_is_loaded_to_draw_nothing(own, loads):
    result = rate(job(own))
    assert result.counts.before == sum(result.units.values()) > 5
    assert harvest(job(own)).units == result.units
    assert harvest_shard(job(own), "0/2").file is None
    assert merge_shards(job(own)).units == result.units
    assert loads == []


def test_more_units_load_the_subject_and_leave_its_record(own, loads):
    rate(job(own, n=20))
    rate(job(own, n=20))
    harvest_shard(job(own, n=30), "0/2")
    assert loads == ["transformer.safetensors"] * 2


@pytest.mark.parametrize(
    ("name", "part"), [("sae.safetensors", "sae"), ("transformer.safetensors", "model")]
)
def test_another_model_or_sae_of_equal_size_and_time_is_refused(name, part, own, loads):
    flip_last_bit(own / "subject" / name)
    for verb in (rate, harvest, lambda job: harvest_shard(job, "0/2"), merge_shards):
        with pytest.raises(RunMismatch, match=f"'one' was made with another {part}"):
            verb(job(own))
    assert len(loads) == 4
    flip_last_bit(own / "subject" / name)
    rate(job(own))  # it is as it was again
    assert len(loads) == 4


def test_another_corpus_is_refused(own, loads):
    file = own / "subject" / "corpus.npz"
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(RunMismatch, match="another corpus"):
        rate(job(own))


def test_a_tokenizer_of_other_texts_is_refused_but_by_runs_that_say_nothing_of_theirs(own, loads):
    file = own / "subject" / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    last = max(vocabulary, key=vocabulary.__getitem__)
    vocabulary["\u0120quixotry"] = vocabulary.pop(last)
    content["model"]["merges"] = []
    file.write_text(json.dumps(content))
    with pytest.raises(RunMismatch, match="was made with another tokenizer"):
        rate(job(own))
    about = own / "runs" / "one" / "run.toml"
    about.write_text(re.sub(r"^tokenizer = \"[0-9a-f]{64}\"\n", "", about.read_text(), flags=re.M))
    rate(job(own))
    assert len(loads) == 2


def test_a_tokenizer_file_that_is_written_otherwise_is_loaded_once_and_then_known(own, loads):
    file = own / "subject" / "tokenizer.json"
    file.write_text(file.read_text() + "\n")
    rate(job(own))
    assert len(loads) == 1
    rate(job(own))
    assert len(loads) == 1


def test_touched_files_are_read_once(own, loads, monkeypatch):
    monkeypatch.setattr(part_files, "SETTLED_NS", 0)
    rate(job(own))
    os.utime(own / "subject" / "sae.safetensors")
    read: list[str] = []
    digest = part_files.file_digest
    monkeypatch.setattr(part_files, "file_digest", lambda p: (read.append(p.name), digest(p))[1])
    rate(job(own))
    rate(job(own))
    assert read == ["sae.safetensors"]
    assert loads == []


def test_after_an_upgrade_the_subject_is_loaded_once(own, loads, monkeypatch):
    monkeypatch.setattr(part_files, "installation_digest", lambda *_: "another")
    rate(job(own))
    assert len(loads) == 1
    rate(job(own))
    assert len(loads) == 1


@pytest.mark.parametrize("record", [None, "", "{}", '{"files": 3}'])
def test_a_run_without_a_record_that_can_be_read_loads_its_subject(record, own, loads):
    with open_run("one", folder=own / "runs") as run:
        run.execute("DELETE FROM about WHERE name = ?", [RECORD])
        if record is not None:
            run.remember(RECORD, record)
    rate(job(own))
    assert len(loads) == 1
    rate(job(own))
    assert len(loads) == 1


def test_a_run_whose_run_toml_says_other_digests_is_refused(own, loads):
    file = own / "runs" / "one" / "run.toml"
    with open_run("one", folder=own / "runs", read_only=True) as run:
        digest = run.about["digests"]["sae"]
    file.write_text(file.read_text().replace(digest, "0" * 64))
    with pytest.raises(RunMismatch, match="another sae"):
        rate(job(own))


def test_a_run_that_is_read_alone_keeps_nothing(own, monkeypatch):
    monkeypatch.setattr(part_files, "SETTLED_NS", 10**15)
    os.utime(own / "subject" / "sae.safetensors")

    def refused(*_: object) -> None:
        raise AssertionError("it was written")

    with open_run("one", folder=own / "runs", read_only=True) as run:
        monkeypatch.setattr(Run, "remember", refused)
        assert is_unchanged(run)


def test_a_kill_while_the_record_is_written_leaves_the_old_one(own, loads, process_environment):
    killed = f"""
import os, signal
from pathlib import Path
from autointerp.units.subject_record import RECORD
from autointerp.store.run import open_run
run = open_run("one", folder=Path({str(own / "runs")!r}))
with run.transaction():
    run.connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", [RECORD, "half"])
    os.kill(os.getpid(), signal.SIGKILL)
"""
    child = subprocess.run([sys.executable, "-c", killed], env=process_environment, check=False)
    assert child.returncode == -signal.SIGKILL
    rate(job(own))
    assert loads == []


def test_neither_torch_nor_a_tokenizer_is_imported_where_all_is_rated(own, process_environment):
    code = f"""
import sys
from pathlib import Path
from autointerp import Job, rate
result = rate(Job("features", 5, rater="scripted:4", run="one", controls=2,
                  runs=Path({str(own / "runs")!r})))
print(*(name for name in ("torch", "transformers", "tokenizers", "safetensors", "pandas")
        if name in sys.modules), result.counts.before)
"""
    *names, before = printed(code, process_environment).split()
    assert names == []
    assert int(before) > 5
