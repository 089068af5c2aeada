"""How the text of the study is read out of packages' files."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.smollm2.gather import (
    PACKAGES,
    Package,
    campaign,
    character_vector,
    json_prose,
    manual,
    r_strings,
    sky_stories,
    sources,
    unpacked,
)


def serialised(lines: list[str | None], version: int = 3) -> bytes:
    """Return a character vector as R's `serialize(x, xdr = TRUE)` writes it (R Internals, 1.8)."""
    head = b"X\n" + struct.pack(">iii", version, 0x040202, 0x030500)
    if version == 3:
        head += struct.pack(">i", 5) + b"UTF-8"
    body = struct.pack(">ii", 16, len(lines))  # STRSXP
    for line in lines:
        if line is None:
            body += struct.pack(">ii", 9, -1)  # NA_character_
        else:
            raw = line.encode()
            body += struct.pack(">ii", 0x00040009, len(raw)) + raw  # CHARSXP, ASCII flag
    return head + body


@given(st.lists(st.text(max_size=20) | st.none(), max_size=6), st.sampled_from([2, 3]))
def test_character_vectors_come_back_without_missing_values(lines: list[str | None], version: int):
    assert character_vector(serialised(lines, version)) == [x for x in lines if x is not None]


def test_other_objects_in_an_r_database_are_passed_over(tmp_path: Path):
    numbers = b"X\n" + struct.pack(">iii", 2, 0, 0) + struct.pack(">iii", 13, 1, 7)  # INTSXP
    book = serialised(["It was a dark", "night.", "", "Rain fell."])
    file = tmp_path / "Rdata.rdb"
    file.write_bytes(
        b"".join(struct.pack(">i", len(body)) + zlib.compress(body) for body in (numbers, book))
    )
    assert list(r_strings(file)) == [("book 0 part 000", "It was a dark\nnight.\n\nRain fell.")]


def test_a_manual_page_is_filled_but_where_it_keeps_its_lines():
    page = "\n".join(
        [
            '.\\" a comment',
            ".SH NAME",
            "cat \\- join files",
            ".SH SYNOPSIS",
            ".nf",
            ".B #include <x.h>",
            ".PP",
            ".BI int cat(int " + '" fd);"',
            "int dog(void);",
            ".fi",
            ".PP",
            "It \\fBjoins\\fP",
            "files; see",
            ".BR ls (1).",
            ".TS",
            "a table",
            ".TE",
            ".PP",
            "Written by A. Nonymous <a@example.org>.",
        ]
    )
    assert manual(page) == (
        "NAME\n\ncat - join files\n\nSYNOPSIS\n\n#include <x.h>\n\nintcat(int fd);\nint dog(void);"
        "\n\nIt joins files; see ls(1)."
    )


def test_a_page_that_only_includes_another_is_empty():
    assert manual(".so man2/open.2\n") == ""


def test_stories_are_passages_and_not_settings(tmp_path: Path):
    passage = "You land, and somebody meets you who has waited for days, it seems, in the rain."
    file = tmp_path / "missions.txt"
    file.write_text(f'mission "one"\n\t`{passage}`\n\t`too short`\n\t`{passage}`\n', "utf-8")
    assert list(sky_stories(file)) == [("part 000", passage)]


def test_messages_of_a_campaign_lose_markup_and_doubled_quotes(tmp_path: Path):
    file = tmp_path / "01.cfg"
    file.write_text(
        'message= _ "He said ""Run"", and <i>then</i> we ran down the long hill."\nname= _ "Al"',
        "utf-8",
    )
    assert list(campaign(file)) == [
        ("part 000", 'He said "Run", and then we ran down the long hill.')
    ]


def test_sentences_of_json_are_taken_wherever_they_stand(tmp_path: Path):
    said = (
        "A broken window, behind which nobody has lived for a very long time, by the looks of it."
    )
    file = tmp_path / "a.json"
    file.write_text(
        json.dumps([{"id": "x" * 80, "text": [f"<color_red>{said}</color>"], "more": {"a": said}}])
    )
    assert list(json_prose(file)) == [("part 000", said)]


def test_every_source_names_a_package_with_its_version_and_digest():
    names = [package.name for package in PACKAGES]
    assert len(set(names)) == len(names)
    assert {source.package for source in sources()} == set(names)
    assert all(len(bytes.fromhex(package.sha256)) == 32 for package in PACKAGES)


def test_an_archive_of_other_bytes_is_refused(tmp_path: Path):
    package = Package("p", "2:1-1", hashlib.sha256(b"right").hexdigest())
    (tmp_path / package.archive).write_bytes(b"wrong")
    assert package.archive == "p_2%3a1-1_all.deb"
    with pytest.raises(SystemExit, match=r"p_2%3a1-1_all\.deb: sha256 .*, not .*; remove the file"):
        unpacked(package, tmp_path, tmp_path / "packages")
