"""Write the text of the study: for the SAEs to learn from, and other text to look for units in.

The packages come from Debian 12 through `apt-get download`, each at one version and checked against
its sha256. The output is a function of the packages alone: documents are chosen, and the held-out
side drawn, by hashes of their names. None of the packages feeds the kit of `check-rater`.

Writes train.jsonl and heldout.jsonl (a JSON object a line: text, domain, package, licence,
document), sources.md, the table of what they hold, and sha256.txt.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.gather_text import (
    MILLION,
    SKIPPED_CLASSES,
    Document,
    Source,
    code,
    dictionary,
    grouped,
    html_text,
    pieces,
    rank,
    read,
    sword,
    table,
    units,
    without_repeats,
)

HELDOUT_SHARE = 0.3  # of each package's characters
PART = 6_000  # characters of a section of a collection


@dataclass(frozen=True)
class Package:
    """A Debian package at one version."""

    name: str
    version: str
    sha256: str
    architecture: str = "all"

    @property
    def archive(self) -> str:
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


PACKAGES = (
    Package("abs-guide", "10-4",
            "2432950da65e559b986f593c09a6d0dd6bc9f3bea83fa115774791066108ecd9"),
    Package("cataclysm-dda-data", "0.F-3-9",
            "cd0c097169fe364fdb6bcdab77663d24920a063387ce2fbf1b5d3be01c141105"),
    Package("crawl-common", "2:0.28.0-1.1",
            "50c8f0091ba88538dde6585e5eddba02677bfe94d3ee4dc90a5bd3a788650f59"),
    Package("debian-policy", "4.6.2.0",
            "ef9d01b625c3b87c3a845c2cd1b66f1a16e9240b2b9e5bee53472a00e8457a39"),
    Package("developers-reference", "12.18",
            "0dba82f6fa16e373f2a84ad07e7971aa9264ad2e7d2ae46b37edbc9c5fd57e2e"),
    Package("dict-foldoc", "20230119-1",
            "745cbedb55c2da609cc88ee0284e9d11a67a11ae3709daf7bad0e895ac3294c3"),
    Package("dict-gcide", "0.48.5+nmu2",
            "7b0af5cfde3cbdef5e9d6e78f92ec335ced7c2790f37a40f49bebc6f7347ac0f"),
    Package("endless-sky-data", "0.9.8-1.2",
            "e45835e05a11e84bb1a890a0ded390246a53b8318f21a25925aa70fa54f80c13"),
    Package("iso-codes", "4.15.0-1",
            "b1beb869303229c38288d4ddacfd582c91f594759b5767c9cecebd87f16ff70e"),
    Package("libeigen3-dev", "3.4.0-4",
            "1a167bb381acb90c1d8450a8f3e66a09d216dbc64b33ac8a082a0912513ef939"),
    Package("librust-tokio-dev", "1.24.2-1",
            "8b6d6c9cbfcf1980136c4a1472c31053c3282bcd905b73f5201292c62fb5f873", "amd64"),
    Package("lttng-modules-dkms", "2.13.9-1+deb12u1",
            "385d40aa872c30a76d49d14be564d8043d92e929d56e9172ef22ff2082bb356d"),
    Package("manpages", "6.03-2",
            "efa1ba4cd19ad7baeae959c9209a7eb74be2ebb858bcabb412597bfc9f588c91"),
    Package("manpages-de", "4.18.1-1",
            "37d2e7ee51f22952aecec3af93647ff59194a3c74bb7a694560f49c7f7ab3978"),
    Package("manpages-dev", "6.03-2",
            "96f55cb5e26231d5567c89b692bced63825a14a2d5bd18fdf16ea2ed44eb9838"),
    Package("manpages-es", "4.18.1-1",
            "d21e9f85e487f149ae45b5c525b2b1a70ae7fd38d4b05b47c8753042c66f4c2b"),
    Package("manpages-fr", "4.18.1-1",
            "ec29759cc0e4a44dc7719c1e32869d0060667049e584f09556f0d982b969ea33"),
    Package("pci.ids", "0.0~2023.04.11-1",
            "eac5f889128f3f53100be7f16f9a7dd5aade7499fa9571f53a6c1cfa0bf4565d"),
    Package("python3-sympy", "1.11.1-1",
            "b437232be31819aafd267ddf2132c16293ef75e02fd58b4ad31eee3ef1d5b49e"),
    Package("r-cran-janeaustenr", "1.0.0-1",
            "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95"),
    Package("sbcl-source", "2:2.2.9-1",
            "908656efc0892047dba4f32bddd38388cd4f590c2e149c90f757afc97388cd38"),
    Package("sword-text-web", "426.0-1",
            "930b23670b352f0829a306501de4bebb5e654a2df02cde2cbe86b802177868e1"),
    Package("wesnoth-1.16-did", "1:1.16.9-1",
            "774619f5aaeb7eb4c848e1cc1758795a8c58e96bd270cceecc9d847dbcc769b3"),
    Package("wesnoth-1.16-dw", "1:1.16.9-1",
            "47982e08b2a5d5fd79f400a5453f32c6d7dd56f2ccc10412a9e47dec8a9b3ca4"),
    Package("wesnoth-1.16-sota", "1:1.16.9-1",
            "fa44304ff53d259f3c5fe13c03cb8166e55e9c307807d1a5663048c396645ba6"),
)  # fmt: skip


# ---- text out of files ----------------------------------------------------------------------


def r_strings(path: Path) -> Iterator[tuple[str, str]]:
    """Yield groups of paragraphs from the character vectors in an R package's Rdata.rdb.

    The file is a row of objects: 4 bytes of length, then zlib over R's XDR serialisation (R
    Internals, section 1.8). Of these, vectors of strings are read and others passed over.
    """
    raw = path.read_bytes()
    at = number = 0
    while at + 4 < len(raw):
        inflate = zlib.decompressobj()
        body = inflate.decompress(raw[at + 4 :])
        at = len(raw) - len(inflate.unused_data)
        lines = character_vector(body)
        if not lines:
            continue
        paragraphs = [p.strip("\n") for p in re.split(r"\n\s*\n", "\n".join(lines)) if p.strip()]
        for part, group in enumerate(grouped(paragraphs, PART, "\n\n")):
            yield f"book {number} part {part:03}", group
        number += 1


def character_vector(body: bytes) -> list[str]:
    """Return the strings of a serialised character vector; none for another object."""
    (version,) = struct.unpack_from(">i", body, 2)
    at = 14
    if version == 3:  # the name of the encoding
        at += 4 + struct.unpack_from(">i", body, at)[0]
    flags, count = struct.unpack_from(">ii", body, at)
    if flags & 0xFF != 16:  # STRSXP
        return []
    at += 8
    lines = []
    for _ in range(count):
        _, length = struct.unpack_from(">ii", body, at)
        at += 8
        if length >= 0:  # -1 is NA
            lines.append(body[at : at + length].decode("utf-8"))
            at += length
    return lines


def sky_stories(path: Path) -> Iterator[tuple[str, str]]:
    """Yield groups of the passages, between backticks, of a data file of Endless Sky."""
    passages = [p.strip() for p in re.findall(r"`([^`\n]{60,})`", read(path))]
    for number, group in enumerate(grouped(dict.fromkeys(passages), PART, "\n")):
        yield f"part {number:03}", group


def campaign(path: Path) -> Iterator[tuple[str, str]]:
    """Yield groups of the messages of a scenario of Wesnoth, in its order."""
    messages = [
        " ".join(re.sub(r"</?\w+>", "", message.replace('""', '"')).split())
        for message in re.findall(r'\b_\s*"((?:[^"]|"")*)"', read(path))
    ]
    told = [m for m in dict.fromkeys(messages) if len(m) >= 40]
    for number, group in enumerate(grouped(told, PART, "\n\n")):
        yield f"part {number:03}", group


def json_prose(path: Path) -> Iterator[tuple[str, str]]:
    """Yield groups of a JSON file's strings that are sentences, in its order."""

    def strings(value: object) -> Iterator[str]:
        if isinstance(value, str):
            text = re.sub(r"</?color[^>]*>|<[a-z_]+>", "", value).strip()
            if len(text) >= 60 and text.count(" ") >= 8:
                yield text
        elif isinstance(value, dict):
            for part in value.values():
                yield from strings(part)
        elif isinstance(value, list):
            for part in value:
                yield from strings(part)

    found = dict.fromkeys(strings(json.loads(read(path))))
    for number, group in enumerate(grouped(found, PART, "\n\n")):
        yield f"part {number:03}", group


def described(path: Path) -> Iterator[tuple[str, str]]:
    """Yield groups of the entries of a description file of Dungeon Crawl."""
    entries = [e.strip() for e in re.split(r"(?m)^%%%%$", read(path)) if "{{" not in e]
    for number, group in enumerate(grouped((e for e in entries if len(e) > 60), PART, "\n\n")):
        yield f"part {number:03}", group


def json_rows(path: Path) -> Iterator[tuple[str, str]]:
    """Yield groups of a JSON list's rows, one compact object a line."""
    (rows,) = json.loads(read(path)).values()
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    for number, group in enumerate(grouped(lines, PART, "\n")):
        yield f"rows {number:04}", group


ESCAPES = {
    r"\-": "-", r"\&": "", r"\e": "\\", r"\(aq": "'", r"\(dq": '"', r"\(em": " - ", r"\(en": "-",
    r"\(bu": "-", r"\(co": "(C)", r"\(la": "<", r"\(ra": ">", r"\(lq": '"', r"\(rq": '"',
    r"\(ti": "~", r"\(ha": "^", r"\(ga": "`", r"\(rs": "\\", r"\ ": " ", r"\|": "", r"\^": "",
    r"\c": "", r"\%": "", r"\/": "", r"\,": "", r"\:": "", r"\~": " ", r"\(->": "->",
}  # fmt: skip
FONT_MACROS = {"B", "I", "R", "SM", "SB", "BR", "BI", "RB", "RI", "IR", "IB"}


def manual(source: str) -> str:
    """Return the text of a manual page, its paragraphs on one line; "" for a page of one include.

    Tables are left out, and paragraphs with an e-mail address: authors and translators.
    """
    if re.match(r"\.so ", source):
        return ""
    source = re.sub(r"(?ms)^\.TS.*?^\.TE", "", source)
    between_lines = " "  # "\n" where the page keeps its lines
    paragraphs: list[tuple[str, list[str]]] = [(between_lines, [])]
    for line in source.split("\n"):
        if re.match(r"['.]\s*\\\"|'\\\"", line):
            continue
        macro = re.match(r"[.']\s*([A-Za-z]+)\s*(.*)", line)
        if macro is None:
            paragraphs[-1][1].append(line)
            continue
        name, rest = macro.groups()
        words = [a or b for a, b in re.findall(r'"([^"]*)"|(\S+)', rest)]
        if name in FONT_MACROS:
            between = "" if len(name) == 2 and name not in {"SM", "SB"} else " "
            paragraphs[-1][1].append(between.join(words))
        elif name in {"SH", "SS"}:
            paragraphs += [(" ", [" ".join(words)]), (between_lines, [])]
        elif name in {"nf", "EX", "fi", "EE"}:
            between_lines = " " if name in {"fi", "EE"} else "\n"
            paragraphs.append((between_lines, []))
        elif name in {"PP", "P", "LP", "TP", "TQ", "IP", "HP", "sp", "br"}:
            paragraphs.append((between_lines, words[:1] if name == "IP" else []))
    texts = [between.join(lines).strip("\n ") for between, lines in paragraphs]
    text = "\n\n".join(t for t in texts if t and not re.search(r"\w@\w", t))
    text = re.sub(r"\\f(?:\[[^\]]*\]|\(..|.)|\\s[-+]?\d|\\\*\(..|\\\".*", "", text)
    text = re.sub(r"\\\[u([0-9A-F]{4,5})\]", lambda m: chr(int(m[1], 16)), text)
    for escape, meant in ESCAPES.items():
        text = text.replace(escape, meant)
    return text.strip()


def restructured(page: str) -> str:
    """Return a reStructuredText page without its comments and link targets."""
    return re.sub(r"(?m)^\.\. (?:_.*:.*|raw::.*|meta::.*|\|.*)\n", "", page).strip()


GPL2, CC3 = "GPL-2.0-or-later", "CC-BY-SA-3.0"
GAMES = "usr/share/games"


def sources() -> list[Source]:
    """Return what is taken of each package, and how much at most, in characters."""
    listed = [
        Source("novels", "r-cran-janeaustenr", "public domain (the package: MIT)",
               "**/data/Rdata.rdb", 3 * MILLION, sections=r_strings),
        Source("stories", "endless-sky-data", "GPL-3.0-or-later", f"{GAMES}/endless-sky/data/*.txt",
               2 * MILLION, sections=sky_stories),
        Source("dialogue", "cataclysm-dda-data", CC3, f"{GAMES}/cataclysm-dda/json/**/*.json",
               int(2.5 * MILLION), sections=json_prose),
        Source("scripture", "sword-text-web", "public domain", "**/*.bzs", MILLION // 2,
               sections=sword),
        Source("encyclopaedia", "dict-foldoc", "GFDL-1.1-or-later, no invariant sections",
               "**/*.dict.dz", int(1.5 * MILLION), sections=dictionary),
        Source("dictionary", "dict-gcide", GPL2, "**/*.dict.dz", int(1.5 * MILLION),
               sections=dictionary),
        Source("bestiary", "crawl-common", GPL2, "**/dat/descript/*.txt", MILLION,
               sections=described, excluded=r"quotes"),
        Source("documentation", "manpages", "as each page says, free", "**/man/man*/*.gz",
               MILLION, manual),
        Source("documentation", "manpages-dev", "as each page says, free", "**/man/man*/*.gz",
               int(1.5 * MILLION), manual),
        Source("documentation", "debian-policy", GPL2, "**/policy.html/_sources/*.txt", MILLION,
               restructured),
        Source("documentation", "developers-reference", GPL2, "**/_sources/*.txt", MILLION,
               restructured),
        Source("documentation", "abs-guide", "public domain", "**/html/*.html", MILLION,
               html_text(r"(?i)<body[^>]*>", r"(?i)</body>"), excluded=r"index\.html"),
        Source("python", "python3-sympy", "BSD-3-Clause", "**/sympy/**/*.py",
               int(1.2 * MILLION), code, excluded=r"rubi|/tests/|benchmarks|_generated"),
        Source("c++", "libeigen3-dev", "MPL-2.0", "**/eigen3/**/*.h", int(0.8 * MILLION), code),
        Source("rust", "librust-tokio-dev", "MIT", "**/src/**/*.rs", int(0.8 * MILLION), code),
        Source("c", "lttng-modules-dkms", "LGPL-2.1-only OR GPL-2.0-only", "**/src/**/*.c",
               int(0.8 * MILLION), code),
        Source("lisp", "sbcl-source", "public domain", "**/src/**/*.lisp", int(0.6 * MILLION),
               code),
        Source("tables", "iso-codes", "LGPL-2.1-or-later", "**/json/iso_*.json",
               int(0.4 * MILLION), sections=json_rows),
        Source("tables", "pci.ids", "GPL-2.0-or-later OR BSD-3-Clause", "**/misc/pci.ids",
               int(0.4 * MILLION), sections=table),
    ]  # fmt: skip
    for package in ("wesnoth-1.16-did", "wesnoth-1.16-dw", "wesnoth-1.16-sota"):
        listed.append(
            Source("stories", package, GPL2, f"{GAMES}/wesnoth/**/*.cfg", MILLION,
                   sections=campaign)
        )  # fmt: skip
    for language, name in (("german", "de"), ("spanish", "es"), ("french", "fr")):
        listed.append(
            Source(language, f"manpages-{name}", "GPL-3.0-or-later", f"**/man/{name}/man*/*.gz",
                   int(0.5 * MILLION), manual)
        )  # fmt: skip
    return listed


# ---- packages -------------------------------------------------------------------------------


def unpacked(package: Package, archives: Path, folder: Path) -> Path:
    """Return the folder of a package's files, downloaded and unpacked if it is missing."""
    place = folder / package.name
    if place.is_dir():
        return place
    archive = archives / package.archive
    if not archive.is_file():
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise SystemExit(f"{tool} is missing: gather the text on Debian 12")
        archives.mkdir(parents=True, exist_ok=True)
        wanted = f"{package.name}={package.version}"
        done = subprocess.run(["apt-get", "download", "-qq", wanted], cwd=archives,
                              capture_output=True, text=True, check=False)  # fmt: skip
        if not archive.is_file():
            said = done.stderr.strip().splitlines()
            raise SystemExit(
                f"{wanted} was not downloaded ({said[-1] if said else 'no reason given'}); run "
                f"`apt-get update` on Debian 12, or put {package.archive} into {archives}"
            )
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise SystemExit(f"{archive}: sha256 {digest}, not {package.sha256}; remove the file")
    partial = folder / f".{package.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    subprocess.run(["dpkg-deb", "-x", str(archive), str(partial)], check=True)
    partial.rename(place)
    return place


# ---- sides and output -----------------------------------------------------------------------


def sides(packages: Path) -> tuple[list[Document], list[Document]]:
    """Return (train, heldout): of each package the lowest hashes are held out.

    A file, or a section of a collection, is on one side, with all its pieces. Whole files that
    repeat others are left out.
    """
    collected = [unit for source in sources() for unit in units(source, packages / source.package)]
    groups = defaultdict(list)
    for unit in without_repeats(collected):
        groups[unit.package].append(unit)
    train: list[Document] = []
    heldout: list[Document] = []
    for package, group in sorted(groups.items()):
        due = HELDOUT_SHARE * sum(len(unit.text) for unit in group)
        for unit in sorted(group, key=lambda unit: rank("study side " + package, unit.name)):
            documents = [
                Document(text, unit.domain, package, unit.licence, unit.name)
                for text in pieces(unit.text)
            ]
            (heldout if due > 0 else train).extend(documents)
            due -= sum(len(document.text) for document in documents)
    return train, heldout


def write(path: Path, documents: list[Document]) -> str:
    """Write shuffled documents as JSON lines, the last file of a run; return their sha256."""
    documents = sorted(documents, key=lambda d: (d.package, d.document, d.domain, d.text))
    random.Random(20261128).shuffle(documents)
    body = "".join(json.dumps(vars(d), ensure_ascii=False) + "\n" for d in documents).encode()
    partial = path.with_suffix(".partial")
    partial.write_bytes(body)
    partial.replace(path)
    return hashlib.sha256(body).hexdigest()


def markdown_table(train: list[Document], heldout: list[Document]) -> str:
    """Return the table of what each package gives to each side."""
    versions = {package.name: package.version for package in PACKAGES}
    rows: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for side, documents in enumerate((train, heldout)):
        for d in documents:
            rows[d.domain, d.package, d.licence][side] += len(d.text)
    lines = ["| domain | package | licence | characters, training | characters, held out |",
             "|---|---|---|--:|--:|"]  # fmt: skip
    for (domain, package, licence), (first, second) in sorted(rows.items()):
        lines.append(
            f"| {domain} | {package} {versions[package]} | {licence} | {first:,} | {second:,} |"
        )
    sums = [sum(row[side] for row in rows.values()) for side in (0, 1)]
    lines.append(f"| all | | | {sums[0]:,} | {sums[1]:,} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write the four files."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.smollm2.gather", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the four files")
    parser.add_argument(
        "--packages", type=Path, help="folder of archives and unpacked packages (OUT/packages)"
    )
    options = parser.parse_args(arguments)
    out: Path = options.out
    packages: Path = options.packages or out / "packages"
    for package in PACKAGES:
        unpacked(package, packages / "archives", packages)
    SKIPPED_CLASSES.update({"NAVHEADER", "NAVFOOTER"})
    train, heldout = sides(packages)
    out.mkdir(parents=True, exist_ok=True)
    table_text = markdown_table(train, heldout)
    (out / "sources.md").write_text(table_text, encoding="utf-8")
    digests = {"train.jsonl": write(out / "train.jsonl", train),
               "heldout.jsonl": write(out / "heldout.jsonl", heldout)}  # fmt: skip
    said = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    (out / "sha256.txt").write_text(said, encoding="utf-8")
    print(table_text + said, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
