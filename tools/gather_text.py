"""Write the embedded subject's training and held-out text from unpacked Debian and npm packages.

Obtain the packages once; each is unpacked into a folder of its own name:

    apt-get download NAME             # every name in `DEBIAN_NAMES`
    dpkg-deb -x NAME_*.deb PACKAGES/NAME
    npm pack NAME                     # every name in `NPM_NAMES`
    mkdir PACKAGES/npm-NAME-VERSION && tar xzf NAME-VERSION.tgz -C PACKAGES/npm-NAME-VERSION

Python source is read from the standard library named by --python-library. The output is a function
of the packages alone: files are visited, and the held-out side chosen, by hashes of their names.
Every piece of one original file (one book, one hundred records of a large single-file collection)
falls on the same side.

Writes train.jsonl, heldout.jsonl (one JSON object a line: text, domain, package, licence, document)
and sources.md, the table of what they hold.
"""

import argparse
import gzip
import hashlib
import html
import itertools
import json
import random
import re
import struct
import sys
import sysconfig
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

MINIMUM_CHARACTERS = 500
MAXIMUM_CHARACTERS = 20_000
PIECES_PER_FILE = 15  # no single file fills its domain
HELDOUT_SHARE = 0.0815  # of each domain's characters

DEBIAN_NAMES = [
    "debian-handbook",
    "dict-devil",
    "dict-elements",
    "dict-jargon",
    "gnome-user-docs",
    "golang-1.19-src",
    "libboost1.74-doc",
    "libreoffice-help-de",
    "libreoffice-help-es",
    "libreoffice-help-fr",
    "libreoffice-help-it",
    "miscfiles",
    "nodejs-doc",
    "postgresql-doc-15",
    "python3.11-doc",
    "rust-doc",
    "sqlite3-doc",
    "sword-comm-mhcc",
    "sword-comm-tdavid",
    "sword-text-kjv",
    "tzdata",
    "unicode-data",
    "wordnet-base",
]

NPM_NAMES = (  # with versions: a newer release changes the output
    "async@3.2.6 bluebird@3.7.2 commander@14.0.3 eslint@8.57.1 express@5.3.0 jquery@4.0.0 "
    "lodash@4.18.1 moment@2.31.0 ramda@0.32.0 react-dom@16.14.0 rxjs@7.8.2 three@0.128.0 "
    "underscore@1.13.8 vue@2.6.14 yargs@18.2.0"
)


@dataclass(frozen=True)
class Unit:
    """One original file, or one section of a single-file collection; never split across sides."""

    domain: str
    package: str
    licence: str
    name: str
    text: str


@dataclass(frozen=True)
class Document:
    """One line of the output."""

    text: str
    domain: str
    package: str
    licence: str
    document: str


def rank(package: str, name: str) -> int:
    """Return the stable pseudo-random order of a file among its domain's files."""
    return int.from_bytes(hashlib.sha256(f"{package}/{name}".encode()).digest()[:8], "big")


def read(path: Path) -> str:
    """Return a file's text, gunzipped if need be; what is not UTF-8 is read as Latin-1."""
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text.replace("\r\n", "\n")


# ---- mark-up to plain text -----------------------------------------------------------------

BLOCKS = {
    "address",
    "article",
    "blockquote",
    "body",
    "caption",
    "center",
    "dd",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "li",
    "main",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "td",
    "th",
    "tr",
    "ul",
    "title",
    "item",
    "steps",
    "list",
    "terms",
    "note",
    "screen",
    "code",
    "media",
    "comment",
    "page",
    "desc",
}
INLINE_CODE = {"code"}  # a block in Mallard only when outside a paragraph; inline everywhere here
SKIPPED_TAGS = {"script", "style", "nav", "header", "footer", "head", "svg", "button", "select"}
SKIPPED_CLASSES = {
    "toc", "navheader", "navfooter", "docnav", "spirit-nav", "nav-wrapper", "relatedtopics",
    "nosearch", "imgcontainer", "copyright-footer", "howtoget", "noteicon", "buttons",
}  # fmt: skip
VOID_TAGS = {
    "area",
    "base",
    "br",
    "col",
    "embed",
    "hr",
    "img",
    "input",
    "link",
    "meta",
    "source",
    "track",
    "wbr",
}


class PlainText(HTMLParser):
    """Collects the text of mark-up as blocks separated by blank lines; `pre` keeps its lines."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[str] = []
        self.words: list[str] = []
        self.skipping: tuple[str, int] | None = None  # the tag being skipped, and its depth
        self.preformatted = 0

    def flush(self) -> None:
        text = "".join(self.words)
        self.words = []
        if self.preformatted:
            text = "\n".join(line.rstrip() for line in text.strip("\n").split("\n"))
        else:
            text = "\n".join(" ".join(line.split()) for line in text.split("\v")).strip()
        if text.strip():
            self.blocks.append(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.skipping:
            if tag == self.skipping[0]:
                self.skipping = (tag, self.skipping[1] + 1)
            return
        attributes = dict(attrs)
        classes = set((attributes.get("class") or "").split())
        hidden = "hidden" in attributes and attributes.get("hidden") != "false"
        if tag not in VOID_TAGS and (tag in SKIPPED_TAGS or classes & SKIPPED_CLASSES or hidden):
            self.skipping = (tag, 1)
            return
        if tag == "br":
            self.words.append("\n" if self.preformatted else "\v")
        elif tag in BLOCKS - INLINE_CODE:
            self.flush()
            if tag in ("pre", "screen"):
                self.preformatted += 1
            elif tag == "li":
                self.words.append("- ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID_TAGS:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self.skipping:
            if tag == self.skipping[0]:
                depth = self.skipping[1] - 1
                self.skipping = (tag, depth) if depth else None
        elif tag in BLOCKS - INLINE_CODE:
            self.flush()
            if tag in ("pre", "screen") and self.preformatted:
                self.preformatted -= 1

    def handle_data(self, data: str) -> None:
        if not self.skipping:
            self.words.append(data)


def plain_text(markup: str) -> str:
    """Return the text of HTML or Mallard mark-up, blocks separated by blank lines."""
    parser = PlainText()
    parser.feed(markup)
    parser.close()
    parser.flush()
    blocks: list[str] = []
    for block in parser.blocks:
        if block.strip() in {"-", "|", "•", ".", "¶"}:
            continue
        if blocks and blocks[-1] == "-":
            blocks.pop()
        if blocks and block.startswith("- ") and blocks[-1].startswith("- "):
            blocks[-1] += "\n" + block  # items of one list stay together
        else:
            blocks.append(block.replace("¶", ""))
    return "\n\n".join(blocks)


def between(text: str, start: str, end: str) -> str:
    """Return the part between two regular expressions; "" if the first does not occur."""
    opening = re.search(start, text)
    if not opening:
        return ""
    closing = re.search(end, text[opening.end() :])
    return text[opening.end() : opening.end() + closing.start() if closing else None]


def mallard_body(page: str) -> str:
    """Return a Mallard page without its credits, revisions and links; "" for a pure index page."""
    page = re.sub(r"<info>.*?</info>\s*", "", page, flags=re.DOTALL)
    page = re.sub(r"<\?xml[^>]*\?>\s*|<!--.*?-->\s*|<!DOCTYPE.*?\]?>\s*", "", page, flags=re.DOTALL)
    return page if page.count("<p>") > 2 else ""


def html_body(start: str, end: str) -> Callable[[str], str]:
    """Return a function that keeps a page's mark-up between two patterns."""
    return lambda page: re.sub(r"<script.*?</script>|<!--.*?-->", "", between(page, start, end),
                               flags=re.DOTALL).strip()  # fmt: skip


def html_text(start: str, end: str) -> Callable[[str], str]:
    """Return a function that turns a page's mark-up between two patterns into text."""
    return lambda page: plain_text(between(page, start, end))


def translated(convert: Callable[[str], str]) -> Callable[[str], str]:
    """Return a function that also drops the paragraphs a translator left in English."""

    def clean(page: str) -> str:
        kept = []
        for paragraph in convert(page).split("\n\n"):
            words = re.findall(r"[a-z]+", paragraph.lower())
            english = sum(word in {"the", "and", "of", "is", "to", "with"} for word in words)
            if english < 2 or english < 0.08 * len(words):
                kept.append(paragraph)
        return "\n\n".join(kept)

    return clean


# ---- code ----------------------------------------------------------------------------------


def code(source: str) -> str:
    """Return source code without its leading licence comment; "" if generated or minified."""
    lines = source.split("\n")
    if "ode generated" in source[:2000] or "DO NOT EDIT" in source[:2000]:
        return ""
    if max(map(len, lines)) > 400 or len(source) > 80 * len(lines):
        return ""
    licence = re.compile(r"copyright|licen[sc]e|warrant", re.IGNORECASE)
    pattern = r"\s*(?:(?:(?://|#(?!!|include|if|define)).*\n)+|/\*.*?\*/[ \t]*\n?)"
    while comment := re.match(
        pattern, source, flags=re.DOTALL if source.lstrip()[:2] == "/*" else 0
    ):
        if not licence.search(comment.group()):
            break
        source = source[comment.end() :]
    return source.strip("\n")


def boost_code(source: str) -> str:
    """Return C++ code under the Boost Software License; "" for a file that does not name it."""
    return code(source) if "Boost Software License" in source or "boost.org/LICENSE" in source[
        :1500
    ] else ""  # fmt: skip


def boost_page(page: str) -> str:
    """Return a Boost page's mark-up; "" for a page that does not name the licence."""
    if "LICENSE_1_0" not in page:
        return ""
    body = html_body(r"<div class=\"(?:section|chapter|refentry)\">", r"<table[^>]*><tr>\s*<td al")
    return body(page)


# ---- collections kept in one file ------------------------------------------------------------


def grouped(lines: Iterable[str], size: int, separator: str) -> Iterator[str]:
    """Yield consecutive records joined until each group has `size` characters."""
    group: list[str] = []
    characters = 0
    for line in lines:
        group.append(line)
        characters += len(line)
        if characters >= size:
            yield separator.join(group)
            group, characters = [], 0
    if group:
        yield separator.join(group)


def dictionary(path: Path) -> Iterator[tuple[str, str]]:
    """Yield groups of a dictd dictionary's entries."""
    text = read(path)
    text = re.sub(r"(?ms)^00-?database.*?\n(?=\S)|^00-?database.*?\n\n(?=\S)", "", text)
    entries = re.split(r"\n\n+(?=\S)", text)
    entries = [re.sub(r"\{\s*([^{}]*?)\s*\}", r"\1", entry) for entry in entries]
    headers = ("00", "http:", "This file was converted", "Elements database")
    entries = [entry.strip("\n") for entry in entries if not entry.startswith(headers)]
    for number, group in enumerate(grouped(entries, 12_000, "\n\n")):
        yield f"part {number:03}", group


def sword(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (book or chapter, text) of a SWORD compressed text; `path` is its block index (*zs)."""
    compressed = path.with_name(path.name[:-1] + "z").read_bytes()
    blocks = [
        zlib.decompress(compressed[start : start + size]).decode("utf-8", errors="replace")
        for start, size, _ in struct.iter_unpack("<III", path.read_bytes())
    ]
    verses = path.with_name(path.name[:-1] + "v").read_bytes()
    layout = "<IIH" if "ztext" in path.parts else "<III"
    if len(verses) % struct.calcsize(layout):
        layout = "<IIH" if layout == "<III" else "<III"
    lines: dict[int, list[str]] = defaultdict(list)
    encoded = [block.encode() for block in blocks]
    seen: set[tuple[int, int]] = set()  # a comment on several verses is indexed once per verse
    for block, start, size in struct.iter_unpack(layout, verses):
        if not size or block >= len(blocks) or (block, start) in seen:
            continue
        seen.add((block, start))
        lines[block].append(encoded[block][start : start + size].decode("utf-8", errors="replace"))
    for block, entries in lines.items():
        joined = "\n".join(entries)
        joined = re.sub(r"<note.*?</note>|<title[^>]*type=\"main\".*?</title>", "", joined,
                        flags=re.DOTALL)  # fmt: skip
        joined = re.sub(r"<chapter[^>]*sID=[^>]*>", "\n\n", joined)
        joined = re.sub(r"<div[^>]*type=\"x-p\"[^>]*>", "\n", joined)
        joined = html.unescape(re.sub(r"<[^>]+>", "", joined))
        joined = re.sub(r"[ \t]+", " ", joined)
        joined = re.sub(r" ?\n ?", "\n", joined)
        yield f"{path.name} {block:03}", re.sub(r"\n{3,}", "\n\n", joined).strip()


def wordnet(path: Path) -> Iterator[tuple[str, str]]:
    """Yield groups of WordNet entries as "word, word (noun): gloss"."""
    names = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}
    entries = []
    for line in read(path).split("\n"):
        if not line or line.startswith("  "):
            continue
        fields, _, gloss = line.partition(" | ")
        parts = fields.split(" ")
        words = [re.sub(r"\(\w+\)$", "", w).replace("_", " ")
                 for w in parts[4 : 4 + 2 * int(parts[3], 16) : 2]]  # fmt: skip
        entries.append(f"{', '.join(words)} ({names[parts[2]]}): {gloss.strip()}")
    for number, group in enumerate(grouped(entries, 9_000, "\n")):
        yield f"glosses {number:04}", group


def wordnet_records(path: Path) -> Iterator[tuple[str, str]]:
    """Yield groups of WordNet's raw records without their glosses: offsets, words, pointers."""
    lines = (line.partition(" | ")[0] for line in read(path).split("\n") if line[:1] != " ")
    for number, group in enumerate(grouped(lines, 9_000, "\n")):
        yield f"records {number:04}", group


def table(path: Path) -> Iterator[tuple[str, str]]:
    """Yield groups of a table's lines, without its opening comment."""
    lines = [
        line for line in read(path).split("\n") if not re.match(r"#\s*(©|For terms|Copy)", line)
    ]
    for number, group in enumerate(grouped(lines, 9_000, "\n")):
        yield f"rows {number:04}", group


def chapters(path: Path, size: int = 18_000) -> Iterator[tuple[str, str]]:
    """Yield groups of a book's paragraphs, without the Project Gutenberg frame."""
    text = read(path)
    text = re.split(r"\*\*\* ?END OF TH", re.split(r"\*\*\* ?START OF TH.*\n", text)[-1])[0]
    text = re.sub(r"(?m)^\s*Produced by .*(\n.+)*", "", text)
    paragraphs = [p.strip("\n") for p in re.split(r"\n\s*\n", text) if p.strip()]
    for number, group in enumerate(grouped(paragraphs, size, "\n\n")):
        yield f"part {number:03}", group


# ---- sources -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """Files of one package that feed one domain."""

    domain: str
    package: str
    licence: str
    pattern: str  # glob below the package's folder
    characters: int  # at most this many are taken
    convert: Callable[[str], str] | None = None  # one unit a file
    sections: Callable[[Path], Iterator[tuple[str, str]]] | None = None  # several units a file
    share: tuple[int, tuple[int, ...]] | None = None  # (k, residues): of the pages, by rank % k
    excluded: str = r"$^"  # regular expression on the path


MILLION = 1_000_000
CC_BY_SA_3, MIT_APACHE = "CC-BY-SA-3.0", "MIT OR Apache-2.0"
HANDBOOK = "usr/share/doc/debian-handbook/html"
HANDBOOK_TEXT = html_text(r"(?=<div class=\"(?:section|chapter|preface|appendix)\")",
                          r"<ul class=\"docnav\"")  # fmt: skip
OFFICE_TEXT = html_text(r"<div id=\"DisplayArea\"[^>]*>",
                        r"<a name=\"relatedtopics\"|<div id=\"SearchFrame\"")  # fmt: skip
GO = "usr/share/go-1.19"
BOOST = "usr/share/doc/libboost1.74-doc"
LANGUAGES = [("german", "de", "de-DE"), ("french", "fr", "fr-FR"),
             ("spanish", "es", "es-ES"), ("italian", "it", "it-IT")]  # fmt: skip


def mallard_text(page: str) -> str:
    """Return the text of a Mallard page."""
    keys = re.sub(r"</key>\s*<key", "</key>+<key", mallard_body(page))
    return plain_text(keys)


def debian_sources() -> list[Source]:
    """Return every source, in the order in which the first of two copies is kept."""
    public = "public domain"
    sources = [
        Source("scripture", "sword-text-kjv", public, "**/*.bzs", 5 * MILLION, sections=sword),
        Source("commentary", "sword-comm-mhcc", public, "**/*.bzs", 3 * MILLION, sections=sword),
        Source("commentary", "sword-comm-tdavid", public, "**/*.czs", 3 * MILLION, sections=sword),
        Source("science_1704", "golang-1.19-src", public, f"{GO}/src/testdata/*Opticks.txt",
               MILLION, sections=chapters),
        Source("law", "miscfiles", "public domain (US government)", "usr/share/state/*.gz",
               MILLION, sections=lambda path: chapters(path, 5_000)),
        Source("dictionary", "dict-devil", public, "**/*.dict.dz", MILLION, sections=dictionary),
        Source("dictionary", "dict-elements", public, "**/*.dict.dz", MILLION,
               sections=dictionary),
        Source("jargon", "dict-jargon", public, "**/*.dict.dz", 2 * MILLION, sections=dictionary),
        Source("encyclopedic_glosses", "wordnet-base", "WordNet", "**/wordnet/data.*",
               6 * MILLION, sections=wordnet),
        Source("handbook_en", "debian-handbook", CC_BY_SA_3, f"{HANDBOOK}/en-US/*.html",
               2 * MILLION, HANDBOOK_TEXT, share=(12, (0, 1, 2, 3))),
        Source("handbook_en", "gnome-user-docs", CC_BY_SA_3, "usr/share/help/C/**/*.page",
               2 * MILLION, mallard_text, share=(12, (0, 1, 2))),
        Source("rust_prose", "rust-doc", MIT_APACHE, "usr/share/doc/rust-doc/html/*/**/*.html",
               4 * MILLION, html_text(r"<main>", r"</main>"),
               excluded=r"print\.html|html/(src|core|std|alloc|proc_macro|test|implementors)/"),
        Source("database_docs", "postgresql-doc-15", "PostgreSQL", "**/html/*.html",
               int(3.6 * MILLION), html_text(r"<hr /></div>", r"<div class=\"navfooter\""),
               share=(4, (0, 1, 2)), excluded=r"bookindex|release-|/index\.html|contrib\.html"),
        Source("database_docs", "sqlite3-doc", public, "**/sqlite3/**/*.html",
               int(3.2 * MILLION),
               html_text(r"<div class=\"?fancy\"?>", r"This page last modified"),
               excluded=r"crossref|requirements|keyword_index|sitemap|syntax/|releaselog|doclist"),
        Source("rest", "python3.11-doc", "PSF-2.0", "**/_sources/**/*.txt", 6 * MILLION,
               lambda page: re.sub(r"(?m)^\.\. (module|sectionauthor|moduleauthor)::.*\n", "",
                                   page)),
        Source("python", "python-stdlib", "PSF-2.0", "**/*.py", 6 * MILLION, code,
               excluded=r"site-packages|_bundled|/pydoc_data/|/encodings/(?!idna|utf_8|__init)"
                        r"|lib2to3/tests|/config-|_sysconfigdata"),
        Source("go", "golang-1.19-src", "BSD-3-Clause", f"{GO}/src/**/*.go",
               int(4.4 * MILLION), code,
               excluded=r"vendor/|testdata/|jpeg/.dct|debug/elf|tables|trace_viewer"),
        Source("cpp", "libboost1.74-doc", "BSL-1.0", f"{BOOST}/**/*.cpp", 2 * MILLION,
               boost_code),
        Source("html", "postgresql-doc-15", "PostgreSQL", "**/html/*.html", int(1.2 * MILLION),
               html_body(r"<hr /></div>", r"<div class=\"navfooter\""), share=(4, (3,)),
               excluded=r"bookindex|release-|/index\.html"),
        Source("html", "nodejs-doc", "MIT", "**/api/*.html", int(1.6 * MILLION),
               html_body(r"<div id=\"apicontent\">", r"<!-- API END -->|</body>"),
               excluded=r"all\.html|index\.html"),
        Source("html", "libboost1.74-doc", "BSL-1.0", f"{BOOST}/doc/html/**/*.html",
               int(1.4 * MILLION), boost_page),
        Source("xml", "gnome-user-docs", CC_BY_SA_3, "usr/share/help/C/**/*.page", MILLION,
               mallard_body, share=(12, (3,))),
        Source("tables_numbers", "tzdata", public, "**/zoneinfo/tzdata.zi", MILLION // 10,
               sections=table),
        Source("tables_numbers", "tzdata", public, "**/zoneinfo/*.tab", MILLION // 10,
               sections=table),
        Source("tables_numbers", "wordnet-base", "WordNet", "**/wordnet/data.*", MILLION // 2,
               sections=wordnet_records),
    ]  # fmt: skip
    unicode_files = {
        "UnicodeData": 4, "NamesList": 4, "allkeys": 4, "USourceData": 2, "EastAsianWidth": 2,
        "ArabicShaping": 1, "Index": 2, "Scripts": 2, "StandardizedVariants": 1, "CaseFolding": 1,
        "BidiTest": 1, "BidiCharacterTest": 2, "LineBreak": 2, "emoji/emoji-test": 2,
    }  # fmt: skip
    for name, weight in unicode_files.items():
        sources.append(
            Source("tables_numbers", "unicode-data", "Unicode-DFS-2016", f"**/unicode/{name}.txt",
                   weight * MILLION // 12, sections=table)
        )  # fmt: skip
    for place, (domain, code_office, code_handbook) in enumerate(LANGUAGES):
        pages = (12, (4 + 2 * place, 5 + 2 * place))
        office_pages = (4, (place, (place + 1) % 4))  # each page in two of the four languages
        sources += [
            Source(domain, "debian-handbook", CC_BY_SA_3, f"{HANDBOOK}/{code_handbook}/*.html",
                   MILLION, translated(HANDBOOK_TEXT), share=pages),
            Source(domain, "gnome-user-docs", CC_BY_SA_3,
                   f"usr/share/help/{code_office}/**/*.page", MILLION,
                   translated(mallard_text), share=pages),
            Source(domain, f"libreoffice-help-{code_office}", "MPL-2.0", "**/help/*/text/**/*.html",
                   4 * MILLION, translated(OFFICE_TEXT), share=office_pages),
        ]  # fmt: skip
    for place, language in enumerate(["pt_BR", "sv", "pl", "ca", "nl", "hu", "ru", "cs"]):
        sources.append(
            Source("xml", "gnome-user-docs", CC_BY_SA_3, f"usr/share/help/{language}/**/*.page",
                   MILLION // 4, mallard_body, share=(8, (place, (place + 3) % 8)))
        )  # fmt: skip
    return sources


def npm_sources(packages: Path) -> list[Source]:
    """Return one source of JavaScript for each unpacked npm package under a permissive licence."""
    sources = []
    for folder in sorted(packages.glob("npm-*")):
        manifest = json.loads((folder / "package" / "package.json").read_text())
        licence = str(manifest.get("license"))
        if licence in {"MIT", "ISC", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause"}:
            sources.append(
                Source("javascript", folder.name, licence, "package/**/*.[jt]s",
                       int(0.9 * MILLION), code,
                       excluded=r"\.min\.|/min/|/umd/|/amd/|/dist/(?!chart\.js|vue\.js)|/fp/"
                                r"|/libs/|/es/|/build/three|examples/js/|production|slim"
                                r"|\.d\.ts|/esm/|bundle|/_\w+\.js$")
            )  # fmt: skip
    return sources


def member(path: Path, share: tuple[int, tuple[int, ...]] | None) -> bool:
    """Return whether a page belongs to this source's share of the pages.

    The same page has the same file name in every language, so each language can take other pages.
    """
    if share is None:
        return True
    modulus, residues = share
    return rank("page", path.name) % modulus in residues


def units(source: Source, folder: Path) -> Iterator[Unit]:
    """Yield a source's units in hash order until its characters are reached."""
    paths = [
        path
        for path in folder.glob(source.pattern)
        if path.is_file()
        and member(path, source.share)
        and not re.search(source.excluded, path.as_posix().removeprefix(folder.as_posix()))
    ]
    named: list[tuple[str, Callable[[], str]]] = []
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if source.sections:
            for section, text in source.sections(path):
                named.append((f"{name}#{section}", lambda text=text: text))  # type: ignore[misc]
        else:
            named.append((name, lambda path=path: read(path)))  # type: ignore[misc]
    characters = 0
    for name, load in sorted(named, key=lambda item: (rank(source.package, item[0]), item[0])):
        if characters >= source.characters:
            return
        text = source.convert(load()) if source.convert else load()
        if text.count("\ufffd") > 3 or len(text) < MINIMUM_CHARACTERS:
            continue
        characters += min(len(text), PIECES_PER_FILE * MAXIMUM_CHARACTERS)
        yield Unit(source.domain, source.package, source.licence, name, text)


# ---- duplicates, pieces, sides ---------------------------------------------------------------

PARAGRAPHS_ONCE = {
    "handbook_en", "rust_prose", "database_docs", "rest", "german", "french", "spanish", "italian",
    "encyclopedic_glosses", "jargon", "dictionary", "commentary",
}  # fmt: skip
LINE_REPEATS = 12  # a short line in more documents of a domain than this is boilerplate


def normal(text: str) -> bytes:
    """Return a digest of a text that ignores case, spacing and punctuation."""
    return hashlib.md5(re.sub(r"\W+", " ", text).lower().strip().encode()).digest()


def without_repeats(collected: list[Unit]) -> list[Unit]:
    """Return the units without copies: whole files, paragraphs of prose, and stock short lines."""
    seen_lines: set[bytes] = set()
    seen_paragraphs: set[bytes] = set()
    short_lines: Counter[tuple[str, str]] = Counter()
    for unit in collected:
        if unit.domain in PARAGRAPHS_ONCE:
            stock = {line.strip() for line in unit.text.split("\n") if len(line) < 60}
            short_lines.update((unit.domain, line) for line in stock)
    kept: list[Unit] = []
    for unit in collected:
        lines = [normal(line) for line in unit.text.split("\n") if len(line.strip()) >= 30]
        repeated = sum(line in seen_lines for line in lines)
        tabular = unit.domain == "tables_numbers"
        if lines and repeated > len(lines) / 2 and not tabular:
            continue  # the same text in another package, or another build of it
        seen_lines.update(lines)
        text = unit.text
        if unit.domain in PARAGRAPHS_ONCE:
            separator = "\n" if unit.domain == "encyclopedic_glosses" else "\n\n"
            paragraphs = []
            for paragraph in text.split(separator):
                bare = paragraph.strip()
                digest = normal(bare)
                if len(bare) >= 40 and digest in seen_paragraphs:
                    continue
                if len(bare) < 60 and short_lines[(unit.domain, bare)] > LINE_REPEATS:
                    continue
                seen_paragraphs.add(digest)
                paragraphs.append(paragraph)
            text = separator.join(paragraphs)
        text = re.sub(r"\n{4,}", "\n\n\n", text)
        if len(text) >= MINIMUM_CHARACTERS:
            kept.append(Unit(unit.domain, unit.package, unit.licence, unit.name, text))
    return kept


def pieces(text: str) -> list[str]:
    """Return a text cut into documents at blank lines, else at line ends."""
    count = -(-len(text) // MAXIMUM_CHARACTERS)
    target = len(text) / count if count > 1 else MAXIMUM_CHARACTERS
    cut: list[str] = []
    current = ""
    for paragraph in re.split(r"(?<=\n)\n+(?=\S)", text):
        parts = [paragraph]
        if len(paragraph) > MAXIMUM_CHARACTERS - MINIMUM_CHARACTERS:
            parts = list(grouped(paragraph.split("\n"), MAXIMUM_CHARACTERS // 2, "\n"))
        for part in parts:
            if current and len(current) + len(part) > target + MINIMUM_CHARACTERS:
                cut.append(current)
                current = ""
            current += ("\n" if current else "") + part
    cut.append(current)
    fitting = [piece.strip("\n") for piece in cut]
    fitting = [p for p in fitting if MINIMUM_CHARACTERS <= len(p) <= MAXIMUM_CHARACTERS]
    return fitting[:PIECES_PER_FILE]


def split(collected: list[Unit]) -> tuple[list[Document], list[Document]]:
    """Return (train, heldout): of each domain and package the lowest hashes are held out.

    Every domain with two units has at least one held out.
    """
    groups: dict[tuple[str, str], list[Unit]] = defaultdict(list)
    for unit in collected:
        groups[(unit.domain, unit.package)].append(unit)
    train: list[Document] = []
    heldout: list[Document] = []
    due = 0.0  # carried from group to group, so that many small packages still add up
    for _, group in sorted(groups.items()):
        documents = {
            unit.name: [
                Document(text, unit.domain, unit.package, unit.licence, unit.name)
                for text in pieces(unit.text)
            ]
            for unit in group
        }
        sizes = {name: sum(len(d.text) for d in parts) for name, parts in documents.items()}
        due += HELDOUT_SHARE * sum(sizes.values())
        smallest = min(group, key=lambda unit: sizes[unit.name] or MAXIMUM_CHARACTERS)
        for unit in sorted(group, key=lambda unit: rank("side " + unit.package, unit.name)):
            size = sizes[unit.name]
            absent = all(document.domain != unit.domain for document in heldout)
            if size and (size < 1.3 * due or (absent and unit is smallest)):
                heldout += documents[unit.name]
                due -= size
            else:
                train += documents[unit.name]
    return train, heldout


# ---- output --------------------------------------------------------------------------------


def version(package: str, folder: Path, archives: Path | None) -> str:
    """Return a package's version from its archive's name, its npm folder or its changelog."""
    if package == "python-stdlib":
        number = re.search(r"\d+\.\d+\.\d+", folder.as_posix())
        return number.group() if number else sysconfig.get_python_version()
    if package.startswith("npm-"):
        return str(json.loads((folder / "package" / "package.json").read_text())["version"])
    for archive in sorted(archives.glob(f"{package}_*.deb")) if archives else []:
        return archive.name.split("_")[1].replace("%3a", ":")
    for changelog in sorted((folder / "usr/share/doc" / package).glob("changelog*.gz")):
        if number := re.match(r"\S+ \(([^)]+)\)", read(changelog)):
            return number.group(1)
    return "unknown"


def markdown_table(train: list[Document], heldout: list[Document], versions: dict[str, str]) -> str:
    """Return the Markdown table of domains and packages, then the totals."""
    totals: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    domains: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for column, side in ((0, train), (2, heldout)):
        for document in side:
            package = document.package
            for row in (totals[(document.domain, package, document.licence)],
                        domains[document.domain]):  # fmt: skip
                row[column] += 1
                row[column + 1] += len(document.text)
    head = "documents (train) | characters (train) | documents (held out) | characters (held out) |"
    lines = [f"| domain | package | licence | {head}", "|---|---|---|--:|--:|--:|--:|"]
    for (domain, package, licence), row in sorted(totals.items()):
        label = re.sub(r"-\d[\d.]*$", "", package) if package.startswith("npm-") else package
        lines.append(
            f"| {domain} | {label} {versions[package]} | {licence} | "
            + " | ".join(f"{number:,}" for number in row)
            + " |"
        )
    lines += ["", f"| domain | share | {head}", "|---|--:|--:|--:|--:|--:|"]
    everything = sum(row[1] for row in domains.values())
    for domain, row in sorted(domains.items(), key=lambda item: -item[1][1]):
        numbers = " | ".join(f"{number:,}" for number in row)
        lines.append(f"| {domain} | {row[1] / everything:.1%} | {numbers} |")
    sums = [sum(row[column] for row in domains.values()) for column in range(4)]
    lines.append("| all | 100.0% | " + " | ".join(f"{number:,}" for number in sums) + " |")
    return "\n".join(lines) + "\n"


def write(path: Path, documents: list[Document]) -> None:
    """Write shuffled documents as JSON lines; the order depends on the documents alone."""
    documents = sorted(documents, key=lambda d: (d.package, d.document, d.domain, d.text))
    random.Random(20240917).shuffle(documents)
    with path.open("w", encoding="utf-8") as lines:
        for document in documents:
            lines.write(json.dumps(vars(document), ensure_ascii=False) + "\n")


def main() -> None:
    """Write the two JSONL files and the table, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"Debian: {' '.join(DEBIAN_NAMES)}\n\nnpm: {NPM_NAMES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--packages", type=Path, required=True, help="folder of unpacked packages")
    parser.add_argument("--out", type=Path, required=True, help="folder for the three files")
    parser.add_argument(
        "--python-library",
        type=Path,
        default=Path(sysconfig.get_paths()["stdlib"]),
        help="a Python standard library (default: the running interpreter's)",
    )
    parser.add_argument(
        "--archives", type=Path, help="folder of the .deb files, to read exact versions from"
    )
    arguments = parser.parse_args()
    packages: Path = arguments.packages
    sources = debian_sources() + npm_sources(packages)
    folders = {source.package: packages / source.package for source in sources}
    folders["python-stdlib"] = arguments.python_library
    missing = sorted(name for name, folder in folders.items() if not folder.is_dir())
    if missing:
        parser.error(f"not unpacked under {packages}: {' '.join(missing)}")
    collected = list(
        itertools.chain.from_iterable(units(source, folders[source.package]) for source in sources)
    )
    train, heldout = split(without_repeats(collected))
    arguments.out.mkdir(parents=True, exist_ok=True)
    write(arguments.out / "train.jsonl", train)
    write(arguments.out / "heldout.jsonl", heldout)
    versions = {name: version(name, folder, arguments.archives) for name, folder in folders.items()}
    table_text = markdown_table(train, heldout, versions)
    (arguments.out / "sources.md").write_text(table_text, encoding="utf-8")
    sys.stdout.write(table_text)


if __name__ == "__main__":
    main()
