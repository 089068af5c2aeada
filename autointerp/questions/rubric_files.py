"""Parsing of rubric files: Markdown with TOML front matter between `+++` lines.

`rubrics/*.md` ship with the package; a user's own file is read in the same way.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast, get_args

from autointerp.errors import RubricError, UnknownName
from autointerp.files import check_readable_twice, toml_table
from autointerp.questions.question import Shows
from autointerp.questions.rubric import PLACEHOLDER, Rubric
from autointerp.records import Draw, Split

PLACEHOLDERS = ("scale", "shown", "reply")
ASKED = ("description",)
KEYS = ("id", "version", "title", "asks", "scale", "shows")
FRONT_MATTER = re.compile(
    r"\+\+\+[ \t]*\n(.*?)^\+\+\+[ \t]*(?:\n|\Z)(.*)", re.DOTALL | re.MULTILINE
)


def rubrics_folder() -> Path:
    """Return the folder of the shipped rubrics: inside the package, or beside it in a checkout."""
    packaged = Path(__file__).parents[1] / "rubric_files"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "rubrics"


def list_rubrics() -> list[Rubric]:
    """Return the shipped rubrics, by id."""
    return sorted((_read(path) for path in rubrics_folder().glob("*.md")), key=lambda r: r.id)


def load_rubric(name_or_path: str | Path) -> Rubric:
    """Return the shipped rubric with this id, or the rubric in this file.

    A name that ends in `.md` or has a slash in it is a path.

    Raises RubricError if the file is missing or does not follow the form, UnknownName if no
    shipped rubric has the id.
    """
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or name.endswith(".md") or "/" in name or "\\" in name:
        return _read(Path(name_or_path))
    shipped = {path.stem: path for path in rubrics_folder().glob("*.md")}
    if name not in shipped:
        raise UnknownName("rubric", name, shipped, "or give the path of a .md file")
    return _read(shipped[name])


def rubric_argument(identifier: str) -> str:
    """Return what `--rubric` takes for a rubric: the id of a shipped one, else its file, of which
    a run does not keep the place: PATH stands for it."""
    shipped = (rubrics_folder() / f"{identifier}.md").is_file()
    return identifier if shipped else f"PATH/{identifier}.md"


def _read(path: Path) -> Rubric:
    try:
        check_readable_twice(path)
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RubricError(
            f"no rubric at {path}; `autointerp rubrics` lists the shipped ones"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RubricError(f"{path} cannot be read as a rubric ({error})") from None
    return parse_rubric(content, str(path))


def parse_rubric(content: str, file: str = "rubric") -> Rubric:
    """Return the rubric written in `content`; `file` is named in errors.

    Raises RubricError, naming file and key, on anything unknown, missing or of a wrong kind.
    """
    parts = FRONT_MATTER.fullmatch(content.replace("\r\n", "\n"))
    if parts is None:
        raise RubricError(f"{file}: no front matter; begin with TOML between two lines of +++")
    try:
        front = toml_table(parts[1])
    except tomllib.TOMLDecodeError as error:
        raise RubricError(f"{file}: the front matter is not TOML ({error})") from None
    _check_keys(file, "", front, KEYS)
    shows = front["shows"]
    _expect(file, "shows", isinstance(shows, dict), "a table")
    _check_keys(file, "shows.", shows, Shows.__dataclass_fields__)
    identifier, version, title = front["id"], front["version"], front["title"]
    valid_id = isinstance(identifier, str) and re.fullmatch(r"[a-z0-9][a-z0-9-]*", identifier)
    _expect(file, "id", bool(valid_id), "lower-case letters, digits and hyphens")
    _expect(file, "version", _is_count(version, 1), "a whole number from 1")
    _expect(file, "title", isinstance(title, str) and bool(title.strip()), "one line of text")
    return Rubric(
        id=identifier,
        version=version,
        title=title.strip(),
        scale=_scale(file, front["scale"]),
        shows=_shows(file, shows),
        asks=_subset(file, "asks", front["asks"], ASKED),
        text=_text(file, parts[2]),
    )


def _check_keys(file: str, prefix: str, table: dict[str, Any], allowed: Collection[str]) -> None:
    for key in table:
        if key not in allowed:
            listed = ", ".join(prefix + name for name in allowed)
            raise RubricError(f"{file}: unknown key '{prefix}{key}' (known: {listed})")
    for key in allowed:
        if key not in table:
            raise RubricError(f"{file}: key '{prefix}{key}' is missing; add it")


def _expect(file: str, key: str, holds: bool, form: str) -> None:
    if not holds:
        raise RubricError(f"{file}: '{key}' must be {form}")


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _subset(file: str, key: str, value: object, allowed: Collection[str]) -> tuple[str, ...]:
    """Return the names in `value` once each, in the order of `allowed`."""
    valid = isinstance(value, list) and all(isinstance(v, str) and v in allowed for v in value)
    _expect(file, key, valid, f"a list with names from: {', '.join(allowed)}")
    return tuple(name for name in allowed if name in cast(list[str], value))


def _scale(file: str, table: object) -> tuple[tuple[int, str], ...]:
    _expect(
        file, "scale", isinstance(table, dict) and len(table) >= 2, "a table of 2 or more levels"
    )
    levels: dict[int, str] = {}
    for key, label in cast(dict[str, object], table).items():
        _expect(file, f"scale.{key}", re.fullmatch(r"0|-?[1-9]\d{0,3}", key) is not None, "a score")
        valid = isinstance(label, str) and bool(label.strip()) and "\n" not in label
        _expect(file, f"scale.{key}", valid, "a label of one line")
        levels[int(key)] = cast(str, label).strip()
    return tuple(sorted(levels.items()))


def _shows(file: str, table: dict[str, Any]) -> Shows:
    for key in ("mark", "description"):
        _expect(file, f"shows.{key}", isinstance(table[key], bool), "true or false")
    for key, allowed in (("split", get_args(Split)), ("activations", ("hidden", "scaled"))):
        _expect(file, f"shows.{key}", table[key] in allowed, f"one of: {', '.join(allowed)}")
    _expect(file, "shows.contexts", _is_count(table["contexts"], 1), "a whole number from 1")
    _expect(file, "shows.each_side", _is_count(table["each_side"], 0), "a whole number from 0")
    draws = _subset(file, "shows.draws", table["draws"], get_args(Draw))
    _expect(file, "shows.draws", bool(draws), "a list of at least one draw")
    return Shows(**{**table, "draws": cast(tuple[Draw, ...], draws)})


def _text(file: str, text: str) -> str:
    used = PLACEHOLDER.findall(text)
    listed = ", ".join("{" + name + "}" for name in PLACEHOLDERS)
    for name in used:
        if name not in PLACEHOLDERS:
            raise RubricError(f"{file}: unknown placeholder '{{{name}}}' (known: {listed})")
    for name in PLACEHOLDERS:
        if used.count(name) != 1:
            raise RubricError(
                f"{file}: placeholder '{{{name}}}' stands {used.count(name)} times in the text; "
                f"each of {listed} must stand once"
            )
    return text.strip()
