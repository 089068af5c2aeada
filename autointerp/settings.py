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
import typing
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import cache
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar

from autointerp.errors import BadInput, SettingsError, UnknownName
from autointerp.files import toml_table

# Of a subject, what may be a file or a folder.
SUBJECT_PLACES = ("model", "sae", "untrained", "tokenizer", "corpus")


@dataclass(frozen=True)
class SubjectSettings:
    """What is studied. Relative paths are relative to the settings file.

    Attributes:
        model: `embedded`, the folder or hub id of a Hugging Face causal LM, a
            `transformer.safetensors` of `autointerp train`, or an .npz of recorded activations.
        revision: Revision of a model on the hub; empty for the newest.
        site: Where activations are read, such as `layers.3.mlp.neurons`; `recorded` for recorded
            ones.
        neurons: What the source `neurons` is: empty for the axes of the site, `hidden` for the
            hidden neurons of the MLP in the site's layer, read in the same forward pass.
        sae: File, folder or hub id of the SAE trained on that site; empty for none.
        sae_format: Name of the SAE's format; empty to detect it.
        subtract_b_dec: Whether the SAE subtracts its decoder bias from its input; empty for what
            its files say.
        input_scale (factor): Factor by which the SAE's training multiplied its input; 0 for what
            its files say.
        k (latents per token): Active latents of a TopK SAE whose files do not say so; 0 for what
            its files say.
        sae_layout: Of square encoder matrices whose files do not say it: `in_out` where they are
            inputs × latents, `out_in` where they are latents × inputs.
        untrained: Folder that `autointerp train untrained` made of that SAE: the same recipe on the
            same model with weights that were never trained, for the source `untrained`; empty for
            none. The embedded subject has its own.
        check_sae: Whether to stop where the SAE's files say something that this version does not
            know, or that model, site or measured activations contradict.
        tokenizer: A tokenizer.json or a tokenizer's folder; empty for the model's own.
        bos: Whether windows begin with the tokenizer's BOS token, or the model configuration's
            where the tokenizer's files say nothing of BOS; `auto` for what the SAE's files record,
            else yes if there is one.
        corpus: Text, JSONL, Parquet or token file, a folder of one kind, or a dataset's hub id.
        corpus_field: Column or key that holds the text; empty to detect it.
        corpus_separator (token id): Token that ends a document in stored tokens, flat or in rows;
            -1 for none.
        corpus_seed: Seed of the order in which documents are read; -1 for the order of the file.
        device: `cpu`, `cuda`, `cuda:N` or `mps`.
        device_map: Value passed to transformers to spread a model over several devices, such as
            `auto`; replaces `device`.
        dtype: Data type of the model's weights; harvested activations are always float32.
        trust_remote_code: Whether Python code in the model's folder or repository may be run; it is
            never run where this does not say so.
    """

    model: str = "embedded"
    revision: str = ""
    site: str = "layers.0.mlp.neurons"
    neurons: str = ""
    sae: str = ""
    sae_format: str = ""
    subtract_b_dec: str = ""
    input_scale: float = 0.0
    k: int = 0
    sae_layout: str = ""
    untrained: str = ""
    check_sae: bool = True
    tokenizer: str = ""
    bos: str = "auto"
    corpus: str = ""
    corpus_field: str = ""
    corpus_separator: int = -1
    corpus_seed: int = -1
    device: str = "cpu"
    device_map: str = ""
    dtype: str = "auto"
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "subject")

    @property
    def name(self) -> str:
        """What messages call the subject: a hub id, or the name of a file or folder."""
        return Path(self.model).name if Path(self.model).is_absolute() else self.model


@dataclass(frozen=True)
class HarvestSettings:
    """What is kept of the corpus for each unit.

    Attributes:
        tokens (tokens): Most unmasked tokens to read; 0 for all.
        window (tokens): Length of a model window, BOS included; 0 for the model's context length,
            at most 1024.
        rows (windows): Windows in a forward pass. Changes speed and memory; results only by
            rounding.
        top (windows): Strongest windows kept per unit and split.
        intervals: Number of activation intervals of equal width from 0 to the unit's maximum.
        per_interval (contexts): Contexts kept per unit, split and interval.
        random (contexts): Contexts at random positions kept per unit and split.
        each_side (tokens): Context kept on either side of the focus token.
        fires (activation): A unit fires where its activation exceeds this value.
        explain_share (share of documents): Documents that go to the `explain` split; the others go
            to `score`. Copies of a document go to one split, and no two contexts of a unit in both
            share ten tokens in a row. A corpus whose documents all fall into one is refused, unless
            this is 0 or 1.
        mask_first: Whether to skip the first token of a window without BOS: models use it as an
            attention sink, with huge activations that do not depend on the token.
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
    mask_first: bool = True

    def __post_init__(self) -> None:
        check_fields(self, "harvest")


@dataclass(frozen=True)
class SampleSettings:
    """Which units are rated.

    Raises SettingsError for what is no share, and where no density could pass.

    Attributes:
        min_density (share of tokens): Units that fire on fewer tokens are left out, and counted.
        max_density (share of tokens): Units that fire on more tokens are left out, and counted.
    """

    min_density: float = 1e-4
    max_density: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self, "sample")
        if self.min_density > self.max_density:
            raise SettingsError(
                f"sample.min_density = {self.min_density:g} is above sample.max_density = "
                f"{self.max_density:g}, so no unit would pass; lower the one or raise the other"
            )


@dataclass(frozen=True)
class RunSettings:
    """Everything that determines what a run holds before it is rated.

    Attributes:
        subject: Table [subject].
        harvest: Table [harvest].
        sample: Table [sample].
        seed: Seed of every random draw: units, contexts, directions and order.
    """

    subject: SubjectSettings = field(default_factory=SubjectSettings)
    harvest: HarvestSettings = field(default_factory=HarvestSettings)
    sample: SampleSettings = field(default_factory=SampleSettings)
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self, "")

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON of what changes results (not device or batch size)."""
        content = _that_matter(self)
        for younger in ("sae_layout", "untrained"):  # than digests that are stored
            if not content["subject"][younger]:
                del content["subject"][younger]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


UNIMPORTANT = (
    ("subject", "device"),
    ("subject", "device_map"),
    ("subject", "trust_remote_code"),
    ("harvest", "rows"),
)


def _that_matter(settings: RunSettings) -> dict[str, Any]:
    """Return the settings as a mapping, without those that change no result."""
    content = asdict(settings)
    for section, key in UNIMPORTANT:
        del content[section][key]
    return content


KINDS = {
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
    bool: "true or false",
}
CHOICES = {
    ("subject", "neurons"): ("", "hidden"),
    ("subject", "bos"): ("auto", "yes", "no"),
    ("subject", "subtract_b_dec"): ("", "yes", "no"),
    ("subject", "sae_layout"): ("", "in_out", "out_in"),
    ("subject", "dtype"): ("auto", "float32", "bfloat16", "float16"),
}
DEVICE = re.compile(r"cpu|mps|cuda(:\d+)?")
TOKENS = re.compile(r"([0-9]{1,30})(?:\.([0-9]{1,9}))?([kKmM]?)")
BYTES = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([kKmMgGtT]?)[bB]?", re.ASCII)
FACTORS = {"": 1, "k": 1_000, "m": 1_000_000}
POSITIVE = {("harvest", name) for name in ("rows", "top", "intervals", "per_interval", "random")}
AT_LEAST_ZERO = {
    ("", "seed"),
    *(("harvest", name) for name in ("tokens", "window", "each_side", "fires")),
    *(("subject", name) for name in ("input_scale", "k")),
}
LARGEST = 2**63 - 1  # that a TOML file and a database can hold
MOST = {
    ("", "seed"): LARGEST,
    ("subject", "k"): 10_000_000,
    ("subject", "corpus_separator"): 2**31 - 1,
    ("subject", "corpus_seed"): LARGEST,
    ("harvest", "tokens"): LARGEST,
    ("harvest", "window"): 65_535,
    ("harvest", "rows"): 65_536,
    ("harvest", "top"): 10_000,
    ("harvest", "intervals"): 255,
    ("harvest", "per_interval"): 10_000,
    ("harvest", "random"): 100_000,
    ("harvest", "each_side"): 32_767,
}
LEAST_TOKENS = 2_000  # of the corpus, of which a harvest can be made
LONGEST_NAME, LONGEST_PATH = 255, 4_000  # bytes of a file's name, characters of a path
LONGEST_SHOWN = 80  # characters of a value in an error
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
    seed = plain_number(seed)
    _check_range(f"--seed {seed}", "", "seed", seed)
    return replace(settings, seed=seed)


def token_count(tokens: int | str, of_harvest: bool = True) -> int:
    """Return a number of tokens that was written as 250000, 100k or 2M.

    Raises BadInput for anything else, and `of_harvest`, where 0 stands for all, for fewer than one
    can be made of.
    """
    written = tokens.strip() if isinstance(tokens, str) else _shown(tokens)
    parts = TOKENS.fullmatch(written)
    if not written.isprintable() or len(written) > LONGEST_SHOWN:
        written = _shown(written)
    if parts is None:
        raise BadInput(
            f"--tokens {written}: give a number of tokens, such as 100k, 2M or 250000"
            + ("; 0 reads all" if of_harvest else "")
        )
    whole, fraction, factor = parts[1], parts[2] or "", FACTORS[parts[3].lower()]
    value, rest = divmod(int(whole + fraction) * factor, int("1" + "0" * len(fraction)))
    if rest:
        raise BadInput(f"--tokens {written}: give a whole number of tokens, such as 100k or 250000")
    if value > LARGEST:
        raise BadInput(f"--tokens {written}: give at most {LARGEST:,}")
    if of_harvest and 0 < value < LEAST_TOKENS:
        raise BadInput(
            f"--tokens {written}: a harvest takes at least {LEAST_TOKENS:,} tokens; 0 reads all"
        )
    return value


def byte_count(size: int | str) -> int:
    """Return a number of bytes that was written as 2G, 500M or 2000000000; 0 stands for none.

    Raises BadInput for anything else.
    """
    written = str(size).strip()
    parts = BYTES.fullmatch(written)
    if parts is None or isinstance(size, bool):
        shown = written if written.isprintable() and len(written) <= LONGEST_SHOWN else _shown(size)
        raise BadInput(
            f"--cache-site {shown}: give an amount of disk, such as 2G or 500M; 0 deletes what a "
            "run keeps"
        )
    factor = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}[parts[2].lower()]
    value = int(float(parts[1]) * factor)
    if value > LARGEST:
        raise BadInput(f"--cache-site {written}: give at most {LARGEST:,} bytes")
    return value


def plain_number(value: Any) -> Any:
    """Return a number of NumPy or torch as Python's own, which JSON and DuckDB take; other values
    as they are."""
    return value.item() if hasattr(value, "item") and not getattr(value, "ndim", 0) else value


def plain_fields(given: Any) -> None:
    """Put Python's numbers into a dataclass that a caller made; called by its `__post_init__`."""
    for one in fields(given):
        value = getattr(given, one.name)
        if hasattr(value, "item"):
            object.__setattr__(given, one.name, plain_number(value))


def check_fields(given: Any, section: str) -> None:
    """Put Python's numbers into a settings dataclass, check each; called by its `__post_init__`.

    Raises SettingsError, naming the key.
    """
    plain_fields(given)
    for key, wanted in _types(type(given)).items():  # type: ignore[arg-type]
        value = getattr(given, key)
        label = f"{section}.{key}" if section else key
        if wanted is float and type(value) is int:
            value = float(value)
            object.__setattr__(given, key, value)
        if type(value) is not wanted:
            kind = KINDS.get(wanted) or f"a {wanted.__name__}"
            raise SettingsError(f"{label} = {_shown(value)} must be {kind}")
        if wanted in KINDS:
            _check_range(f"{label} = {_shown(value)}", section, key, value)


def check_number(name: str, value: object) -> None:
    """Raise BadInput if a number is infinite, none at all, below 0, or a whole one over 64 bits.

    What is no number, and None, passes; of a tuple each is looked at.
    """
    if isinstance(value, tuple):
        for one in value:
            check_number(name, one)
    elif isinstance(value, float) and not math.isfinite(value):
        raise BadInput(f"{name} {value}: give a finite number, or leave the option out")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < 0:
            raise BadInput(f"{name} {_shown(value)}: give a number that is not below 0")
        if isinstance(value, int) and value > LARGEST:
            raise BadInput(f"{name} {_shown(value)}: give at most {LARGEST:,}")


def check_count(written: str, value: Any, least: int) -> None:
    """Raise BadInput, which begins with what was `written`, unless a value is a whole number from
    `least` on."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise BadInput(f"{written}: give a whole number from {least} on")


def read_settings(path: Path) -> RunSettings:
    """Return the settings in a TOML file; paths in it become absolute.

    Raises SettingsError, naming the line or the key.
    """
    return settings_of(read_table(path), path)


def read_table(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds. Raises SettingsError, naming the line."""
    try:
        return toml_table(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {error}") from None


def settings_of(content: dict[str, Any], path: Path) -> RunSettings:
    """Return the settings that were read in the file `path`; paths in them become absolute.

    Raises SettingsError, naming the key.
    """
    settings = from_mapping(RunSettings, content, str(path))
    subject = settings.subject
    placed: dict[str, Any] = {
        name: _placed(path.parent, getattr(subject, name)) for name in SUBJECT_PLACES
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
    hints = _types(kind)  # type: ignore[arg-type]
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in content.items():
        label = f"{section}.{key}" if section else key
        if key not in names:
            raise SettingsError(
                f"{where}: unknown key '{label[:LONGEST_SHOWN]}' (known: {', '.join(names)})"
            )
        is_table = is_dataclass(hints[key])
        _check_whole(f"{where}: {label} = {_shown(value)}", section, key, value)
        values[key] = from_mapping(hints[key], value, where, key) if is_table else value
    try:
        return kind(**values)
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from None


@cache  # it parses every annotation, and a run asks for its settings again and again
def _types(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _shown(value: Any) -> str:
    """Return a value as an error shows it: cut, and whatever it is."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or nested without end
        text = f"a {type(value).__name__} without end"
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


def _check_range(where: str, section: str, key: str, value: Any) -> None:
    place = (section, key)
    if place in POSITIVE and value < 1:
        raise SettingsError(f"{where} must be at least 1")
    if place in AT_LEAST_ZERO and not 0 <= value < math.inf:
        raise SettingsError(f"{where} must {'not be negative' if value < 0 else 'be finite'}")
    if isinstance(value, str):
        _check_text(where, value)
    if place in MOST and value > MOST[place]:
        raise SettingsError(f"{where} must be at most {MOST[place]:,}")
    if place in SHARES and not 0 <= value <= 1:
        raise SettingsError(f"{where} must be a share from 0 to 1")
    if place == ("harvest", "window") and value == 1:
        raise SettingsError(f"{where} must be 0 or at least 2: BOS and one token")
    if place in CHOICES and value not in CHOICES[place]:
        raise SettingsError(f"{where} must be {' or '.join(map(repr, CHOICES[place]))}")
    if place == ("subject", "device") and not DEVICE.fullmatch(value):
        raise SettingsError(f"{where} must be cpu, cuda, cuda:N or mps")


def _check_whole(where: str, section: str, key: str, value: Any) -> None:
    """Raise SettingsError for what settings that are written down must say; those that are put
    together may lack a model yet, and a look at the corpus reads fewer tokens than a harvest."""
    if (section, key) in {("subject", "model"), ("subject", "site")} and value == "":
        raise SettingsError(f"{where} must not be empty")
    if (section, key) == ("harvest", "tokens") and type(value) is int and 0 < value < LEAST_TOKENS:
        raise SettingsError(f"{where} must be 0, for all, or at least {LEAST_TOKENS:,}")


def _check_text(where: str, value: str) -> None:
    """Raise SettingsError for a text that can name nothing, neither a file nor anything else."""
    if any(len(part.encode("utf-8", "replace")) > LONGEST_NAME for part in value.split("/")):
        raise SettingsError(f"{where} is longer than any name can be ({LONGEST_NAME} bytes)")
    if len(value) > LONGEST_PATH or "\0" in value:
        raise SettingsError(f"{where} is no path or name that can be")


def first_difference(one: RunSettings, other: RunSettings) -> str | None:
    """Return `key: a, not b` for the first setting that differs and matters, or None."""
    left, right = _that_matter(one), _that_matter(other)
    for section, value in left.items():
        if isinstance(value, dict):
            for key, inner in value.items():
                if inner != right[section][key]:
                    return f"{section}.{key} is {inner!r}, not {right[section][key]!r}"
        elif value != right[section]:
            return f"{section} is {value!r}, not {right[section]!r}"
    return None
