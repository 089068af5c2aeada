"""Labels of tokens: which concepts are true of them, from a table, an expression or a function.

    NAME=re:PATTERN       a regular expression; a token that a match touches has the label
    FILE.toml             its table [concepts] of such expressions by name
    FILE.py:FUNCTION      called with the texts of a window's tokens, returns a truth value for each
                          (None: not labelled); FILE.py alone for all of its public functions
    FILE.parquet:COLUMN   a row a token (`document`, `position`, as the table `context` of a run has
                          them) or a row a document (lists); FILE.parquet alone for all columns. A
                          column of true and false is one concept, one of texts or whole numbers one
                          a value; what has no value is not labelled

Expressions and functions see one window of a document at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import duckdb
import numpy as np
from numpy.typing import NDArray

from autointerp.errors import BadInput
from autointerp.files import plain_name, toml_table
from autointerp.subjects import Subject, file_digest
from autointerp.subjects.token_texts import TokenTexts
from autointerp.text import count

if TYPE_CHECKING:
    from autointerp.units.stream import Reading

MOST_CONCEPTS = 1_000
MOST_TOKENS = 200_000_000  # of a table, which is laid out on the disk
MEMORY: dict[str, str | bool | int | float | list[str]] = {"threads": 1, "memory_limit": "1GB"}
PLACES = ("document", "position")
EXPRESSION = re.compile(r"(?:(?P<name>[^=/\\]*)=)?re:(?P<pattern>.*)", re.DOTALL)

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Labelled:
    """Labels of a batch's kept tokens.

    Attributes:
        truth: [tokens, concepts] whether the concept is true of the token.
        known: [tokens, groups] whether the tokens have labels of these concepts at all.
    """

    truth: Mask
    known: Mask


class LabelSource(Protocol):
    """Labels of one kind."""

    @property
    def concepts(self) -> tuple[str, ...]:
        """Names."""
        ...

    @property
    def groups(self) -> tuple[int, ...]:
        """Of each concept, the number of the column of `known` that is its own."""
        ...

    def of(self, reading: Reading, texts: WindowTokens) -> Labelled:
        """Return the labels of a batch's kept tokens, row by row."""
        ...


@dataclass(frozen=True)
class WindowTokens:
    """The texts of each window's tokens, special ones left out.

    Attributes:
        texts: A list a row.
        places: Of each of these tokens its place in the row, likewise.
    """

    texts: list[list[str]]
    places: list[NDArray[np.int64]]


@dataclass(frozen=True)
class Labels:
    """All labels that were asked for, as one.

    Attributes:
        concepts: Names, no two alike.
        groups: Of each concept the column of `Labelled.known` that says where it is labelled.
        digest: sha256 of what the labels are made by.
    """

    sources: tuple[LabelSource, ...]
    concepts: tuple[str, ...]
    groups: tuple[int, ...]
    digest: str
    special: NDArray[np.int64] = field(repr=False)
    token_texts: Sequence[str] = field(repr=False)

    @property
    def group_count(self) -> int:
        return max(self.groups) + 1

    def of(self, reading: Reading) -> Labelled:
        """Return the labels of a batch's kept tokens, row by row."""
        texts = self._texts(reading)
        parts = [source.of(reading, texts) for source in self.sources]
        return Labelled(
            np.concatenate([part.truth for part in parts], axis=1),
            np.concatenate([part.known for part in parts], axis=1),
        )

    def _texts(self, reading: Reading) -> WindowTokens:
        is_text = reading.windows.attention & ~np.isin(reading.windows.ids, self.special)
        texts, places = [], []
        for ids, inside in zip(reading.windows.ids, is_text, strict=True):
            own = ids[inside].tolist()
            if isinstance(self.token_texts, TokenTexts):
                texts.append(self.token_texts.joined(own, 0) if own else [])
            else:
                texts.append([self.token_texts[index] for index in own])
            places.append(np.flatnonzero(inside))
        return WindowTokens(texts, places)


@contextlib.contextmanager
def open_labels(given: Sequence[str], subject: Subject) -> Iterator[Labels]:
    """Open the labels that the texts name; see the top of this file.

    Raises BadInput if a text is none of these forms, a file is missing or malformed, two concepts
    have one name, or there are more than 1,000.
    """
    check_labels(given)
    with contextlib.ExitStack() as stack:
        opened = [_opened(one, stack) for one in given]
        sources = tuple(source for source, _ in opened)
        concepts = [name for source in sources for name in source.concepts]
        for name in concepts:
            if concepts.count(name) > 1:
                raise BadInput(f"two concepts are called '{name}'; give each a name of its own")
        if len(concepts) > MOST_CONCEPTS:
            raise BadInput(
                f"{len(concepts):,} concepts; at most {MOST_CONCEPTS:,} are measured at a time"
            )
        groups: list[int] = []
        for source in sources:
            first = max(groups, default=-1) + 1
            groups += [first + group for group in source.groups]
        content = "\n".join(f"{one.concepts}: {digest}" for one, digest in opened)
        yield Labels(
            sources,
            tuple(concepts),
            tuple(groups),
            hashlib.sha256(content.encode()).hexdigest(),
            np.array(sorted(subject.special), dtype=np.int64),
            subject.token_texts,
        )


def check_labels(given: Sequence[str]) -> None:
    """Raise BadInput for what can be seen to be wrong before a subject is loaded: no labels, a text
    of another form, a pattern that is no regular expression, a file that is missing.
    """
    if not given:
        raise BadInput("no labels; give a regular expression, a .toml, .parquet or .py file")
    for one in given:
        expression = EXPRESSION.fullmatch(one)
        if expression is not None:
            _expression(expression, one)
            continue
        file, _ = _file(one)
        if file.suffix == ".toml":
            _expressions(_patterns(file), str(file))


def _opened(given: str, stack: contextlib.ExitStack) -> tuple[LabelSource, str]:
    """Return one source of labels, and a digest of what makes them."""
    expression = EXPRESSION.fullmatch(given)
    if expression is not None:
        return _expression(expression, given), given
    file, part = _file(given)
    digest = f"{part} {file_digest(file)}"
    if file.suffix == ".toml":
        return _expressions(_patterns(file), str(file)), digest
    if file.suffix == ".py":
        return _functions(file, part), digest
    return stack.enter_context(_table(file, part)), digest


def _expression(expression: re.Match[str], given: str) -> Expressions:
    pattern = expression["pattern"]
    return _expressions({expression["name"] or pattern: pattern}, given)


def _file(given: str) -> tuple[Path, str]:
    """Return a file of labels, and which part of it is named; empty for all of it."""
    path, part = given, ""
    for suffix in (".py", ".parquet"):
        before, found, after = given.rpartition(f"{suffix}:")
        if found and not Path(given).exists():
            path, part = before + suffix, after
    file = Path(path)
    if file.suffix not in (".toml", ".py", ".parquet"):
        raise BadInput(
            f"labels {given!r}: write NAME=re:PATTERN, FILE.toml, FILE.py:FUNCTION or "
            "FILE.parquet:COLUMN"
        )
    if not file.is_file():
        raise BadInput(f"no file of labels at {file}; give the path of one that exists")
    return file, part


# ------------------------------------------------------------------------------ expressions


@dataclass(frozen=True)
class Expressions:
    """Tokens that a match of a regular expression touches; empty matches touch none."""

    concepts: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...]

    @property
    def groups(self) -> tuple[int, ...]:
        return (0,) * len(self.concepts)

    def of(self, reading: Reading, texts: WindowTokens) -> Labelled:
        truth = np.zeros((*reading.kept.shape, len(self.patterns)), dtype=bool)
        for row, (tokens, places) in enumerate(zip(texts.texts, texts.places, strict=True)):
            text = "".join(tokens)
            ends = np.cumsum([len(token) for token in tokens])
            for number, pattern in enumerate(self.patterns):
                for found in pattern.finditer(text):
                    if found.end() > found.start():
                        # Tokens that end behind the match's begin, to that with its last character.
                        first, last = np.searchsorted(
                            ends, [found.start(), found.end() - 1], "right"
                        )
                        truth[row, places[first : last + 1], number] = True
        kept = truth[reading.kept]
        return Labelled(kept, np.ones((len(kept), 1), dtype=bool))


def _expressions(patterns: Mapping[str, str], where: str) -> Expressions:
    compiled = []
    for name, pattern in patterns.items():
        try:
            compiled.append(re.compile(pattern))
        except (re.error, OverflowError) as error:
            raise BadInput(
                f"{where}: '{name}' is no regular expression ({error}); correct it"
            ) from None
        except RecursionError:
            raise BadInput(f"{where}: '{name}' has brackets nested too deep; shorten it") from None
    return Expressions(tuple(patterns), tuple(compiled))


def _patterns(file: Path) -> dict[str, str]:
    try:
        table = toml_table(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} cannot be read as TOML ({error}); correct it") from None
    patterns = table.get("concepts")
    if not isinstance(patterns, dict) or not patterns or set(table) != {"concepts"}:
        raise BadInput(f"{file} is to hold one table [concepts], of lines NAME = 'PATTERN'")
    for name, pattern in patterns.items():
        if not isinstance(pattern, str):
            raise BadInput(f"{file}: '{name}' is {pattern!r}; give a regular expression in quotes")
    return patterns


# ------------------------------------------------------------------------------ functions


@dataclass(frozen=True)
class Functions:
    """Truth values that functions give to the tokens of a window."""

    concepts: tuple[str, ...]
    functions: tuple[Callable[[list[str]], Sequence[bool | None]], ...]
    file: Path

    @property
    def groups(self) -> tuple[int, ...]:
        return tuple(range(len(self.concepts)))

    def of(self, reading: Reading, texts: WindowTokens) -> Labelled:
        shape = (*reading.kept.shape, len(self.functions))
        truth, known = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        for row, (tokens, places) in enumerate(zip(texts.texts, texts.places, strict=True)):
            for number, function in enumerate(self.functions):
                values = self._called(number, function, tokens)
                truth[row, places, number] = [value is not None and bool(value) for value in values]
                known[row, places, number] = [value is not None for value in values]
        return Labelled(truth[reading.kept], known[reading.kept])

    def _called(self, number: int, function: Callable[..., Any], tokens: list[str]) -> list[Any]:
        where = f"{self.file}:{self.concepts[number]}"
        try:
            values = list(function(list(tokens)))
        except (Exception, SystemExit) as error:  # noqa: BLE001  what a user's function does wrong
            reason = " ".join(str(error).split())[:120]
            raise BadInput(
                f"{where} failed on a window of {count(len(tokens), 'token')} "
                f"({type(error).__name__}: {reason}); correct it"
            ) from None
        if len(values) != len(tokens):
            raise BadInput(
                f"{where} returned {count(len(values), 'value')} for "
                f"{count(len(tokens), 'token')}; return one for each"
            )
        for value in values:
            if not _is_truth_value(value):
                shown = " ".join(repr(value).split())[:60]
                raise BadInput(f"{where} returned {shown}; return True, False or None for each")
        return values


def _is_truth_value(value: object) -> bool:
    """Whether a value is true, false, 0, 1 or None; arrays, missing values and others are not."""
    if value is None or isinstance(value, bool | np.bool_):
        return True
    try:
        return bool(value in (0, 1))
    except Exception:  # noqa: BLE001  what an array or pandas.NA makes of being compared
        return False


def _functions(file: Path, name: str) -> Functions:
    specification = importlib.util.spec_from_file_location(f"labels_{file.stem}", file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001  what a user's file does wrong
        raise BadInput(
            f"{file} cannot be imported ({type(error).__name__}: {error}); correct it"
        ) from None
    functions = {
        key: value
        for key, value in vars(module).items()
        if callable(value)
        and not key.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
    }
    if name:
        if name not in functions:
            raise BadInput(
                f"{file} has no function '{name}' (it has: {', '.join(functions) or 'none'})"
            )
        functions = {name: functions[name]}
    if not functions:
        raise BadInput(f"{file} has no public function; define one that takes a window's tokens")
    return Functions(tuple(functions), tuple(functions.values()), file)


# ------------------------------------------------------------------------------ tables


@dataclass(frozen=True)
class TableLabels:
    """Labels in a database, a row a token.

    Attributes:
        values: Of each column the concepts' values; None for a column of true and false.
        by_token: Whether a row of the file was a token; else it was a document, with lists.
    """

    concepts: tuple[str, ...]
    groups: tuple[int, ...]
    values: tuple[tuple[Any, ...] | None, ...]
    connection: duckdb.DuckDBPyConnection
    file: Path
    by_token: bool

    def of(self, reading: Reading, texts: WindowTokens) -> Labelled:
        rows, tokens = np.nonzero(reading.kept)
        document = reading.windows.document[rows].astype(np.int64)
        position = reading.position[rows, tokens].astype(np.int64)
        truth = np.zeros((len(rows), len(self.concepts)), dtype=bool)
        known = np.zeros((len(rows), len(self.values)), dtype=bool)
        if not len(rows):
            return Labelled(truth, known)
        columns = ", ".join(f"c{number}" for number in range(len(self.values)))
        held = self.connection.execute(
            f"SELECT document, position, {columns} FROM labels WHERE document BETWEEN ? AND ?"
            " AND document IN (SELECT unnest(?::BIGINT[]))",
            [int(document.min()), int(document.max()), np.unique(document).tolist()],
        ).fetchnumpy()
        keys = _key(held["document"], held["position"])
        order = np.argsort(keys)
        wanted = _key(document, position)
        at = np.searchsorted(keys[order], wanted)
        at = order[np.minimum(at, max(0, len(order) - 1))] if len(order) else at
        is_there = keys[at] == wanted if len(order) else np.zeros(len(wanted), dtype=bool)
        if not self.by_token:
            self._check_lengths(held["document"], document, position, is_there)
        concept = 0
        for number, values in enumerate(self.values):
            codes = np.full(len(rows), -1, dtype=np.int64)
            if len(order):
                codes[is_there] = np.asarray(held[f"c{number}"])[at[is_there]]
            known[:, number] = codes >= 0
            for value in range(1 if values is None else len(values)):
                # A column of true and false has the code 1 for true, others the value's place.
                truth[:, concept] = codes == (1 if values is None else value)
                concept += 1
        return Labelled(truth, known)

    def _check_lengths(
        self,
        held: NDArray[np.integer],
        document: NDArray[np.int64],
        position: NDArray[np.int64],
        is_there: Mask,
    ) -> None:
        """Raise BadInput for a document with a list that ends before its tokens do."""
        for place in np.flatnonzero(~is_there & np.isin(document, held))[:1].tolist():
            count = int((held == document[place]).sum())
            raise BadInput(
                f"{self.file}: document {document[place]} has {count:,} labels and, as this "
                f"subject's tokenizer cuts it, at least {position[place] + 1:,} tokens; give each "
                "token one, or a row a token with `document` and `position`"
            )


def _key(document: NDArray[np.integer], position: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.asarray(document, np.int64) << 32 | np.asarray(position, np.int64)


@contextlib.contextmanager
def _table(file: Path, column: str) -> Iterator[TableLabels]:
    with (
        tempfile.TemporaryDirectory(prefix="autointerp-labels-") as folder,
        plain_name(file) as name,
        duckdb.connect(":memory:", config={**MEMORY, "temp_directory": folder}) as connection,
    ):
        try:
            table = _loaded(connection, file, name, column)
        except duckdb.Error as error:
            raise BadInput(
                f"{file} cannot be read as Parquet ({str(error).splitlines()[0]}); write it again"
            ) from None
        yield table


def _loaded(
    connection: duckdb.DuckDBPyConnection, file: Path, name: str, column: str
) -> TableLabels:
    """Make the table `labels`: document, position, and a code a column, -1 for no label."""
    read = "read_parquet(?, hive_partitioning = false, file_row_number = true)"
    kinds = {
        str(key): str(kind)
        for key, kind, *_ in connection.execute(f"DESCRIBE SELECT * FROM {read}", [name]).fetchall()
    }
    names = [key for key in kinds if key not in (*PLACES, "file_row_number")]
    if column:
        if column not in names:
            raise BadInput(
                f"{file} has no column '{column}' (it has: {', '.join(names) or 'none'})"
            )
        names = [column]
    if not names:
        raise BadInput(f"{file} has no column of labels beside document and position")
    by_token = "position" in kinds
    if by_token and "document" not in kinds:
        raise BadInput(f"{file} has `position` but no `document`; add the token's document")
    for key in [key for key in PLACES if key in kinds]:
        if "INT" not in kinds[key]:
            raise BadInput(f"{file}: `{key}` is {kinds[key]}; give whole numbers, from 0")
    of_value = {}
    for key in names:
        kind = kinds[key] if by_token else kinds[key].removesuffix("[]")
        if not by_token and kind == kinds[key]:
            raise BadInput(
                f"{file}: `{key}` is {kind}; without a column `position` a row is a document, and "
                "its labels a list, one a token"
            )
        if kind != "BOOLEAN" and kind != "VARCHAR" and "INT" not in kind:
            raise BadInput(
                f"{file}: `{key}` is {kinds[key]}; labels are true and false, texts or whole "
                "numbers"
            )
        of_value[key] = kind
    quoted = {key: '"' + key.replace('"', '""') + '"' for key in names}
    document = "document" if "document" in kinds else "file_row_number"
    if by_token:
        raw = f"SELECT {document} AS document, position, {', '.join(quoted.values())} FROM {read}"
    else:
        lists = ", ".join(f"unnest({one}) AS {one}" for one in quoted.values())
        first = quoted[names[0]]
        uneven = " OR ".join(f"len({one}) IS DISTINCT FROM len({first})" for one in quoted.values())
        wrong = connection.execute(
            f"SELECT {document} FROM {read} WHERE {uneven} LIMIT 1", [name]
        ).fetchone()
        if wrong is not None:
            raise BadInput(
                f"{file}: document {wrong[0]} has lists of several lengths; give each a value for "
                "every token"
            )
        raw = (
            f"SELECT {document} AS document, unnest(range(len({first}))) AS position, {lists}"
            f" FROM {read}"
        )
    connection.execute(f"CREATE TABLE raw AS {raw} LIMIT {MOST_TOKENS + 1}", [name])
    (rows,) = connection.execute("SELECT count(*) FROM raw").fetchall()[0]
    if rows > MOST_TOKENS:
        raise BadInput(
            f"{file} labels more than {MOST_TOKENS:,} tokens; give those of a part of the corpus"
        )
    wrong = connection.execute(
        "SELECT document, position FROM raw WHERE document IS NULL OR position IS NULL"
        " OR document < 0 OR position < 0 OR position >= 4294967296 OR document >= 2147483648"
        " LIMIT 1"
    ).fetchone()
    if wrong is not None:
        raise BadInput(f"{file}: document {wrong[0]}, position {wrong[1]} is no place in a corpus")
    twice = connection.execute(
        "SELECT document, position FROM raw GROUP BY ALL HAVING count(*) > 1 LIMIT 1"
    ).fetchone()
    if twice is not None:
        raise BadInput(
            f"{file} labels document {twice[0]}, position {twice[1]} twice; give a token one row"
        )
    values: list[tuple[Any, ...] | None] = []
    codes, concepts, groups = [], [], []
    for number, key in enumerate(names):
        one = quoted[key]
        if of_value[key] == "BOOLEAN":
            codes.append(f"coalesce({one}::INTEGER, -1) AS c{number}")
            values.append(None)
            concepts.append(key)
            groups.append(number)
            continue
        own = tuple(
            row[0]
            for row in connection.execute(
                f"SELECT DISTINCT {one} FROM raw WHERE {one} IS NOT NULL ORDER BY 1"
                f" LIMIT {MOST_CONCEPTS + 1}"
            ).fetchall()
        )
        if len(own) > MOST_CONCEPTS:
            raise BadInput(
                f"{file}: `{key}` has more than {MOST_CONCEPTS:,} values, each of them a concept; "
                "name another column"
            )
        connection.execute(f"CREATE TABLE v{number} (value {of_value[key]}, code INTEGER)")
        if own:
            connection.executemany(
                f"INSERT INTO v{number} VALUES (?, ?)", [[v, code] for code, v in enumerate(own)]
            )
        codes.append(
            f"coalesce((SELECT code FROM v{number} WHERE value = {one}), -1)::INTEGER AS c{number}"
        )
        values.append(own)
        concepts += [f"{key}={value}" for value in own]
        groups += [number] * len(own)
    if not concepts:
        raise BadInput(f"{file} holds no label")
    connection.execute(
        f"CREATE TABLE labels AS SELECT document::BIGINT AS document, position::BIGINT AS position,"
        f" {', '.join(codes)} FROM raw ORDER BY document, position"
    )
    connection.execute("DROP TABLE raw")
    return TableLabels(tuple(concepts), tuple(groups), tuple(values), connection, file, by_token)
