"""A subject is known again by its files, and by nothing else is it."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_language_models import saved

from autointerp.settings import SubjectSettings, load_settings
from autointerp.subjects import hub, part_files
from autointerp.subjects.load import load_subject
from autointerp.subjects.part_files import known_again, look_at_parts, paths_of, record_of


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> SubjectSettings:
    """Settings of a small Hugging Face folder and a corpus."""
    folder = tmp_path_factory.mktemp("parts")
    saved(folder / "tiny", "gpt_neox")
    (folder / "corpus.txt").write_text("the cat sat on the mat\n" * 40)
    return SubjectSettings(
        model=str(folder / "tiny"), site="layers.1.residual", corpus=str(folder / "corpus.txt")
    )


@pytest.fixture(scope="module")
def loaded(parts: SubjectSettings) -> tuple[str, dict[str, str]]:
    """The record of that subject, and the digests that it has when it is loaded."""
    before = look_at_parts(parts)
    subject = load_subject(parts)
    record = record_of(before, parts, subject)
    assert record is not None
    return record, subject.digests


@pytest.fixture
def own(parts: SubjectSettings):
    """The folder of the parts, whose files are put back after the test."""
    folder = Path(parts.model).parent
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    yield folder
    for path in folder.rglob("*"):
        if path.is_file() and path not in files:
            path.unlink()
    for path, content in files.items():
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of files whose content is read from now on."""
    read: list[str] = []
    digest = part_files.file_digest
    monkeypatch.setattr(part_files, "file_digest", lambda p: (read.append(p.name), digest(p))[1])
    part_files._digest_of_settled.cache_clear()
    return read


def test_untouched_files_are_the_same_and_are_not_read_once_they_have_settled(
    parts, loaded, monkeypatch
):
    record, digests = loaded
    monkeypatch.setattr(part_files, "SETTLED_NS", 0)
    settled = known_again(record, parts, digests)
    assert settled is not None
    read = reads(monkeypatch)
    assert known_again(settled, parts, digests) == settled
    assert read == []


def test_a_file_that_may_have_changed_within_a_tick_of_the_clock_is_read(
    parts, loaded, monkeypatch
):
    record, digests = loaded
    monkeypatch.setattr(part_files, "SETTLED_NS", 10**15)
    fresh = known_again(record, parts, digests)
    for _ in range(2):
        read = reads(monkeypatch)
        assert known_again(fresh, parts, digests) is not None
        assert "model.safetensors" in read


def test_a_touched_file_of_the_same_content_is_read_once(parts, loaded, own, monkeypatch):
    record, digests = loaded
    monkeypatch.setattr(part_files, "SETTLED_NS", 0)
    settled = known_again(record, parts, digests)
    os.utime(own / "tiny" / "model.safetensors")
    read = reads(monkeypatch)
    again = known_again(settled, parts, digests)
    assert read == ["model.safetensors"]
    assert again is not None
    assert again != settled
    assert known_again(again, parts, digests) == again
    assert read == ["model.safetensors"]


@pytest.mark.parametrize(
    "name", ["tiny/model.safetensors", "tiny/config.json", "tiny/tokenizer.json", "corpus.txt"]
)
@pytest.mark.parametrize("settled_ns", [0, 10**15])
def test_one_bit_that_changed_is_found_although_size_and_mtime_are_as_they_were(
    name, settled_ns, parts, loaded, own, monkeypatch
):
    record, digests = loaded
    monkeypatch.setattr(part_files, "SETTLED_NS", settled_ns)
    settled = known_again(record, parts, digests)
    path = own / name
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    assert known_again(settled, parts, digests) is None


def test_a_file_that_came_or_went_is_found(parts, loaded, own):
    record, digests = loaded
    (own / "tiny" / "model.safetensors.index.json").write_text("{}")
    assert known_again(record, parts, digests) is None
    (own / "tiny" / "model.safetensors.index.json").unlink()
    assert known_again(record, parts, digests) is not None
    (own / "tiny" / "generation_config.json").unlink()
    assert known_again(record, parts, digests) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"site": "layers.0.residual"},
        {"dtype": "float32"},
        {"corpus_seed": 3},
        {"trust_remote_code": True},
        {"bos": "no"},
    ],
)
def test_other_settings_are_another_subject(changes, parts, loaded):
    record, digests = loaded
    assert known_again(record, replace(parts, **changes), digests) is None


def test_a_run_of_other_digests_is_of_another_subject(parts, loaded):
    record, digests = loaded
    for part in digests:
        assert known_again(record, parts, {**digests, part: "0" * 64}) is None
    assert known_again(record, parts, {**digests, "more": "0" * 64}) is not None


def test_an_upgrade_of_anything_installed_is_a_doubt(parts, loaded, monkeypatch):
    record, digests = loaded
    monkeypatch.setattr(part_files, "installation_digest", lambda *_: "another")
    assert known_again(record, parts, digests) is None
    monkeypatch.setattr(part_files, "installation_digest", lambda *_: None)
    assert known_again(record, parts, digests) is None
    assert record_of(look_at_parts(parts), parts, load_subject(parts)) is None


@given(st.text() | st.dictionaries(st.sampled_from(["files", "code", "digests"]), st.none()))
def test_a_record_that_cannot_be_read_is_a_doubt(damaged):
    text = damaged if isinstance(damaged, str) else json.dumps(damaged)
    assert known_again(text, SubjectSettings(), {}) is None


def test_a_damaged_record_of_files_is_a_doubt(parts, loaded):
    record, digests = loaded
    held = json.loads(record)
    for files in (None, [], {"model": []}, {name: [1] for name in held["files"]}):
        assert known_again(json.dumps({**held, "files": files}), parts, digests) is None


def test_a_subject_whose_files_changed_while_it_was_loaded_gets_no_record(
    parts, loaded, own, monkeypatch
):
    subject = load_subject(parts)
    for settled_ns in (0, 10**15):
        monkeypatch.setattr(part_files, "SETTLED_NS", settled_ns)
        before = look_at_parts(parts)
        (own / "corpus.txt").write_text("another text\n" * 40)
        assert record_of(before, parts, subject) is None
        assert record_of(None, parts, subject) is None


def test_a_file_too_large_to_be_read_is_known_by_its_times_alone(parts, loaded, own, monkeypatch):
    _, digests = loaded
    subject = load_subject(parts)
    monkeypatch.setattr(part_files, "HASHED", 10)
    assert record_of(look_at_parts(parts), parts, subject) is None  # may have just been changed
    monkeypatch.setattr(part_files, "SETTLED_NS", 0)
    record = record_of(look_at_parts(parts), parts, subject)
    assert record is not None
    assert known_again(record, parts, digests) == record
    os.utime(own / "tiny" / "model.safetensors")
    assert known_again(record, parts, digests) is None


def test_an_adapter_which_names_a_model_elsewhere_is_a_doubt(parts, own):
    (own / "tiny" / "adapter_config.json").write_text("{}")
    assert look_at_parts(parts) is None


def test_folders_in_a_models_folder_count_where_its_index_names_them(parts, own):
    (own / "tiny" / "checkpoint-5").mkdir(exist_ok=True)
    (own / "tiny" / "checkpoint-5" / "a.safetensors").write_text("")
    assert "model/checkpoint-5/a.safetensors" not in paths_of(parts)
    index = own / "tiny" / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "b.safetensors"}}')
    assert "model/checkpoint-5/a.safetensors" not in paths_of(parts)
    index.write_text('{"weight_map": {"a": "checkpoint-5/a.safetensors"}}')
    assert "model/checkpoint-5/a.safetensors" in paths_of(parts)


def test_links_and_folders_of_too_many_files_are_a_doubt(tmp_path, monkeypatch):
    for name in ("texts", "elsewhere"):
        (tmp_path / name).mkdir()
    for number in range(4):
        (tmp_path / "texts" / f"{number}.txt").write_text("a text")
    settings = SubjectSettings(corpus=str(tmp_path / "texts"))
    assert look_at_parts(settings) is not None
    (tmp_path / "texts" / "more").symlink_to(tmp_path / "elsewhere")
    assert look_at_parts(settings) is None
    (tmp_path / "texts" / "more").unlink()
    assert look_at_parts(settings) is not None
    monkeypatch.setattr(part_files, "MOST_FILES", 3)
    assert look_at_parts(settings) is None


def test_what_is_said_of_a_file_beside_it_and_above_it_counts(tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    for name in ("ae.pt", "config.json", "other.pt", "log.csv", "../config.yaml", "../ae.pt"):
        (folder / name).write_text("")
    (tmp_path / "model.gguf").write_text("")
    (tmp_path / "other.gguf").write_text("")
    (tmp_path / "tokenizer.json").write_text("")
    settings = SubjectSettings(
        model=str(tmp_path / "model.gguf"), sae=str(folder / "ae.pt"), corpus="owner/texts"
    )
    assert sorted(paths_of(settings)) == [
        "model", "model/tokenizer.json", "sae/../ae.pt", "sae/../config.yaml", "sae/ae.pt",
        "sae/config.json",
    ]  # fmt: skip


def test_files_of_a_corpus_count_even_if_they_are_hidden(tmp_path):
    (tmp_path / "texts" / ".more").mkdir(parents=True)
    (tmp_path / "texts" / ".more" / "b.jsonl").write_text("")
    (tmp_path / "texts" / ".a.jsonl").write_text("")
    settings = SubjectSettings(corpus=str(tmp_path / "texts"))
    named = {name for name in paths_of(settings) if name.startswith("corpus")}
    assert named == {"corpus/.a.jsonl", "corpus/.more/b.jsonl"}


@pytest.mark.parametrize("settings", ["embedded", "tiny"])
def test_a_one_layer_subject_is_known_again(settings, tiny_settings):
    subject = load_settings("embedded" if settings == "embedded" else str(tiny_settings)).subject
    before = look_at_parts(subject)
    loaded = load_subject(subject)
    record = record_of(before, subject, loaded)
    assert record is not None
    assert known_again(record, subject, loaded.digests) is not None
    names = {name.rpartition("/")[2].partition(".")[0] for name in json.loads(record)["files"]}
    if settings == "embedded":
        assert {"transformer", "sae", "tokenizer", "corpus", "training"} <= names


# ------------------------------------------------------------------------------- the hub


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """The cache of a hub that is out of reach, with two commits of `owner/name`."""
    place = tmp_path / "hub" / "models--owner--name"
    for commit in ("a" * 40, "b" * 40):
        (place / "snapshots" / commit / "l3").mkdir(parents=True)
        for name in ("config.json", "l3/ae.pt", "l3/config.json"):
            (place / "snapshots" / commit / name).write_text(commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "out_of_reach", lambda: "HF_HUB_OFFLINE is set")
    return place


def test_a_model_of_the_hub_is_its_commit_and_the_files_of_that(cached, monkeypatch):
    model = SubjectSettings(model="owner/name")
    assert set(paths_of(model)) == {f"model@{'a' * 40}/config.json"}
    (cached / "refs" / "main").write_text("b" * 40)
    assert f"model@{'b' * 40}/config.json" in paths_of(model)
    pinned = replace(model, revision="a" * 40)
    assert f"model@{'a' * 40}/config.json" in paths_of(pinned)
    assert look_at_parts(replace(model, revision="step1000")) is None  # never fetched
    assert look_at_parts(replace(model, model="owner/other")) is None

    monkeypatch.setattr(hub, "out_of_reach", lambda: None)
    for newest, is_known in (("b" * 40, True), ("c" * 40, False), (None, False)):
        monkeypatch.setattr(hub, "newest_commit", lambda *_, newest=newest: newest)
        assert (look_at_parts(model) is not None) == is_known
        assert look_at_parts(pinned) is not None  # a commit does not change


def test_an_sae_of_the_hub_is_its_folder_and_what_is_said_above_it(cached):
    named = {
        name.partition("/")[2]
        for name in paths_of(SubjectSettings(sae="owner/name/l3"))
        if name.startswith(f"sae@{'a' * 40}")
    }
    assert named == {"ae.pt", "config.json", "../config.json"}


def test_a_hub_that_does_not_answer_says_no_commit(monkeypatch):
    class Silent:
        def model_info(self, *_: object, **__: object) -> None:
            raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi", Silent)
    assert hub.newest_commit("owner/name", "main") is None
