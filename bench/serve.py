"""The service on loopback: start, memory, a page of 100,000 units, 200 people who watch a job."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from autointerp.apps.service._jobs import Asked, Jobs
from autointerp.files import open_locked
from autointerp.questions.rubric_files import load_rubric
from autointerp.settings import RunSettings
from autointerp.store.run import open_run

UNITS = 100_000
REQUESTS = 60
CLIENTS = 200
WATCH_S = 15.0
PATIENCE_S = 30  # until the last event has reached everybody
EVENTS_S = 2.0  # events a second, as a child writes them
RUBRIC = "interpretability-1-5"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Served:
    """A server that runs: its address, a token, its process, and how long it took to answer."""

    base: str
    token: str
    pid: int
    start_s: float

    def client(self) -> httpx2.Client:
        return httpx2.Client(
            base_url=self.base, headers={"Authorization": f"Bearer {self.token}"}, timeout=120.0
        )

    def cpu_s(self) -> float:
        """Return the seconds of CPU that the server has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_mb(self) -> float:
        """Return the memory that the server has in use."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Serve the runs below a folder by a process of its own, until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    server = subprocess.Popen(
        [sys.executable, "-m", "autointerp", "serve", "--port", str(port)],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert server.stdout is not None
    try:
        token = server.stdout.readline().strip().partition("token=")[2]
        base = f"http://127.0.0.1:{port}"
        headers = {"Authorization": f"Bearer {token}"}
        while True:
            with contextlib.suppress(httpx2.TransportError):
                if httpx2.get(f"{base}/", headers=headers).status_code == 200:
                    break
            time.sleep(0.02)
        yield Served(base, token, server.pid, time.monotonic() - began)
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()


def make_units(folder: Path, units: int) -> None:
    """Make a run `main` of many units, three contexts and a rating each."""
    rubric = load_rubric(RUBRIC)
    with open_run("main", RunSettings(), folder=folder) as run:
        run.execute(
            "INSERT INTO source VALUES ('features', ?, false, 'studied', 'a feature', 'features',"
            " '')",
            [units],
        )
        run.execute(
            "INSERT INTO unit SELECT i, 'features', i, 1, i, 'eligible', pow(random(), 4), 1000000,"
            " 1 + 5 * random(), [100.0, 50.0, 20.0, 10.0, 5.0], '' FROM range(?) t(i)",
            [units],
        )
        run.execute(
            "INSERT INTO context SELECT i, i // 3, 'top', 5, 'explain', false, 6, i % 1000, 6,"
            " list_transform(range(12), lambda x: ' w' || ((i * 7919 + x * x * 31) % 5000)),"
            " list_transform(range(12), lambda x: CASE x WHEN 6 THEN 5.0 ELSE 0.0 END)"
            " FROM range(?) t(i)",
            [3 * units],
        )
        run.execute(
            "INSERT INTO item SELECT printf('%016x', i), ?, ?, 'shown', i, NULL FROM range(?) t(i)",
            [rubric.id, rubric.digest, units],
        )
        run.execute(
            "INSERT INTO key SELECT printf('%016x', i), i, 5.0, [3 * i, 3 * i + 1, 3 * i + 2]"
            " FROM range(?) t(i)",
            [units],
        )
        run.execute(
            "INSERT INTO rating SELECT printf('%016x', i), ?, ?, 'judge', 0, 0, 'ok',"
            " 1 + i % 5, 'about w' || (i % 5000), 'because', NULL, NULL, NULL,"
            " TIMESTAMP '2026-01-01', NULL FROM range(?) t(i)",
            [rubric.id, rubric.digest, units],
        )


def pages(client: httpx2.Client, requests: int) -> list[float]:
    """Return the milliseconds of so many pages of the list: sorted, filtered, searched, far on."""
    rng = np.random.default_rng(0)
    taken = []
    for turn in range(requests):
        query: dict[str, Any] = {
            0: {"sort": "score", "down": "true", "offset": int(rng.integers(UNITS - 100))},
            1: {"q": f"w{rng.integers(5000)}"},
            2: {"low": "4", "sort": "density"},
            3: {"sort": "description", "offset": 100 * int(rng.integers(500))},
            4: {"q": f"features/{rng.integers(UNITS)}", "status": "ok"},
        }[turn % 5]
        began = time.perf_counter()
        answer = client.get("/runs/main/units", params=query)
        taken.append(1e3 * (time.perf_counter() - began))
        assert answer.status_code == 200, answer.text[:500]
    return taken


@contextlib.contextmanager
def live_job(folder: Path) -> Iterator[Path]:
    """Keep a job that goes on in a folder of runs; yield its log."""
    jobs = Jobs(folder)
    place = jobs.folder / "20260101-000000-abcdef"
    place.mkdir()
    lock = open_locked(place / "lock")
    assert lock is not None
    fields = {"asked": asdict(Asked(run="main")), "made_at": "2026-01-01T00:00:00+00:00"}
    (place / "job.json").write_text(json.dumps(fields))
    try:
        yield place / "events.jsonl"
    finally:
        os.close(lock)


async def watch(server: Served, clients: int, log: Path, seconds: float) -> tuple[float, int, int]:
    """Have so many clients watch a job that writes events; return the server's share of a core,
    the fewest events that a client got, and how many were written."""
    host, port = server.base.removeprefix("http://").split(":")
    request = (
        f"GET /v1/runs/main/events HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Authorization: Bearer {server.token}\r\n\r\n"
    ).encode()
    got = [0] * clients

    async def one(place: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        try:
            while line := await reader.readline():
                got[place] += line.startswith(b"id:")
        finally:
            writer.close()

    tasks = [asyncio.create_task(one(place)) for place in range(clients)]
    event = {"at": "2026-01-01", "kind": "Asking", "text": "rate by judge: 5 of 100 items",
             "fields": {"label": "rate by judge", "tally": {"done": 5, "total": 100}}}  # fmt: skip
    with log.open("a") as file:

        def write(number: int) -> None:
            file.write(json.dumps({"number": number, **event}) + "\n")
            file.flush()

        write(0)
        while min(got) < 1:
            await asyncio.sleep(0.2)
        cpu, began, number = server.cpu_s(), time.monotonic(), 0
        while time.monotonic() - began < seconds:
            number += 1
            write(number)
            await asyncio.sleep(1 / EVENTS_S)
        share = (server.cpu_s() - cpu) / (time.monotonic() - began)
    waited = time.monotonic()
    while min(got) <= number and time.monotonic() - waited < PATIENCE_S:
        await asyncio.sleep(0.2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return share, min(got) - 1, number


def figure(name: str, value: float | int | str, unit: str, note: str) -> dict[str, Any]:
    return {"figure": name, "value": value, "unit": unit, "note": note}


FIGURES = ("serve_start_s", "serve_idle_mb", "serve_units_page_ms", "serve_sse_clients")


def figures(quick: bool = False, only: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Yield the figures of the service, or those named; with `quick` of a tenth of the units and
    clients."""
    units, clients = (UNITS // 10, CLIENTS // 10) if quick else (UNITS, CLIENTS)
    wanted = set(only or FIGURES)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "runs").mkdir()
        if wanted & {"serve_start_s", "serve_idle_mb"}:
            yield from (one for one in _empty(folder) if one["figure"] in wanted)
        if wanted & {"serve_units_page_ms", "serve_sse_clients"}:
            make_units(folder / "runs", units)
            with served(folder) as server:
                if "serve_units_page_ms" in wanted:
                    yield _units_page(server, units)
                if "serve_sse_clients" in wanted:
                    yield _watching(server, folder, clients)


def _load() -> str:
    return f"load {os.getloadavg()[0]:.0f}"


def _empty(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield how a server starts over an empty folder, and what it holds then."""
    with served(folder) as server:
        yield figure("serve_start_s", round(server.start_s, 2), "s",
                     f"from the command to the first page, {server.cpu_s():.2f} s of it CPU;"
                     f" to reach: 2; {_load()}")  # fmt: skip
        time.sleep(1)
        yield figure("serve_idle_mb", round(server.resident_mb(), 1), "MB",
                     "resident, after the first page of an empty folder")  # fmt: skip


def _units_page(server: Served, units: int) -> dict[str, Any]:
    """Return how long a page of units takes, of a run that has many."""
    with server.client() as client:
        began = time.perf_counter()
        client.get("/runs/main/units")
        first_s = time.perf_counter() - began
        cpu_s = server.cpu_s()
        taken = pages(client, REQUESTS)
    cpu_ms = 1e3 * (server.cpu_s() - cpu_s) / REQUESTS
    return figure(
        "serve_units_page_ms", round(float(np.quantile(taken, 0.95)), 1), "ms",
        f"p95 of {REQUESTS} pages of 100 of {units:,} units: sorted, filtered, searched;"
        f" median {np.median(taken):.0f}, CPU of the server {cpu_ms:.0f} each; the first,"
        f" which copies the run, {first_s:.1f} s; to reach: 200; {_load()}",
    )  # fmt: skip


def _watching(server: Served, folder: Path, clients: int) -> dict[str, Any]:
    """Return the share of a core that people take who watch a job."""
    with live_job(folder / "runs") as log:
        share, fewest, written = asyncio.run(watch(server, clients, log, WATCH_S))
    return figure(
        "serve_sse_clients", round(100 * share, 1), "%",
        f"of a core, {clients} clients watching {EVENTS_S:.0f} events a second for"
        f" {WATCH_S:.0f} s; the fewest that one got: {fewest} of {written};"
        f" to reach: 5; {_load()}",
    )  # fmt: skip
