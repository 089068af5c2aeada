"""People who rate in browsers at once: durable answers a second, how long each waits, and what
`kill -9` of the server costs under load. Loopback; the raters share the machine with the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from autointerp.apps.service._tokens import Tokens
from autointerp.files import PRIVATE_FOLDER
from autointerp.people.ingest import journals_folder
from autointerp.people.journal import read_journal
from autointerp.people.seats import sit_down
from autointerp.people.session import Session
from autointerp.questions.rubric_files import load_rubric
from autointerp.records import Item, ItemContext

ROOT = Path(__file__).parents[1]
RATERS, QUICK_RATERS = 100, 20
SECONDS, QUICK_SECONDS = 60.0, 5.0
THINKS_S = 1.0  # between two answers of a rater, on average: faster than anybody reads
KILLS, QUICK_KILLS = 100, 3
KILL_RATERS = 10
ITEMS = 200  # more than a rater who thinks comes to
PATIENCE_S = 120.0  # for a server to answer, whatever else the machine does
SEED = 20261

Figure = dict[str, Any]


def made_up_session() -> Session:
    """Return a session of as many items as nobody comes to rate, without a run behind it."""
    words = ("quick", "brown", "fox", "jumps", "over", "lazy", "dog", "small", "cat", "sleeps")
    rng = random.Random(SEED)
    contexts = [
        ItemContext(tuple(f" {rng.choice(words)}" for _ in range(17)), None, 8, "explain", False)
        for _ in range(50)
    ]
    rubric = load_rubric("interpretability-1-5")
    names = tuple(f"{place:016x}" for place in range(ITEMS))
    items = tuple(Item(n, rubric.id, tuple(rng.sample(contexts, 10))) for n in names)
    return Session("made up", rubric, items, names, (), contexts=10, seed="0", repeat_share=0.1)


def free_port() -> int:
    """Return a free port below those that the system gives to clients.

    A client of a server that was killed, on a port of that range, may be connected to itself, and
    then holds the port that the next server needs.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free")


class Server:
    """A server of a folder of runs, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "autointerp", "serve", "--port", str(self.port)],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / "server.err").open("wb"),
        )
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        said = (self._folder / "server.err").read_text().strip().rpartition("\n")[2]
        raise RuntimeError(f"the server does not answer ({self._process.poll()}): {said}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Rater:
    """Somebody who answers as soon as asked, and sends again what was not acknowledged."""

    def __init__(self, name: str, token: str, base_url: str) -> None:
        self.name = name
        self.acknowledged: list[str] = []
        self._held: list[str] = []
        self.waits_s: list[float] = []
        self._rng = random.Random(f"{SEED}/{name}")
        self._client = httpx.AsyncClient(
            base_url=base_url, headers={"Authorization": f"Bearer {token}"}, timeout=30
        )

    async def sit_down(self) -> None:
        """Open the page."""
        (await self._client.get("/rate/state", timeout=PATIENCE_S)).raise_for_status()

    async def rate(self, until: float, thinks_s: float) -> None:
        """Rate until the clock says `until`; a server that is away is waited for."""
        state: dict[str, Any] | None = None
        number = len(self.acknowledged)
        while time.monotonic() < until:
            try:
                if state is None:
                    answer = await self._client.get("/rate/state")
                    answer.raise_for_status()
                    state = answer.json()
                if not state["order"]:
                    return
                if thinks_s:
                    await asyncio.sleep(self._rng.expovariate(1 / thinks_s))
                number += 1
                await self._give(f"{self.name}-{number:08}", state["order"][0], until)
                state = self._state
            except (httpx.TransportError, httpx.HTTPStatusError):
                state = None
                await asyncio.sleep(0.05)

    async def _give(self, identifier: str, step: str, until: float) -> None:
        """Send an answer until it is acknowledged, as a page does."""
        deed = {"id": identifier, "step": step, "verb": "score", "seconds": 1.0,
                "score": self._rng.randint(1, 5)}  # fmt: skip
        while True:
            began = time.monotonic()
            try:
                answer = await self._client.post(
                    "/rate/deeds", json={"deeds": [deed], "held": self._held}
                )
                answer.raise_for_status()
            except (httpx.TransportError, httpx.HTTPStatusError):
                if time.monotonic() > until + PATIENCE_S:
                    raise
                await asyncio.sleep(0.05)
                continue
            self.waits_s.append(time.monotonic() - began)
            self._state = answer.json()["state"]
            self._held = self._state["order"]
            if not answer.json()["outcomes"][0]["refused"]:
                self.acknowledged.append(identifier)
            return

    async def close(self) -> None:
        await self._client.aclose()


def seated(folder: Path, raters: int, base_url: str) -> list[Rater]:
    """Return raters who have been invited to a session of a folder of runs."""
    journals = journals_folder(folder / "runs" / "made-up")
    journals.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
    session, tokens, people = made_up_session(), Tokens(folder / "runs"), []
    for place in range(raters):
        name = f"r{place}"
        path = sit_down(journals, f"human:{name}", session)
        _, token = tokens.issue("rater", run="made-up", rater=f"human:{name}",
                                details={"journal": path.name})  # fmt: skip
        people.append(Rater(name.ljust(4, "x"), token, base_url))
    return people


async def _all(people: list[Rater], seconds: float, thinks_s: float) -> float:
    """Let all rate for a while, once they have opened their pages; return how long it took."""
    for begin in range(0, len(people), 10):
        await asyncio.gather(*(person.sit_down() for person in people[begin : begin + 10]))
    began = time.monotonic()
    await asyncio.gather(*(person.rate(began + seconds, thinks_s) for person in people))
    took = time.monotonic() - began
    await asyncio.gather(*(person.close() for person in people))
    return took


def lost_and_twice(folder: Path, people: list[Rater]) -> tuple[int, int]:
    """Return acknowledged answers that no journal has, and answers that a journal has twice."""
    written: Counter[str] = Counter()
    for path in journals_folder(folder / "runs" / "made-up").glob("*.jsonl"):
        for entries in read_journal(path).entries.values():
            written.update(entry.answer or "" for entry in entries)
            steps = Counter((entry.item, entry.repeat) for entry in entries)
            written.update({f"step {step}": n for step, n in steps.items() if n > 1})
    acknowledged = {identifier for person in people for identifier in person.acknowledged}
    return len(acknowledged - written.keys()), sum(n - 1 for n in written.values() if n > 1)


PAUSES_S = {"serve_answers_per_s": 0.0, "serve_p99_ms": THINKS_S}  # between a rater's answers
FIGURES = (*PAUSES_S, "serve_kill_lost")


def load_figures(quick: bool, wanted: Collection[str]) -> Iterator[Figure]:
    """Yield answers a second without a pause between them, and the wait of people who think."""
    raters = QUICK_RATERS if quick else RATERS
    seconds = QUICK_SECONDS if quick else SECONDS
    for figure, thinks_s in PAUSES_S.items():
        if figure not in wanted:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "runs").mkdir()
            server = Server(folder)
            people = seated(folder, raters, server.base_url)
            server.start()
            try:
                took = asyncio.run(_all(people, seconds, thinks_s))
            finally:
                server.kill()
            waits = sorted(wait for person in people for wait in person.waits_s)
            lost, twice = lost_and_twice(folder, people)
            value = len(waits) / took if thinks_s == 0 else 1000 * waits[int(0.99 * len(waits))]
            pause = f"{thinks_s:g} s between answers" if thinks_s else "no pause"
            yield {
                "figure": figure,
                "value": round(value, 1),
                "unit": "answers/s" if thinks_s == 0 else "ms",
                "note": f"{raters} raters, {pause}, {took:.0f} s, {len(waits)} durable answers, "
                f"{lost} lost, {twice} twice",
            }


def kill_figure(quick: bool) -> Figure:
    """Return what kills of the server cost while people rate."""
    kills = QUICK_KILLS if quick else KILLS
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "runs").mkdir()
        server = Server(folder)
        people = seated(folder, KILL_RATERS, server.base_url)

        async def killed() -> None:
            stop = asyncio.Event()

            async def rates(person: Rater) -> None:
                while not stop.is_set():
                    await person.rate(time.monotonic() + 0.5, 0.2)

            tasks = [asyncio.create_task(rates(person)) for person in people]
            for _ in range(kills):
                await asyncio.to_thread(server.start)
                before = sum(len(person.acknowledged) for person in people)
                while sum(len(person.acknowledged) for person in people) == before:
                    await asyncio.sleep(0.01)  # until people are at work again
                await asyncio.sleep(rng.uniform(0.0, 0.5))
                await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            stop.set()
            await asyncio.gather(*tasks)
            await asyncio.gather(*(person.close() for person in people))

        try:
            asyncio.run(killed())
        finally:
            server.kill()
        lost, twice = lost_and_twice(folder, people)
        answers = sum(len(person.acknowledged) for person in people)
    return {
        "figure": "serve_kill_lost",
        "value": lost + twice,
        "unit": "answers",
        "note": f"{kills} kills -9 under {KILL_RATERS} raters: of {answers} acknowledged answers "
        f"{lost} lost, {twice} written twice",
    }


def figures(quick: bool = False, only: Sequence[str] = ()) -> Iterator[Figure]:
    """Yield the figures of this module, or those named."""
    wanted = only or FIGURES
    yield from load_figures(quick, wanted)
    if "serve_kill_lost" in wanted:
        yield kill_figure(quick)
