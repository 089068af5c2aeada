"""README.md, CONTRIBUTING.md, docs/, cards, studies: links lead somewhere, and commands parse."""

import functools
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from tokenizers import Tokenizer

from autointerp.apps.cli._app import build_app

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "runs/README.md")),
    ROOT / "reports" / "README.md",
    ROOT / "autointerp" / "questions" / "kit_text" / "CARD.md",
    ROOT / "autointerp" / "subjects" / "embedded" / "CARD.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "studies").rglob("*.md")),
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
# A block between fences, or one that is indented by four spaces after an empty line.
BLOCK = re.compile(
    r"^```[^\n]*\n(?P<fenced>.*?)^```$|(?<=\n\n)(?P<indented>(?: {4}[^\n]*\n|\n(?= {4}))+)",
    re.M | re.S,
)
INLINE = re.compile(r"(?<!`)`(autointerp [^`]+)`(?!`)")
PROGRAM = re.compile(r"(?:^|\s|/)autointerp(?=\s)")
# What a shell does with the rest of a line is not the program's.
SHELL = re.compile(r"\s+(?:#|\||>|&&|;).*$")
# Of docs/extending.md: a name for any command, and the example of one, which has its own test.
NOT_HERE = ("NAME", "top")


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def without_code(text: str) -> str:
    """Return Markdown without its fenced blocks and inline code, in which nothing is a link."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))


@functools.cache
def anchors(page: Path) -> frozenset[str]:
    """Return the targets that a page's headings make, as GitHub does."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return frozenset(
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
    )


def commands_in(text: str) -> Iterator[str]:
    """Yield the command lines of `autointerp` in code, without the program's name.

    Lines that end in a backslash are joined; of an inline code with a remark only the command.
    """
    for match in BLOCK.finditer(text):
        block = match["fenced"] or match["indented"] or ""
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            yield from command_of(line)
    for inline in INLINE.findall(re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)):
        yield from command_of(inline)


def command_of(line: str) -> Iterator[str]:
    """Yield what stands behind the program's name, if a line of code runs it."""
    line = SHELL.sub("", line.strip())
    found = PROGRAM.search(line)
    if found and not re.match(r"(?:pip|git|import|from|#|\W)", line):
        yield line[found.end() :].strip()


@functools.cache
def program() -> Any:
    """The program's own parser."""
    return typer.main.get_command(build_app())


def parse(command: str) -> None:
    """Parse a command line by the program's own parser; nothing is run.

    A command that is named without arguments, or with `…` for them, need only exist. Raises
    typer's usage errors.
    """
    words = shlex.split(command)
    if not words or words[0] in (*NOT_HERE, "--help"):
        return
    context, root = None, program()
    while words and hasattr(root, "resolve_command"):
        context = root.make_context(root.name, words, parent=context)
        _, root, words = root.resolve_command(context, words)
    if words and words != ["…"]:
        root.make_context(root.name, words, parent=context)


@pytest.mark.parametrize(
    "command",
    ["rate --sorce features", "train report --token 5", "rates", "report --units many", "rate a b"],
)
def test_a_line_that_does_not_parse_is_seen(command: str):
    with pytest.raises(typer.TyperException):
        parse(command)


def test_command_lines_are_seen_in_blocks_and_in_sentences():
    text = (
        "Run `autointerp report main`, or:\n\n"
        "    torchrun -m autointerp harvest -n 5   # a remark\n\n"
        "```\nautointerp rate \\\n    --n 3 > out.txt\nimport autointerp\n```\n"
    )
    assert sorted(commands_in(text)) == ["harvest -n 5", "rate --n 3", "report main"]


def test_the_pages_have_command_lines_and_links():
    texts = [page.read_text("utf-8") for page in PAGES]
    assert sum(len(list(commands_in(text))) for text in texts) > 60
    assert sum(len(LINK.findall(text)) for text in texts) > 30


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_relative_links_point_to_a_file_and_to_a_heading_in_it(page: Path):
    broken = []
    for target in LINK.findall(without_code(page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors(file.resolve())):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_command_lines_parse(page: Path):
    refused = []
    for command in commands_in(page.read_text("utf-8")):
        try:
            parse(command)
        except typer.TyperException as error:
            refused.append(f"autointerp {command}: {error.format_message()}")
    assert refused == []


def test_tokens_of_an_example_are_tokens_of_the_embedded_subject():
    subject = ROOT / "autointerp" / "subjects" / "embedded"
    tokenizer = Tokenizer.from_file(str(subject / "tokenizer.json"))
    named = {
        word
        for page in PAGES
        for command in commands_in(page.read_text("utf-8"))
        for option, word in itertools.pairwise(shlex.split(command))
        if option in ("--target", "--against")
    }
    cut = {word: tokenizer.encode(word, add_special_tokens=False).tokens for word in named}
    assert len(cut) > 3
    assert {word: tokens for word, tokens in cut.items() if len(tokens) != 1} == {}


def test_the_readme_says_where_each_page_is_in_one_table():
    table = (ROOT / "README.md").read_text("utf-8").partition("\n## Where to read on\n")[2]
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages - set(LINK.findall(table)) == set()
