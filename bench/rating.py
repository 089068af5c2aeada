"""What rating costs beside the model: CPU, waiting, memory, against a server on loopback.

Each measurement runs in a process of its own, the server in another. The least of three walls is
given: on a shared machine the disturbed ones are the longer.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import resident_mb

ROOT = Path(__file__).parents[1]
REQUESTS, CONNECTIONS = 1500, 64
LATENCY_S, RUNS = 0.2, 3


def figures() -> Iterator[dict[str, Any]]:
    """Yield the figures, each with its unit and how it was made."""
    quick = measure(0.0, REQUESTS)
    yield {
        "figure": "rate_cpu_ms_per_request",
        "value": 1000 * quick["cpu_s"] / REQUESTS,
        "unit": "ms",
        "note": f"{REQUESTS} requests, {CONNECTIONS} connections, no latency; durable write, "
        "reading and parsing included, imports not",
    }
    yield {
        "figure": "rate_peak_mb",
        "value": quick["peak_mb"],
        "unit": "MB",
        "note": "largest resident size of that process, libraries included",
    }
    wall_s = min(measure(LATENCY_S, REQUESTS)["wall_s"] for _ in range(RUNS))
    ideal = REQUESTS / CONNECTIONS * LATENCY_S
    yield {
        "figure": "rate_wall_over_ideal_200ms",
        "value": wall_s / ideal,
        "unit": "×",
        "note": f"{REQUESTS} requests over {CONNECTIONS} connections, ideally {ideal:.2f} s, "
        f"least of {RUNS} runs",
    }
    with serving("--permanent", "429") as url:
        told = child(url, 1, retries=1)
    yield {
        "figure": "calls_for_permanent_429",
        "value": told["calls"],
        "unit": "calls",
        "note": "HTTP calls for one item that is refused for ever, with one retry allowed",
    }


def measure(latency_s: float, requests: int) -> dict[str, float]:
    """Return what `requests` ratings took against a server of this latency."""
    with serving("--latency", str(latency_s)) as url:
        return child(url, requests)


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """Yield the address of a loopback server in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-m", "support.loopback.server", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        finally:
            server.terminate()


def child(url: str, requests: int, retries: int = 8) -> dict[str, float]:
    """Return what a fresh process says of its rating."""
    command = [sys.executable, "-m", "bench.rating", url, str(requests), str(retries)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    result: dict[str, float] = json.loads(told.stdout)
    return result


def rate(url: str, requests: int, retries: int) -> dict[str, float]:
    """Rate in this process; return CPU and wall time (s), peak size (MB) and calls made."""
    sys.path.insert(0, str(ROOT / "tests"))
    import openai  # noqa: F401  (not part of the work)
    import pandas  # noqa: F401
    from support.loopback.client import RUBRIC

    from autointerp.engine.retry import RetryPolicy
    from autointerp.engine.work import RatingPolicy, rate_items
    from autointerp.raters import RaterOptions
    from autointerp.raters.openai import create
    from autointerp.records import Item, ItemContext
    from autointerp.settings import RunSettings
    from autointerp.store.run import open_run

    words = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "the", "old", "red", "house")
    tokens = tuple(f" {words[n % len(words)]}" for n in range(21))
    contexts = (ItemContext(tokens, None, 10, "explain", False),) * RUBRIC.shows.contexts
    names = [f"{number:016x}" for number in range(requests)]
    rater = create("m", RaterOptions(base_url=url, structured="json_schema"))
    policy = RatingPolicy(RetryPolicy(retries=retries, first_wait_s=0.01), CONNECTIONS)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_run("bench", RunSettings(), folder=Path(folder)) as run,
    ):
        wall, cpu = time.perf_counter(), time.process_time()
        counts = rate_items(
            run,
            names,
            RUBRIC,
            rater,
            policy=policy,
            load=lambda ids: [Item(one, RUBRIC.id, contexts) for one in ids],
        )
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        stored = run.rows("SELECT count(*) FROM current_rating")[0][0]
        if stored != requests:
            raise SystemExit(f"{stored} of {requests} ratings are stored")
    return {"cpu_s": cpu, "wall_s": wall, "peak_mb": resident_mb(), "calls": counts.calls}


if __name__ == "__main__":
    print(json.dumps(rate(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
