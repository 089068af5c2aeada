"""Import of Ward's `features.md`: a table of the strongest contexts under each `### Feature ID: N`.

Published with "Monosemanticity at Home" (github.com/jnward/monosemanticity-repro): token and
context are Python literals in backquotes, padded; the activation is that of the token alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from autointerp.errors import ExchangeError
from autointerp.exchange import ForeignContext, ForeignUnit, ImportOptions
from autointerp.exchange._windows import check_size
from autointerp.files import bounded_lines
from autointerp.text import CONTROL, is_control_token

NOTES = (
    "The file gives the activation of one token in each context; the tokens beside it count as "
    "silent, and are words and punctuation marks, not the model's tokens.",
    "Its activations are rounded to two places.",
)

HEADING = re.compile(r"#{1,9}\s{0,9}Feature ID:(.*)")
COLUMNS = ["Token ID", "Activation", "Token", "Context"]
RULE = re.compile(r"[|:\s-]+")
LITERAL = r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
ROW = re.compile(
    rf"\|\s*\d+\s*\|\s*(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*\|\s*`\s*{LITERAL}\s*`\s*"
    rf"\|\s*`\s*{LITERAL}\s*`\s*\|\s*"
)
WORDS = re.compile(r" ?\w+| ?[^\w\s]+|\s+")
UNREADABLE = "\N{REPLACEMENT CHARACTER}"  # a token that is a part of a character
NO_ASCII = r"[^\x00-\x7f]"
MOST_PARTS, LONGEST_GAP = 4, 8  # of a token with pieces of characters in it


def recognises(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return re.search(rb"^#+ *Feature ID:", file.read(1 << 16), re.MULTILINE) is not None


def read(path: Path, options: ImportOptions) -> Iterator[ForeignUnit]:
    """Yield the features in order.

    Raises ExchangeError if a line of a table is not of the form, a token is not in its context,
    or a feature comes twice.
    """
    source = options.source or "features"
    name, began, contexts, size = "", 0, list[ForeignContext](), 0
    in_table = False
    seen = set()
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(bounded_lines(file), 1):
                where = f"{path}, line {number}"
                heading = HEADING.fullmatch(line.strip())
                if heading:
                    if name:
                        yield _unit(source, name, contexts, in_table, f"{path}, line {began}")
                    name, began, contexts, in_table = heading[1].strip(), number, [], False
                    size = 0
                    if not re.fullmatch(r"\d{1,18}", name):
                        raise ExchangeError(f"{where}: feature '{name[:60]}' has no number")
                    if name in seen:
                        raise ExchangeError(f"{where}: feature {name} for the second time")
                    seen.add(name)
                elif line.startswith("|") and not name:
                    raise ExchangeError(f"{where}: a table before any '### Feature ID: N'")
                elif line.startswith("|") and not in_table:
                    columns = [cell.strip() for cell in line.strip().strip("|").split("|")]
                    if columns != COLUMNS:
                        raise ExchangeError(
                            f"{where}: the table's columns are {', '.join(columns)}; "
                            f"they must be {', '.join(COLUMNS)}"
                        )
                    in_table = True
                elif line.startswith("|") and not RULE.fullmatch(line.strip()):
                    context = _context(line, options.each_side, where)
                    if context is not None:
                        size += len(context.tokens)
                        check_size(size, f"{where}, feature {name}")
                        contexts.append(context)
    except UnicodeDecodeError as error:
        raise ExchangeError(f"{path} is not UTF-8 text ({error.reason})") from None
    except ValueError as error:
        raise ExchangeError(f"{path}: {error}") from None
    if not name:
        raise ExchangeError(f"{path} has no '### Feature ID: N'")
    yield _unit(source, name, contexts, in_table, f"{path}, line {began}")


def _unit(
    source: str, name: str, contexts: list[ForeignContext], has_table: bool, where: str
) -> ForeignUnit:
    if not has_table:
        raise ExchangeError(f"{where}: feature {name} has no table")
    return ForeignUnit(source, name, tuple(contexts))


def _context(line: str, each_side: int | None, where: str) -> ForeignContext | None:
    """Return a row as a context; None if it is about a control token."""
    match = ROW.fullmatch(line.strip())
    if not match:
        raise ExchangeError(
            f"{where}: not a row `| token id | activation | `'token'` | `'context'` |`: "
            f"{line.strip()[:60]}"
        )
    activation = float(match[1])
    try:
        token, text = (str(ast.literal_eval(literal)) for literal in match.groups()[1:])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExchangeError(f"{where}: a token or context is not a Python literal") from None
    if not 0 < activation < float("inf"):
        raise ExchangeError(f"{where}: activation {match[1]}; a listed token must fire")
    if is_control_token(token.strip()):
        return None
    first, last = _place(token, text, where)
    # A control token is where a text ends.
    begin = max((m.end() for m in CONTROL.finditer(text) if m.end() <= first), default=0)
    end = min((m.start() for m in CONTROL.finditer(text) if m.start() >= last), default=len(text))
    first, last, text = first - begin, last - begin, text[begin:end]
    before, after = WORDS.findall(text[:first]), WORDS.findall(text[last:])
    if each_side is not None:
        before, after = before[max(0, len(before) - each_side) :], after[:each_side]
    silent_before, silent_after = (0.0,) * len(before), (0.0,) * len(after)
    return ForeignContext(
        (*before, text[first:last], *after),
        (*silent_before, activation, *silent_after),
        focus=len(before),
    )


def _place(token: str, text: str, where: str) -> tuple[int, int]:
    """Return where in the text the token is; where it occurs more than once, nearest the middle.

    A token that is a part of a character stands where the text has a complete one.
    """
    if not token.strip(UNREADABLE):
        pattern = NO_ASCII
    else:
        parts = re.split(f"{UNREADABLE}+", token)
        if len(parts) > MOST_PARTS:  # each gap more multiplies the steps of a search
            parts = [max(parts, key=len)]
        pattern = f"{NO_ASCII}{{0,{LONGEST_GAP}}}".join(map(re.escape, parts))
    places = [match.span() for match in re.finditer(pattern, text, re.DOTALL) if match[0]]
    if not token or not places:
        raise ExchangeError(f"{where}: token {token[:60]!r} is not in its context {text[:200]!r}")
    return min(places, key=lambda place: abs(sum(place) - len(text)))
