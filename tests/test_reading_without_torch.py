"""Reading a run, rating a pack and writing a report need none of the machinery of making runs."""

import json
from pathlib import Path

import pytest
from support.fabricate import add_all_scores, fabricate_run
from support.processes import printed

from autointerp.people.packs import make_pack, units_to_pack
from autointerp.people.session import Sitting
from autointerp.questions.rubric_files import load_rubric

PACKAGE = Path(__file__).parents[1] / "autointerp"
ROOMS = ("store", "questions", "raters", "people", "findings", "reports", "engine")
HEAVY = ("torch", "transformers", "safetensors", "tokenizers")
# What pandas can do without; jinja2 it needs for nothing that we use, but the page does.
OPTIONAL = ("pyarrow", "numexpr", "bottleneck", "tables", "openpyxl", "xlrd", "lxml", "fsspec")

BLOCKER = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY + OPTIONAL}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""

READ = """
from pathlib import Path
import autointerp
from autointerp.people.ingest import ingest
from autointerp.people.journal import open_journal
from autointerp.people.machine import Machine
from autointerp.store.run import open_run

pack = Path("for-ann.pack")
with open_journal(pack, "human:ann") as journal:
    machine = Machine(journal)
    while machine.step is not None and machine.step.kind != "guess":
        machine.rate(4)
        machine.go_on()
with open_run("main") as run:
    new = ingest(run, pack)
    comparison = autointerp.compare(run)
    contexts = run.contexts([unit.unit_id for unit in run.units("features")])
autointerp.report(["main"])
page = Path("reports/main/index.html")
print(json.dumps({
    "new": new,
    "raters": sorted(judgement.rater for judgement in comparison.judgements),
    "contexts": sum(map(len, contexts.values())),
    "page": page.stat().st_size > 10_000,
    "tables": sorted({path.suffix for path in (page.parent / "tables").iterdir()}),
    "loaded": [name for name in sys.modules if name.partition(".")[0] in BLOCKED],
}))
"""


@pytest.fixture(scope="module")
def loaded(process_environment: dict[str, str]) -> dict[str, list[str]]:
    """What of `HEAVY` each room loads that those before it did not: all rooms in one process."""
    modules = {
        room: [
            ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
            for file in sorted((PACKAGE / room).rglob("*.py"))
        ]
        for room in ROOMS
    }
    code = f"""
import importlib, json, sys
loaded, before = {{}}, set()
for room, names in {modules}.items():
    for name in names:
        importlib.import_module(name)
    heavy = {{name for name in {HEAVY} if name in sys.modules}}
    loaded[room], before = sorted(heavy - before), heavy
print(json.dumps(loaded))
"""
    found: dict[str, list[str]] = json.loads(printed(code, process_environment))
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_of_a_room_that_reads_loads_torch_or_transformers(
    room: str, loaded: dict[str, list[str]]
):
    assert loaded[room] == []


def test_a_pack_is_rated_and_a_run_read_and_reported_where_torch_cannot_be_imported(
    tmp_path: Path, process_environment: dict[str, str]
):
    pack = tmp_path / "for-ann.pack"
    with fabricate_run(
        tmp_path / "runs", {"features": 8, "neurons": 8, "planted": 6, "shuffled": 6}
    ) as run:
        add_all_scores(
            run,
            "lexical",
            {source: [1, 1, 1, 1, 1] for source in ("features", "neurons", "planted")},
        )
        make_pack(run, load_rubric("interpretability-1-5"), units_to_pack(run), Sitting(), pack)
    code = BLOCKER + f"import json\nBLOCKED = {HEAVY + OPTIONAL}\n" + READ
    printout = json.loads(printed(code, process_environment, tmp_path))
    assert printout["new"] > 16
    assert printout["raters"] == ["human:ann", "lexical"]
    assert printout["contexts"] == 8 * 20
    assert printout["page"]
    assert printout["tables"] == [".csv", ".parquet"]
    assert printout["loaded"] == []
