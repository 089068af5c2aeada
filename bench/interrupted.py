"""What `kill -9` leaves of commands that compute: labs, harvests, sweeps and trainings.

Each is killed at random moments of the time that it takes, then started again. Every run must
open after the kill, the same command must go on, and what is there in the end must be what an
undisturbed command leaves: the same files and the same rows.

`python -m bench.interrupted [--quick] [NAME ...]` prints a line for each command.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autointerp.errors import AutointerpError
from autointerp.store.run import open_run, run_exists
from bench._nursery import Nursery

KILLS, QUICK_KILLS = 20, 3  # of each command
SEED = 514


@dataclass(frozen=True)
class Work:
    """A command that computes.

    Attributes:
        arguments: After `autointerp`.
        first: A command that must have been done before.
    """

    arguments: tuple[str, ...]
    first: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What the kills of one command left.

    Attributes:
        blocked: Kills after which a run did not open, or the same command failed.
        different: Kills after which the command, done at last, left other files or rows.
        details: A few words on each of those.
    """

    kills: int = 0
    blocked: int = 0
    different: int = 0
    details: list[str] = field(default_factory=list)


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield after how many kills a command was blocked, or left something else."""
    outcomes = dict(outcomes_of(list(WORKS), QUICK_KILLS if quick else KILLS))
    kills = ", ".join(f"{outcome.kills} of {name}" for name, outcome in outcomes.items())
    for figure, values in (
        ("interrupted_blocked", {name: one.blocked for name, one in outcomes.items()}),
        ("interrupted_different", {name: one.different for name, one in outcomes.items()}),
    ):
        listed = ", ".join(f"{count} {name}" for name, count in values.items() if count)
        yield {
            "figure": figure,
            "value": sum(values.values()),
            "unit": "kills",
            "note": f"{kills}: {listed or 'none'}",
        }


def outcomes_of(names: Sequence[str], kills: int) -> Iterator[tuple[str, Outcome]]:
    """Yield what the kills of each command left."""
    with tempfile.TemporaryDirectory() as scratch, Nursery() as nursery:
        prepared = prepare(Path(scratch) / "prepared")
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
        from support.loopback.server import LoopbackServer

        with LoopbackServer(0.01) as server:
            (prepared / "url").write_text(server.openai_url)
            for place, name in enumerate(WORKS):
                if name in names:
                    rng = np.random.default_rng([SEED, place])
                    yield name, campaign(WORKS[name], kills, rng, prepared, nursery)


def campaign(
    work: Work, kills: int, rng: np.random.Generator, prepared: Path, nursery: Nursery
) -> Outcome:
    """Kill a command at random moments and start it again, each time in a folder of its own."""
    url = (prepared / "url").read_text()
    with open_run("tiny", folder=prepared / "runs", read_only=True) as run:
        unit = run.rows(
            "SELECT unit_label(source, idx, sign, note) FROM unit WHERE source = 'features'"
            " AND outcome = 'eligible' ORDER BY idx LIMIT 1"
        )[0][0]
    arguments = tuple(part.replace("{url}", url).replace("{unit}", unit) for part in work.arguments)
    began = prepared.with_name("began")
    shutil.rmtree(began, ignore_errors=True)
    shutil.copytree(prepared, began)
    log = prepared.with_name("log")
    if work.first and nursery.start(began, *work.first, log=log).wait():
        raise RuntimeError(f"{work.first} failed: {log.read_text()[-500:]}")

    def copied() -> Path:
        copy = prepared.with_name("copy")
        shutil.rmtree(copy, ignore_errors=True)
        return Path(shutil.copytree(began, copy))

    folder = copied()
    start = time.monotonic()
    if nursery.start(folder, *arguments, log=log).wait():
        raise RuntimeError(f"{arguments} failed: {log.read_text()[-500:]}")
    takes_s = time.monotonic() - start
    wanted = state(folder)
    outcome = Outcome()
    while outcome.kills < kills:
        folder = copied()
        process = nursery.start(folder, *arguments)
        time.sleep(rng.uniform(0, takes_s))
        process.kill()
        if process.wait() == 0:
            continue  # it was faster
        outcome.kills += 1
        log.write_text("")
        try:
            state(folder)  # opens every run
        except AutointerpError as error:
            outcome.blocked += 1
            outcome.details.append(str(error))
            continue
        if code := nursery.start(folder, *arguments, log=log).wait():
            outcome.blocked += 1
            outcome.details.append(f"exit {code}: {log.read_text()[-300:]}")
            continue
        left = state(folder)
        if left != wanted:
            outcome.different += 1
            both = wanted.keys() | left.keys()
            outcome.details += [
                f"{name}: {wanted.get(name)} became {left.get(name)}"
                for name in sorted(both)
                if wanted.get(name) != left.get(name)
            ]
    return outcome


def state(folder: Path) -> dict[str, Any]:
    """Return the files in a folder, and the number of rows of each table of each run."""
    found: dict[str, Any] = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            found[str(file.relative_to(folder))] = "file"
    for run in sorted((folder / "runs").iterdir()):
        if not run_exists(run):
            continue
        with open_run(run.name, folder=folder / "runs", read_only=True) as opened:
            tables = opened.rows(
                "SELECT table_name FROM duckdb_tables() WHERE NOT temporary ORDER BY ALL"
            )
            for (table,) in tables:
                count = int(opened.rows(f'SELECT count(*) FROM "{table}"')[0][0])
                found[f"{run.name}:{table}"] = count
    return found


def prepare(folder: Path) -> Path:
    """Make a folder with a small subject, two rated runs, a sweep and a text; return it."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.tiny_subject import make_tiny_subject
    from support.tiny_sweep import make_saes, sweep_text, table
    from support.two_dictionaries import larger_dictionary

    from autointerp import Job, rate

    subject = folder / "subject"
    subject.mkdir(parents=True)
    settings = make_tiny_subject(subject)
    larger, _ = larger_dictionary(subject, folder / "larger")
    for name, path in (("tiny", settings), ("large", larger)):
        rate(
            Job(
                sources=("features", "neurons"), n=6, rater="scripted:4", run=name,
                subject=str(path), controls=2, runs=folder / "runs",
            )
        )  # fmt: skip
    make_saes(subject, folder)
    saes = "".join(table(path.stem, str(path)) for path in sorted(folder.glob("*.safetensors")))
    (folder / "sweep.toml").write_text(sweep_text(subject, saes))
    (folder / "concepts.txt").write_text("cat: The old cat | a cat\nriver: the river\n")
    rng, words = np.random.default_rng(SEED), ["the", "cat", "sat", "on", "mat", "and", "dog"]
    texts = [" ".join(rng.choice(words, 20)) for _ in range(120)]
    (folder / "text.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    from support.tiny_language_models import saved

    saved(folder / "llama", "llama")
    return folder


WORKS: dict[str, Work] = {
    "harvest": Work(
        ("harvest", "--subject", "subject/autointerp.toml", "-r", "new", "-n", "6",
         "-s", "features", "-s", "neurons", "--controls", "2", "-q")
    ),
    "match": Work(("match", "tiny", "large", "--count", "-q")),
    "attribute": Work(("attribute", "--run", "tiny", "--prompt", "The old cat saw", "-q")),
    "importance": Work(("lab", "importance", "tiny", "-q")),
    "examine": Work(("examine", "{unit}", "--run", "tiny", "--no-open", "-q")),
    "clusters": Work(("train", "clusters", "points")),
    "train sae": Work(
        ("train", "sae", "--model", "llama", "--corpus", "text.jsonl", "--site", "layers.1.mlp",
         "--width", "32", "--k", "4", "--tokens", "2048", "--batch", "64", "--buffer", "256",
         "--window", "16", "-o", "sae")
    ),
    "sweep": Work(("sweep", "sweep.toml", "-q")),
    "cover": Work(
        ("cover", "concepts.txt", "--run", "tiny", "--rater", "openai:m", "--base-url", "{url}",
         "--structured", "json_schema", "-q")
    ),
    "map": Work(("map", "tiny", "-q")),
}  # fmt: skip


def main(arguments: list[str]) -> int:
    quick = "--quick" in arguments
    names = [name for name in arguments if name != "--quick"] or list(WORKS)
    for name, outcome in outcomes_of(names, QUICK_KILLS if quick else KILLS):
        counts = f"{outcome.kills} kills, {outcome.blocked} blocked, {outcome.different} different"
        print(f"{name}: {counts}", flush=True)
        for detail, times in Counter(outcome.details).items():
            print(f"  {times} x {detail}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
