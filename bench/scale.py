"""100,000 units from another tool: importing, rating and reporting them.

Each command runs in a process of its own. The export has its units' firing contexts alone, as
exports of dashboards have, so that contexts in which a unit is silent come from other units.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from bench import resident_mb

ROOT = Path(__file__).parents[1]
UNITS, QUICK_UNITS = 100_000, 10_000
CONTEXTS, TOKENS = 5, 21  # of a unit; of a context
RUN = "scale"


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the figures of import, rating and report."""
    units = QUICK_UNITS if quick else UNITS
    name = f"{units // 1000}k"
    what = f"{units:,} units of {CONTEXTS} contexts of {TOKENS} tokens"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        export(folder / "units.parquet", units)
        cpu_s, peak_mb = measured(folder, "import", "units.parquet", "--run", RUN)
        size = (folder / "runs" / RUN / "run.duckdb").stat().st_size
        yield figure(f"import_{name}_cpu_s", cpu_s, "s", f"`autointerp import`, {what}")
        yield figure(
            f"import_{name}_peak_mb",
            peak_mb,
            "MB",
            f"largest resident set of that; the run has {size / 1e6:,.0f} MB",
        )
        told = child("rate", folder / "runs", units)
        yield figure(
            f"rate_{name}_ms_per_item",
            1000 * told["cpu_s"] / units,
            "ms",
            "CPU of `rate_items` an item, by a rater that answers at once; making items, reading "
            "contexts and storing included, imports not",
        )
        yield figure(f"rate_{name}_peak_mb", told["peak_mb"], "MB", "largest resident set of that")
        cpu_s, peak_mb = measured(folder, "report", RUN)
        report = folder / "reports" / RUN
        page = (report / "index.html").stat().st_size
        beside = [file for file in report.rglob("*") if file.is_file()]
        yield figure(
            f"report_{name}_s", cpu_s, "s", f"CPU of `autointerp report` of {units:,} rated units"
        )
        yield figure(f"report_{name}_peak_mb", peak_mb, "MB", "largest resident set of that")
        yield figure(
            f"page_{name}_mb",
            page / 1e6,
            "MB",
            f"index.html; {len(beside)} files with it have "
            f"{sum(file.stat().st_size for file in beside) / 1e6:,.0f} MB",
        )


def figure(name: str, value: float, unit: str, note: str) -> dict[str, Any]:
    return {"figure": name, "value": round(value, 3), "unit": unit, "note": note}


def export(file: Path, units: int) -> None:
    """Write a contexts table of so many units, strongest contexts first."""
    duckdb.execute(
        "COPY (SELECT u::VARCHAR AS unit, 'features' AS source, c::INTEGER AS context,"
        f" [' w' || (hash(u, c, i) % 5000) for i in range({TOKENS})] AS tokens,"
        f" [if(i = {TOKENS // 2}, (5 - c / {CONTEXTS}), if(hash(u, c, i) % 10 = 0, 0.5, 0))::FLOAT"
        f"  for i in range({TOKENS})] AS activations"
        f" FROM range({units}) AS a(u), range({CONTEXTS}) AS b(c) ORDER BY u, c)"
        f" TO '{file}' (FORMAT parquet)"
    )


def measured(folder: Path, *command: str) -> tuple[float, float]:
    """Return the CPU seconds and the peak memory, in MB, of one `autointerp` command."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "autointerp", *command],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        env=environment,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"autointerp {command[0]} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def child(part: str, runs: Path, units: int) -> dict[str, float]:
    """Return what a fresh process says of its part."""
    told = subprocess.run(
        [sys.executable, "-m", "bench.scale", part, str(runs), str(units)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    result: dict[str, float] = json.loads(told.stdout)
    return result


def rate(runs: Path, units: int) -> dict[str, float]:
    """Rate all units of the run in this process, by a rater that answers at once."""
    import pandas  # noqa: F401  (not part of the work)

    from autointerp.engine.work import rate_items
    from autointerp.questions.items import load_items, make_items
    from autointerp.questions.rubric_files import load_rubric
    from autointerp.raters import Rater, call_key
    from autointerp.records import Item, Reply, Request
    from autointerp.store.run import open_run

    rubric = load_rubric("interpretability-1-5")

    class Immediate:
        """A rater without latency: its score follows from the item's id."""

        name, is_llm, evidence = "immediate", False, "shown"

        def request(self, item: Item, question: Any, repeat: int = 0) -> Request:
            body = {"item": item.id}
            return Request(call_key("bench", "", body, question, repeat), item.id, body, repeat)

        async def send(self, request: Request) -> Reply:
            score = 1 + int(request.item[:8], 16) % 5
            return Reply(json.dumps({"rationale": "It is so.", "score": score}), "end")

    rater: Rater = Immediate()  # type: ignore[assignment]
    with open_run(RUN, folder=runs) as run:
        wall, cpu = time.perf_counter(), time.process_time()
        ids = make_items(run, run.sampled("features", units), rubric, "shown")
        made = time.process_time() - cpu
        load = functools.partial(load_items, run, question=rubric)
        rate_items(run, ids, rubric, rater, load=load)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        stored = run.rows("SELECT count(*) FROM current_rating")[0][0]
        if stored != units:
            raise SystemExit(f"{stored} of {units} ratings are stored")
    return {"cpu_s": cpu, "items_cpu_s": made, "wall_s": wall, "peak_mb": resident_mb()}


if __name__ == "__main__":
    print(json.dumps(rate(Path(sys.argv[2]), int(sys.argv[3]))))
