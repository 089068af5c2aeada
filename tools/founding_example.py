"""Write reports/founding: the two founding tables, from their published counts.

Run it from the root of a checkout: `python tools/founding_example.py`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tomli_w

from autointerp.pipeline.report import report
from autointerp.questions.question import Shows
from autointerp.questions.rubric import Rubric
from autointerp.records import Rating, Unit, UnitSummary
from autointerp.reports.write import Report
from autointerp.settings import RunSettings, SubjectSettings
from autointerp.store.ratings import KeyedItem
from autointerp.store.run import IMPORTED, Run, open_run
from autointerp.store.units import unit_row
from autointerp.units.sources import kind_of

OUT = Path("reports/founding")
LABELS = ("seemingly random", "", "", "", "clearly interpretable and monosemantic")


@dataclass(frozen=True)
class Founding:
    """One published table: how many units of each source got each score from 1 to 5."""

    run: str
    rater: str
    is_llm: bool
    counts: Mapping[str, Sequence[int]]
    note: str


NOTE = (
    "These are the published counts of 'Monosemanticity at Home' (Ward), entered by hand and not "
    "measured by autointerp: {how} Which units these were, what they fire on and how dense they "
    "are is not known here, no control was rated, and the intervals and tests were chosen after "
    "the scores were published."
)
TABLES = (
    Founding(
        "ward-human",
        "human",
        False,
        {"features": [4, 4, 6, 4, 30], "neurons": [28, 7, 3, 7, 7]},
        NOTE.format(how="one person scored 100 units of a one-layer transformer."),
    ),
    Founding(
        "ward-gpt-4",
        "gpt-4",
        True,
        {"features": [11, 16, 22, 21, 29], "neurons": [11, 35, 23, 17, 7]},
        NOTE.format(
            how="GPT-4 scored 192 units of a one-layer transformer, twelve to a prompt, and their "
            "ids told features from neurons."
        ),
    ),
)
RUBRIC = Rubric(
    id="ward-1-5",
    version=1,
    title="How interpretable is this unit?",
    scale=tuple(enumerate(LABELS, 1)),
    shows=Shows(("top",), "explain", 10, "hidden", False, 4, False),
    asks=("description",),
    text="A score from 1 to 5 for a unit's 10 strongest contexts, ±4 tokens round the token on "
    "which it fires. The wording that raters saw is not reproduced here.",
)


def add_table(folder: Path, table: Founding) -> None:
    """Make a run in `folder` that holds one published table."""
    settings = replace(RunSettings(), subject=replace(SubjectSettings(), model=IMPORTED))
    with open_run(table.run, settings, None, folder) as run:
        _harvest(run, table)
        units = {name: [unit.unit_id for unit in run.units(name)] for name in table.counts}
        scored = [
            (unit, score)
            for name, counts in table.counts.items()
            for unit, score in zip(
                units[name],
                (score for score, n in enumerate(counts, 1) for _ in range(n)),
                strict=True,
            )
        ]
        run.add_rubric(RUBRIC.digest, RUBRIC.id, RUBRIC.content)
        run.add_items(
            [
                KeyedItem(f"{unit}", RUBRIC.id, RUBRIC.digest, "shown", unit, unit, 1.0, ())
                for unit, _ in scored
            ]
        )
        run.add_rater(table.rater, table.is_llm)
        run.add_ratings(
            [
                Rating(f"{unit}", RUBRIC.id, RUBRIC.digest, table.rater, 0, "ok", score)
                for unit, score in scored
            ]
        )
    _state_provenance(folder / table.run / "run.toml", table.note)


def _harvest(run: Run, table: Founding) -> None:
    """Store units without contexts or statistics."""
    for name, counts in table.counts.items():
        first = run.next_id("unit", "unit_id")
        run.replace_source(name, sum(counts), kind_of(name))
        summaries = [
            UnitSummary(Unit(name, place), 0.0, 0, 0.0, place, "eligible", ())
            for place in range(sum(counts))
        ]
        run.insert("unit", [{**unit_row(first + s.order, s), "density": None} for s in summaries])


def _state_provenance(file: Path, note: str) -> None:
    """Say in run.toml where the counts come from. Without a plan, nothing counts as declared."""
    about = tomllib.loads(file.read_text("utf-8"))
    about["provenance"] = {"note": note}
    file.write_text(tomli_w.dumps(about), encoding="utf-8")


def founding_report(out: Path) -> Report:
    """Write the report of both tables to `out`, and return it."""
    with tempfile.TemporaryDirectory() as folder:
        for table in TABLES:
            add_table(Path(folder), table)
        made = report([table.run for table in TABLES], out, folder=Path(folder))
    pictures = made.folder / "figures"
    for suffix in ("png", "svg"):  # the one that the README shows, under a short name
        (picture,) = pictures.glob(f"scores-ward_human-*.{suffix}")
        shutil.copyfile(picture, pictures / f"scores.{suffix}")
    return made


if __name__ == "__main__":
    print(founding_report(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT).page)
