"""autointerp.toml as frozen dataclasses, and their digest.

Unknown keys, wrong types and values out of range are errors that name the file, the key and what
is allowed: a setting that is silently ignored is a wrong experiment.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
import types
import typing
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from autointerp.errors import SettingsError, UnknownName


@dataclass(frozen=True)
class SubjectSettings:
    """What is studied. Relative paths are relative to the settings file.

    Attributes:
        model: `embedded`, a folder or hub id of a Hugging Face causal LM, or a
            `transformer.safetensors` of `autointerp train`.
        site: Where activations are read, such as `layers.3.mlp.neurons`.
        sae: File or folder of the autoencoder on that site; empty for none.
        tokenizer: A tokenizer.json; empty for the model's own.
        corpus: Text, JSONL, Parquet, tokens or a dataset's hub id.
        device: cpu, cuda, cuda:N or mps.
    """

    model: str = "embedded"
    site: str = "layers.0.mlp.neurons"
    sae: str = ""
    tokenizer: str = ""
    corpus: str = ""
    device: str = "cpu"


@dataclass(frozen=True)
class HarvestSettings:
    """What is kept of the corpus for each unit.

    Attributes:
        tokens: Unmasked tokens to read at most; 0 for all there are.
        window: Tokens in a model window, BOS included; 0 for the model's own context, at most 1024.
        rows: Windows in a forward pass; changes speed and memory, never the result.
        top: Strongest windows kept per unit and split.
        intervals: Activation intervals of equal width from 0 to the unit's maximum.
        per_interval: Contexts kept per unit, split and interval.
        random: Contexts at random positions kept per unit and split.
        each_side: Tokens of context kept on either side of the focus token.
        fires: A unit fires where its activation is over this (SEEDS §1: 1e-5).
        explain_share: Share of the documents that go to the `explain` split.
    """

    tokens: int = 0
    window: int = 0
    rows: int = 64
    top: int = 20
    intervals: int = 10
    per_interval: int = 5
    random: int = 40
    each_side: int = 10
    fires: float = 1e-5
    explain_share: float = 0.5


@dataclass(frozen=True)
class SampleSettings:
    """Which units are rated.

    Attributes:
        min_density: Units that fire on a smaller share of tokens are left out, and counted
            (SEEDS §1: 1 in 10,000).
        max_density: Likewise for a larger share.
    """

    min_density: float = 1e-4
    max_density: float = 1.0


@dataclass(frozen=True)
class RunSettings:
    """All that decides what a run holds before anybody rates it."""

    subject: SubjectSettings = field(default_factory=SubjectSettings)
    harvest: HarvestSettings = field(default_factory=HarvestSettings)
    sample: SampleSettings = field(default_factory=SampleSettings)
    seed: int = 0

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON of what changes results (not device or batch size)."""
        content = asdict(self)
        del content["subject"]["device"], content["harvest"]["rows"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


KINDS = {int: "a whole number", float: "a number", str: "text in quotes"}
DEVICE = re.compile(r"cpu|mps|cuda(:\d+)?")
POSITIVE = {("harvest", name) for name in ("rows", "top", "intervals", "per_interval", "random")}
AT_LEAST_ZERO = {
    ("", "seed"),
    *(("harvest", name) for name in ("tokens", "window", "each_side", "fires")),
}
SHARES = {("sample", "min_density"), ("sample", "max_density"), ("harvest", "explain_share")}

Settings = TypeVar("Settings")


def load_settings(subject: str, seed: int | None = None) -> RunSettings:
    """Return the settings of `embedded` or of a TOML file, with `seed` put in if given.

    Raises SettingsError if the file is malformed, UnknownName if it is neither name nor file.
    """
    if subject == "embedded":
        settings = RunSettings()
    else:
        path = Path(subject)
        if not path.is_file():
            raise UnknownName("subject", subject, ["embedded"], "or the path of an autointerp.toml")
        settings = read_settings(path)
    if seed is None:
        return settings
    _check_range(f"--seed {seed}", "", "seed", seed)
    return replace(settings, seed=seed)


def read_settings(path: Path) -> RunSettings:
    """Return the settings in a TOML file; paths in it become absolute.

    Raises SettingsError, naming the line or the key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {error}") from None
    settings = from_mapping(RunSettings, content, str(path))
    subject = settings.subject
    placed = {
        name: _placed(path.parent, getattr(subject, name))
        for name in ("model", "sae", "tokenizer", "corpus")
    }
    return replace(settings, subject=replace(subject, **placed))


def _placed(folder: Path, value: str) -> str:
    """Return an absolute path where `value` is a file or folder beside the settings file."""
    if value and value != "embedded" and (folder / value).exists():
        return str((folder / value).resolve())
    return value


def from_mapping(kind: type[Settings], content: Any, where: str, section: str = "") -> Settings:
    """Return a settings dataclass from parsed TOML, checked key by key.

    Raises SettingsError, naming `where` and the key.
    """
    if not isinstance(content, dict):
        raise SettingsError(f"{where}: [{section}] must be a table")
    hints = typing.get_type_hints(kind)
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in content.items():
        label = f"{section}.{key}" if section else key
        if key not in names:
            raise SettingsError(f"{where}: unknown key '{label}' (known: {', '.join(names)})")
        wanted = hints[key]
        if is_dataclass(wanted):
            values[key] = from_mapping(typing.cast(Any, wanted), value, where, key)
            continue
        if wanted is float and type(value) is int:
            value = float(value)
        if isinstance(wanted, types.UnionType) or type(value) is not wanted:
            raise SettingsError(f"{where}: {label} = {value!r} must be {KINDS[wanted]}")
        _check_range(f"{where}: {label} = {value!r}", section, key, value)
        values[key] = value
    return kind(**values)


def _check_range(told: str, section: str, key: str, value: Any) -> None:
    place = (section, key)
    if place in POSITIVE and value < 1:
        raise SettingsError(f"{told} must be at least 1")
    if place in AT_LEAST_ZERO and not 0 <= value < math.inf:
        raise SettingsError(f"{told} must {'not be negative' if value < 0 else 'be finite'}")
    if place in SHARES and not 0 <= value <= 1:
        raise SettingsError(f"{told} must be a share from 0 to 1")
    if place == ("harvest", "window") and value == 1:
        raise SettingsError(f"{told} must be 0 or at least 2: BOS and one token")
    if place in {("subject", "model"), ("subject", "site")} and not value:
        raise SettingsError(f"{told} must not be empty")
    if place == ("subject", "device") and not DEVICE.fullmatch(value):
        raise SettingsError(f"{told} must be cpu, cuda, cuda:N or mps")


def first_difference(one: RunSettings, other: RunSettings) -> str | None:
    """Return `key: a, not b` for the first setting that differs and matters, or None."""
    left, right = asdict(one), asdict(other)
    for mapping in (left, right):
        del mapping["subject"]["device"], mapping["harvest"]["rows"]
    for section, value in left.items():
        if isinstance(value, dict):
            for key, inner in value.items():
                if inner != right[section][key]:
                    return f"{section}.{key} is {inner!r}, not {right[section][key]!r}"
        elif value != right[section]:
            return f"{section} is {value!r}, not {right[section]!r}"
    return None
