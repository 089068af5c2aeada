"""Odd input of commands that read a run, a list, a pack or a person's words; see `bad_inputs`."""

from __future__ import annotations

import gzip
import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Make = Callable[[Path], None]
BIDI = "a\u202eb\u2066c"
HUGE = "9" * 5000
UNIT = "features/0"

# Command, what its folder holds, whether it may be right. All have the run `tiny`.
Odd = tuple[str, tuple[str, ...], Make | None, bool]


def file(name: str, content: str | bytes) -> Make:
    def make(folder: Path) -> None:
        raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        (folder / name).write_bytes(raw)

    return make


def odd_inputs(subject: Path) -> Iterator[Odd]:
    """Yield a name, the arguments, what makes the files, and whether it may be right."""
    yield from _names()
    yield from _lists(subject)
    yield from _words()
    yield from _tokenizers(subject)
    yield from _packs()
    yield from _plans()
    yield from _rows()


def _names() -> Iterator[Odd]:
    for name in (
        *(BIDI, "a\nb", "a\tb", "e\u0301" * 40, "tiny ", " tiny", "tiny\u200b", "Tiny", "tiny."),
        *("\ud800", "%s%n", "CON", "~", "$HOME"),
    ):
        may = name in ("Tiny", "tiny.")
        yield f"match {name!r}", ("match", "tiny", name), None, may
        yield f"doctor {name!r}", ("doctor", "--", name), None, may
        yield (
            f"invite {name!r}",
            ("invite", "tiny", "--rater", name),
            None,
            name in ("CON", "Tiny", "tiny."),
        )
        yield (
            f"source {name!r}",
            ("attribute", "--prompt", "the", "-r", "tiny", "-s", name),
            None,
            False,
        )
    for unit in (
        "",
        "features",
        "features/",
        "features/-1",
        "features/1.5",
        "features/" + HUGE,
        "nothing/1",
        "features/0/1",
        BIDI,
        "features/\u0663",
        "features/0-",
        "random/99999",
    ):
        yield (
            f"examine {unit[:20]!r}",
            ("examine", "--run", "tiny", "--no-open", "--", unit),
            None,
            False,
        )
        yield f"steer {unit[:20]!r}", ("steer", "--run", "tiny", "--", unit), None, False


def _lists(subject: Path) -> Iterator[Odd]:
    sweep = f"""name = "s"
n = 2
controls = 0
rater = "scripted:3"
[subject]
model = "{subject / "transformer.safetensors"}"
tokenizer = "{subject / "tokenizer.json"}"
corpus = "{subject / "corpus.npz"}"
"""
    sae = f'[[sae]]\nname = "a"\nsae = "{subject / "sae.safetensors"}"\n'
    for name, text in (
        ("empty", ""),
        ("no SAE", sweep),
        ("a name twice", sweep + sae + sae),
        ("a name of bidi", sweep + sae.replace('"a"', '"a\\u202eb"')),
        ("a name that leaves", sweep + sae.replace('"a"', '"../../up"')),
        ("a name of 300", sweep + sae.replace('"a"', f'"{"x" * 300}"')),
        ("no name", sweep + sae.replace('name = "a"\n', "")),
        ("a name of a number", sweep + sae.replace('"a"', "5")),
        ("its own name that leaves", sweep.replace('"s"', '"../s"') + sae),
        ("n of text", sweep.replace("n = 2", 'n = "two"') + sae),
        ("n below 0", sweep.replace("n = 2", "n = -2") + sae),
        ("n without end", sweep.replace("n = 2", "n = 1" + "0" * 400) + sae),
        ("an unknown key", sweep.replace("n = 2", "n = 2\nnn = 3") + sae),
        ("a rubric that is none", sweep.replace("n = 2", 'n = 2\nrubric = "nothing"') + sae),
        ("a rater that is none", sweep.replace("scripted:3", "nothing:x") + sae),
        ("an SAE that is none", sweep + '[[sae]]\nname = "a"\nsae = "nothing"\n'),
        ("one table for many", sweep + sae.replace("[[sae]]", "[sae]")),
        ("a site of a number", sweep + sae + "site = 5\n"),
        ("a BOM", "\ufeff" + sweep + "n = 3\n" + sae),
        ("an SAE in the subject", sweep + 'sae = "x"\n' + sae),
    ):
        yield f"sweep: {name}", ("sweep", "x.toml", "--dry-run"), file("x.toml", text), False
    for name, raw in (
        ("empty", b""),
        ("comments", b"# nothing\n"),
        ("binary", bytes(range(256)) * 9),
        ("UTF-16", "cat: the cat\n".encode("utf-16")),
        ("a name twice", b"cat: a\ncat: b\n"),
        ("no prompt", b"cat: | |\n"),
        ("no name", b": the cat\n"),
        ("a name of escapes", b"\x1b[31mcat: the cat\n"),
        ("a long line", b"cat: " + b"a " * 10**6),
    ):
        asked = (
            "cover",
            "c.txt",
            "--run",
            "tiny",
            "--rater",
            "openai:m",
            "--retries",
            "0",
            "--base-url",
            "http://127.0.0.1:9/v1",
        )
        may = name in ("a name of escapes", "a long line")
        yield f"cover: {name}", asked, file("c.txt", raw), may
    for name, raw in (("empty", b""), ("binary", bytes(range(256)) * 9), ("blank", b"\n \n")):
        asked = ("examine", UNIT, "--run", "tiny", "--no-open", "--probes", "p.txt")
        yield f"probes: {name}", asked, file("p.txt", raw), False
    for label in (
        "",
        "=",
        "a=re:(",
        "a=re:" + "(a+)+$" * 3,
        "a=re:" + "(" * 5000,
        "a",
        "re:a",
        "x.toml",
        "a=re:",
        BIDI + "=re:(",
    ):
        yield (
            f"concepts {label[:20]!r}",
            ("concepts", "--run", "tiny", "--", label),
            None,
            label == "re:a",
        )
    for name, text in (
        ("empty", ""),
        ("no table", "a = 1\n"),
        ("a table of numbers", "[concepts]\na = 5\n"),
        ("a broken pattern", "[concepts]\na = '('\n"),
        ("nested", "a = " + "[" * 9000),
    ):
        asked = ("concepts", "--run", "tiny", "x.toml")
        yield f"concepts: {name}", asked, file("x.toml", text), False


def _words() -> Iterator[Odd]:
    for prompt in ("", " ", "\x00", "\ud83d", BIDI, "a" * 10**6, "\u4e2d" * 5000):
        may = bool(prompt)  # a space is a token
        asked = ("attribute", "--run", "tiny", "--prompt", prompt)
        if "\x00" not in prompt:  # no process can be given one
            yield f"attribute {prompt[:9]!r}", asked, None, may
    for target in ("", "no such token at all", "\ud83d", HUGE):
        asked = ("attribute", "--run", "tiny", "--prompt", "the", "--target", target)
        yield f"--target {target[:9]!r}", asked, None, False
    for factor in (
        "",
        ",",
        "x",
        "1..",
        "..1",
        "1..2..3",
        "nan",
        "inf",
        "1e999",
        "-1..1/0",
        "0..1/-3",
        "0..1/99999999999",
        "1," * 50_000,
        "5..-5/x",
    ):
        yield (
            f"--factor {factor[:9]!r}",
            ("steer", UNIT, "--run", "tiny", f"--factor={factor}"),
            None,
            False,
        )
    for tokens in ("", "k", "-5k", "1e99", "5kk", "5 k", "\u0665k", "0.0001k", "nan", HUGE):
        asked = ("harvest", "--subject", "{subject}", "-r", "x", "--n", "2", f"--tokens={tokens}")
        yield f"--tokens {tokens[:9]!r}", asked, None, False
    for port in ("0x50", "-1", "70000", "x", ""):
        yield f"serve --port {port}", ("serve", f"--port={port}", "--no-open"), None, False
    for url in ("x", "ftp://x", "http://", "http://a b", BIDI, "javascript:1"):
        yield (
            f"invite --url {url}",
            ("invite", "tiny", "--rater", "ann", f"--url={url}"),
            None,
            False,
        )
        yield (
            f"invite --return-url {url}",
            ("invite", "tiny", "--rater", "ann", f"--return-url={url}"),
            None,
            False,
        )
    for option, value in (
        ("--overlap", "0"),
        ("--places", "0"),
        ("--days", "nan"),
        ("--days", "1e9"),
        ("--consent", "nothing.txt"),
        ("--items", "0"),
        ("--crowd", "a b"),
        ("--crowd", BIDI),
        ("--repeat-share", "2"),
        ("--overlap", "99"),
    ):
        who = () if option == "--crowd" else ("--rater", "ann")
        yield (
            f"invite {option} {value}",
            ("invite", "tiny", *who, f"{option}={value}"),
            None,
            value == "99",
        )
    for job in ("", "../x", "x" * 300, BIDI, "1"):
        yield f"jobs stop {job[:9]!r}", ("jobs", "stop", "--", job), None, False
        yield f"tokens revoke {job[:9]!r}", ("tokens", "revoke", "--", job), None, False


def _tokenizers(subject: Path) -> Iterator[Odd]:
    right = json.loads((subject / "tokenizer.json").read_text("utf-8"))
    size = len(right["model"]["vocab"])

    def added(**changes: Any) -> dict[str, Any]:
        token = {
            "id": size,
            "content": "<x>",
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
            **changes,
        }
        return {**right, "added_tokens": [*right.get("added_tokens", []), token]}

    for name, tokenizer, may in (
        ("an empty added token", added(content=""), True),
        ("an added token far out", added(id=2**31), False),
        ("an added token below 0", added(id=-1), False),
        ("an added token of text", added(id="5"), False),
        ("an added token of a surrogate", added(content="\ud800"), False),
        ("no added id", {**right, "added_tokens": [{"content": "<x>"}]}, False),
        (
            "a hole in the vocabulary",
            {
                **right,
                "model": {**right["model"], "vocab": {**right["model"]["vocab"], "zz": 10**6}},
            },
            False,
        ),
        (
            "merges of nothing",
            {**right, "model": {**right["model"], "merges": [["nothing", "there"]]}},
            False,
        ),
        (
            "a template without its token",
            {
                **right,
                "post_processor": {
                    "type": "TemplateProcessing",
                    "single": [{"SpecialToken": {"id": "<none>", "type_id": 0}}],
                    "pair": [],
                    "special_tokens": {},
                },
            },
            False,
        ),
        ("a decoder that is none", {**right, "decoder": {"type": "Nothing"}}, False),
        (
            "truncation to nothing",
            {
                **right,
                "truncation": {
                    "direction": "Right",
                    "max_length": 0,
                    "strategy": "LongestFirst",
                    "stride": 0,
                },
            },
            True,
        ),
        (
            "padding",
            {
                **right,
                "padding": {
                    "strategy": {"Fixed": 99999},
                    "direction": "Right",
                    "pad_to_multiple_of": None,
                    "pad_id": 0,
                    "pad_type_id": 0,
                    "pad_token": "x",
                },
            },
            True,
        ),
    ):
        text = json.dumps(tokenizer)

        def make(folder: Path, text: str = text) -> None:
            import tomllib

            given = tomllib.loads((subject / "autointerp.toml").read_text("utf-8"))
            lines = []
            for section, values in given.items():
                if isinstance(values, dict):
                    lines.append(f"[{section}]")
                    for key, value in values.items():
                        path = subject / str(value)
                        whole = str(path) if isinstance(value, str) and path.exists() else value
                        if key == "tokenizer":
                            whole = "t.json"
                        if key == "corpus":
                            whole = "c.txt"
                        lines.append(f"{key} = {json.dumps(whole)}")
                else:
                    lines.insert(0, f"{section} = {json.dumps(values)}")
            (folder / "s.toml").write_text("\n".join(lines))
            (folder / "c.txt").write_text(
                "The old cat saw the river in the garden, 3 times.\n" * 60
            )
            (folder / "t.json").write_text(text)

        asked = (
            "rate",
            "--subject",
            "s.toml",
            "--n",
            "2",
            "--controls",
            "0",
            "--rater",
            "scripted:3",
            "--run",
            "new",
            "--quiet",
        )
        yield f"tokenizer: {name}", asked, make, may


def _packs() -> Iterator[Odd]:
    def edited(change: Callable[[list[bytes]], list[bytes]]) -> Make:
        def make(folder: Path) -> None:
            import contextlib
            import sys

            from autointerp.apps.cli import _app

            os.chdir(folder)
            sys.argv = ["autointerp", "pack", "tiny", "-o", "p.zip", "--n", "2"]
            with contextlib.suppress(SystemExit):
                _app.main()
            pack = folder / "p.zip"
            raw = pack.read_bytes()
            zipped = raw[:2] == b"\x1f\x8b"
            lines = (gzip.decompress(raw) if zipped else raw).split(b"\n")
            raw = b"\n".join(change(lines))
            pack.write_bytes(gzip.compress(raw) if zipped else raw)

        return make

    def head(change: Callable[[dict[str, Any]], Any]) -> Make:
        def change_lines(lines: list[bytes]) -> list[bytes]:
            first = json.loads(lines[0])
            made = change(first)
            return [json.dumps(first if made is None else made).encode(), *lines[1:]]

        return edited(change_lines)

    def without(place: str) -> Make:
        return head(lambda first: {k: v for k, v in first.items() if k != place})

    changes: tuple[tuple[str, Make, bool], ...] = (
        ("a BOM", edited(lambda lines: [b"\xef\xbb\xbf" + lines[0], *lines[1:]]), True),
        ("CRLF", edited(lambda lines: [line + b"\r" for line in lines]), True),
        ("a blank first line", edited(lambda lines: [b"", *lines]), False),
        ("the first line twice", edited(lambda lines: [lines[0], *lines]), True),
        ("no session", without("session"), False),
        ("no digest", without("digest"), False),
        ("another format", head(lambda first: {**first, "autointerp": 99}), False),
        ("a format of text", head(lambda first: {**first, "autointerp": "1"}), False),
        ("a line of NUL", edited(lambda lines: [*lines, b"\x00" * 200]), True),
        (
            "an entry by hand",
            edited(lambda lines: [*lines[:1], b'{"rater": "human:a", "seq": 0}', b""]),
            True,
        ),
        ("a list for an entry", edited(lambda lines: [*lines[:1], b"[1]", b""]), True),
        ("a nested entry", edited(lambda lines: [*lines[:1], b"[" * 100_000, b""]), True),
    )
    for name, make, may in changes:
        yield f"pack: {name}", ("ingest", "tiny", "p.zip"), make, may
        yield (
            f"sit at a pack: {name}",
            ("rate", "--pack", "p.zip", "--rater", "human:a", "--plain"),
            make,
            may,
        )


def _plans() -> Iterator[Odd]:
    for option, value in (
        ("--effect", "nan"),
        ("--effect", "0.5"),
        ("--effect", "1.5"),
        ("--power", "1"),
        ("--alpha", "0"),
        ("--lost", "1"),
        ("--lost", "-1"),
        ("--usd-per-call", "nan"),
        ("--usd-per-call", "-1"),
        ("--sources", "1"),
        ("--repeats", "0"),
        ("--until-width", "0"),
        ("--max-n", "1"),
    ):
        yield f"plan {option} {value}", ("plan", f"{option}={value}"), None, False
    for pair in (("0.6", "0.4"), ("nan", "0.5"), ("0", "1"), ("0.5", "0.5"), ("x", "1")):
        asked = ("plan", "--write", "new", "--equivalence", *pair)
        yield f"plan --equivalence {' '.join(pair)}", asked, None, pair == ("0", "1")


def _rows() -> Iterator[Odd]:
    row = {"layer": "0", "index": "1", "tokens": ["a", "b"], "values": [0.0, 1.0]}
    for name, changes, may in (
        ("values of text", {"values": ["0", "1"]}, False),
        ("values of truth", {"values": [True, False]}, False),
        ("a value without end", {"values": [0, 10**400]}, False),
        ("tokens of numbers", {"tokens": [1, 2]}, False),
        ("an index with zeros", {"index": "007"}, True),
        ("an Arabic index", {"index": "\u0661"}, False),
        ("an index of 5,000 digits", {"index": HUGE}, False),
        ("a layer of bidi", {"layer": BIDI}, True),
        ("a layer that leaves", {"layer": "../../up"}, True),
        ("a layer of lines", {"layer": "a\nb"}, True),
        ("a layer of 5,000", {"layer": "x" * 5000}, True),
        ("a layer of NUL", {"layer": "a\x00b"}, True),
        ("tokens of NUL", {"tokens": ["a\x00", "\x00"]}, True),
        ("empty tokens", {"tokens": ["", ""]}, True),
        ("a qualifying token far out", {"qualifyingTokenIndex": 7}, False),
    ):
        line = json.dumps({**row, **changes}) + "\n"
        yield f"rows: {name}", ("import", "x.jsonl", "--run", "r"), file("x.jsonl", line), may
    line = json.dumps(row)
    twice = line[:-1] + ', "index": "2"}'
    for name, raw, may in (
        ("CRLF", f"{line}\r\n".encode(), True),
        ("a key twice", twice.encode(), False),
        ("UTF-16", line.encode("utf-16"), False),
        ("NUL at the end", line.encode() + b"\x00" * 50, False),
        ("two in a line", (line + line).encode(), False),
        ("a comma", (line + ",\n" + line).encode(), False),
    ):
        yield f"rows: {name}", ("import", "x.jsonl", "--run", "r"), file("x.jsonl", raw), may
    for name, header in (
        ("a name that is no range", {"x": {}}),
        ("tokens of floats", {"tokens": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}}),
        (
            "shapes without end",
            {"tokens": {"dtype": "I64", "shape": [2**40, 2**20], "data_offsets": [0, 8]}},
        ),
    ):
        text = json.dumps(header).encode()
        raw = struct.pack("<Q", len(text)) + text + b"\x00" * 8
        asked = ("import", "0_9.safetensors", "--run", "r", "--format", "delphi")
        yield f"delphi: {name}", asked, file("0_9.safetensors", raw), False
