"""The files that a subject is made of, by which it is known again without being loaded.

Whoever loads a subject looks at its files before and after, and keeps a record beside the digests
that the loaded subject had. As long as files, settings and installed code are those of the record,
loading would give these digests again. A file is the same if its size, inode and times are, or else
if its content is. Whatever this module is not sure of counts as another subject.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autointerp.files import check_readable_twice
from autointerp.settings import SUBJECT_PLACES, SubjectSettings
from autointerp.subjects import file_digest
from autointerp.subjects.hub import snapshot_here
from autointerp.subjects.places import EMBEDDED, is_one_layer
from autointerp.subjects.provenance import changed_part, installation_digest

if TYPE_CHECKING:
    from autointerp.subjects import Subject

MOST_FILES = 10_000
HASHED = 1 << 30  # bytes; a larger file is known by its size, inode and times alone
# A file changed later than this before it was looked at may be changed again within one tick of
# its file system's clock (2 s on FAT), so that its times stay: its content is compared, too.
SETTLED_NS = 2_000_000_000

LIBRARIES = (
    "torch", "transformers", "tokenizers", "safetensors", "gguf", "huggingface_hub", "numpy",
    "datasets", "pyarrow",
)  # fmt: skip
CODE = ("subjects", "settings.py", "extensions.py", "files.py", "text.py", "errors.py")
# What may be read beside a file or folder that is named: of a GGUF model and of an SAE. Of weights
# only such names as tell formats apart: a folder may hold tens of SAEs, which come and go.
BESIDE_MODEL = re.compile(r".+\.(json|txt|model|jinja)")
BESIDE_SAE = re.compile(
    r".+\.(json|ya?ml)|(ae|sae|sae_weights|params|model)\.(safetensors|npz|pt)|W_dec_.+"
)
ANY = re.compile(r".*", re.DOTALL)
TEMPLATES = "additional_chat_templates"
ADAPTER = "adapter_config.json"  # names another model, wherever that is


class _Unsure(Exception):
    """Raised where it is not known which files decide what a subject is."""


@dataclass(frozen=True)
class FileState:
    """A file as it was found.

    Attributes:
        is_settled: Whether it had not been changed for `SETTLED_NS`.
        digest: sha256 of its content; empty where that was not read.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    is_settled: bool
    digest: str

    def is_untouched(self, since: FileState) -> bool:
        """Return whether size, inode and times are those of another state."""
        return (self.size, self.mtime_ns, self.ctime_ns, self.inode) == (
            since.size,
            since.mtime_ns,
            since.ctime_ns,
            since.inode,
        )


@dataclass(frozen=True)
class PartFiles:
    """The files of a subject as they are found.

    Attributes:
        asked: sha256 of the settings, and of where they lead.
        files: By name, each beginning with its part.
    """

    asked: str
    files: Mapping[str, FileState]


def look_at_parts(settings: SubjectSettings) -> PartFiles | None:
    """Return the files that the settings lead to; None where that is not known for sure.

    Content is read only where times cannot tell a later change. To be called before the subject is
    loaded, for `record_of`.
    """
    return _look(settings, reads=False)


def record_of(before: PartFiles | None, settings: SubjectSettings, subject: Subject) -> str | None:
    """Return the record of a subject that was loaded since `before`; None where it is unsure.

    All files up to `HASHED` bytes are read.
    """
    if before is None:
        return None
    after = _look(settings, reads=True)
    if after is None or after.asked != before.asked:
        return None
    if after.files.keys() != before.files.keys():
        return None
    try:
        code = _code()
        if not _has_read(settings, subject):
            return None
    except (_Unsure, OSError):
        return None
    for name, now in after.files.items():
        then = before.files[name]
        if not now.is_untouched(then):
            return None
        if not then.is_settled and (not then.digest or then.digest != now.digest):
            return None
    return _written(after, code, subject.digests)


def known_again(record: str, settings: SubjectSettings, digests: Mapping[str, str]) -> str | None:
    """Return the record to keep if loading the subject would give `digests`, as it did before.

    It differs from the one given where files were touched: their content was compared, and need
    not be the next time. None where something differs, or nothing is sure.
    """
    try:
        held = json.loads(record)
        if changed_part(digests, held["digests"]) is not None:
            return None
        files = {name: FileState(*state) for name, state in held["files"].items()}
        code, asked = held["code"], held["asked"]
        paths = paths_of(settings)
        if (code, asked) != (_code(), _asked(settings)) or paths.keys() != files.keys():
            return None
        for name, path in paths.items():
            then, now = files[name], _state(path, reads=False)
            if now.is_untouched(then) and then.is_settled:
                continue
            if not then.digest or now.size != then.size:
                return None
            files[name] = _state(path, reads=True)
            if files[name].digest != then.digest:
                return None
    except (_Unsure, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return _written(PartFiles(asked, files), code, held["digests"])


def paths_of(settings: SubjectSettings) -> dict[str, Path]:
    """Return the files that decide what a subject is, by names that begin with their part.

    Rather too many than too few. Raises _Unsure where they are not known, or are too many.
    """
    if settings.trust_remote_code:
        raise _Unsure("code of the model's own")
    paths: dict[str, Path] = {}
    model = Path(settings.model)
    if settings.model == "embedded":
        paths |= _inside("embedded", EMBEDDED)
    elif is_one_layer(settings.model):
        paths["model"] = model
        if not settings.tokenizer:
            paths["tokenizer"] = model.parent / "tokenizer.json"
    elif settings.model.endswith(".npz"):
        paths["model"] = model
    else:
        paths |= _model(settings.model, settings.revision)
    if settings.sae:
        paths |= _sae(settings.sae)
    if settings.tokenizer.endswith(".json"):
        paths["tokenizer"] = Path(settings.tokenizer)
    elif settings.tokenizer:
        paths |= _folder_or_hub("tokenizer", settings.tokenizer)
    if settings.untrained:
        paths |= _inside("untrained", Path(settings.untrained))
    corpus = Path(settings.corpus)
    if settings.corpus and corpus.exists():  # else of the hub, whose data are taken to stay
        paths |= _inside("corpus", corpus, True) if corpus.is_dir() else {"corpus": corpus}
    if len(paths) > MOST_FILES:
        raise _Unsure(f"{len(paths):,} files")
    return paths


def _model(name: str, revision: str) -> dict[str, Path]:
    path = Path(name)
    if path.suffix.lower() == ".gguf" and path.is_file():
        return {"model": path} | _beside("model", path.parent, BESIDE_MODEL)
    return _folder_or_hub("model", name, revision)


def _folder_or_hub(part: str, name: str, revision: str = "") -> dict[str, Path]:
    """Return the files of a Hugging Face model or tokenizer.

    Of the folders in it those of chat templates alone, as checkpoints of its training may lie
    there; all if the index of its weights names files in folders.
    """
    folder = Path(name)
    if not folder.is_dir():
        commit, folder = _snapshot(name, revision)
        part = f"{part}@{commit}"
    indices = [*folder.glob("*.index.json")]
    if any("/" in file.read_text("utf-8") for file in indices):
        paths = _inside(part, folder)
    else:
        paths = _beside(part, folder, ANY)
        paths |= _inside(f"{part}/{TEMPLATES}", folder / TEMPLATES)
    if any(path.name == ADAPTER for path in paths.values()):
        raise _Unsure("an adapter of another model")
    return paths


def _sae(name: str) -> dict[str, Path]:
    """Return the files of an SAE: its folder, and what is said of it in the folder above."""
    part, path, top = "sae", Path(name), None
    if not path.exists():
        owner, repository, *inside = name.split("/", 2)
        commit, top = _snapshot(f"{owner}/{repository}")
        part, path = f"sae@{commit}", top.joinpath(*inside)
    if path.is_dir():
        folder, paths = path, _inside(part, path)
    else:
        folder, paths = path.parent, _beside(part, path.parent, BESIDE_SAE)
        paths[f"{part}/{path.name}"] = path
    if folder == top:
        return paths  # all of the repository
    return paths | _beside(f"{part}/..", folder.absolute().parent, BESIDE_SAE)


def _snapshot(repository: str, revision: str = "") -> tuple[str, Path]:
    here = snapshot_here(repository, revision)
    if here is None:
        raise _Unsure(f"what the hub has of {repository} now")
    return here


def _inside(part: str, folder: Path, with_hidden: bool = False) -> dict[str, Path]:
    """Return all files of a folder and of those in it, which may be hidden ones or not."""
    paths: dict[str, Path] = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if with_hidden or not name.startswith(".")]
        if any(Path(place, name).is_symlink() for name in folders):
            raise _Unsure(f"folders elsewhere, linked in {place}")
        for name in names:
            path = Path(place, name)
            paths[f"{part}/{path.relative_to(folder).as_posix()}"] = path
        if len(paths) > MOST_FILES:
            raise _Unsure(f"files in {folder}")
    return paths


def _beside(part: str, folder: Path, names: re.Pattern[str]) -> dict[str, Path]:
    """Return the files of a folder, without those of its folders, that are called so."""
    with os.scandir(folder) as entries:
        return {
            f"{part}/{entry.name}": Path(entry.path)
            for entry in entries
            if names.fullmatch(entry.name) and not entry.is_dir()
        }


def _has_read(settings: SubjectSettings, subject: Subject) -> bool:
    """Return whether what the subject was read from is among its files, as far as it says."""
    paths = paths_of(settings)
    loaded = subject.loaded
    if loaded is not None:
        known = {path.resolve() for path in paths.values()}
        own = [loaded.path] if loaded.path.is_file() else [*loaded.path.iterdir()]
        read = [file for file in (*own, *loaded.beside) if file.is_file()]
        if not {file.resolve() for file in read} <= known:
            return False
    config = getattr(getattr(subject.model, "model", None), "config", None)
    commit = getattr(config, "_commit_hash", None)  # of the hub, as transformers found it
    of_hub = {name.partition("/")[0] for name in paths if name.startswith("model@")}
    return commit is None or not of_hub or of_hub == {f"model@{commit}"}


def _look(settings: SubjectSettings, reads: bool) -> PartFiles | None:
    try:
        asked = _asked(settings)
        files = {name: _state(path, reads) for name, path in paths_of(settings).items()}
    except (_Unsure, OSError, ValueError):
        return None
    return PartFiles(asked, files)


def _state(path: Path, reads: bool) -> FileState:
    """Return the state of a file. Its content is read if that is asked for or if it may be changed
    again without a trace. Raises _Unsure if it changes meanwhile, OSError if it cannot be read.
    """
    check_readable_twice(path)
    now = time.time_ns()
    stat = path.stat()
    is_settled = max(stat.st_mtime_ns, stat.st_ctime_ns) + SETTLED_NS <= now
    reads = (reads or not is_settled) and stat.st_size <= HASHED
    state = FileState(
        stat.st_size,
        stat.st_mtime_ns,
        stat.st_ctime_ns,
        stat.st_ino,
        is_settled,
        "",
    )
    if reads:
        read = _digest_of_settled if is_settled else _digest
        digest = read(path, state.size, state.mtime_ns, state.ctime_ns, state.inode)
        state = replace(state, digest=digest)
    after = path.stat()
    if (after.st_size, after.st_mtime_ns, after.st_ctime_ns) != (
        state.size,
        state.mtime_ns,
        state.ctime_ns,
    ):
        raise _Unsure(f"{path} changes")
    return state


def _digest(path: Path, *_: int) -> str:
    return file_digest(path)


_digest_of_settled = lru_cache(MOST_FILES)(_digest)  # a sweep's subjects share their model's files


def _asked(settings: SubjectSettings) -> str:
    """Return the sha256 of the settings, and of where relative paths among them lead."""
    values = asdict(settings)
    named = [Path(values[part]) for part in SUBJECT_PLACES if values[part]]
    places = [str(path.absolute()) for path in named if path.exists()]
    asked = json.dumps([values, places], sort_keys=True)
    return hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()


def _code() -> str:
    """Return the sha256 of what is installed. Raises _Unsure where that is not known."""
    code = installation_digest(LIBRARIES, *CODE)
    if code is None:
        raise _Unsure("what is installed")
    return code


def _written(parts: PartFiles, code: str, digests: Mapping[str, str]) -> str:
    record: dict[str, Any] = {
        "asked": parts.asked,
        "code": code,
        "digests": dict(digests),
        "files": {name: list(asdict(state).values()) for name, state in parts.files.items()},
    }
    return json.dumps(record, sort_keys=True)
