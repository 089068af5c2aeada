"""What a report costs: CPU and memory by the number of ratings, size of the page."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autointerp.questions.rubric_files import load_rubric
from autointerp.settings import RunSettings
from autointerp.store.run import Run, open_run
from autointerp.units.sources import kind_of

# Units of each source per unit of size; features and neurons 40 % each, controls the rest.
SHARES = {"features": 40, "neurons": 40, "planted": 7, "random": 7, "shuffled": 6}
CONTEXTS = 40  # half of them the strongest, half two of each interval


def figures() -> Iterator[dict[str, Any]]:
    """Yield CPU of `autointerp report` over 10,000 and 1,000,000 ratings, its peak memory, and
    the size of the page of 400 units."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        fabricate(runs, "small", units=400, raters=5, repeats=5)
        small = measure(Path(folder), "small")
        page = (Path(folder) / "reports" / "small" / "index.html").stat().st_size
        fabricate(runs, "large", units=10_000, raters=10, repeats=10)
        large = measure(Path(folder), "large")
        large_page = (Path(folder) / "reports" / "large" / "index.html").stat().st_size
    whole = "user + system CPU of `autointerp report`, start-up included"
    yield {
        "figure": "report_cpu_s_10k",
        "value": round(small[0], 2),
        "unit": "s",
        "note": f"{whole}; 400 units, 10,000 ratings by 5 raters, 5 times each",
    }
    yield {
        "figure": "report_cpu_s_1m",
        "value": round(large[0], 2),
        "unit": "s",
        "note": f"{whole}; 10,000 units with {CONTEXTS} contexts each, 1,000,000 ratings by 10 "
        "raters, 10 times each",
    }
    yield {
        "figure": "report_peak_mb_1m",
        "value": round(large[1]),
        "unit": "MB",
        "note": f"largest resident set of the same; its page has {large_page / 1e6:.1f} MB",
    }
    yield {
        "figure": "page_mb_400_units",
        "value": round(page / 1e6, 2),
        "unit": "MB",
        "note": "index.html of 400 units with all their contexts, 5 raters",
    }


def measure(folder: Path, name: str) -> tuple[float, float]:
    """Return the CPU seconds and the peak memory, in MB, of one `autointerp report`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "autointerp", "report", name],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"autointerp report ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def fabricate(runs: Path, name: str, units: int, raters: int, repeats: int) -> None:
    """Make a run of so many units, rated by each rater so many times, by SQL alone."""
    with open_run(name, RunSettings(), None, runs) as run, run.transaction():
        _units(run, units)
        _contexts(run)
        _ratings(run, raters, repeats)


def _units(run: Run, units: int) -> None:
    first = 0
    for source, share in SHARES.items():
        n = units * share // 100
        run.replace_source(source, 2 * n, kind_of(source))
        run.connection.execute(
            "INSERT INTO unit SELECT ? + range, ?, range, 1, range, 'eligible',"
            " 0.3 * pow(hash(range, 1) / pow(2, 64), 3) + 1e-4, 1000000,"
            " 0.5 + hash(range, 2) / pow(2, 64), [100000 / pow(3, i) for i in range(10)], ''"
            " FROM range(?)",
            [first, source, n],
        )
        first += n


def _contexts(run: Run) -> None:
    run.connection.execute(
        "INSERT INTO context"
        " SELECT unit_id * ? + k, unit_id, if(k < ?, 'top', 'interval'),"
        "  if(k < ?, 10, 1 + k % 10), 'explain', false, 10, unit_id * ? + k, 10,"
        "  [' w' || (hash(unit_id, k, i) % 5000) for i in range(21)],"
        "  [if(i = 10, peak * if(k < ?, 1 - k / 100, (k % 10 + 0.5) / 10),"
        "   if(hash(unit_id, k, i) % 10 = 0, peak / 3, 0))::FLOAT for i in range(21)]"
        " FROM unit, range(?) AS place(k)",
        [CONTEXTS, CONTEXTS // 2, CONTEXTS // 2, CONTEXTS, CONTEXTS // 2, CONTEXTS],
    )


def _ratings(run: Run, raters: int, repeats: int) -> None:
    rubric = load_rubric("interpretability-1-5")
    run.connection.execute(
        "INSERT INTO item SELECT format('{:016x}', hash(unit_id)), ?, ?, 'shown',"
        " hash(unit_id)::UBIGINT::HUGEINT >> 2, NULL FROM unit",
        [rubric.id, rubric.digest],
    )
    run.connection.execute(
        "INSERT INTO key SELECT format('{:016x}', hash(unit_id)), unit_id, peak,"
        " [unit_id * ? + k for k in range(10)] FROM unit",
        [CONTEXTS],
    )
    run.connection.execute(
        "CREATE TEMP TABLE asked AS SELECT format('{:016x}', hash(unit_id)) AS item_id,"
        " 'model:' || r AS rater, k AS repeat, md5(unit_id || '/' || r || '/' || k) AS call_key,"
        " hash(unit_id, r, k) % 100 AS luck,"
        " 1 + hash(unit_id, 9) % 3 + (source IN ('features', 'planted'))::INTEGER"
        "  + hash(unit_id, r, k) % 2 AS score"
        " FROM unit, range(?) AS a(r), range(?) AS b(k)",
        [raters, repeats],
    )
    run.connection.execute(
        "INSERT INTO call SELECT call_key, 0, item_id, rater, repeat, 'end', '{\"score\": 3}',"
        " NULL, rater, 900, 60, 0.002, 1.5, '{}', TIMESTAMP '2026-01-01' FROM asked"
    )
    run.connection.execute(
        "INSERT INTO rating SELECT item_id, ?, ?, rater, repeat, 0,"
        " if(luck = 0, 'unparsed', 'ok'), if(luck = 0, NULL, score),"
        " 'words ending in ' || luck, 'Most contexts share the ending ' || luck || '.',"
        " NULL, NULL, call_key, TIMESTAMP '2026-01-01', NULL FROM asked",
        [rubric.id, rubric.digest],
    )
