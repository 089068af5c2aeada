"""What must be in order before money is spent: libraries, disk, keys, servers."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autointerp.errors import AutointerpError
from autointerp.raters import AttemptFailed, Rater, RaterOptions, ServedRater
from autointerp.raters._keys import OFFICIAL, find_key, key_variable, normal_url
from autointerp.raters._served import PROBE_SCHEMA, PROBE_TEXT, ServedRaterBase
from autointerp.records import Request
from autointerp.store.run import RUNS

LIBRARIES = ("torch", "duckdb", "openai", "anthropic", "transformers", "xllamacpp", "gguf")
LEAST_FREE = 2 * 2**30
SLOWEST_SYNC_S = 0.2


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `remedy` is empty where nothing is to be done."""

    ok: bool
    about: str
    words: str
    remedy: str = ""


def examine(rater: Rater | None, options: RaterOptions, runs: Path = RUNS) -> Iterator[Finding]:
    """Yield what is in order and what is not; at most one call is paid, and only for `rater`."""
    yield Finding(True, "python", platform.python_version())
    yield from _libraries()
    yield from _disk(runs)
    yield from _keys(options)
    if rater is not None:
        yield from _rater(rater)


def _libraries() -> Iterator[Finding]:
    for name in LIBRARIES:
        try:
            yield Finding(True, name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(True, name, "not installed (only some raters need it)")
    fast = importlib.util.find_spec("aiohttp") is not None
    yield Finding(
        True, "aiohttp", "installed" if fast else "not installed: calls take twice the CPU"
    )


def _disk(runs: Path) -> Iterator[Finding]:
    folder = runs if runs.is_dir() else runs.absolute().parent
    free = shutil.disk_usage(folder).free
    yield Finding(
        free >= LEAST_FREE,
        "free disk",
        f"{free / 2**30:.1f} GB at {folder.absolute()}",
        "free some space" if free < LEAST_FREE else "",
    )
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".doctor-") as scratch:
            began = time.perf_counter()
            with (Path(scratch) / "synced").open("wb") as file:
                file.write(b"x")
                os.fsync(file.fileno())
            took = time.perf_counter() - began
    except OSError as error:
        yield Finding(
            False, "writing", f"{folder} cannot be written ({error.strerror})", "choose another"
        )
        return
    slow = took > SLOWEST_SYNC_S
    yield Finding(True, "writing", f"a durable write took {took * 1000:.0f} ms{' (slow)' * slow}")


def _keys(options: RaterOptions) -> Iterator[Finding]:
    for provider, (url, variable) in OFFICIAL.items():
        there = find_key(provider, url) is not None
        yield Finding(True, variable, "set" if there else f"empty: no {provider}: rater")
    if options.base_url is not None:
        url = normal_url("openai", options.base_url)
        variable = key_variable("openai", url)
        there = find_key("openai", url) is not None
        yield Finding(True, variable, "set" if there else f"empty: {url} is sent no key")


def _rater(rater: Rater) -> Iterator[Finding]:
    if not isinstance(rater, ServedRaterBase):
        yield Finding(True, rater.name, "needs no key and no server")
        return
    try:
        yield from asyncio.run(_ask(rater))
    except AutointerpError as error:
        yield Finding(False, rater.name, str(error), "see above")


async def _ask(rater: ServedRaterBase) -> list[Finding]:
    """Ask once for a reply in the form of a schema, and read what came."""
    assert isinstance(rater, ServedRater)
    await rater.open('{"structured": "json_schema", "logprobs": false}')
    try:
        body = rater.body("You are a helpful assistant.", PROBE_TEXT, PROBE_SCHEMA, None, 0)
        reply = await rater.send(Request("doctor", "doctor", body))
    except AttemptFailed as failed:
        rejected = failed.kind == "rejected"
        remedy = "`rate` will try a forced tool, then plain text" if rejected else "is it running?"
        return [Finding(rejected, rater.name, str(failed), remedy)]
    finally:
        await rater.close()
    findings = [
        Finding(True, rater.name, f"answers as {reply.model} in {reply.latency_s or 0:.1f} s")
    ]
    enforced = rater.enforced(reply)
    words = "enforced by the server" if enforced else "not enforced: replies are checked here"
    findings.append(Finding(True, "structured output", words))
    priced = rater.price is not None
    findings.append(
        Finding(True, "price", "known" if priced else "unknown (--price-in, --price-out)")
    )
    return findings
