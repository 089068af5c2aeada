"""What `kill -9` costs: rating, explaining, scoring, a person's session and a report, killed again
and again at random moments, each time followed by the same command.

The model is a server on loopback that counts and bills every call that comes in, answered or not.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autointerp.errors import AutointerpError
from autointerp.exchange import contexts
from autointerp.exchange._arrival import import_units
from autointerp.people.ingest import journals_folder
from autointerp.people.journal import read_journal
from autointerp.store.run import open_run
from bench._nursery import Nursery, Started

ROOT = Path(__file__).parents[1]
Start = Callable[..., Started]
KILLS, QUICK_KILLS = 100, 3  # of each verb
SEED = 20261
SLOTS = 8  # calls in flight at most
LATENCY_S = 0.05
UNITS = {"features": 30, "neurons": 30, "planted": 8, "shuffled": 8}
USD_PER_TOKEN = 1e-5
REPLY_TOKENS = 9  # of {"rationale": "as told", "score": 3}, four bytes each
BUDGET_USD = 1.0
PATIENCE_S = 600.0  # for a command to come to its first call, whatever else the machine does


@dataclass
class Outcome:
    """What the kills of one verb cost.

    Attributes:
        acknowledged_lost: Answers that were there, beyond those in flight, and are not kept.
        paid_twice: Calls made again, beyond those that a kill found in flight.
        blocked: Kills after which the same command, or the run, could not be used.
        overrun_usd: Most that was billed beyond the budget; below 0 if it always held.
    """

    kills: int = 0
    acknowledged_lost: int = 0
    paid_twice: int = 0
    blocked: int = 0
    overrun_usd: float = -BUDGET_USD


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield what was lost, paid twice, blocked and overspent, over all kills of all verbs."""
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder, Nursery() as nursery:
        for place, (verb, campaign) in enumerate(CAMPAIGNS.items()):
            rng = np.random.default_rng([SEED, place])
            kills = QUICK_KILLS if quick else KILLS
            outcomes[verb] = campaign(kills, rng, Path(folder) / verb, nursery.start)
    note = ", ".join(f"{outcome.kills} kills of {verb}" for verb, outcome in outcomes.items())
    for figure, unit, values in (
        ("acknowledged_lost", "answers", [one.acknowledged_lost for one in outcomes.values()]),
        ("paid_twice_beyond_in_flight", "calls", [one.paid_twice for one in outcomes.values()]),
        ("runs_blocked", "kills", [one.blocked for one in outcomes.values()]),
    ):
        each = "+".join(str(value) for value in values)
        yield {"figure": figure, "value": sum(values), "unit": unit, "note": f"{note}: {each}"}
    yield {
        "figure": "budget_overrun_usd",
        "value": round(max(one.overrun_usd for one in outcomes.values()), 4),
        "unit": "USD",
        "note": f"most billed by the server in any run of rating, less --budget-usd {BUDGET_USD}",
    }


# -------------------------------------------------------------------------------- commands


def prepare(folder: Path) -> Path:
    """Make a folder with an imported run `main`; return it."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.fabricate import fabricate_run

    folder.mkdir(parents=True)
    file = folder / "contexts.parquet"
    with fabricate_run(folder / "made", UNITS, contexts=30) as made:
        contexts.write(made, folder / "firing.parquet")
        # Backwards and silent, for scorers that ask where a unit fires.
        made.connection.execute(
            "COPY (SELECT unit, source, context, tokens, activations FROM read_parquet($firing)"
            " UNION ALL SELECT unit, source, context + 1000000, list_reverse(tokens),"
            f" [0.0 FOR _ IN tokens]::FLOAT[] FROM read_parquet($firing)) TO '{file}'",
            {"firing": str(folder / "firing.parquet")},
        )
    shutil.rmtree(folder / "made")
    import_units(file, "main", runs=folder / "runs")
    return folder


def fresh(prepared: Path) -> Path:
    """Return a copy of a prepared folder, in place of the last one."""
    copy = prepared.with_name(f"{prepared.name}-copy")
    shutil.rmtree(copy, ignore_errors=True)
    return Path(shutil.copytree(prepared, copy))


# ----------------------------------------------------------------------------------- models


def asked(verb: str, *options: str, first: tuple[str, ...] = ()) -> Callable[..., Outcome]:
    """Return the campaign of a verb that asks a model."""

    def campaign(kills: int, rng: np.random.Generator, folder: Path, start: Start) -> Outcome:
        sys.path.insert(0, str(ROOT / "tests"))
        from support.loopback.server import LoopbackServer

        outcome = Outcome()
        prepared = prepare(folder)
        with LoopbackServer(LATENCY_S) as server:
            reached = ("--rater", "openai:m", "--base-url", server.openai_url)
            reached += ("--structured", "json_schema", "--concurrency", str(SLOTS))
            server.fault_for = _own_description
            if first and start(prepared, *first, *reached).wait():
                raise RuntimeError(f"{first[0]} failed before the kills of {verb}")
            arguments = (verb, *options, *reached)
            while outcome.kills < kills:
                _until_done(outcome, kills, rng, fresh(prepared), start, server, arguments)
        return outcome

    return campaign


def _own_description(call: Any) -> Any:
    """Return a reply with a description of this prompt alone, or none to a rating's.

    Units of one description cannot share the calls of `detection`.
    """
    from support.loopback.server import Fault

    if "description" not in json.dumps(call.body.get("response_format", "")):
        return None
    digest = hashlib.sha256(call.user.encode()).hexdigest()[:8]
    return Fault(text=json.dumps({"rationale": "as told", "description": f"texts of {digest}"}))


def _until_done(
    outcome: Outcome,
    kills: int,
    rng: np.random.Generator,
    folder: Path,
    start: Start,
    server: Any,
    arguments: tuple[str, ...],
) -> None:
    """Kill a command again and again until it has done all, or there were enough kills."""
    calls: list[str] = []
    billed = 0.0

    def come_in(call: Any) -> None:
        nonlocal billed
        calls.append(json.dumps(call.body, sort_keys=True))
        # As the server counts them.
        billed += USD_PER_TOKEN * (len(json.dumps(call.body["messages"])) // 4 + REPLY_TOKENS)

    server.fault_for = come_in
    before = _stored(folder)
    lost = in_flight = 0
    while True:
        process = start(folder, *arguments)
        killed = outcome.kills < kills and _kill_after(
            process, lambda: len(calls), int(rng.integers(1, 30)), rng.uniform(0, 2 * LATENCY_S)
        )
        process.wait()
        if "--budget-usd" in arguments:
            outcome.overrun_usd = max(outcome.overrun_usd, billed - BUDGET_USD)
        if not calls:
            raise RuntimeError(f"{arguments[0]} asked nothing: there is nothing to kill")
        if not killed:
            outcome.blocked += process.returncode != 0
            break
        outcome.kills += 1
        try:
            stored = _stored(folder) - before
        except AutointerpError:
            outcome.blocked += 1
            break
        new = len(calls) - stored - lost
        outcome.acknowledged_lost += max(0, new - SLOTS)
        in_flight += min(new, SLOTS)
        lost += new
    outcome.paid_twice += max(0, len(calls) - len(set(calls)) - in_flight)


def _stored(folder: Path) -> int:
    with open_run("main", folder=folder / "runs") as run:
        return int(run.rows("SELECT count(*) FROM call")[0][0])


def _kill_after(process: Started, count: Callable[[], int], more: int, delay_s: float) -> bool:
    """Kill a process once `count` has grown by `more`, and a moment later; False if it ends."""
    first, until = count(), time.monotonic() + PATIENCE_S
    while count() - first < more and time.monotonic() < until:
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    time.sleep(delay_s)
    process.kill()
    return process.wait() < 0


# ----------------------------------------------------------------------------------- people


def people(kills: int, rng: np.random.Generator, folder: Path, start: Start) -> Outcome:
    """Kill a person's session while answers are given; what was followed by a question is kept."""
    outcome = Outcome()
    prepared = prepare(folder)
    while outcome.kills < kills:
        copy = fresh(prepared)
        followed = 0  # answers that the next question has followed
        while outcome.kills < kills:
            process = start(copy, "rate", "--rater", "human:ann", "--plain", has_pipes=True)
            given, is_done = _answer(process, int(rng.integers(1, 25)), rng)
            followed += given
            outcome.blocked += not given and not is_done
            if is_done or not given:
                break
            outcome.kills += 1
            (journal,) = journals_folder(copy / "runs" / "main").glob("*.jsonl")
            kept = len(read_journal(journal).entries.get("human:ann", []))
            outcome.acknowledged_lost += max(0, followed - kept)
            followed = kept  # one more may have come before the kill
    return outcome


def _answer(process: Started, answers: int, rng: np.random.Generator) -> tuple[int, bool]:
    """Give answers, then kill; return those that a question followed, and whether all is done."""
    assert process.stdin is not None and process.stdout is not None  # noqa: PT018
    sent = followed = 0
    for line in process.stdout:
        asks, goes_on = line.startswith("Answer, or"), line.startswith("Enter to go on")
        if not asks and not goes_on:
            continue
        followed += sent
        sent = 0
        if followed >= answers:
            break
        if asks and "skip" not in line:  # the blinding check: all is rated
            process.kill()
            process.communicate()
            return followed, True
        process.stdin.write("1\n" if asks else "\n")
        process.stdin.flush()
        sent = int(asks)
    else:
        process.communicate()
        return followed, process.returncode == 0
    if rng.random() < 0.5:  # with an answer on its way
        process.stdin.write("1\n")
        process.stdin.flush()
        time.sleep(rng.uniform(0, 0.01))
    process.kill()
    process.communicate()
    return followed, False


# ----------------------------------------------------------------------------------- report


def report(kills: int, rng: np.random.Generator, folder: Path, start: Start) -> Outcome:
    """Kill reports while they are written and while they take an older one's place."""
    outcome = Outcome()
    prepare(folder)
    out = folder / "out"
    arguments = ("report", "main", "-o", "out")
    for first in (("rate", "--rater", "scripted:3"), arguments):
        if start(folder, *first).wait():
            raise RuntimeError(f"{first[0]} failed before the kills of report")
    (out / "notes.md").write_text("somebody's")
    page = out / "index.html"
    while outcome.kills < kills:
        process = start(folder, *arguments)
        written = f".out.{process.pid}.partial/index.html"
        until = time.monotonic() + PATIENCE_S
        at_the_end = rng.random() < 0.7
        while time.monotonic() < until and process.poll() is None:
            place = folder / (written if at_the_end else f".out.{process.pid}.partial")
            if place.exists():
                break
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.05 if at_the_end else 1.0))
        process.kill()
        if process.wait() == 0:
            continue
        outcome.kills += 1
        if out.exists():
            outcome.acknowledged_lost += not page.exists()
            outcome.acknowledged_lost += not (out / "notes.md").exists()
        if outcome.kills % 10 == 0 or outcome.kills == kills or not out.exists():
            outcome.blocked += start(folder, *arguments).wait() != 0
            outcome.acknowledged_lost += not (out / "notes.md").exists() or not page.exists()
            outcome.blocked += any(folder.glob(".out.*"))
    return outcome


CAMPAIGNS: dict[str, Callable[[int, np.random.Generator, Path, Start], Outcome]] = {
    "rating": asked(
        "rate",
        *("--budget-usd", str(BUDGET_USD), "--max-output-tokens", "64"),
        *("--price-in", str(1e6 * USD_PER_TOKEN), "--price-out", str(1e6 * USD_PER_TOKEN)),
    ),
    "explain": asked("explain", "main"),
    "score": asked("score", "main", "--scorer", "detection", first=("explain", "main")),
    "people": people,
    "report": report,
}
